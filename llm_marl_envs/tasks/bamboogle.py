"""Bamboogle: two-hop questions that a search engine gets wrong (Press et al. 2023, arXiv 2210.03350; MIT licence)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llm_marl_envs.data import DataSource, HubData
from llm_marl_envs.task import Problem
from llm_marl_envs.tasks.families.dataset import Card, Example, LeftOut
from llm_marl_envs.tasks.families.retrieval_qa import FLASHRAG, METRIC, RetrievalQA


@dataclass(frozen=True)
class Bamboogle(RetrievalQA):
    """125 questions without paragraphs. Fields of a row: Question, Answer."""

    card = Card(
        title="Bamboogle: two-hop questions",
        source=DataSource(
            "bamboogle",
            HubData("chiayewken/bamboogle", None, revision="main"),
            layouts=(("Question", "Answer"), FLASHRAG),
        ),
        splits={"test": 125},
        licence="MIT",
        citation="Press et al. 2023, arXiv 2210.03350",
        metric=METRIC,
        examples=(
            Example(
                row={"Question": "Who wrote the anthem of the country that founded Port Elm?", "Answer": "Anna Ruud"},
                right=("<answer>Anna Ruud</answer>", "anna ruud", "So the final answer is: Anna Ruud."),
                wrong=("Anna Ruuds", "Ruud", "Anna Ruud or Ole Dahl", "<answer></answer>"),
            ),
            Example(
                row={
                    "id": "test_0",
                    "question": "How many moons has the planet of Mount Ash?",
                    "golden_answers": ["2", "two"],
                },
                right=("<answer>2</answer>", "\\boxed{two}"),
                wrong=("20", "not two", "\\boxed{2} or \\boxed{3}"),
            ),
        ),
        notes="The hub's revision is not pinned. Questions come without paragraphs. The answers were written by hand and have no "
        "aliases.",
    )

    def read(self, row: dict[str, Any], id: str) -> Problem | LeftOut:
        if "golden_answers" not in row:
            row = {"question": row["Question"], "answer": row["Answer"]}
        return super().read(row, id)
