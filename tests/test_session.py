"""One talk in progress: what it waits for, its chats, forks and pickles, budgets, and broken workflows."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

import pytest
from toys import Capitals, Crew, Interviews, Lookup

from llm_marl_envs.errors import SessionOver, WorkflowError
from llm_marl_envs.protocol import Ask, Claim, Roster, Spawn, Stop, Talk, UseTool
from llm_marl_envs.seeds import LazyRandom, seed_of
from llm_marl_envs.session import Event, Limits, Play, Reply, Session, Status
from llm_marl_envs.workflows.eval_opt import EvalOpt
from llm_marl_envs.workflows.voting import Voting

QUESTION = Capitals().problems("train")[1].question  # Peru


def session_of(workflow: Any, *replies: Reply | str, seed: int = 0, **limits: Any) -> Session:
    return Session(Play(workflow, QUESTION, seed, Limits(**limits)), replies)


@dataclass(frozen=True)
class Scripted:
    """Yields the given events in turn, whatever is answered, and returns `result`."""

    events: tuple[Any, ...]
    result: Any = "done"
    roster: ClassVar[Roster] = Roster(a=2, spawned={"b": 2})

    def talk(self, question, rng) -> Talk:
        for event in self.events:
            _ = yield event  # what is answered does not matter
        return self.result


# Waiting and replying.


def test_a_talk_from_start_to_end():
    session = session_of(Lookup())
    assert session.status is None
    assert session.call == Ask("searcher_0", "Name the country. The capital of Peru?", system="Be brief.")
    assert session.waiting == (session.call,)
    session.reply("Peru", prompt_tokens=9, reply_tokens=1, seconds=0.5)
    assert session.waiting == (UseTool("searcher_0", "find", {"country": "Peru"}),)
    session.reply("Lima")
    session.reply("It is Lima", 20, 3)
    assert (session.over, session.status, session.answer) == (True, Status.FINISHED, "It is Lima")
    assert (session.waiting, session.call) == ((), None)
    assert (session.calls, session.turns) == (2, 3), "tools count as turns, not as calls of agents"
    assert session.replies == (Reply("Peru", 9, 1, 0.5), Reply("Lima"), Reply("It is Lima", 20, 3))
    assert session.events[2] == Event(Claim("searcher_0", "Lima", "evidence"), None, 2)
    with pytest.raises(SessionOver, match="finished after 3 replies"):
        session.reply("more")


def test_a_wave_is_answered_in_order():
    session = session_of(Voting(), "one")
    assert [call.agent for call in session.waiting] == ["generator_1", "generator_2"]
    assert session.turns == 0
    session.reply("two")
    assert session.call.agent == "generator_2"
    session.reply("three")
    assert session.call.agent == "aggregator_0"
    assert session.turns == 1
    assert [event.wave for event in session.events] == [0, 0, 0, 1, 1, 1], "claims belong to the wave they precede"


def test_agents_come_and_go():
    session = session_of(Crew())
    assert session.agents == ["boss_0"]
    session.reply("")
    assert session.agents == ["boss_0", "helper_0", "helper_1"]
    session.reply("")
    session.reply("")
    assert session.agents == ["boss_0", "helper_1", "helper_2"]
    assert session.stopped == ["helper_0"]


# Chats.


def test_a_fresh_ask_starts_a_conversation_and_the_next_continues_it():
    session = session_of(Lookup())
    opening = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Name the country. The capital of Peru?"},
    ]
    assert list(session.messages(session.call)) == opening
    session.reply("Peru")
    session.reply("Lima")
    assert list(session.messages(session.call)) == [
        *opening,
        {"role": "assistant", "content": "Peru"},
        {"role": "user", "content": "Found: Lima. Answer?"},
    ], "the system text of a continued conversation is its first one; tool calls are no part of it"


def test_a_conversation_holds_one_agents_words_since_its_last_fresh_ask():
    asks = (Ask("a_0", "p0"), Ask("a_1", "q"), Ask("a_0", "p1"), Ask("a_0", "p2", fresh=False))
    session = session_of(Scripted((*asks, Ask("a_0", "p3", fresh=False))), "r0", "rq", "r1", "r2")
    assert [m["content"] for m in session.messages(session.call)] == ["p1", "r1", "p2", "r2", "p3"]


def test_continuing_what_never_began_is_a_first_prompt():
    session = session_of(Scripted((Ask("a_0", "p", system="s", fresh=False),)))
    assert [m["content"] for m in session.messages(session.call)] == ["s", "p"]


def test_memory_of_a_generator():
    session = session_of(EvalOpt(memory=True), "draft", "\\boxed{Incorrect}")
    chat = session.messages(session.call)
    assert [m["role"] for m in chat] == ["user", "assistant", "user"]
    assert chat[1]["content"] == "draft"


# Forks and pickles.


@pytest.mark.parametrize(
    ("workflow", "replies"),
    [
        (Lookup(), ["Peru", "Lima", "Lima"]),
        (Crew(), ["x", "a", "b", "c", "d", "2"]),
        (Interviews(), ["a0", "b0", "b1", "b2"]),
        (EvalOpt(), ["d", "\\boxed{Incorrect}", "e", "\\boxed{Correct}"]),
    ],
)
def test_a_fork_has_replayed_its_parents_past(workflow, replies):
    parent = session_of(workflow, *(Reply(text, 5, i, 0.1) for i, text in enumerate(replies)), seed=3)
    assert parent.over
    for turn in range(len(replies) + 1):
        fork = parent.fork(turn)
        assert [reply.text for reply in fork.replies] == replies[:turn]
        for copy in (fork, pickle.loads(pickle.dumps(fork))):
            assert copy.events == parent.events[: len(copy.events)]
            for text in replies[turn:]:
                copy.reply(text)
            assert [(e.call, e.wave) for e in copy.events] == [(e.call, e.wave) for e in parent.events]
            assert (copy.status, copy.answer, copy.agents) == (parent.status, parent.answer, parent.agents)
    assert parent.fork().replies == parent.replies
    assert [reply.text for reply in parent.replies] == replies, "forks leave their parent alone"


def test_a_fork_goes_its_own_way():
    parent = session_of(EvalOpt(rounds=2), "d", "\\boxed{Correct}")
    other = parent.fork(1)
    other.reply("\\boxed{Incorrect}")
    other.reply("e")
    assert (parent.answer, other.answer) == ("d", "e")


@pytest.mark.parametrize("turn", [-1, 3])
def test_impossible_forks(turn):
    with pytest.raises(ValueError, match=r"takes 0 to 2 .* got -?\d"):
        session_of(EvalOpt(rounds=2), "d", "\\boxed{Correct}").fork(turn)


def test_a_failed_session_stays_failed():
    session = session_of(EvalOpt(), "d")
    session.fail("no power")
    for copy in (session, session.fork(), pickle.loads(pickle.dumps(session))):
        assert (copy.status, copy.why, copy.answer, copy.waiting) == (Status.FAILED, "no power", None, ())
        with pytest.raises(SessionOver):
            copy.reply("x")
    assert session.fork(1).status is None, "the turns before the failure can be replayed"


# Budgets.


@pytest.mark.parametrize(
    ("limits", "after", "why"),
    [
        ({"calls": 3}, 3, "used all 3 calls"),
        ({"turns": 2}, 2, "used all 2 turns"),
        ({"tokens": 25}, 3, "used all 25 tokens"),
        ({"seconds": 1.0}, 2, "used all 1.0 seconds"),
        ({"tokens": 100, "calls": 1}, 1, "used all 1 calls"),
    ],
)
def test_a_budget_that_runs_out_truncates(limits, after, why):
    session = session_of(EvalOpt(rounds=9), **limits)
    for i in range(after):
        assert session.status is None, f"over after {i} replies"
        session.reply("no verdict", 7, 3, 0.5)
    assert (session.status, session.answer, session.why) == (Status.TRUNCATED, None, why)
    assert pickle.loads(pickle.dumps(session)).why == why
    with pytest.raises(SessionOver, match="truncated"):
        session.reply("x")


def test_a_talk_that_ends_on_its_last_unit_is_finished():
    replies = [Reply("d", 3, 2, 0.5), Reply("\\boxed{Correct}", 3, 2, 0.5)]
    for limits in ({"calls": 2}, {"turns": 2}, {"tokens": 10}, {"seconds": 1.0}):
        assert session_of(EvalOpt(), *replies, **limits).status is Status.FINISHED, limits


def test_a_tool_may_still_answer_after_the_last_call():
    session = session_of(Lookup(), "Peru", calls=1)
    assert session.status is None
    session.reply("Lima")
    assert session.status is Status.TRUNCATED


def test_a_wave_may_be_cut_in_the_middle():
    session = session_of(Voting(), "one", "two", calls=2)
    assert session.status is Status.TRUNCATED
    assert len(session.events) == 2


def test_no_limit_at_all():
    session = session_of(EvalOpt(rounds=400), calls=None, turns=None)
    while not session.over:
        session.reply("\\boxed{Incorrect}")
    assert (session.status, session.calls) == (Status.FINISHED, 799)


def test_the_default_budget_ends_an_endless_talk():
    session = session_of(EvalOpt(rounds=10_000))
    while not session.over:
        session.reply("")
    assert (session.status, session.calls) == (Status.TRUNCATED, 512)


def test_a_truncated_talk_is_closed_not_thrown_at():
    ended = []

    @dataclass(frozen=True)
    class Stubborn:
        roster: ClassVar[Roster] = Roster(a=1)

        def talk(self, question, rng) -> Talk:
            try:
                while True:
                    yield Ask("a_0", "again")
            except Exception:
                ended.append("exception")
            finally:
                ended.append("closed")

    session = session_of(Stubborn(), "x", "y", calls=2)
    assert ended == ["closed"]
    assert session.status is Status.TRUNCATED


# Workflows that break the protocol.


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ((Ask("c_0", "p"),), "'c_0' is not in the roster"),
        ((Ask("b_0", "p"),), "'b_0' acts before it was spawned"),
        ((Claim("c_0", "x"),), "'c_0' is not in the roster"),
        ((Claim("b_1", "x"),), "'b_1' acts before it was spawned"),
        (((Ask("a_0", "p"), Ask("b_0", "p")),), "'b_0' acts before it was spawned"),
        ((UseTool("c_0", "find"),), "'c_0' is not in the roster"),
        ((Spawn("a_0", by="a_1"),), "cannot spawn 'a_0'"),
        ((Spawn("b_2", by="a_1"),), "cannot spawn 'b_2'"),
        ((Spawn("b_0", by="a_0"), Spawn("b_0", by="a_0")), "cannot spawn 'b_0' again"),
        ((Spawn("b_0", by="a_0"), Stop("b_0", by="a_0"), Spawn("b_0", by="a_0")), "cannot spawn 'b_0' again"),
        ((Stop("a_0", by="a_1"), Ask("a_0", "p")), "'a_0' was stopped and cannot act again"),
        ((Stop("a_0", by="a_1"), Claim("a_0", "x")), "'a_0' was stopped and cannot act again"),
        ((Stop("a_0", by="a_1"), Stop("a_0", by="a_1")), "'a_0' was stopped and cannot act again"),
        (((Ask("a_0", "p"), Ask("a_0", "q")),), "asks one agent twice in a wave"),
        (((),), "yielded an empty wave"),
        (("hello",), "yielded 'hello'; expected Ask"),
        (([Ask("a_0", "p")],), r"yielded \[Ask.*expected Ask"),
        (((Ask("a_0", "p"), Claim("a_0", "x")),), "yielded Claim.*expected Ask"),
        ((None,), "yielded None; expected Ask"),
    ],
)
def test_broken_workflows_are_named(events, message):
    with pytest.raises(WorkflowError, match=message):
        session_of(Scripted(events))


def test_an_answer_is_a_text_or_none():
    assert session_of(Scripted((), None)).answer is None
    assert session_of(Scripted((), "")).answer == ""
    with pytest.raises(WorkflowError, match="returned int; a talk returns the answer as str, or None"):
        session_of(Scripted((), 4))


# Seeds.


def test_seeds_are_hashed_names():
    assert seed_of("talk", 0) == seed_of("talk", 0)
    assert len({seed_of("talk", i) for i in range(1000)} | {seed_of("task", i) for i in range(1000)}) == 2000
    assert seed_of("a", "bc") != seed_of("ab", "c")
    assert 0 <= seed_of() < 2**64


def test_a_talks_random_numbers_are_its_seeds():
    later, same = LazyRandom("talk", 7), Random(seed_of("talk", 7))
    assert [later.random(), later.randint(1, 100), later.choice("abc")] == [
        same.random(),
        same.randint(1, 100),
        same.choice("abc"),
    ]
