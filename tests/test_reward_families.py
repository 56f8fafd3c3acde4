"""The survey's families R3 to R8, with the worked examples of their docstrings, by hand."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import pytest
from knob_grid import GRID
from test_rewards import NO, PROBLEM, TASK, YES, outcome, refined
from toys import Capitals

from llm_marl_envs import Outcome, Play, Score, Session, make_workflow, minus_cost, own, team
from llm_marl_envs.outcome import outcome_of
from llm_marl_envs.rewards import (
    RULES,
    accepted_evidence,
    accepted_progress,
    aggregation_gain,
    by_role,
    hybrid,
    orchestration,
    process,
    progress,
    reward_rule,
    rewards_of,
    split_coverage,
    tool_use,
    verifier,
)  # fmt: skip
from llm_marl_envs.session import Reply
from llm_marl_envs.stats.figures import speed_up
from llm_marl_envs.task import Problem, Question
from llm_marl_envs.testing import play_randomly


def searched(evidence: bool, *answers: str) -> Outcome:
    """A searcher finds Lima or not, and a generator answers."""
    found = 'Doc 1(Title: "Peru") ' + ("Lima is its capital." if evidence else "A country.")

    @dataclass(frozen=True)
    class Graded(Capitals):
        def grade(self, problem, text, kind="answer") -> Score:
            return Score(float("Lima" in text), "", text) if kind == "evidence" else super().grade(problem, text)

    workflow = make_workflow("search_answer", every_turn=len(answers) > 1, turns=max(1, len(answers)))
    replies = [part for answer in answers for part in ("<search>Peru</search>", found, answer)]
    return outcome(workflow, *replies, task=Graded())


@pytest.mark.parametrize(
    ("evidence", "answer", "searcher", "generator"),
    [
        (True, "Lima", 1.0, 1.0),
        (True, "Cusco", 1.0, 0.0),
        (True, "<answer>unknown</answer>", 0.0, 0.0),
        (False, "<answer>unknown</answer>", 0.0, 1.0),
        (False, "Cusco", 0.0, 0.0),
        (False, "Lima", 0.0, 1.0),
    ],
)
def test_dac(evidence, answer, searcher, generator):
    """DAC's table: r_S = 1[s and v], r_G = 1[a or (not s and not v)]."""
    assert reward_rule("dac")(searched(evidence, answer)) == {"searcher_0": searcher, "generator_0": generator}


def test_by_role():
    paid = by_role({"evaluator": verifier}, otherwise=own)
    assert paid(refined("Cusco", NO, "Lima", YES)) == {"generator_0": 0.5, "evaluator_0": 1.0}
    assert by_role({"evaluator": verifier})(refined("Cusco", NO, "Lima", YES)) == {
        "generator_0": 1.0,
        "evaluator_0": 1.0,
    }
    assert by_role({})(refined("Cusco", YES)) == team(refined("Cusco", YES))


def test_progress_adds_up():
    found = refined("Cusco", NO, "Lima", NO, "Quito")
    assert progress(found) == [(0, "generator_0", 0.0), (2, "generator_0", 1.0), (4, "generator_0", -1.0)]
    assert process(found) == {"generator_0": 0.0, "evaluator_0": 0.0}
    assert [value for _, _, value in progress(found, "verdict")] == [1.0, -1.0]
    assert progress(refined("Lima", YES))[0] == (0, "generator_0", 1.0)


def test_who_mended_it_is_paid_not_who_repeats_it():
    found = outcome(
        make_workflow("debate", debaters=2, rounds=2, decide="judge"), "Cusco", "Lima", "Lima", "Lima", "Lima"
    )
    assert [(agent, value) for _, agent, value in progress(found)][:4] == [
        ("debater_0", 0.0), ("debater_1", 1.0), ("debater_0", 0.0), ("debater_1", 0.0),
    ]  # fmt: skip
    rewards = process(found)
    assert (rewards["debater_0"], rewards["debater_1"]) == (0.0, 1.0)


def test_progress_of_evidence_is_in_the_turn_that_searched():
    found = searched(True, "<answer>unknown</answer>", "Lima")
    assert [(turn, agent, value) for turn, agent, value in progress(found, "evidence")] == [
        (0, "searcher_0", 1.0), (3, "searcher_0", 0.0),
    ]  # fmt: skip


def test_progress_of_accepted_evidence():
    """DAC's turn-level differences; they telescope to r_S."""
    unknown = "<answer>unknown</answer>"
    found = searched(True, unknown, "Lima", unknown)
    assert accepted_progress(found) == [(0, "searcher_0", 0.0), (3, "searcher_0", 1.0), (6, "searcher_0", -1.0)]
    for answers in ((unknown,), ("Lima",), (unknown, "Lima"), ("Cusco", unknown, "Lima")):
        for evidence in (True, False):
            outcome = searched(evidence, *answers)
            values = [value for _, _, value in accepted_progress(outcome)]
            assert sum(values) == accepted_evidence(outcome)["searcher_0"]
            assert len(values) == len(answers)
    assert accepted_progress(refined("Lima", YES)) == []


def test_tool_use():
    found = searched(True, "Lima")
    assert tool_use(success=0.1, cost=0.02)(found) == {"searcher_0": pytest.approx(0.08), "generator_0": 0.0}
    assert (
        tool_use(success=1.0, cost=0.0, worked=lambda call, text: len(call.args["query"]))(found)["searcher_0"] == 4.0
    )
    assert reward_rule("tool_use")(found) == {"searcher_0": pytest.approx(1.08), "generator_0": 1.0}
    twice = outcome(
        make_workflow("search_answer", turns=2),
        "<search>Peru</search>", Reply("No passage was found.", worked=0.0), "<search>Lima</search>", "Doc 1(Title: a) b", "Lima",
    )  # fmt: skip
    assert tool_use(success=0.1, cost=0.02)(twice)["searcher_0"] == pytest.approx(0.06)


def test_verifier():
    assert verifier(refined("Cusco", NO, "Cusco", YES)) == {"generator_0": 0.0, "evaluator_0": 0.5}
    assert verifier(refined("Lima", "?", "Lima", "??", "Lima")) == {"generator_0": 1.0, "evaluator_0": 1.0}


def hired(*texts: str | Reply) -> Outcome:
    return outcome(make_workflow("orch_workers"), "STRATEGY 1: capital of peru\nSTRATEGY 2: guess", *texts)


def test_speed_up():
    assert speed_up(hired("Cusco", "Lima", "Lima")) == pytest.approx(4 / 3)
    timed = hired(Reply("Cusco", 0, 0, 3.0), Reply("Lima", 0, 0, 1.0), Reply("Lima", 0, 0, 1.0))
    assert speed_up(timed) == pytest.approx(5 / 4)
    assert speed_up(refined("Lima", YES)) == 1.0


def test_split_coverage():
    """The capital of Peru? holds capital and peru; the plan names both."""
    assert split_coverage(hired("Cusco", "Lima", "Lima")) == 1.0
    plan = outcome(make_workflow("orch_workers"), "STRATEGY 1: look at Peru", "Cusco", "Lima")
    assert split_coverage(plan) == 0.5
    assert split_coverage(outcome(make_workflow("solo"), "Lima")) == 0.0


def asked(question: str, name: str, *replies: str | Reply, **knobs) -> Outcome:
    problem = Problem(Question("q", question), "Lima")
    return outcome_of(Session(Play(make_workflow(name, **knobs), problem.question), replies), TASK, problem)


def test_the_worked_examples_of_orchestration():
    """Three workers of 2, 3 and 4 s at once, then one of 1 s; three of five words handed out; and their sum."""
    timed = [Reply(text, 0, 0, seconds) for text, seconds in (("Lima", 2.0), ("Lima", 3.0), ("Lima", 4.0), ("1", 1.0))]
    assert speed_up(asked("?", "voting", *timed)) == 2.0
    cats = asked("How many legs have 3 cats?", "orch_workers", "STRATEGY 1: count the legs of 3 cats", "12", "12")
    assert split_coverage(cats) == 0.6
    plan = "STRATEGY 1: the capital of Peru\nSTRATEGY 2: the capital of Peru\nSTRATEGY 3: the capital of Peru"
    found = asked("Capital of Peru?", "orch_workers", plan, "Lima", "Cusco", "Quito", "Lima", workers=3)
    assert (speed_up(found), split_coverage(found), aggregation_gain(found)) == (pytest.approx(5 / 3), 1.0, 0.0)
    assert orchestration()(found)["orchestrator_0"] == pytest.approx(1 + 0.1 * 2 / 3 + 0.1)


def test_aggregation_gain():
    assert aggregation_gain(hired("Cusco", "Lima", "Lima")) == 0.0
    assert aggregation_gain(hired("Cusco", "Lima", "Cusco")) == -1.0
    assert aggregation_gain(hired("Cusco", "Quito", "Lima")) == 1.0
    majority = outcome(make_workflow("debate", debaters=3, rounds=1), "\\boxed{1}", "\\boxed{1}", "Lima")
    assert aggregation_gain(majority) == -1.0
    assert aggregation_gain(outcome(make_workflow("orch_workers", unparseable="fail"), "no plan")) == 0.0


def test_orchestration():
    """Speed-up 4/3, coverage 1, gain 0: for those who lead."""
    found = orchestration(faster=0.3, coverage=0.2, gain=0.5)(hired("Cusco", "Lima", "Lima"))
    assert found == pytest.approx(
        {"orchestrator_0": 1.3, "synthesizer_0": 1.3, "worker_0": 1.0, "worker_1": 1.0, "worker_2": 1.0}
    )
    assert orchestration()(outcome(make_workflow("solo"), "Lima")) == {"generator_0": 1.0}


def test_hybrid():
    found = refined("Cusco", NO, "Lima", YES)
    assert hybrid((team, 0.5), (own, 0.5))(found) == {"generator_0": 0.75, "evaluator_0": 1.0}
    assert reward_rule("hybrid")(found) == hybrid((team, 0.5), (own, 0.5))(found)
    assert hybrid((minus_cost(team, per_call=1.0), 2.0))(found) == {"generator_0": -2.0, "evaluator_0": -2.0}
    with pytest.raises(ValueError, match="at least one"):
        hybrid()


@pytest.mark.parametrize("name", RULES)
def test_every_rule_pays_everybody_in_every_workflow(name):
    """Whatever was said, each agent of the roster gets one finite number."""
    for workflow, knobs in GRID:
        for seed in range(5):
            made = make_workflow(workflow, **knobs)
            session = play_randomly(made, seed, PROBLEM.question)
            found = outcome_of(session, TASK, PROBLEM)
            rewards = rewards_of(found, RULES[name])
            assert set(rewards) == set(made.roster.names)
            assert all(isinstance(value, float) and isfinite(value) for value in rewards.values())


@pytest.mark.parametrize("name", RULES)
def test_a_failed_episode_pays_nothing_under_any_rule(name):
    found = outcome(make_workflow("solo"), "Lima", task=Capitals(buggy=True))
    assert rewards_of(found, RULES[name]) == {"generator_0": 0.0}
