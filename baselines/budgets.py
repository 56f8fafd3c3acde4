"""How much a run may spend, so that it can be compared with another: tokens generated in training. Pure arithmetic over metrics lines.

Two budgets are never mixed. What is trained gets the same problems and generated tokens as the run that it is compared with; what
is not trained (`prompted`, `self_consistency`) the same tokens per problem when it is tested.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from baselines.runlog import read_lines
from llm_marl_envs.errors import ConfigError

LEAST, MOST = 2, 128  # episodes per problem in a step: a group has two; or 16 times as many as the run was asked for
RECENT = 3  # steps by whose cost the next is planned


@dataclass(frozen=True, slots=True)
class TokenBudget:
    """Episodes per problem. `target` has the tokens that another run had generated after each of its steps; without one every step
    has `samples`."""

    samples: int
    target: tuple[float, ...] = ()

    @classmethod
    def of(cls, samples: int, steps: int, match: Path | None) -> TokenBudget:
        """Raises ConfigError if the run to match has not gone through as many steps."""
        if match is None:
            return cls(samples)
        path = match / "metrics.jsonl"
        lines = trained(read_lines(path)) if path.is_file() else []
        if len(lines) < steps:
            raise ConfigError(
                f"cannot match the tokens of {match}: it has {len(lines)} training steps, this run is to have {steps}"
            )
        return cls(samples, tuple(accumulate(line["sampled_tokens"] for line in lines)))

    def episodes(self, lines: Sequence[Mapping[str, Any]]) -> int:
        """Episodes per problem in the next step, from the metrics of those before.

        As many as make up for what is missing until the end of that step, by what one cost in the last three. So the two curves of
        tokens stay together, and what is left at the end is the error of one step's estimate.
        Worked example: target 100, 200, 300; after a step of 8 that took 40, the next gets (200 - 40) / 5 = 32.
        """
        if not self.target or not lines:
            return self.samples
        left = self.target[len(lines)] - sum(line["sampled_tokens"] for line in lines)
        last = lines[-RECENT:]
        cost = max(1.0, sum(line["sampled_tokens"] for line in last)) / sum(line["samples"] for line in last)
        return max(LEAST, min(max(MOST, 16 * self.samples), round(left / cost)))


def trained(lines: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The lines of training steps."""
    return [line for line in lines if line["kind"] == "train"]
