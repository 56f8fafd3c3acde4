"""What holds for every workflow: the protocol under all knobs, forks, garbage, golden playthroughs."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from llm_marl_envs import Session, Status, make_workflow
from llm_marl_envs.errors import ConfigError, UnknownName
from llm_marl_envs.session import Play
from llm_marl_envs.tasks.base import Question
from llm_marl_envs.testing import check_playthrough, check_workflow, play_randomly, playthrough
from llm_marl_envs.workflows.prompts import boxed, solve

GOLDEN = Path(__file__).parent / "golden"
WORKFLOWS = ("solo", "eval_opt", "voting", "orch_workers")
QUESTION = Question("q/0", "How many legs have 3 cats?", answer_format="Answer in \\boxed{}.")

KNOBS = [
    ("solo", {}),
    *(("eval_opt", {"rounds": rounds}) for rounds in (1, 2, 3, 6)),
    *(("eval_opt", {"refine": refine, "memory": m}) for refine in ("feedback", "different") for m in (False, True)),
    ("eval_opt", {"unparseable": "accept"}),
    *(("voting", {"votes": votes}) for votes in (1, 2, 3, 12)),
    *(("voting", {"fallback": fallback}) for fallback in ("digit", "first", "none")),
    *(("orch_workers", {"workers": workers}) for workers in (1, 3, 5)),
    *(("orch_workers", {"too_many": m, "unparseable": u}) for m in ("fail", "cut") for u in ("direct", "fail")),
]


@pytest.mark.parametrize(("name", "knobs"), KNOBS, ids=str)
def test_the_protocol_holds_for_every_knob(name, knobs):
    check_workflow(make_workflow(name, **knobs), episodes=40)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_fork_of_a_thousand_episodes_is_its_parents_past(name):
    """At every turn, pickled or not; given the rest of the replies, each comes to the same end."""
    workflow, forks = make_workflow(name), 0
    for seed in range(1000):
        parent = play_randomly(workflow, seed)
        texts = [reply.text for reply in parent.replies]
        for turn in range(len(texts) + 1):
            fork = parent.fork(turn)
            for again in (pickle.loads(pickle.dumps(fork)), fork):
                assert again.events == parent.events[: len(again.events)]
                assert again.call == next((e.call for e in parent.events[len(again.events) :]), None)
                for text in texts[turn:]:
                    again.reply(text, reply_tokens=1)
                assert again.events == parent.events
                assert (again.status, again.answer) == (parent.status, parent.answer)
            forks += 1
    assert forks >= 2000


@pytest.mark.parametrize("name", WORKFLOWS)
def test_knobs_are_frozen_checked_and_few(name):
    workflow = make_workflow(name)
    with pytest.raises((FrozenInstanceError, AttributeError)):
        workflow.rounds = 4  # type: ignore[attr-defined]
    with pytest.raises(UnknownName, match=f"no knob of {name} 'volume'"):
        make_workflow(name, volume=11)


@pytest.mark.parametrize(
    ("name", "knobs", "message"),
    [
        ("eval_opt", {"rounds": 0}, "rounds starts at 1; got 0"),
        ("eval_opt", {"refine": "again"}, "refine is 'feedback' or 'different'"),
        ("eval_opt", {"unparseable": "maybe"}, "unparseable 'reject' or 'accept'"),
        ("voting", {"votes": 0}, "votes starts at 1; got 0"),
        ("voting", {"fallback": "last"}, "fallback is 'digit', 'first' or 'none'"),
        ("orch_workers", {"workers": -1}, "workers starts at 1; got -1"),
        ("orch_workers", {"too_many": "pay"}, "too_many is 'fail' or 'cut'"),
        ("orch_workers", {"unparseable": "cut"}, "unparseable 'direct' or 'fail'"),
    ],
)
def test_impossible_knobs(name, knobs, message):
    with pytest.raises(ConfigError, match=f"{name} does not accept .*{message}"):
        make_workflow(name, **knobs)


# Readers and prompts.


@pytest.mark.parametrize(
    ("reply", "inside"),
    [
        ("\\boxed{x}", "x"),
        ("\\boxed{ x }.", "x"),
        ("\\boxed{1} \\boxed{2}", "2"),
        ("\\boxed{}", ""),
        ("\\boxed{1} \\boxed{", None),
        ("\\boxed{a{b}}", None),
        ("\\boxed{" + "x" * 200 + "}", "x" * 200),
        ("\\boxed{" + "x" * 201 + "}", None),
        ("boxed{1}", None),
        ("", None),
    ],
)
def test_boxed(reply, inside):
    assert boxed(reply) == inside


def test_materials_and_advice_stand_between_problem_and_form():
    question = Question("q", "Who?", answer_format="One name.", materials=("Ann was there.", "Bob was not."))
    assert solve(question, "Be quick.") == "Who?\nAnn was there.\nBob was not.\nBe quick.\nOne name."
    assert solve(question) == "Who?\nAnn was there.\nBob was not.\nOne name."


@pytest.mark.parametrize("name", WORKFLOWS)
@pytest.mark.parametrize("reply", ["\\boxed{" * 30_000, "\n" * 200_000, "* " * 100_000, "STRATEGY 1:" * 20_000])
def test_long_garbage_is_read_in_linear_time(name, reply):
    session = Session(Play(make_workflow(name), QUESTION))
    while not session.over:
        session.reply(reply)
    assert session.status is Status.FINISHED


# Golden playthroughs.

SCRIPTS = {
    "solo": ("A cat has 4 legs and 3 x 4 = 12. \\boxed{12}",),
    "eval_opt": (
        "A cat has 3 legs and 3 x 3 = 9. \\boxed{9}",
        "Look at the number of legs of one cat. \\boxed{Incorrect}",
        "A cat has 4 legs and 3 x 4 = 12. \\boxed{12}",
        "I think this is fine.",
        "3 x 4 = 12 it stays. \\boxed{12}",
    ),
    "voting": ("\\boxed{9}", "4 + 4 + 4 = 12\nSo: \\boxed{12}", "", "Solution 2 counts all legs. \\boxed{2}"),
    "orch_workers": (
        "STRATEGY 1: add the legs cat by cat\nSTRATEGY 2: multiply",
        "4, 8, 12. \\boxed{12}",
        "3 x 4 = 14. \\boxed{14}",
        "The second one slipped: 3 x 4 = 12. \\boxed{12}",
    ),
}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_golden_playthrough(name, update_golden):
    text = playthrough(make_workflow(name), QUESTION, SCRIPTS[name])
    check_playthrough(GOLDEN / f"{name}.txt", text, update=update_golden)
    assert "status: finished" in text
