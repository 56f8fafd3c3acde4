"""Every role has a policy and an optimizer of its own; each loss is averaged over its own tokens."""

from __future__ import annotations

from dataclasses import dataclass

from baselines.methods.shared import Shared
from baselines.policies import PolicyRouter
from llm_marl_envs.protocol import Roster


@dataclass(frozen=True)
class Isolated(Shared):
    """One policy per role (arXiv 2605.24202, IP); otherwise as `shared`.

    Agents of one role share theirs: generator_0 and generator_1 have one policy, the aggregator another.
    """

    def route(self, roster: Roster) -> PolicyRouter:
        return PolicyRouter.isolated(roster)
