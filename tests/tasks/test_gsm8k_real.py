"""All of GSM8K through all workflows: its own solutions are always right, the same with another final number never."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest
from cases import sizes

from llm_marl_envs import (
    EnvSpec,
    Play,
    Problem,
    Session,
    Status,
    Trace,
    TraceWriter,
    make_task,
    make_workflow,
    read_traces,
)
from llm_marl_envs.grading.numbers import parse_number
from llm_marl_envs.outcome import outcome_of
from llm_marl_envs.seeds import seed_of
from llm_marl_envs.traces.verify import Verified, problems_by_id, verified

SIZES = {"train": 7473, "test": 1319}
TEAMS = ("eval_opt", "voting", "orch_workers")
DATA = os.environ.get("LLM_MARL_DATA")

pytestmark = pytest.mark.skipif(
    not DATA or not (Path(DATA) / "gsm8k").is_dir(), reason="LLM_MARL_DATA is not set, or has no gsm8k folder"
)


def scripted(workflow: str, solution: str) -> tuple[str, ...]:
    """The team's answer if the agent that solves says `solution`, and all others agree at once."""
    return {
        "solo": (solution,),
        "eval_opt": (solution, "\\boxed{Correct}"),
        "voting": (solution, solution, solution, "\\boxed{1}"),
        "orch_workers": ("STRATEGY 1: solve it", solution, solution),
    }[workflow]


@cache
def solved() -> tuple[tuple[str, Problem, str], ...]:
    """(split, problem, GSM8K's own solution) of all problems."""
    task = make_task("gsm8k", DATA)
    every = []
    for split, size in SIZES.items():
        rows = task.rows(split)
        problems = task.problems(split)
        assert len(rows) == len(problems) == size
        assert all(row["question"] == problem.question.text for row, problem in zip(rows, problems, strict=True))
        every += [(split, problem, row["answer"]) for row, problem in zip(rows, problems, strict=True)]
    return tuple(every)


def spoilt(solution: str) -> str:
    """The solution with one more as its final number."""
    working, mark, number = solution.rpartition("####")
    value = parse_number(number)
    assert value is not None
    return f"{working}{mark} {value + 1}"


@pytest.mark.parametrize(("right", "score"), [(True, 1.0), (False, 0.0)], ids=["own solution", "another number"])
def test_every_solution_is_graded(right, score):
    task = make_task("gsm8k", DATA)
    wrong = [
        problem.question.id
        for _, problem, solution in solved()
        if task.grade(problem, solution if right else spoilt(solution)).value != score
    ]
    assert not wrong, f"{len(wrong)} of {len(solved())}, first {wrong[:5]}"


@pytest.mark.parametrize(("right", "score"), [(True, 1.0), (False, 0.0)], ids=["own solution", "another number"])
@sizes("step", 32, 1)
@pytest.mark.parametrize("name", ["solo", *TEAMS])
def test_every_problem(name, step, right, score, tmp_path):
    """Every episode is graded alike; the traces, written and read back, replay and re-grade the same. (Every 32nd
    problem, or all of them in the slow tests.)"""
    chosen = solved()[::step]
    task, workflow = make_task("gsm8k", DATA), make_workflow(name)
    spec = EnvSpec.of(task, workflow)
    graded: dict[float, int] = {}
    wrong: list[str] = []
    kept = {}
    with TraceWriter(tmp_path / "traces.jsonl.gz") as writer:
        for i, (split, problem, solution) in enumerate(chosen):
            replies = scripted(name, solution if right else spoilt(solution))
            session = Session(Play(workflow, problem.question, seed_of("gsm8k", i)), replies)
            outcome = outcome_of(session, task, problem)
            assert session.status is Status.FINISHED
            assert outcome.calls == {call.agent: 1 for call, reply, _ in session.events if reply is not None}
            graded[outcome.team.value] = graded.get(outcome.team.value, 0) + 1
            if outcome.team.value != score or any(own.value != score for _, own in outcome.claims) or outcome.malformed:
                wrong.append(f"{problem.question.id}: {outcome.team.why}; ends in {replies[-1][-60:]!r}")
            kept[problem.question.id] = outcome
            writer.write(Trace.of(session, spec, outcome, split=split, meta={"entry": name}))
    assert not wrong, f"{len(wrong)} of {len(chosen)}, first {wrong[:5]}"
    assert graded == {score: 8792 if step == 1 else 275}
    problems = {split: problems_by_id(task, split) for split in SIZES}
    replayed = 0
    for trace in read_traces(tmp_path / "traces.jsonl.gz"):
        found = verified(trace, task, problems[trace.split])
        assert isinstance(found, Verified), str(found)
        assert found.outcome == kept.pop(trace.question.id)
        replayed += 1
    assert not kept
    assert replayed == len(chosen)
