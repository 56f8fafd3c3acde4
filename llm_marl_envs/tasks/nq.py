"""Natural Questions, open: real questions with short answers (Kwiatkowski et al. 2019; Lee et al. 2019, arXiv 1906.00300)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llm_marl_envs.data import DataSource, HubData
from llm_marl_envs.tasks.families.dataset import Card, Example
from llm_marl_envs.tasks.families.retrieval_qa import FLASHRAG, METRIC, RetrievalQA, texts_of


@dataclass(frozen=True)
class NQ(RetrievalQA):
    """Single-hop questions asked of a search engine. Fields of a row: question, answer (a list)."""

    card = Card(
        title="NQ-Open: what people ask a search engine",
        source=DataSource(
            "nq",
            HubData("google-research-datasets/nq_open", None, revision="main"),
            layouts=(("question", "answer"), FLASHRAG),
            files={"validation": (("nq/test",),)},
        ),
        splits={"train": 87925, "validation": 3610},
        licence="CC BY-SA 3.0",
        citation="Kwiatkowski et al. 2019, TACL 7; Lee et al. 2019, arXiv 1906.00300",
        metric=METRIC,
        examples=(
            Example(
                row={"question": "who sings the theme of harbour lights", "answer": ["Nina Holt", "The Holt Sisters"]},
                right=("<answer>Nina Holt</answer>", "Holt Sisters", "**Answer:** Nina Holt"),
                wrong=("Nina Holt and the Holt Sisters", "Nina", "the"),
            ),
            Example(
                row={
                    "id": "test_0",
                    "question": "when did the karsk lighthouse open",
                    "golden_answers": ["14 May 1908"],
                },
                right=("<answer>14 May 1908</answer>", "14 may 1908."),
                wrong=("1908", "14 May 19081", "<answer>14 May 1908</answer><answer>1909</answer>"),
            ),
        ),
        notes="The hub's revision is not pinned. FlashRAG's test split is these 3,610 validation questions; its dev "
        "split is a part of train and is not read.",
    )

    def answers(self, row: dict[str, Any], id: str) -> tuple[str, ...]:
        return texts_of(row["answer"], "answer", id)
