"""MATH-500: competition mathematics (Lightman et al. 2023, arXiv 2305.20050; MIT licence). 500 test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llm_marl_envs.data import DataSource, HubData
from llm_marl_envs.task import Problem
from llm_marl_envs.tasks.families.dataset import Card, Example, LeftOut
from llm_marl_envs.tasks.families.mathematics import MathDataset, answer_of, text_of


@dataclass(frozen=True)
class Math500(MathDataset):
    """MATH-500: competition mathematics (Lightman et al. 2023, arXiv 2305.20050; MIT licence). 500 test."""

    card = Card(
        title="MATH-500: 500 held-out problems of MATH",
        source=DataSource(
            "math500",
            HubData("HuggingFaceH4/MATH-500", None, revision="6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be"),
            layouts=(("problem", "answer"),),
        ),
        splits={"test": 500},
        licence="MIT",
        citation="Hendrycks et al. 2021, arXiv 2103.03874; Lightman et al. 2023, arXiv 2305.20050",
        metric="the reply's answer equals the gold answer as mathematics (text up to notation, then Math-Verify)",
        examples=(
            Example(
                row={
                    "problem": "Simplify $\\frac{12}{16} + \\frac{1}{8}$.",
                    "solution": "Both are eighths: $\\frac68 + \\frac18 = \\boxed{\\frac78}$.",
                    "answer": "\\frac{7}{8}",
                    "subject": "Prealgebra",
                    "level": 1,
                    "unique_id": "test/prealgebra/0.json",
                },
                right=(
                    "\\boxed{\\frac{7}{8}}",
                    "So it is $\\boxed{\\dfrac78}$.",
                    "The answer is 7/8",
                    "\\boxed{0.875}",
                ),
                wrong=("\\boxed{\\frac{8}{7}}", "\\boxed{7, 8}", "\\boxed{\\frac78} or \\boxed{1}", "not \\boxed{7/8}"),
            ),
        ),
    )

    def read(self, row: dict[str, Any], id: str) -> Problem | LeftOut:
        return self.problem(id, text_of(row, "problem", id), answer_of(row, "answer", id))
