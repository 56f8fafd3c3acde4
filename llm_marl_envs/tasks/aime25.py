"""AIME 2025, both rounds: 30 problems whose answers are whole numbers from 0 to 999 (Mathematical Association of America)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llm_marl_envs.data import DataSource, HubData
from llm_marl_envs.task import Problem
from llm_marl_envs.tasks.families.dataset import Card, Example
from llm_marl_envs.tasks.families.mathematics import NumberDataset, answer_of, text_of


@dataclass(frozen=True)
class AIME25(NumberDataset):
    """AIME 2025, both rounds: 30 problems whose answers are whole numbers from 0 to 999 (Mathematical Association of America)."""

    card = Card(
        title="AIME 2025",
        source=DataSource(
            "aime25",
            HubData("math-ai/aime25", None, revision="main"),
            layouts=(("problem", "answer"), ("question", "answer")),
            files={"test": (("aime/aime_2025_I", "aime/aime_2025_II"), ("aime25/aime2025-I", "aime25/aime2025-II"))},
        ),
        splits={"test": 30},
        licence="problem texts (c) MAA; for evaluation",
        citation="Mathematical Association of America, 2025",
        metric="the reply's final number equals the gold number exactly",
        examples=(
            Example(
                row={"problem": "An angle is a third of a right angle. Find it in degrees.", "answer": "30", "id": "0"},
                right=("\\boxed{30}", "\\boxed{30^\\circ}"),
                wrong=("\\boxed{60}", "\\boxed{90/3} or \\boxed{31}"),
            ),
            Example(
                row={"question": "An angle is twice $60^\\circ$. Find it in degrees.", "answer": "120^\\circ"},
                right=("\\boxed{120}",),
                wrong=("\\boxed{60}",),
            ),
        ),
        notes="Two layouts: math-ai/aime25 (problem) and opencompass/AIME2025 (question). The hub's revision is not pinned.",
    )

    def read(self, row: dict[str, Any], id: str) -> Problem:
        return self.problem(
            id, text_of(row, "problem" if "problem" in row else "question", id), answer_of(row, "answer", id)
        )
