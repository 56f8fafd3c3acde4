"""2WikiMultihopQA: questions over two or four Wikipedia paragraphs (Ho et al. 2020, arXiv 2011.01060; Apache-2.0)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from llm_marl_envs.data import DataSource, HubData
from llm_marl_envs.grading.spans import Paragraph
from llm_marl_envs.tasks.families.dataset import Card, Example
from llm_marl_envs.tasks.families.retrieval_qa import FLASHRAG, METRIC, RetrievalQA, hotpot_paragraphs


@dataclass(frozen=True)
class TwoWikiMultihopQA(RetrievalQA):
    """Two- and four-hop questions in HotpotQA's layout, with evidence triples. Fields: question, answer, supporting_facts, context."""

    has_context: ClassVar[bool] = True

    card = Card(
        title="2WikiMultihopQA: multi-hop questions with reasoning paths",
        source=DataSource(
            "2wikimultihopqa",
            HubData("framolfese/2WikiMultihopQA", None, revision="main"),
            layouts=(("question", "answer", "supporting_facts", "context"), FLASHRAG),
            files={"validation": (("2wikimultihopqa/dev",),)},
        ),
        splits={"train": 167454, "validation": 12576},
        licence="Apache-2.0",
        citation="Ho et al. 2020, arXiv 2011.01060",
        metric=METRIC,
        examples=(
            Example(
                row={
                    "id": "invented-0",
                    "question": "When was the director of the film Low Tide at Karsk born?",
                    "answer": "March 4, 1931",
                    "type": "compositional",
                    "evidences": [
                        ["Low Tide at Karsk", "director", "Mira Olden"],
                        ["Mira Olden", "date of birth", "March 4, 1931"],
                    ],
                    "supporting_facts": {"title": ["Low Tide at Karsk", "Mira Olden"], "sent_id": [0, 0]},
                    "context": {
                        "title": ["Mira Olden", "Low Tide at Karsk"],
                        "sentences": [
                            ["Mira Olden( March 4, 1931 – 1999) was a director."],
                            ["Low Tide at Karsk is a film by Mira Olden."],
                        ],
                    },
                },
                right=("<answer>March 4, 1931</answer>", "\\boxed{\\text{March 4, 1931}}", "march 4 1931"),
                wrong=("1931", "March 4, 1931 or March 5, 1931", "not March 4, 1931"),
            ),
            Example(
                row={
                    "id": "dev_0",
                    "question": "Who lived longer, Mira Olden or Paul Reck?",
                    "golden_answers": ["Mira Olden"],
                    "metadata": {"type": "comparison"},
                },
                right=("Mira Olden", "<answer>\nMira Olden\n</answer>"),
                wrong=("Mira", "Mira Oldenburg", "Paul Reck"),
            ),
        ),
        notes="The hub's revision is not pinned. The official test split has no answers and is left out. Aliases of "
        "answers are kept in a separate file upstream and are not used.",
    )

    def paragraphs(self, row: dict[str, Any], id: str) -> list[tuple[Paragraph, bool]]:
        return hotpot_paragraphs(row, id)
