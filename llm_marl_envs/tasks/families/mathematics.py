"""Code shared by the mathematics benchmarks: a row's question and answer as texts, the answer format, and grading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Rational
from typing import Any

from llm_marl_envs.errors import DataError
from llm_marl_envs.grading.golds import unfair
from llm_marl_envs.grading.mathematics import grade_math
from llm_marl_envs.grading.number_score import grade_number
from llm_marl_envs.grading.numbers import parse_number
from llm_marl_envs.task import Problem, Question, Score
from llm_marl_envs.tasks.families.dataset import DatasetTask, LeftOut

NUMBER = "Give the final answer, a number, in \\boxed{}."
ANSWER = "Give the final answer in \\boxed{}."


def text_of(row: dict[str, Any], field: str, id: str) -> str:
    """A field that must be a non-empty text. Raises DataError otherwise."""
    value = row.get(field)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{id}: expected a text in {field!r}, got {value!r:.80}")
    return value


def answer_of(row: dict[str, Any], field: str, id: str) -> str:
    """A field with an answer: a text or a number. Raises DataError otherwise."""
    value = row.get(field)
    if isinstance(value, bool) or not isinstance(value, str | int | float) or not str(value).strip():
        raise DataError(f"{id}: expected an answer (a text or a number) in {field!r}, got {value!r:.80}")
    return str(value)


def ungradable(answers: Sequence[str], tolerances: Sequence[float | None]) -> LeftOut | None:
    """Why a row with this gold answer, all of `answers`, is no problem; None if it is one."""
    why = unfair(answers, tolerances)
    return LeftOut(f"the gold answer {', '.join(answers)!r:.80}: {why}") if why else None


@dataclass(frozen=True)
class NumberDataset(DatasetTask):
    """A benchmark whose answers are single numbers, graded exactly, like GSM8K."""

    def problem(self, id: str, question: str, answer: str) -> Problem:
        value = parse_number(answer)
        if value is None:
            raise DataError(f"{id}: expected one number as the answer, got {answer!r:.80}")
        whole = isinstance(value, Rational) and value.denominator == 1
        return Problem(Question(id, question, answer_format=NUMBER), value.numerator if whole else value)

    def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
        return grade_number(problem.gold, text, kind)


@dataclass(frozen=True)
class MathDataset(DatasetTask):
    """A benchmark whose answers are expressions, graded by value in any form. Problems whose gold answers cannot be graded fairly
    are left out (`grading.golds`; `left_out(split)` lists them)."""

    def problem(self, id: str, question: str, answer: str) -> Problem | LeftOut:
        if left_out := ungradable((answer,), (None,)):
            return left_out
        return Problem(Question(id, question, answer_format=ANSWER), answer)

    def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
        return grade_math(problem.gold, text, kind)
