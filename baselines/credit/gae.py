"""Generalised advantage estimation over the tokens of an agent's replies, with rewards at the ends of turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, variance

from baselines.types import Episode, Place, Signal, Turn, Values
from llm_marl_envs.outcome import Outcome
from llm_marl_envs.rewards import TurnProgress

EPS_WHITE = 1e-8  # verl's

Progress = Callable[[Outcome], Sequence[TurnProgress]]


def gae(
    rewards: Sequence[float], values: Sequence[float], gamma: float = 1.0, lam: float = 1.0
) -> tuple[list[float], list[float]]:
    """Advantages and returns of each token of a finished trajectory (GAE, arXiv 1506.02438):

        delta_t = r_t + gamma V_{t+1} - V_t,   A_t = delta_t + gamma lam A_{t+1},   R_t = A_t + V_t

    `values` are the critic's before each token; after the last token V is 0. With gamma = lam = 1, R_t is the sum of what is still
    to come.

    Worked example: rewards 0, 1, values .5, .25, gamma .5, lam .5: delta = -.375, .75, so A = -.1875, .75 and R = .3125, 1.
    """
    if len(rewards) != len(values):
        raise ValueError(f"{len(rewards)} rewards and {len(values)} values; each token has one of either")
    advantages: list[float] = []
    ahead = after = 0.0  # A and V of the next token
    for reward, value in zip(reversed(rewards), reversed(values), strict=True):
        ahead = reward + gamma * after - value + gamma * lam * ahead
        after = value
        advantages.append(ahead)
    advantages.reverse()
    return advantages, [a + v for a, v in zip(advantages, values, strict=True)]


def turn_level(
    episodes: Sequence[Episode],
    values: Values,
    role: str,
    progress: Progress,
    *,
    gamma: float = 1.0,
    lam: float = 1.0,
    each_turn: bool = True,
    whiten: bool = True,
) -> dict[Place, Signal]:
    """GAE over a role's replies, one trajectory for each of its agents in each episode (DAC, arXiv 2606.10684, section 3.3).

    progress: what each turn changed, s_t - s_{t-1} (`rewards.accepted_progress` and its kin). It is paid on the last token of the
    agent's latest reply up to that turn: with each_turn=False all of it on the last token of the last one. What is between the
    replies (prompts, found passages) is no step of the trajectory: V_{t+1} after a reply's last token is the value before the next
    reply's first. Replies without tokens, and a fork's from before it left its parent, are not credited.
    whiten: advantages of the whole batch get mean 0 and sample variance 1 (verl's PPO); returns stay as they are.

    Raises ValueError where the values of a reply are missing or do not fit.
    """
    credit: dict[Place, Signal] = {}
    for i, episode in enumerate(episodes):
        trajectories: dict[str, list[Turn]] = {}
        for turn in episode.own_turns:
            if turn.role == role and turn.completion.token_ids:
                trajectories.setdefault(turn.agent, []).append(turn)
        changes = progress(episode.outcome) if trajectories else ()
        for agent, turns in trajectories.items():
            paid = _paid(turns, [change for change in changes if _concerns(change, agent, role)], each_turn)
            credit |= _signals(i, turns, paid, values, gamma, lam)
    return whitened(credit) if whiten else credit


def whitened(credit: Mapping[Place, Signal]) -> dict[Place, Signal]:
    """The same with all advantages together of mean 0 and sample variance 1: (A - mean) / sqrt(var + 1e-8). A single token, which
    has no variance, is left as it is."""
    everything = [a for signal in credit.values() for a in _each(signal)]
    if len(everything) < 2:
        return dict(credit)
    mean = fmean(everything)
    scale = (variance(everything, mean) + EPS_WHITE) ** -0.5
    return {
        place: signal._replace(advantage=tuple((a - mean) * scale for a in _each(signal)))
        for place, signal in credit.items()
    }


def _each(signal: Signal) -> tuple[float, ...]:
    assert isinstance(signal.advantage, tuple)
    return signal.advantage


def _concerns(change: TurnProgress, agent: str, role: str) -> bool:
    """Another agent of the same role has its own changes; those of other roles (an answer to what was found) are everybody's."""
    return change.agent == agent or change.agent.rpartition("_")[0] != role


def _paid(turns: Sequence[Turn], changes: Sequence[TurnProgress], each_turn: bool) -> list[float]:
    """What each turn is paid."""
    paid = [0.0] * len(turns)
    for change in changes:
        before = [k for k, turn in enumerate(turns) if turn.index <= change.turn]
        if before:
            paid[before[-1] if each_turn else -1] += change.value
    return paid


def _signals(
    place: int, turns: Sequence[Turn], paid: Sequence[float], values: Values, gamma: float, lam: float
) -> dict[Place, Signal]:
    rewards: list[float] = []
    said: list[float] = []
    for turn, reward in zip(turns, paid, strict=True):
        length, mine = len(turn.completion.token_ids), values.get((place, turn.index), ())
        if len(mine) != length:
            raise ValueError(
                f"{turn.agent}'s reply {turn.index} has {length} tokens and {len(mine)} values; is {turn.policy!r} one of the "
                f"method's critics?"
            )
        rewards += [0.0] * (length - 1) + [reward]
        said += mine
    advantages, returns = gae(rewards, said, gamma, lam)
    signals, start = {}, 0
    for turn in turns:
        here = slice(start, start + len(turn.completion.token_ids))
        signals[place, turn.index] = Signal(tuple(advantages[here]), tuple(said[here]), tuple(returns[here]))
        start = here.stop
    return signals
