"""AIME 2024, both rounds: 30 problems whose answers are whole numbers from 0 to 999 (Mathematical Association of America)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llm_marl_envs.data import DataSource, HubData
from llm_marl_envs.task import Problem
from llm_marl_envs.tasks.families.dataset import Card, Example
from llm_marl_envs.tasks.families.mathematics import NumberDataset, answer_of, text_of


@dataclass(frozen=True)
class AIME24(NumberDataset):
    """AIME 2024, both rounds: 30 problems whose answers are whole numbers from 0 to 999 (Mathematical Association of America)."""

    card = Card(
        title="AIME 2024",
        source=DataSource(
            "aime24",
            HubData("HuggingFaceH4/aime_2024", None, revision="main"),
            layouts=(("problem", "answer"),),
            files={"train": (("aime/aime_2024",),)},
        ),
        splits={"train": 30},
        licence="problem texts (c) MAA; for evaluation",
        citation="Mathematical Association of America, 2024",
        metric="the reply's final number equals the gold number exactly",
        examples=(
            Example(
                row={"id": 0, "problem": "Find the remainder when $2^{10}$ is divided by $1000$.", "answer": "024"},
                right=("\\boxed{24}", "\\boxed{024}", "The remainder is 24."),
                wrong=("\\boxed{240}", "24 or 25", "\\boxed{2^{10}}"),
            ),
        ),
        notes="The hub calls its only split train, although it is a test. The hub's revision is not pinned.",
    )

    def read(self, row: dict[str, Any], id: str) -> Problem:
        return self.problem(id, text_of(row, "problem", id), answer_of(row, "answer", id))
