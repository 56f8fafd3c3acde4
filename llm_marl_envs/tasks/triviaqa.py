"""TriviaQA: trivia questions with aliases of their answers (Joshi et al. 2017, arXiv 1705.03551)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llm_marl_envs.data import DataSource, HubData
from llm_marl_envs.errors import DataError
from llm_marl_envs.tasks.families.dataset import Card, Example
from llm_marl_envs.tasks.families.retrieval_qa import FLASHRAG, METRIC, RetrievalQA, text_of, texts_of


@dataclass(frozen=True)
class TriviaQA(RetrievalQA):
    """Trivia questions. Fields of a row: question, question_id, answer {value, aliases, normalized_aliases}."""

    card = Card(
        title="TriviaQA: trivia questions",
        source=DataSource(
            "triviaqa",
            HubData("mandarjoshi/trivia_qa", "rc.nocontext", revision="main"),
            layouts=(("question", "answer"), FLASHRAG),
            files={"validation": (("triviaqa/test",),)},
        ),
        splits={"train": 138384, "validation": 17944},
        licence="Apache-2.0 (the authors' release; the questions' copyright stays with their trivia sites)",
        citation="Joshi et al. 2017, arXiv 1705.03551",
        metric=METRIC,
        examples=(
            Example(
                row={
                    "question": "Which bird is on the coat of arms of Estmark?",
                    "question_id": "invented_0",
                    "answer": {
                        "value": "Grey Heron",
                        "aliases": ["Gray heron", "Ardea cinerea"],
                        "normalized_aliases": ["grey heron", "gray heron", "ardea cinerea"],
                    },
                },
                right=("<answer>Grey Heron</answer>", "ardea cinerea", "Answer: a gray heron"),
                wrong=("Heron", "Grey Heron, Gray heron", "Grey Herons", "a"),
            ),
            Example(
                row={
                    "id": "test_0",
                    "question": "Who played Captain Bly?",
                    "golden_answers": ["Tom Asher", "Thomas Asher"],
                },
                right=("Tom Asher", "<answer>Thomas Asher</answer>"),
                wrong=("Tom", "Tom Asher (Thomas Asher)", "not Tom Asher"),
            ),
        ),
        notes="The hub's revision is not pinned. The value, its aliases and the normalised aliases are all gold "
        "answers. The test split has no answers and is left out. FlashRAG's test split is the validation split "
        "of the `unfiltered` configuration (11,313 questions).",
    )

    def answers(self, row: dict[str, Any], id: str) -> tuple[str, ...]:
        answer = row["answer"]
        if not isinstance(answer, Mapping):
            raise DataError(f"{id}: expected answer as value, aliases, normalized_aliases, got {answer!r:.80}")
        others = (texts_of(answer.get(name, []), name, id, some=False) for name in ("aliases", "normalized_aliases"))
        return tuple(dict.fromkeys((text_of(answer, "value", id), *(text for texts in others for text in texts))))
