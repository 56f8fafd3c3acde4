"""GSM8K: grade-school word problems (Cobbe et al. 2021, arXiv 2110.14168; MIT licence). 7,473 train, 1,319 test."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llm_marl_envs.errors import DataError, UnknownName
from llm_marl_envs.grading.number_score import grade_number
from llm_marl_envs.grading.numbers import parse_number
from llm_marl_envs.tasks.base import HubData, Problem, Question, Score, Tool, load_rows

HUB = HubData("openai/gsm8k", "main", revision="cc7b047b6e5bb11b4f1af84efc572db110a51b3c")
SPLITS = ("train", "test")


@dataclass(frozen=True)
class GSM8K:
    """Word problems with whole-number answers. Fields of a row: question, answer ("...#### 42")."""

    data_dir: str | None = None

    @property
    def tools(self) -> Mapping[str, Tool]:
        return {}

    @property
    def splits(self) -> tuple[str, ...]:
        return SPLITS

    def problems(self, split: str) -> Sequence[Problem]:
        if split not in SPLITS:
            raise UnknownName("split of gsm8k", split, SPLITS)
        return _problems(self.data_dir, os.environ.get("LLM_MARL_DATA"), split)

    def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
        return grade_number(problem.gold, text, kind)


@functools.lru_cache(maxsize=16)
def _problems(data_dir: str | None, shared: str | None, split: str) -> tuple[Problem, ...]:
    rows = load_rows("gsm8k", split, ("question", "answer"), HUB, data_dir)
    return tuple(_problem(f"gsm8k/{split}/{i}", row) for i, row in enumerate(rows))


def _problem(id: str, row: dict[str, Any]) -> Problem:
    question, answer = row["question"], row["answer"]
    if not isinstance(question, str) or not isinstance(answer, str):
        raise DataError(f"{id}: expected two texts, got question {question!r:.80} and answer {answer!r:.80}")
    marked, _, gold = answer.rpartition("####")
    value = parse_number(gold)
    if value is None or not marked:
        raise DataError(f"{id}: expected an answer that ends in '#### <number>', got {answer[-80:]!r}")
    plain = value.numerator if value.denominator == 1 else value  # whole numbers compare faster as int
    return Problem(Question(id, question, answer_format="Give the final answer, a number, in \\boxed{}."), plain)
