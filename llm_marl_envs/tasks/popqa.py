"""PopQA: questions about well-known and little-known entities (Mallen et al. 2023, arXiv 2212.10511; MIT licence)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llm_marl_envs.data import DataSource, HubData
from llm_marl_envs.tasks.families.dataset import Card, Example
from llm_marl_envs.tasks.families.retrieval_qa import FLASHRAG, METRIC, RetrievalQA, json_texts_of


@dataclass(frozen=True)
class PopQA(RetrievalQA):
    """Single-hop questions made from Wikidata triples. Fields of a row: question, possible_answers (a list, written as JSON)."""

    card = Card(
        title="PopQA: entity questions, long tail included",
        source=DataSource(
            "popqa",
            HubData("akariasai/PopQA", None, revision="main"),
            layouts=(("question", "possible_answers"), FLASHRAG),
        ),
        splits={"test": 14267},
        licence="MIT",
        citation="Mallen et al. 2023, arXiv 2212.10511",
        metric=METRIC,
        examples=(
            Example(
                row={
                    "id": 0,
                    "subj": "Jon Aske",
                    "prop": "occupation",
                    "obj": "politician",
                    "question": "What is Jon Aske's occupation?",
                    "possible_answers": '["politician", "political leader"]',
                },
                right=("<answer>politician</answer>", "Political leader"),
                wrong=("politicians", "politician, painter, singer", "political"),
            ),
            Example(
                row={"id": "test_0", "question": "In what city was Jon Aske born?", "golden_answers": ["Lunde"]},
                right=("Lunde", "\\boxed{Lunde}"),
                wrong=("Lundeby", "in Lunde", "\\boxed{Lunde"),
            ),
        ),
        notes="The hub's revision is not pinned. Any of `possible_answers` counts; the official script also counts "
        "answers that only contain one, this task does not.",
    )

    def answers(self, row: dict[str, Any], id: str) -> tuple[str, ...]:
        return json_texts_of(row, "possible_answers", id)
