"""MMLU-Pro: questions of fourteen subjects with up to ten options (Wang et al. 2024, arXiv 2406.01574; MIT licence)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llm_marl_envs.data import DataSource, HubData
from llm_marl_envs.errors import DataError
from llm_marl_envs.reading import LETTERS
from llm_marl_envs.task import Problem
from llm_marl_envs.tasks.families.choice import DUPLICATES, METRIC, MultipleChoice
from llm_marl_envs.tasks.families.dataset import Card, Example, LeftOut
from llm_marl_envs.tasks.families.mathematics import text_of
from llm_marl_envs.tasks.families.retrieval_qa import texts_of

NOTHING = "N/A"  # what fills the options up to ten


@dataclass(frozen=True)
class MMLUPro(MultipleChoice):
    """Questions of fourteen subjects with 3 to 10 options. Fields: question, options, answer (a letter), answer_index, category.

    shuffle: None keeps the official order; a seed draws an order for each question.
    """

    shuffle: int | None = None

    card = Card(
        title="MMLU-Pro: a harder MMLU",
        source=DataSource(
            "mmlu_pro",
            HubData("TIGER-Lab/MMLU-Pro", None, revision="main"),
            layouts=(("question", "options", "answer", "answer_index"),),
        ),
        splits={"validation": 70, "test": 12032},
        licence="MIT",
        citation="Wang et al. 2024, arXiv 2406.01574",
        metric=METRIC,
        examples=(
            Example(
                row={
                    "question_id": 0,
                    "question": "A shop buys a lamp for 20 euros and sells it for 25. What is the mark-up?",
                    "options": ["20%", "25%", "5%", "125%", "80%", "N/A", "N/A"],
                    "answer": "B",
                    "answer_index": 1,
                    "cot_content": "",
                    "category": "business",
                    "src": "invented",
                },
                right=("\\boxed{B}", "\\boxed{\\text{(B)}}", "The answer is (B).", "Answer: B", "**B**", "B) 25%", "25%", "\\boxed{b}"),
                wrong=("\\boxed{A}", "\\boxed{A, B}", "A or B", "The answer is not B", "25", "\\boxed{F}", "N/A", "b", "B is wrong"),
            ),
            Example(
                row={
                    "question_id": 1,
                    "question": "Which of these numbers are prime?",
                    "options": ["2", "3", "Both A and B", "None of the above"],
                    "answer": "C",
                    "answer_index": 2,
                    "cot_content": "",
                    "category": "math",
                    "src": "invented",
                },
                right=("C", "\\boxed{Both A and B}", "The answer is both A and B.", "Answer: C. Both A and B"),
                wrong=("A and B", "\\boxed{D}", "\\boxed{A} and \\boxed{B}", "2 and 3", "C or D"),
            ),
        ),
        notes="The options keep their official order unless `shuffle` is a seed; then \"none of the above\" stays last, and a "
        "question whose options name other options by letter keeps its order. `N/A`, which fills up the options of some rows, is "
        f"left out, as in the official script. {DUPLICATES} So are rows whose right option is `N/A`, or whose letter and index "
        "disagree. The official script takes a random option if it finds no answer; here such a reply scores 0. The hub's "
        "revision is not pinned.",
    )  # fmt: skip

    def read(self, row: dict[str, Any], id: str) -> Problem | LeftOut:
        question, letter, right = text_of(row, "question", id), row["answer"], row["answer_index"]
        options = row["options"]
        texts_of(options, "options", id)
        if not isinstance(letter, str) or not isinstance(right, int) or not 0 <= right < len(options):
            raise DataError(f"{id}: expected a letter and the index of an option, got {letter!r:.40} and {right!r:.40}")
        kept = [i for i, option in enumerate(options) if option.strip() != NOTHING]
        if right not in kept or LETTERS[right : right + 1] != letter.strip():
            return LeftOut("its letter and its index name different options")
        return self.problem(id, question, tuple(options[i] for i in kept), kept.index(right))
