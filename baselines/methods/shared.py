"""One policy speaks for every role; the team's reward is compared within the problem's group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from baselines.credit.group import agent_relative, group_relative
from baselines.methods.base import Method
from baselines.policies import PolicyRouter
from baselines.types import Credit, Episode, Values
from llm_marl_envs.protocol import Roster

if TYPE_CHECKING:
    from baselines.batch import Normaliser
    from baselines.losses import Loss


@dataclass(frozen=True)
class Shared(Method):
    """GRPO on a team with a shared policy (arXiv 2605.24202, SP).

    baseline: "team" takes the group's statistics over episodes, "agent" over each agent's own turns (Dr. MAS).
    std: divide by the standard deviation. surrogate: token ratios (GRPO) or one ratio per reply (GSPO); their clip ranges are
    the paper's unless given. importance_cap: weight tokens by what the learner's policy and the engine's differ, up to this cap
    (0: not at all). normalise: average the loss over all sampled tokens, or over replies and then their tokens.
    """

    baseline: Literal["team", "agent"] = "team"
    std: bool = False
    surrogate: Literal["grpo", "gspo"] = "grpo"
    clip_low: float | None = None
    clip_high: float | None = None
    importance_cap: float = 0.0
    normalise: Literal["tokens", "sequences"] = "tokens"

    def __post_init__(self):
        if self.baseline not in ("team", "agent") or self.surrogate not in ("grpo", "gspo"):
            raise ValueError("baseline is 'team' or 'agent', surrogate 'grpo' or 'gspo'")
        if self.normalise not in ("tokens", "sequences"):
            raise ValueError("normalise is 'tokens' or 'sequences'")
        if self.importance_cap and self.importance_cap < 1:
            raise ValueError("importance_cap is 0 (no weights) or at least 1")

    def route(self, roster: Roster) -> PolicyRouter:
        return PolicyRouter.shared(roster)

    def credit(self, episodes: Sequence[Episode], values: Values, seed: int) -> Credit:
        relative = group_relative if self.baseline == "team" else agent_relative
        return relative(episodes, std=self.std)

    def loss(self, policy: str) -> Loss:
        from baselines import losses

        given = {"clip_low": self.clip_low, "clip_high": self.clip_high}
        surrogate = losses.grpo if self.surrogate == "grpo" else losses.gspo
        loss = surrogate(**{name: value for name, value in given.items() if value is not None})
        return losses.corrected(loss, self.importance_cap) if self.importance_cap else loss

    @property
    def normaliser(self) -> Normaliser:
        return self.normalise
