"""GSM8K: grade-school word problems (Cobbe et al. 2021, arXiv 2110.14168; MIT licence). 7,473 train, 1,319 test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llm_marl_envs.data import DataSource, HubData
from llm_marl_envs.errors import DataError
from llm_marl_envs.grading.number_score import grade_number
from llm_marl_envs.grading.numbers import parse_number
from llm_marl_envs.task import Problem, Question, Score
from llm_marl_envs.tasks.families.dataset import Card, DatasetTask, Example


@dataclass(frozen=True)
class GSM8K(DatasetTask):
    """Word problems with whole-number answers. Fields of a row: question, answer ("...#### 42")."""

    card = Card(
        title="GSM8K: grade-school word problems",
        source=DataSource(
            "gsm8k",
            HubData("openai/gsm8k", "main", revision="cc7b047b6e5bb11b4f1af84efc572db110a51b3c"),
            layouts=(("question", "answer"),),
        ),
        splits={"train": 7473, "test": 1319},
        licence="MIT",
        citation="Cobbe et al. 2021, arXiv 2110.14168",
        metric="the reply's final number equals the gold number exactly",
        examples=(
            Example(
                row={
                    "question": "Ann has 3 red pens and 4 blue pens. How many pens has she?",
                    "answer": "She has 3 + 4 = <<3+4=7>>7 pens.\n#### 7",
                },
                right=("She has \\boxed{7} pens.", "7", "#### 7"),
                wrong=("\\boxed{8}", "not 7", "\\boxed{7} or \\boxed{8}"),
            ),
        ),
    )

    def read(self, row: dict[str, Any], id: str) -> Problem:
        question, answer = row["question"], row["answer"]
        if not isinstance(question, str) or not isinstance(answer, str):
            raise DataError(f"{id}: expected two texts, got question {question!r:.80} and answer {answer!r:.80}")
        marked, _, gold = answer.rpartition("####")
        value = parse_number(gold)
        if value is None or not marked:
            raise DataError(f"{id}: expected an answer that ends in '#### <number>', got {answer[-80:]!r}")
        plain = value.numerator if value.denominator == 1 else value  # whole numbers compare faster as int
        return Problem(Question(id, question, answer_format="Give the final answer, a number, in \\boxed{}."), plain)

    def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
        return grade_number(problem.gold, text, kind)
