"""MuSiQue: two- to four-hop questions composed of single ones (Trivedi et al. 2022, arXiv 2108.00573; CC BY 4.0)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from llm_marl_envs.data import DataSource, HubData
from llm_marl_envs.errors import DataError
from llm_marl_envs.grading.spans import Paragraph
from llm_marl_envs.task import Problem
from llm_marl_envs.tasks.families.dataset import Card, Example, LeftOut
from llm_marl_envs.tasks.families.retrieval_qa import FLASHRAG, METRIC, RetrievalQA, structs_of, text_of, texts_of


@dataclass(frozen=True)
class MuSiQue(RetrievalQA):
    """Questions with twenty paragraphs each. Fields: question, answer, answer_aliases, answerable, paragraphs."""

    has_context: ClassVar[bool] = True

    card = Card(
        title="MuSiQue: multi-hop questions via single-hop composition",
        source=DataSource(
            "musique",
            HubData("dgslibisey/MuSiQue", None, revision="main"),
            layouts=(("question", "answer", "answer_aliases", "paragraphs"), FLASHRAG),
            files={
                "train": (("musique/musique_ans_v1.0_train",),),
                "validation": (("musique/musique_ans_v1.0_dev",), ("musique/dev",)),
            },
        ),
        splits={"train": 19938, "validation": 2417},
        licence="CC BY 4.0",
        citation="Trivedi et al. 2022, arXiv 2108.00573",
        metric=METRIC,
        examples=(
            Example(
                row={
                    "id": "2hop__0_1",
                    "paragraphs": [
                        {
                            "idx": 0,
                            "title": "Brann Castle",
                            "paragraph_text": "Brann Castle is a castle in Estmark.",
                            "is_supporting": True,
                        },
                        {
                            "idx": 1,
                            "title": "Estmark",
                            "paragraph_text": "The capital of Estmark is Saint Olm.",
                            "is_supporting": True,
                        },
                        {
                            "idx": 2,
                            "title": "Westmark",
                            "paragraph_text": "The capital of Westmark is Lunde.",
                            "is_supporting": False,
                        },
                    ],
                    "question": "What is the capital of the country of Brann Castle?",
                    "question_decomposition": [
                        {
                            "id": 0,
                            "question": "Brann Castle >> country",
                            "answer": "Estmark",
                            "paragraph_support_idx": 0,
                        },
                        {"id": 1, "question": "#1 >> capital", "answer": "Saint Olm", "paragraph_support_idx": 1},
                    ],
                    "answer": "Saint Olm",
                    "answer_aliases": ["St. Olm"],
                    "answerable": True,
                },
                right=("<answer>Saint Olm</answer>", "St. Olm", "\\boxed{st olm}"),
                wrong=("Olm", "Saint Olm, St. Olm", "<answer>Saint Olm</answer> <answer>St. Olm</answer>", "Estmark"),
            ),
            Example(
                row={"id": "dev_0", "question": "Who owns the port of Lunde?", "golden_answers": ["Vik & Sons"]},
                right=("<answer>Vik & Sons</answer>", "Answer: Vik & Sons"),
                wrong=("Vik", "Sons & Vik", "<answer>Vik & Sons"),
            ),
        ),
        notes="The hub's revision is not pinned. Rows whose `answerable` is false (MuSiQue-Full) are left out: "
        "scoring `unknown` there would reward a reply that never searches.",
    )

    def read(self, row: dict[str, Any], id: str) -> Problem | LeftOut:
        answerable = row.get("answerable", True)
        if not isinstance(answerable, bool):
            raise DataError(f"{id}: expected true or false as answerable, got {answerable!r:.80}")
        return super().read(row, id) if answerable else LeftOut("its passages do not answer it")

    def answers(self, row: dict[str, Any], id: str) -> tuple[str, ...]:
        aliases = texts_of(row["answer_aliases"], "answer_aliases", id, some=False)
        return tuple(dict.fromkeys((text_of(row, "answer", id), *aliases)))

    def paragraphs(self, row: dict[str, Any], id: str) -> list[tuple[Paragraph, bool]]:
        if "paragraphs" not in row:  # FlashRAG's metadata may lack them
            return []
        found = structs_of(row, "paragraphs", ("title", "paragraph_text", "is_supporting"), id)
        for title, text, supports in found:
            if not isinstance(title, str) or not isinstance(text, str) or not isinstance(supports, bool):
                raise DataError(
                    f"{id}: expected two texts and true or false as title, paragraph_text and is_supporting of a paragraph, "
                    f"got {title!r:.40}, {text!r:.40} and {supports!r:.40}"
                )
        return [(Paragraph(title, text), supports) for title, text, supports in found]
