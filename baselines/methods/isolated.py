"""Every role has its own policy and optimizer; each loss is averaged over its own tokens."""

from __future__ import annotations

from dataclasses import dataclass

from baselines.methods.shared import Shared
from baselines.policies import PolicyRouter
from llm_marl_envs.protocol import Roster


@dataclass(frozen=True)
class Isolated(Shared):
    """One policy per role (arXiv 2605.24202, IP); otherwise as `shared`.

    Agents of one role share a policy: generator_0 and generator_1 have one, the aggregator has another.
    """

    def route(self, roster: Roster) -> PolicyRouter:
        return PolicyRouter.isolated(roster)
