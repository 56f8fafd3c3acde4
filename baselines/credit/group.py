"""Advantages relative to a group: the other episodes of the same problem."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, stdev

from baselines.types import Episode, Place, Turn

EPS_GROUP = 1e-4  # TRL's
EPS_AGENT = 1e-6  # Dr. MAS's


def group_relative(episodes: Sequence[Episode], *, std: bool = False) -> dict[Place, float]:
    """A = R - mean(R), or (R - mean(R)) / (std(R) + 1e-4), over the episodes of a group (GRPO, arXiv 2402.03300; without
    std: Dr. GRPO, arXiv 2503.20783).

    R is the reward of the role that spoke. Every episode counts once for every role, whether the role spoke or not, so under
    a team reward all roles share one baseline. `std` is the sample standard deviation (n - 1).

    A fork's turns from before it left its parent get no credit here: they are trained on once, as the parent's.

    Worked example: team rewards 1, 0, 0, 0 -> advantages .75, -.25, -.25, -.25, and with std (.5) 1.5, -.5, -.5, -.5.
    """
    pools: dict[tuple[int, str], list[float]] = defaultdict(list)
    rewards = [_by_role(episode) for episode in episodes]
    for episode, by_role in zip(episodes, rewards, strict=True):
        for role, reward in by_role.items():
            pools[episode.group, role].append(reward)
    moments = {key: _moments(pool) for key, pool in pools.items()}
    return _advantages(episodes, moments, lambda turn: turn.role, EPS_GROUP if std else None)


def agent_relative(episodes: Sequence[Episode], *, std: bool = True) -> dict[Place, float]:
    """A = (R - mu_k) / (sigma_k + 1e-6), with the statistics of all of agent k's turns in the group (Dr. MAS,
    arXiv 2602.08847, section 5.1 and its released code).

    An episode in which the agent spoke three times counts three times for it (a fork without what it has from its parent); one in which it was silent does not count. The
    sample standard deviation is used, and an agent with a single turn in the group has mu 0 and sigma 1.

    Worked example: the agent spoke twice in an episode with reward 1 and once in one with reward 0: mu = 2/3, sigma = .577, so its
    advantages are .577, .577 and -1.155.
    """
    pools: dict[tuple[int, str], list[float]] = defaultdict(list)
    for episode in episodes:
        for turn in episode.own_turns:
            pools[episode.group, turn.agent].append(episode.rewards[turn.agent])
    moments = {key: _moments(pool) if len(pool) > 1 else (0.0, 1.0) for key, pool in pools.items()}
    return _advantages(episodes, moments, lambda turn: turn.agent, EPS_AGENT if std else None)


def _advantages(
    episodes: Sequence[Episode],
    moments: Mapping[tuple[int, str], tuple[float, float]],
    pool: Callable[[Turn], str],
    eps: float | None,
) -> dict[Place, float]:
    """Each turn's reward minus the mean of its pool, divided by the pool's deviation + eps unless eps is None."""
    credit: dict[Place, float] = {}
    for i, episode in enumerate(episodes):
        for turn in episode.own_turns:
            mean, spread = moments[episode.group, pool(turn)]
            advantage = episode.rewards[turn.agent] - mean
            credit[i, turn.index] = advantage if eps is None else advantage / (spread + eps)
    return credit


def _by_role(episode: Episode) -> dict[str, float]:
    """The mean reward of each role's agents in an episode."""
    of: dict[str, list[float]] = defaultdict(list)
    role = episode.session.play.workflow.roster.role
    for agent, reward in episode.rewards.items():
        of[role(agent)].append(reward)
    return {role: fmean(rewards) for role, rewards in of.items()}


def _moments(pool: list[float]) -> tuple[float, float]:
    return fmean(pool), stdev(pool) if len(pool) > 1 else 0.0
