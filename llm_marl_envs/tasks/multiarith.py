"""MultiArith: arithmetic word problems of several steps (Roy and Roth 2015, arXiv 1608.01413). 420 train, 180 test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llm_marl_envs.data import DataSource, HubData
from llm_marl_envs.task import Problem
from llm_marl_envs.tasks.families.dataset import Card, Example
from llm_marl_envs.tasks.families.mathematics import NumberDataset, answer_of, text_of


@dataclass(frozen=True)
class MultiArith(NumberDataset):
    """MultiArith: arithmetic word problems of several steps (Roy and Roth 2015, arXiv 1608.01413). 420 train, 180 test."""

    card = Card(
        title="MultiArith: word problems of several steps",
        source=DataSource(
            "multiarith", HubData("ChilleD/MultiArith", None, revision="main"), layouts=(("question", "final_ans"),)
        ),
        splits={"train": 420, "test": 180},
        licence="not stated on the hub",
        citation="Roy and Roth 2015, arXiv 1608.01413",
        metric="the reply's final number equals the gold number exactly",
        examples=(
            Example(
                row={"question": " Sam had 9 pens. He lost 2 and bought 4. How many pens has he? ", "final_ans": "11"},
                right=("\\boxed{11}", "He has 11 pens."),
                wrong=("\\boxed{7}", "7, 11"),
            ),
        ),
        notes="The hub's revision is not pinned.",
    )

    def read(self, row: dict[str, Any], id: str) -> Problem:
        return self.problem(id, text_of(row, "question", id).strip(), answer_of(row, "final_ans", id))
