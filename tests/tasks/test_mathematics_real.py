"""Mathematics on the real benchmarks: own answers and own solutions are right, another problem's answer is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cases import sizes

from llm_marl_envs import EnvSpec, Play, Session, make_task, make_workflow
from llm_marl_envs.outcome import outcome_of
from llm_marl_envs.testing import check_task

DATA = os.environ.get("LLM_MARL_DATA")
pytestmark = pytest.mark.skipif(
    not DATA or not (Path(DATA) / "math500").is_dir(), reason="LLM_MARL_DATA is not set, or has no math500 folder"
)
SIZES = {"math500": 500, "aime24": 30, "aime25": 30}


@sizes("step", 3, 1)
@pytest.mark.parametrize("name", SIZES)
def test_gold_answers_are_right_and_other_ones_wrong(name, step):
    task = make_task(name)
    (split,) = task.splits
    problems, rows = task.problems(split), task.rows(split)
    assert len(problems) == len(rows) == SIZES[name]
    problems, rows = problems[::step], rows[::step]
    wrong = [
        row["answer"]
        for p, row in zip(problems, rows, strict=True)
        if task.grade(p, f"\\boxed{{{row['answer']}}}").value != 1
    ]
    assert not wrong
    paid = []
    for i, problem in enumerate(problems):
        other = problems[(i + 7) % len(problems)]
        if str(other.gold) != str(problem.gold):
            paid += [(problem.gold, other.gold)] * int(task.grade(problem, f"\\boxed{{{other.gold}}}").value)
    assert not paid


def test_math500_solutions_are_right():
    task = make_task("math500")
    wrong = []
    for problem, row in zip(task.problems("test"), task.rows("test"), strict=True):
        score = task.grade(problem, row["solution"])
        if score.value != 1.0:
            wrong.append((problem.gold, row["solution"][-60:], score.why))
    assert not wrong


@pytest.mark.parametrize("name", SIZES)
def test_the_contract(name):
    check_task(make_task(name), sample=20)


def test_claims_and_verdicts():
    task, workflow = make_task("math500"), make_workflow("eval_opt", rounds=2)
    problem = task.problems("test")[0]
    replies = (f"\\boxed{{{problem.gold}}}", "\\boxed{Incorrect} No.", "\\boxed{0}")
    outcome = outcome_of(Session(Play(workflow, problem.question, 0), replies), task, problem)
    assert EnvSpec.of(task, workflow).env_id == "math500/eval_opt-v1"
    assert [(claim.kind, score.value) for claim, score in outcome.claims] == [
        ("answer", 1.0),
        ("verdict", 0.0),
        ("answer", 0.0),
    ]
    assert outcome.team.value == 0.0
