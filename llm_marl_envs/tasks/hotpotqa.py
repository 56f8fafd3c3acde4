"""HotpotQA: questions over two Wikipedia paragraphs (Yang et al. 2018, arXiv 1809.09600; CC BY-SA 4.0), distractor setting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from llm_marl_envs.data import DataSource, HubData
from llm_marl_envs.grading.spans import Paragraph
from llm_marl_envs.tasks.families.dataset import Card, Example
from llm_marl_envs.tasks.families.retrieval_qa import FLASHRAG, METRIC, RetrievalQA, hotpot_paragraphs


@dataclass(frozen=True)
class HotpotQA(RetrievalQA):
    """Two-hop questions, each with ten paragraphs; two of them support the answer. Fields: question, answer, supporting_facts, context."""

    has_context: ClassVar[bool] = True

    card = Card(
        title="HotpotQA: two-hop questions over Wikipedia",
        source=DataSource(
            "hotpotqa",
            HubData("hotpotqa/hotpot_qa", "distractor", revision="main"),
            layouts=(("question", "answer", "supporting_facts", "context"), FLASHRAG),
            files={"validation": (("hotpotqa/dev",),)},
        ),
        splits={"train": 90447, "validation": 7405},
        licence="CC BY-SA 4.0",
        citation="Yang et al. 2018, arXiv 1809.09600",
        metric=METRIC,
        examples=(
            Example(
                row={
                    "id": "invented-0",
                    "question": "Which river flows through the town where the painter Ilse Varn was born?",
                    "answer": "the Orrin",
                    "type": "bridge",
                    "level": "medium",
                    "supporting_facts": {"title": ["Ilse Varn", "Tolbeck"], "sent_id": [0, 1]},
                    "context": {
                        "title": ["Mill Lane", "Ilse Varn", "Tolbeck"],
                        "sentences": [
                            ["Mill Lane is a street in Harrowgate."],
                            ["Ilse Varn was a painter from Tolbeck.", " She painted bridges."],
                            ["Tolbeck is a small town.", " The Orrin flows through it."],
                        ],
                    },
                },
                right=("<answer>the Orrin</answer>", "Orrin", "She was born in Tolbeck.\nFinal answer: The Orrin."),
                wrong=("not the Orrin", "Orrington", "<answer>Orrin</answer> or <answer>Tolbeck</answer>", "unknown"),
            ),
            Example(
                row={"id": "dev_0", "question": "Are Ilse Varn and Jon Aske both painters?", "golden_answers": ["yes"]},
                right=("<answer>Yes</answer>", "yes."),
                wrong=("no", "yes and no", "Yes, they are both painters."),
            ),
        ),
        notes="The hub's revision is not pinned. This is the hub's `distractor` configuration. In FlashRAG's layout the "
        "paragraphs are read from `metadata`, if it has them.",
    )

    def paragraphs(self, row: dict[str, Any], id: str) -> list[tuple[Paragraph, bool]]:
        return hotpot_paragraphs(row, id)
