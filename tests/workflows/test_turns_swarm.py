"""Swarm, turn by turn: its five decisions, workers at once, tools, letters, dismissals, caps."""

from __future__ import annotations

from typing import Any

import pytest

from llm_marl_envs import Ask, Claim, Malformed, Session, Spawn, Stop, UseTool, make_workflow
from llm_marl_envs.session import Limits, Play
from llm_marl_envs.task import Question

QUESTION = Question(
    "q/0", "How many legs have 3 cats?", answer_format="Answer in \\boxed{}.", materials=("Cats have 4.",)
)
W = [f"worker_{i}" for i in range(8)]


def played(*replies: str, **knobs: Any) -> Session:
    return Session(Play(make_workflow("swarm", **knobs), QUESTION, limits=Limits(None, None)), replies)


def acts(session: Session) -> list[str]:
    """Everything that happens, in order: spawns as +name, stops as -name, tools as name!tool."""
    shown = {Spawn: "+{}", Stop: "-{}", Ask: "{}", UseTool: "{}!"}
    return [shown[type(call)].format(call.agent) for call, _, _ in session.events if type(call) in shown]


def notes(session: Session, kind: type) -> list[Any]:
    return [call for call, _, _ in session.events if type(call) is kind]


PARTS = "worker_0: count legs\nworker_1: check"


def test_two_rounds():
    session = played(
        "2", PARTS, "4 each", "TO worker_0: it is 12\nfine \\boxed{12}", "continue", "worker_0 -> worker_1", "0",
        "worker_0: sum up", "\\boxed{12}", "stop", "\\boxed{12}", rounds=3,
    )  # fmt: skip
    assert acts(session) == [
        "spawner_0", "+worker_0", "+worker_1", "delegator_0", "worker_0", "worker_1", "stopper_0", "communicator_0",
        "spawner_0", "delegator_0", "-worker_1", "worker_0", "stopper_0", "-worker_0", "aggregator_0",
    ]  # fmt: skip
    assert session.answer == "\\boxed{12}"
    waves = [wave for call, _, wave in session.events if type(call) is Ask and call.agent in W]
    assert waves[0] == waves[1], "workers act at once"
    assert [n.agent for n in notes(session, Claim)] == ["worker_1", "worker_0", "aggregator_0"], (
        "who reports no answer claims none"
    )
    assert not notes(session, Malformed)


def test_what_workers_see():
    session = played("2", PARTS)
    first, second = session.waiting
    assert "count legs" in first.prompt
    assert "count legs" not in second.prompt
    for call in (first, second):
        for part in (QUESTION.text, "Cats have 4.", QUESTION.answer_format, "worker_0, worker_1", "TO worker_k"):
            assert part in call.prompt
    for reply in (
        "4 each",
        "TO worker_0: it is 12",
        "continue",
        "worker_0 -> worker_1",
        "0",
        "worker_0: a\nworker_1: b",
    ):
        session.reply(reply)
    first, second = session.waiting
    assert "worker_1 writes to you: it is 12" in first.prompt
    assert "worker_0 reports: 4 each" in second.prompt
    assert "writes to you" not in second.prompt
    assert [m["content"] for m in session.messages(first)[1::2]] == ["4 each"], "it remembers what it did"


def test_without_messages_nobody_reads_anybody():
    session = played("2", PARTS, "4 each", "TO worker_0: x", "continue", messages=False)
    assert session.call.agent == "spawner_0"
    for reply in ("0", "worker_0: a\nworker_1: b"):
        session.reply(reply)
    assert "writes to you" not in session.waiting[0].prompt
    assert "TO worker_k" not in session.waiting[0].prompt


def test_decisions_have_menus_and_infosets():
    session = played(workers=3)
    assert (session.call.choices, session.call.infoset) == (("0", "1", "2", "3"), (1, 0))
    for reply in ("2", PARTS, "\\boxed{12}", "\\boxed{12}"):
        session.reply(reply)
    assert (session.call.agent, session.call.choices, session.call.infoset) == (
        "stopper_0",
        ("stop", "continue"),
        (1, 2, "agree"),
    )
    split = played("2", PARTS, "\\boxed{12}", "\\boxed{6}")
    assert split.call.infoset == (1, 2, "split")
    assert played("2", PARTS, "\\boxed{12}", "dunno").call.infoset == (1, 2, "none")


def test_hiring_stops_at_the_cap_and_names_are_new():
    session = played(
        "2", PARTS, "a", "b", "continue", "none", "1", "worker_2: go", "c", "continue", workers=3, rounds=4
    )
    assert session.call.agent == "delegator_0", "all three were hired, so nobody asks the spawner"
    assert notes(session, Stop)[:2] == [Stop("worker_0", "delegator_0"), Stop("worker_1", "delegator_0")]
    assert [n.agent for n in notes(session, Spawn)] == ["worker_0", "worker_1", "worker_2"]


def test_nobody_hired():
    session = played("0")
    assert session.call.agent == "aggregator_0"
    assert "No reports yet." in session.call.prompt


def test_the_last_round_needs_no_stop():
    session = played("1", "worker_0: all", "\\boxed{12}", rounds=1)
    assert acts(session) == ["spawner_0", "+worker_0", "delegator_0", "worker_0", "-worker_0"]
    assert session.call.agent == "aggregator_0"


def test_unreadable_decisions():
    session = played("many", "Go!", "r", "perhaps")
    assert [(n.agent, n.expected) for n in notes(session, Malformed)] == [
        ("spawner_0", "a number from 0 to 4"),
        ("delegator_0", "lines `worker_k: what to do`"),
        ("stopper_0", "stop or continue"),
    ]
    assert (acts(session)[-1], session.call.agent) == ("-worker_0", "aggregator_0"), (
        "one is hired, gets all, and that is that"
    )
    assert any("Your part: the whole problem" in call.prompt for call, _, _ in session.events if type(call) is Ask)
    chatty = played("2", PARTS, "a", "b", "continue", "Everybody should talk.")
    assert notes(chatty, Malformed)[-1].agent == "communicator_0"
    later = played("2", PARTS, "a", "b", "continue", "none", "lots")
    assert later.call.agent == "delegator_0"
    assert len(notes(later, Spawn)) == 2, "somebody is there already"


@pytest.mark.parametrize(("line", "reads"), [
    ("worker_0 -> all", {1: [0], 2: [0]}),
    ("worker_0 -> worker_1\nworker_0 -> worker_1\nworker_2 -> worker_1", {1: [0, 2]}),
    ("worker_1->worker_1, worker_9 -> worker_0, worker_2 -> worker_0", {0: [2]}),
    ("none", {}),
])  # fmt: skip
def test_who_reads_whom(line, reads):
    parts = "\n".join(f"{w}: go" for w in W[:3])
    session = played("3", parts, "r0", "r1", "r2", "continue", line, "0", parts)
    for i, call in enumerate(session.waiting):
        for j in range(3):
            assert call.prompt.count(f"worker_{j} reports: r{j}") == (j in reads.get(i, []))


def test_tools_within_a_round():
    session = played("2", PARTS, "<search>cats</search>", "4 \\boxed{12}", tools=("search", "python"), tool_calls=1)
    assert session.waiting == (UseTool("worker_0", "search", {"query": "cats"}),)
    session.reply("Cats have legs.")
    assert session.messages(session.call)[-1]["content"] == "<result>Cats have legs.</result>"
    session.reply("<python>print(1)</python>")
    assert session.call.agent == "stopper_0", "one use a round"
    assert "You may write <search>...</search>. You may write <python>...</python>." in session.events[4].call.prompt


def test_unknown_tools_are_refused():
    with pytest.raises(Exception, match="tools are some of search, python, run_examples; got 'browser'"):
        make_workflow("swarm", tools=("browser",))
    with pytest.raises(Exception, match=r"tools is a tuple of names, as in \('search',\)"):
        make_workflow("swarm", tools="search")
    with pytest.raises(Exception, match="given is a tuple of passages"):
        make_workflow("search_answer", given="one passage")
