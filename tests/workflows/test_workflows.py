"""What holds for every workflow: the protocol under all knobs, forks, garbage, golden playthroughs."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError

import pytest
from cases import every, sizes
from knob_grid import GRID
from places import GOLDEN
from playthroughs import SCRIPTS

from llm_marl_envs import Session, Status, make_workflow
from llm_marl_envs.catalog import names
from llm_marl_envs.errors import ConfigError, UnknownName
from llm_marl_envs.reading import boxed
from llm_marl_envs.session import Play
from llm_marl_envs.task import Question
from llm_marl_envs.testing import check_playthrough, check_workflow, play_randomly, playthrough
from llm_marl_envs.workflows.prompts import solve

WORKFLOWS = names("llm_marl_envs.workflows")
QUESTION = Question("q/0", "How many legs have 3 cats?", answer_format="Answer in \\boxed{}.")


@sizes("episodes", 20, 200)
@pytest.mark.parametrize("names", [WORKFLOWS[i::3] for i in range(3)], ids=" ".join)
def test_the_protocol_holds_for_every_knob(names, episodes):
    settings = [make_workflow(name, **knobs) for name, knobs in GRID if name in names]
    assert {name for name, _ in GRID} == set(WORKFLOWS)
    check_workflow(*settings, episodes=episodes)


@sizes("episodes", 60, 1000)
@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_fork_of_random_episodes_is_its_parents_past(name, episodes):
    """At every turn, pickled or not; given the rest of the replies, each comes to the same end."""
    workflow, forks = make_workflow(name), 0
    for seed in range(episodes):
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
    assert forks >= 2 * episodes


@pytest.mark.parametrize("name", WORKFLOWS)
def test_knobs_are_frozen_checked_and_few(name):
    workflow = make_workflow(name)
    with pytest.raises((FrozenInstanceError, AttributeError)):
        workflow.rounds = 4  # type: ignore[attr-defined]
    with pytest.raises(UnknownName, match=f"no knob of {name} 'volume'"):
        make_workflow(name, volume=11)


@every(
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
        ("search_answer", {"turns": 0}, "turns starts at 1; got 0"),
        ("search_answer", {"tag": "x"}, "tag is 'think' or 'reason'"),
        ("route_search", {"missing": "maybe"}, "missing is 'yes' or 'no'; got 'maybe'"),
        ("rewrite_rerank_answer", {"keep": 0}, "queries and keep start at 1; got 3 and 0"),
        ("solve_verify", {"loops": 0}, "loops starts at 1; got 0"),
        ("debate", {"decide": "dice"}, "decide is 'majority' or 'judge'; got 'dice'"),
        ("chain", {"workers": 0}, "workers starts at 1; got 0"),
        ("mixture", {"layers": 0}, "proposers and layers start at 1; got 3 and 0"),
        ("propose_review", {"rounds": 0}, "bundles and rounds start at 1"),
        ("propose_review", {"state": "all"}, "state 'both', 'vote' or 'time'"),
        ("code_and_tests", {"rounds": 0}, "rounds starts at 1; got 0"),
        ("topology", {"agents": 1}, "agents starts at 2 and rounds at 1; got 1 and 2"),
        ("swarm", {"workers": 0}, "workers and rounds start at 1, tool_calls at 0"),
    ],
)
def test_impossible_knobs(name, knobs, message):
    with pytest.raises(ConfigError, match=f"{name} does not accept .*{message}"):
        make_workflow(name, **knobs)


# Readers and prompts.


@every(
    ("reply", "inside"),
    [
        ("\\boxed{x}", "x"),
        ("\\boxed{ x }.", "x"),
        ("\\boxed{1} \\boxed{2}", None),  # a list
        ("\\boxed{1} or \\boxed{2}", None),
        ("\\boxed{2}, that is \\boxed{2}", "2"),
        ("First I get \\boxed{1}. But that was too low, so it is \\boxed{2}.", "2"),
        ("\\boxed{}", ""),
        ("\\boxed{1} \\boxed{", None),
        ("\\boxed{a{b}}", "a{b}"),
        ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ("\\fbox{\\{1, 2\\}}", "\\{1, 2\\}"),
        ("\\boxed{\\boxed{7}}", "7"),
        ("\\boxed {7}", "7"),
        ("\\boxed{" + "x" * 999 + "}", "x" * 999),
        ("\\boxed{" + "x" * 1000 + "}", None),
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
@every("reply", ["\\boxed{" * 30_000, "\n" * 200_000, "* " * 100_000, "STRATEGY 1:" * 20_000])
def test_long_garbage_is_read_in_linear_time(name, reply):
    session = Session(Play(make_workflow(name), QUESTION))
    while not session.over:
        session.reply(reply)
    assert session.status is Status.FINISHED


# Golden playthroughs.


@pytest.mark.parametrize("name", WORKFLOWS)
def test_golden_playthrough(name, update_golden):
    text = playthrough(make_workflow(name), *SCRIPTS[name])
    check_playthrough(GOLDEN / f"{name}.txt", text, update=update_golden)
    assert "status: finished" in text
