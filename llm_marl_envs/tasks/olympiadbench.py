"""OlympiadBench: olympiad mathematics, open-ended, English, text only (He et al. 2024, arXiv 2402.14008; Apache 2.0). 674."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from llm_marl_envs.data import DataSource, HubData
from llm_marl_envs.errors import DataError
from llm_marl_envs.grading.mathematics import grade_math
from llm_marl_envs.task import Problem, Question, Score
from llm_marl_envs.tasks.families.dataset import Card, DatasetTask, Example, LeftOut
from llm_marl_envs.tasks.families.mathematics import ANSWER, text_of, ungradable

SEVERAL = "Give the final answer in \\boxed{}; several answers go into one box, joined by commas."


class OlympiadGold(NamedTuple):
    """All answers that are needed, and the allowed absolute error of each that is a number."""

    answers: tuple[str, ...]
    tolerances: tuple[float | None, ...]


@dataclass(frozen=True)
class OlympiadBench(DatasetTask):
    """Olympiad mathematics with one or several answers, some with a tolerance. Units are not graded."""

    card = Card(
        title="OlympiadBench: open-ended mathematics in English, text only",
        source=DataSource(
            "olympiadbench",
            HubData("Hothan/OlympiadBench", "OE_TO_maths_en_COMP", revision="main"),
            layouts=(("question", "final_answer"),),
        ),
        splits={"train": 674},
        licence="Apache-2.0",
        citation="He et al. 2024, arXiv 2402.14008",
        metric="all gold answers and no others, each equal as mathematics, numbers within the row's `error`",
        examples=(
            Example(
                row={
                    "id": 0,
                    "question": "Find all real $x$ with $x^2 = 3x - 2$.",
                    "solution": ["$(x-1)(x-2) = 0$."],
                    "final_answer": ["1", "2"],
                    "is_multiple_answer": True,
                    "unit": None,
                    "answer_type": "Numerical",
                    "error": None,
                },
                right=("\\boxed{1, 2}", "\\boxed{2,1}"),
                wrong=("\\boxed{1}", "\\boxed{1, 2, 3}", "\\boxed{1}, \\boxed{2}"),
            ),
            Example(
                row={
                    "id": 1,
                    "question": "A circle has radius $2$. Find its area.",
                    "solution": ["$4\\pi$"],
                    "final_answer": ["$4 \\pi$"],
                    "is_multiple_answer": False,
                    "unit": None,
                    "answer_type": "Numerical",
                    "error": "1e-1",
                },
                right=("\\boxed{4\\pi}", "\\boxed{12.57}"),
                wrong=("\\boxed{12}", "\\boxed{2\\pi}"),
            ),
        ),
        notes="The hub calls its only split train, although it is a test. Problems whose gold answers cannot be graded fairly (only "
        "in one spelling, or a part or a statement that is always true would do) are left out; `left_out(split)` lists them. The hub's revision is not pinned.",
    )

    def read(self, row: dict[str, Any], id: str) -> Problem | LeftOut:
        answers = row["final_answer"]
        if not isinstance(answers, list) or not answers or not all(isinstance(a, str) and a.strip() for a in answers):
            raise DataError(f"{id}: expected a list of texts in 'final_answer', got {answers!r:.80}")
        bare = tuple(a.strip().strip("$").strip() for a in answers)
        tolerances = _tolerances(row.get("error"), len(bare), id)
        if left_out := ungradable(bare, tolerances):
            return left_out
        several = len(bare) > 1 or bool(row.get("is_multiple_answer"))
        question = Question(id, text_of(row, "question", id), answer_format=SEVERAL if several else ANSWER)
        return Problem(question, OlympiadGold(bare, tolerances))

    def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
        return grade_math(problem.gold.answers, text, kind, tolerance=problem.gold.tolerances)


def _tolerances(error: Any, answers: int, id: str) -> tuple[float | None, ...]:
    """One tolerance for each answer, from "1e-1" (the same for all) or "1e-1,,1e-2"."""
    try:
        read = [float(part) if part.strip() else None for part in str("" if error is None else error).split(",")]
    except ValueError:
        raise DataError(f"{id}: expected numbers joined by commas in 'error', got {error!r:.80}") from None
    if len(read) not in (1, answers):
        raise DataError(f"{id}: expected one tolerance, or {answers}, in 'error', got {error!r:.80}")
    return tuple(read * answers if len(read) == 1 else read)
