"""The random-credit control: the same training, but every reply has the advantage of another of its role."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from baselines.methods.shared import Shared
from baselines.types import Credit, Episode, Place, Signal, Values
from llm_marl_envs.seeds import seed_of


@dataclass(frozen=True)
class RandomCredit(Shared):
    """The control whose advantages are permuted over the step's replies within a role; otherwise as `shared`.

    The same problems are played and as many advantages of each size are given, so what is lost is only which reply earned which.
    If this improves, the gain of the real run is not evidence that credit taught anything. `shuffled` permutes rewards before
    credit is assigned: there a group's replies still have a mean of 0, here they need not.
    """

    def credit(self, episodes: Sequence[Episode], values: Values, seed: int) -> Credit:
        return permuted(super().credit(episodes, values, seed), episodes, seed)


def permuted(credit: Credit, episodes: Sequence[Episode], seed: int) -> dict[Place, float | Signal]:
    """The credit of each reply given to another one of its role."""
    places: dict[str, list[Place]] = defaultdict(list)
    for i, episode in enumerate(episodes):
        for turn in episode.own_turns:
            if (i, turn.index) in credit:
                places[turn.role].append((i, turn.index))
    found: dict[Place, float | Signal] = {}
    for role, mine in places.items():
        drawn = [credit[place] for place in mine]
        Random(seed_of("random credit", seed, role)).shuffle(drawn)
        found |= zip(mine, drawn, strict=True)
    return found
