"""From a session to an outcome to rewards, by hand."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from toys import Capitals, Crew, Lookup

from llm_marl_envs import Claim, Limits, Outcome, Play, Score, Session, Status, make_workflow, minus_cost, own, team
from llm_marl_envs.errors import ConfigError, UnknownName
from llm_marl_envs.outcome import outcome_of
from llm_marl_envs.rewards import (
    reward_rule,
    rewards_of,
    verifier,
)  # fmt: skip
from llm_marl_envs.session import Reply

TASK = Capitals()
PROBLEM = TASK.problems("train")[1]  # Peru: Lima


def outcome(workflow, *replies, task=TASK, **limits) -> Outcome:
    return outcome_of(Session(Play(workflow, PROBLEM.question, 0, Limits(**limits)), replies), task, PROBLEM)


def refined(*texts: str, **knobs) -> Outcome:
    return outcome(make_workflow("eval_opt", **knobs), *texts)


YES, NO = "\\boxed{Correct}", "\\boxed{Incorrect}"


def test_what_is_counted():
    found = outcome(
        make_workflow("eval_opt"), Reply("Cusco", 10, 2), Reply(NO, 15, 5), Reply("Lima", 30, 1), Reply("fine", 20, 1), Reply("Lima", 9, 9)
    )  # fmt: skip
    assert found.status is Status.FINISHED
    assert found.team == Score(1.0, "compared", "Lima")
    assert found.agents == ("generator_0", "evaluator_0")
    assert found.calls == {"generator_0": 3, "evaluator_0": 2}
    assert found.tokens == {"generator_0": 12 + 31 + 18, "evaluator_0": 20 + 21}
    assert found.malformed == 1
    assert [(claim.agent, claim.kind, score.value) for claim, score in found.claims] == [
        ("generator_0", "answer", 0.0),
        ("evaluator_0", "verdict", 1.0),
        ("generator_0", "answer", 1.0),
        ("generator_0", "answer", 1.0),
    ]


@pytest.mark.parametrize(
    ("draft", "verdict", "value", "why"),
    [
        ("Lima", YES, 1.0, "said right, it was right"),
        ("Lima", NO, 0.0, "said wrong, it was right"),
        ("Cusco", YES, 0.0, "said right, it was wrong"),
        ("Cusco", NO, 1.0, "said wrong, it was wrong"),
    ],
)
def test_verdicts_are_graded_by_the_truth_about_their_answer(draft, verdict, value, why):
    found = refined(draft, verdict, *(["Lima"] if verdict == NO else []), rounds=2)
    ((_, score),) = [(claim, score) for claim, score in found.claims if claim.kind == "verdict"]
    assert (score.value, score.why) == (value, why)


def test_evidence_is_graded_as_evidence():
    found = outcome(Lookup(), "Peru", "Lima", "Cusco")
    (evidence, graded), (answer, wrong) = found.claims
    assert (evidence.kind, graded.value, answer.kind, wrong.value) == ("evidence", 1.0, "answer", 0.0)


def test_replies_without_an_answer_to_read_are_malformed():
    assert refined("", YES).malformed == 1
    assert refined("Lima", YES).malformed == 0


def test_no_answer_is_wrong():
    found = outcome(make_workflow("orch_workers", unparseable="fail"), "no plan")
    assert (found.status, found.team) == (Status.FINISHED, Score(0.0, "the team gave no answer"))
    cut = outcome(make_workflow("eval_opt"), "Lima", NO, calls=2)
    assert (cut.status, cut.team.value, cut.team.why) == (Status.TRUNCATED, 0.0, "used all 2 calls")
    assert [score.value for _, score in cut.claims] == [1.0, 0.0], "what was claimed before is still known"


def test_a_crashing_grader_is_a_failure_not_a_wrong_answer():
    found = outcome(make_workflow("solo"), "Lima", task=Capitals(buggy=True))
    assert found.status is Status.FAILED
    assert found.team == Score(0.0, "the grader failed: ZeroDivisionError: an oversight")
    assert found.claims == ()
    assert rewards_of(found, minus_cost(team)) == {"generator_0": 0.0}


def test_an_unfinished_session_has_no_outcome():
    with pytest.raises(ValueError, match="is not over"):
        outcome(make_workflow("eval_opt"), "Lima")


def test_each_text_is_graded_once():
    graded = []

    @dataclass(frozen=True)
    class Counting(Capitals):
        def grade(self, problem, text, kind="answer") -> Score:
            graded.append(text)
            return super().grade(problem, text, kind)

    outcome(make_workflow("eval_opt"), "Lima", YES, task=Counting())
    assert graded == ["Lima"]


# Rules, with the worked examples of their docstrings.


def test_team():
    assert team(refined("Lima", YES)) == {"generator_0": 1.0, "evaluator_0": 1.0}
    assert team(refined("Cusco", YES)) == {"generator_0": 0.0, "evaluator_0": 0.0}


def test_own():
    assert own(refined("Cusco", NO, "Lima", YES)) == {"generator_0": 0.5, "evaluator_0": 1.0}
    assert own(refined("Lima", NO, "Cusco", NO, "Quito")) == {"generator_0": 1 / 3, "evaluator_0": 0.5}
    assert own(refined("Lima", "?", "Lima", "??", "Lima")) == {"generator_0": 1.0, "evaluator_0": 1.0}, (
        "an evaluator without a verdict gets the team's score"
    )


def test_own_of_agents_that_never_spoke_is_the_teams():
    found = outcome(make_workflow("orch_workers"), "STRATEGY 1: recall", "Cusco", "Lima")
    assert own(found) == {
        "orchestrator_0": 1.0,
        "synthesizer_0": 1.0,
        "worker_0": 0.0,
        "worker_1": 1.0,
        "worker_2": 1.0,
    }
    assert found.own("worker_0") == 0.0
    assert found.own("worker_1") is None


def test_minus_cost():
    found = outcome(make_workflow("eval_opt"), Reply("Cusco", 10, 2), Reply(NO, 15, 5), Reply("Lima", 30, 1), YES)
    assert minus_cost(team, per_call=0.1)(found) == {
        "generator_0": pytest.approx(0.8),
        "evaluator_0": pytest.approx(0.8),
    }
    assert minus_cost(own, per_call=0.0, per_token=0.01)(found) == {
        "generator_0": pytest.approx(0.5 - 0.43),
        "evaluator_0": pytest.approx(1 - 0.20),
    }
    twice = minus_cost(minus_cost(team, per_call=0.1), per_call=0.2)
    assert twice(found)["generator_0"] == pytest.approx(0.4)


def test_agents_that_were_not_called_cost_nothing():
    found = outcome(Crew(), "hire", "Lima", "b", "c", "d", "0")
    assert set(reward_rule("minus_cost")(found)) == {"boss_0", "helper_0", "helper_1", "helper_2"}
    assert reward_rule("minus_cost")(found) == pytest.approx(
        {"boss_0": 0.98, "helper_0": 0.99, "helper_1": 0.98, "helper_2": 0.99}
    )


def test_rules_by_name():
    assert reward_rule("team") is team
    assert reward_rule("own") is own
    assert reward_rule(len) is len
    assert reward_rule("llm_marl_envs.rewards:verifier") is verifier
    for missing in ("llm_marl_envs.rewards:nothing", "no_such_module:rule"):
        with pytest.raises(ConfigError, match="expected module:function"):
            reward_rule(missing)
    with pytest.raises(
        UnknownName,
        match=r"no reward rule 'minus_costs'\. Did you mean 'minus_cost'\? Known: dac, hybrid, minus_cost, orch",
    ):
        reward_rule("minus_costs")


def test_an_outcome_is_plain_data():
    found = refined("Lima", YES)
    assert found == refined("Lima", YES)
    assert found != refined("Lima", NO, "Lima", YES)
    assert (Claim("generator_0", "Lima"), Score(1.0, "compared", "Lima")) in found.claims
