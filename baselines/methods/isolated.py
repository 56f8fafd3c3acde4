"""Every role has a policy and an optimizer of its own; each loss is averaged over its own tokens."""

from __future__ import annotations

from dataclasses import dataclass

from baselines.methods.shared import Shared
from baselines.policies import PolicyRouter
from llm_marl_envs.protocol import Roster


@dataclass(frozen=True)
class Isolated(Shared):
    """As `shared`, but one policy per role type (arXiv 2605.24202, IP): voter_0 and voter_1 share one, the aggregator has its own."""

    def route(self, roster: Roster) -> PolicyRouter:
        return PolicyRouter.isolated(roster)
