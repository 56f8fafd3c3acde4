"""The shuffled-reward control: the same training, but with rewards that are randomly permuted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from baselines.methods.shared import Shared
from baselines.types import Credit, Episode, Values
from llm_marl_envs.seeds import seed_of


@dataclass(frozen=True)
class Shuffled(Shared):
    """The control whose rewards are permuted over the batch before credit; otherwise as `shared`.

    If this improves, the gain of the real run is not evidence that the reward taught anything.
    """

    def credit(self, episodes: Sequence[Episode], values: Values, seed: int) -> Credit:
        rewards = [episode.rewards for episode in episodes]
        Random(seed_of("shuffled", seed)).shuffle(rewards)
        return super().credit([replace(e, rewards=r) for e, r in zip(episodes, rewards, strict=True)], values, seed)
