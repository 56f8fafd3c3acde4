"""DAPO-Math-17k, processed: competition mathematics with whole-number answers (Yu et al. 2025, arXiv 2503.14476; Apache 2.0)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from llm_marl_envs.data import DataSource, HubData, load_rows
from llm_marl_envs.task import Problem
from llm_marl_envs.tasks.families.dataset import Card, Example, LeftOut
from llm_marl_envs.tasks.families.mathematics import MathDataset, answer_of, text_of

CONFIGS = ("en", "cn", "all")


@dataclass(frozen=True)
class DapoMath(MathDataset):
    """Competition mathematics for training, without duplicates. `config` is the hub's: "en", "cn" or "all"."""

    config: str = "en"

    card = Card(
        title="DAPO-Math-17k, processed",
        source=DataSource(
            "dapo_math",
            HubData("open-r1/DAPO-Math-17k-Processed", "en", revision="main"),
            layouts=(("prompt", "solution"),),
        ),
        splits={"train": 14116},
        licence="Apache-2.0",
        citation="Yu et al. 2025, arXiv 2503.14476",
        metric="the reply's answer equals the gold answer as mathematics (text up to notation, then Math-Verify)",
        examples=(
            Example(
                row={
                    "prompt": "Find the sum of the first $20$ odd positive integers.",
                    "solution": "400",
                    "data_source": "math_dapo",
                    "ability": "MATH",
                },
                right=("\\boxed{400}", "\\boxed{20^2}"),
                wrong=("\\boxed{20}", "\\boxed{399, 400}"),
            ),
        ),
        notes="The size is that of the English configuration. The hub's revision is not pinned.",
    )

    def __post_init__(self):
        if self.config not in CONFIGS:
            raise ValueError(f"config is one of {', '.join(CONFIGS)}; got {self.config!r}")

    def rows(self, split: str) -> list[dict[str, Any]]:
        source = self.card.source
        hub = dataclasses.replace(source.hub, config=self.config)
        return load_rows(dataclasses.replace(source, hub=hub), split, self.data_dir)

    def read(self, row: dict[str, Any], id: str) -> Problem | LeftOut:
        return self.problem(id, text_of(row, "prompt", id), answer_of(row, "solution", id))
