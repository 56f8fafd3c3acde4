"""AMC 12 2023: 40 problems rewritten to have whole numbers as answers (Mathematical Association of America)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llm_marl_envs.data import DataSource, HubData
from llm_marl_envs.task import Problem
from llm_marl_envs.tasks.families.dataset import Card, Example
from llm_marl_envs.tasks.families.mathematics import NumberDataset, answer_of, text_of


@dataclass(frozen=True)
class AMC23(NumberDataset):
    """AMC 12 2023: 40 problems rewritten to have whole numbers as answers (Mathematical Association of America)."""

    card = Card(
        title="AMC 2023",
        source=DataSource("amc23", HubData("math-ai/amc23", None, revision="main"), layouts=(("question", "answer"),)),
        splits={"test": 40},
        licence="problem texts (c) MAA; for evaluation",
        citation="Mathematical Association of America, 2023",
        metric="the reply's final number equals the gold number exactly",
        examples=(
            Example(
                row={"id": 0, "question": "How many positive divisors has $12$?", "answer": "6.0", "url": ""},
                right=("\\boxed{6}", "6"),
                wrong=("\\boxed{5}", "\\boxed{1, 2, 3, 4, 6, 12}"),
            ),
        ),
        notes="The hub's revision is not pinned.",
    )

    def read(self, row: dict[str, Any], id: str) -> Problem:
        return self.problem(id, text_of(row, "question", id), answer_of(row, "answer", id))
