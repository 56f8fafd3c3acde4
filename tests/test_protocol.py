"""What a workflow may say: values, rosters, and talks side by side."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

import pytest
from toys import Capitals, Interviews

from llm_marl_envs.protocol import Ask, Claim, Malformed, Roster, Spawn, Stop, Talk, UseTool, together
from llm_marl_envs.seeds import seed_of
from llm_marl_envs.session import Play, Session

QUESTION = Capitals().problems("train")[0].question


def test_events_are_values():
    for one, same, other in (
        (Ask("a_0", "p"), Ask("a_0", "p"), Ask("a_0", "q")),
        (Spawn("a_0", by="b_0"), Spawn("a_0", by="b_0"), Stop("a_0", by="b_0")),
        (Claim("a_0", "x"), Claim("a_0", "x"), Claim("a_0", "x", "evidence")),
        (Malformed("a_0", "x"), Malformed("a_0", "x"), Claim("a_0", "x")),
    ):
        assert one == same
        assert hash(one) == hash(same)
        assert one != other
        assert pickle.loads(pickle.dumps(one)) == one
    assert UseTool("a_0", "find", {"q": "x"}) == UseTool("a_0", "find", {"q": "x"})


def test_defaults_of_an_ask():
    ask = Ask("a_0", "p")
    assert (ask.system, ask.fresh, ask.choices, ask.infoset, ask.kind) == ("", True, (), (), "message")


def test_a_roster_names_its_agents():
    roster = Roster(solver=1, voter=3, spawned={"helper": 2})
    assert roster.present == ("solver_0", "voter_0", "voter_1", "voter_2")
    assert roster.spawned == ("helper_0", "helper_1")
    assert roster.names == roster.present + roster.spawned
    assert roster.roles == ("solver", "voter", "helper")
    assert roster.role("voter_2") == "voter"
    assert roster.of("helper") == ("helper_0", "helper_1")
    assert roster.of("nobody") == ()
    assert "voter_2" in roster
    assert "voter_3" not in roster
    assert "voter" not in roster


def test_rosters_are_values():
    roster = Roster(a=2, spawned={"b": 1})
    same, other = Roster(a=2, spawned={"b": 1}), Roster(a=2, b=1)
    assert (roster == same, hash(roster) == hash(same), roster == other) == (True, True, False)
    assert pickle.loads(pickle.dumps(roster)) == roster


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Roster(), "at least one role"),
        (lambda: Roster(spawned={"helper": 1}), "at least one role"),
        (lambda: Roster(solver=0), "got solver=0"),
        (lambda: Roster(**{"a solver": 1}), "got a solver=1"),
        (lambda: Roster(a=1, spawned={"a": 2}), "'a' is both present and spawned"),
    ],
)
def test_impossible_rosters(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()


# together


def told(talk: Talk, *answers: Any) -> tuple[list[Any], Any]:
    """Everything a talk yields when its waves are answered in turn, and what it returns."""
    yielded, said = [], iter(answers)
    try:
        event = talk.send(None)
        while True:
            yielded.append(event)
            event = talk.send(None if isinstance(event, Spawn | Stop | Claim | Malformed) else next(said))
    except StopIteration as stop:
        assert next(said, None) is None, "not all answers were asked for"
        return yielded, stop.value


def chain(agent: str, length: int) -> Talk:
    said = []
    for i in range(length):
        said.append((yield Ask(agent, str(i))))
    return "".join(said)


def test_together_gathers_waves_and_keeps_the_order_of_results():
    waves, results = told(together(chain("a_0", 2), chain("b_0", 0), chain("c_0", 3)), ("p", "q"), ("r", "s"), ("t",))
    assert waves == [
        (Ask("a_0", "0"), Ask("c_0", "0")),
        (Ask("a_0", "1"), Ask("c_0", "1")),
        (Ask("c_0", "2"),),
    ]
    assert results == ["pr", "", "qst"]


def test_together_of_nothing():
    assert told(together()) == ([], [])
    assert told(together(chain("a_0", 0))) == ([], [""])


def test_notes_pass_through_together_in_the_order_of_the_talks():
    def noted(agent: str) -> Talk:
        yield Spawn(agent, by="boss_0")
        said = yield Ask(agent, "speak")
        yield Claim(agent, said)
        yield Stop(agent, by="boss_0")
        return said

    yielded, results = told(together(noted("x_0"), noted("x_1")), ("one", "two"))
    assert yielded == [
        Spawn("x_0", by="boss_0"),
        Spawn("x_1", by="boss_0"),
        (Ask("x_0", "speak"), Ask("x_1", "speak")),
        Claim("x_0", "one"),
        Stop("x_0", by="boss_0"),
        Claim("x_1", "two"),
        Stop("x_1", by="boss_0"),
    ]
    assert results == ["one", "two"]


def test_together_nests_and_takes_whole_waves():
    def pair() -> Talk:
        got = yield Ask("a_0", "x"), Ask("b_0", "y")
        assert isinstance(got, tuple)
        more = yield from together(chain("a_0", 1), chain("b_0", 2))
        return "|".join((*got, *more))

    yielded, results = told(
        together(pair(), chain("c_0", 2)),
        ("1", "2", "3"),
        ("4", "5", "6"),
        ("7",),
    )
    assert [tuple(ask.agent for ask in wave) for wave in yielded] == [
        ("a_0", "b_0", "c_0"),
        ("a_0", "b_0", "c_0"),
        ("b_0",),
    ]
    assert results == ["1|2|4|57", "36"]


def test_a_single_call_inside_together_is_answered_with_a_text_not_a_tuple():
    assert told(together(chain("a_0", 1)), ("only",)) == ([(Ask("a_0", "0"),)], ["only"])


def test_talks_side_by_side_in_a_session():
    session = Session(Play(Interviews(), QUESTION, seed=1), ["a0", "b0", "b1", "b2"])
    assert [(event.call.agent, event.wave) for event in session.events if event.reply] == [
        ("guest_0", 0),
        ("guest_1", 0),
        ("guest_1", 1),
        ("guest_1", 2),
    ]
    assert session.answer == Random(seed_of("talk", 1)).choice(["a0", "b0/b1/b2"])
    assert session.turns == 3
    drawn = {Session(Play(Interviews(), QUESTION, seed), ["a0", "b0", "b1", "b2"]).answer for seed in range(20)}
    assert drawn == {"a0", "b0/b1/b2"}


def test_a_workflow_is_any_frozen_dataclass_with_a_roster_and_a_talk():
    @dataclass(frozen=True)
    class Mute:
        roster: ClassVar[Roster] = Roster(nobody=1)

        def talk(self, question, rng) -> Talk:
            return None
            yield

    session = Session(Play(Mute(), QUESTION))
    assert (session.over, session.answer, session.events) == (True, None, [])
