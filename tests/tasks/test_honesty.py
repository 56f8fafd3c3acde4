"""No grader gives a score to a reply that does not deserve it: one list of such replies, for all tasks."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from functools import cache

import pytest
from cases import sizes
from honesty import family_of, golds_of, pack
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_marl_envs import Problem, Question, Score, make_task
from llm_marl_envs.catalog import names
from llm_marl_envs.errors import ConfigError
from llm_marl_envs.task import Task
from llm_marl_envs.tasks.arithmetic import Arithmetic
from llm_marl_envs.tasks.mmlu_pro import MMLUPro
from llm_marl_envs.tools.sandbox import variants

TASKS = names("llm_marl_envs.tasks")
CODE = ("apps", "deepcoder", "humaneval", "humanevalplus", "livecodebench", "mbpp", "mbppplus", "snippets")
SECONDS = 2.0  # of this process; what other processes do for it has limits of its own on their CPU time,
PATIENCE = 60.0  # and this is for a grader that waits for ever, on a machine with whatever else to do
DATA = os.environ.get("LLM_MARL_DATA")
REAL = (
    "math500",
    "aime24",
    "aime25",
    "gsm8k",
    "hotpotqa",
    "2wikimultihopqa",
    "musique",
    "bamboogle",
    "humaneval",
    "mbpp",
)


@cache
def warmed(name: str, data_dir: str | None) -> Task:
    """The task, with whatever its grader starts first already started."""
    if name in CODE and all(variants().values()):
        pytest.skip(f"no sandbox works here: {variants()}")
    task = make_task(name, data_dir)
    problem = task.problems(task.splits[0])[0]
    task.grade(problem, "\\boxed{x + y}\n```python\npass\n```")
    return task


def graded(task: Task, problem: Problem, reply: str, kind: str = "answer") -> Score:
    began, worked = time.perf_counter(), time.process_time()
    score = task.grade(problem, reply, kind)
    waited, worked = time.perf_counter() - began, time.process_time() - worked
    said = f"{worked:.1f} s of CPU time, {waited:.1f} s in all for {reply[:80]!r} ({len(reply)} characters)"
    assert worked < SECONDS, said
    assert waited < PATIENCE, said
    assert isinstance(score, Score)
    return score


def wrongly_scored(task: Task, problem: Problem) -> list[str]:
    """The replies of the list that score above 0; limits on a program's CPU time are short here, so that time counts too."""
    found = []
    for name, reply in pack(problem):
        score = graded(task, problem, reply)
        if score.value != 0.0:
            found.append(
                f"{problem.question.id}: {name}: {reply[:80]!r} scores above 0 ({score}); gold {golds_of(problem)[:3]}"
            )
    return found


def first_problem(task: Task) -> Problem:
    return task.problems(task.splits[0])[0]


@sizes("count", 1, 3)
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n == "deepcoder" else n for n in TASKS]
)  # as apps
def test_the_pack_is_worth_nothing(name, count, example_dir):
    task = warmed(name, str(example_dir))
    problems = task.problems(task.splits[-1])
    assert not [line for problem in problems[:count] for line in wrongly_scored(task, problem)]


@pytest.mark.skipif(not DATA, reason="LLM_MARL_DATA is not set")
@sizes("count", 3, 12)
@pytest.mark.parametrize("name", REAL)
def test_the_pack_is_worth_nothing_on_real_problems(name, count):
    task = warmed(name, None)
    problems = task.problems(task.splits[-1])
    sample = problems[:: max(1, len(problems) // (count // 3 if name in CODE else count))]
    assert not [line for problem in sample for line in wrongly_scored(task, problem)]


@pytest.mark.parametrize("name", TASKS)
def test_other_kinds_are_graded_without_an_error(name, example_dir):
    task = warmed(name, str(example_dir))
    problem = task.problems(task.splits[-1])[0]
    for kind in ("evidence", "verdict", "nonsense"):
        for _, reply in pack(problem):
            score = graded(task, problem, reply, kind)
            assert 0.0 <= score.value <= 1.0
            assert kind == "evidence" or score.value == 0.0, (kind, reply[:80], score)


FRAGMENTS = st.sampled_from(
    [
        "\\boxed{",
        "}",
        "{",
        "7",
        "-",
        "1/2",
        "\\frac",
        "^",
        "!",
        ",",
        " or ",
        "not ",
        "= ",
        "x",
        "\\sqrt{2}",
        "\n",
        "####",
        "<answer>",
        "</answer>",
        "unknown",
        "Answer: ",
        "the ",
        "```python\n",
        "```",
        "def f(x):\n    return x\n",
        "\u200b",
        "\u202e",
        "�",
        "\x00",
        "é",
        "(",
        ")",
        "[",
        "]",
        "\\text{",
        "\\infty",
        "\\int",
        "\\sum_{i=1}^{9}",
        "9" * 50,
        "%",
        "$",
    ]
)


@pytest.mark.parametrize("name", ["math500", "gsm8k", "olympiadbench", "hotpotqa", "atlas", "snippets", "humaneval"])
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(reply=st.lists(FRAGMENTS, max_size=14).map("".join), kind=st.sampled_from(["answer", "answer", "evidence"]))
def test_graders_never_raise_and_are_never_slow(name, example_dir, reply, kind):
    task = warmed(name, str(example_dir))
    assert 0.0 <= graded(task, task.problems(task.splits[-1])[0], reply, kind).value <= 1.0


@dataclass(frozen=True)
class Generous(Arithmetic):
    """Planted: scores 1 for an answer anywhere in a reply."""

    def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
        return Score(float(str(problem.gold) in (text or "")), "contained")


@dataclass(frozen=True)
class LastBox(Arithmetic):
    """Planted: the last of several boxes counts, whatever stands before it."""

    def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
        last = (text or "").rpartition("\\boxed{")[2].partition("}")[0]
        return Score(float(last == str(problem.gold)), "last box")


@dataclass(frozen=True)
class FirstLetter(MMLUPro):
    """Planted: the first capital that stands alone counts."""

    def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
        found = re.search(r"\b[A-J]\b", text or "")
        return Score(float(found is not None and found[0] == problem.gold.letter), "first letter")


@dataclass(frozen=True)
class LastLetter(MMLUPro):
    """Planted: the official script's last resort, the last capital that stands alone."""

    def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
        found = re.findall(r"\b[A-J]\b", (text or "")[-1000:])
        return Score(float(found[-1:] == [problem.gold.letter]), "last letter")


@pytest.mark.parametrize(
    ("task", "caught"),
    [
        (
            FirstLetter(),
            {
                "two options, bare",
                "negated, claim",
                "only thought, box",
                "wrong, line",
                "two tags",
                "named in passing",
                "if",
            },
        ),
        (LastLetter(), {"two options, box, the right one last", "negated, bare", "claimed and denied", "unclosed"}),
        (Generous(), {"two boxes", "negated", "in a longer one", "unclosed", "every candidate as text"}),
        (LastBox(), {"two boxes, the right one last", "a negated box", "every candidate"}),
    ],
)
def test_the_pack_catches_generous_graders(task, caught):
    row = dict(MMLUPro.card.examples[0].row)
    problem = task.read(row, "x/y/0") if isinstance(task, MMLUPro) else task.problems("train")[0]
    assert problem is not None
    found = {line.split(": ")[1] for line in wrongly_scored(task, problem)}
    assert caught <= found


def test_few_items_are_left_out_and_families_are_told_apart(example_dir):
    assert {family_of(first_problem(make_task(name, example_dir))) for name in TASKS} == {
        "mathematics",
        "retrieval",
        "code",
        "choice",
    }
    problem = Problem(Question("x/0", "What is 3 + 4?"), 7)
    assert len(pack(problem)) > 35
    assert len(pack(Problem(Question("x/0", "Is it 7?"), 7))) == len(pack(problem)) - 2
    with pytest.raises(ConfigError):
        make_task("dapo_math", config="de")
