"""SVAMP: arithmetic word problems with varied structure (Patel et al. 2021, arXiv 2103.07191; MIT licence). 700 train, 300 test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llm_marl_envs.data import DataSource, HubData
from llm_marl_envs.task import Problem
from llm_marl_envs.tasks.families.dataset import Card, Example
from llm_marl_envs.tasks.families.mathematics import NumberDataset, answer_of, text_of


@dataclass(frozen=True)
class SVAMP(NumberDataset):
    """SVAMP: arithmetic word problems with varied structure (Patel et al. 2021, arXiv 2103.07191; MIT licence). 700 train, 300 test."""

    card = Card(
        title="SVAMP: varied arithmetic word problems",
        source=DataSource(
            "svamp", HubData("ChilleD/SVAMP", None, revision="main"), layouts=(("Body", "Question", "Answer"),)
        ),
        splits={"train": 700, "test": 300},
        licence="MIT",
        citation="Patel et al. 2021, arXiv 2103.07191",
        metric="the reply's final number equals the gold number exactly",
        examples=(
            Example(
                row={
                    "ID": "chal-0",
                    "Body": "There are 87 oranges in 3 equal heaps.",
                    "Question": "How many oranges are in a heap?",
                    "Equation": "( 87.0 / 3.0 )",
                    "Answer": "29.0",
                    "Type": "Common-Division",
                },
                right=("\\boxed{29}", "There are 29 oranges."),
                wrong=("\\boxed{87}", "29 or 30"),
            ),
        ),
        notes="The hub's revision is not pinned.",
    )

    def read(self, row: dict[str, Any], id: str) -> Problem:
        body = text_of(row, "Body", id).strip()
        body = body if body[-1] in ".!?," else f"{body}."
        return self.problem(id, f"{body} {text_of(row, 'Question', id)}", answer_of(row, "Answer", id))
