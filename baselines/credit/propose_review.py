"""What each reply of a propose-review talk is worth, and what its gates could have had: TRACER's rewards and action values
(arXiv 2605.28699; the constants and quirks are those of its released code)."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, pstdev
from typing import Literal, NamedTuple

from baselines.types import Episode, Place
from llm_marl_envs.outcome import Outcome
from llm_marl_envs.protocol import Ask, Claim, Malformed
from llm_marl_envs.reading import chosen

Counterfactual = Literal["call", "release", "none"]
GATES = ("proposercontroller", "reviewercontroller")
WRITERS = ("proposer", "reviewer")


class Told(NamedTuple):
    """One reply. `before` and `after` are what the pending solution was worth: 1 if right, -1 if wrong, unreadable or absent.

    reward: a proposer's is 1 for a right solution, else -1; a reviewer's 1 for a true verdict, -1 for a false one, 0 for none; a
    controller's is 0, for gates learn from `Decision`s.
    """

    call: Ask
    text: str
    before: float
    after: float
    reward: float


class Decision(NamedTuple):
    """A gate's choice, its place among the session's replies, and the values of both choices; None if the one that was not
    chosen was not tried."""

    turn: int
    call: Ask
    taken: int
    values: tuple[float, float] | None


def told_in(outcome: Outcome) -> list[Told]:
    """All replies of a talk, in order."""
    assert outcome.session is not None
    keeps = getattr(outcome.session.play.workflow, "keep_answer", False)
    grades = iter(outcome.claims)
    told: list[Told] = []
    pending: float | None = None  # what the solution is worth that the next reply finds
    stood: float | None = None  # and what the one before it was worth
    for call, reply, _ in outcome.events:
        if reply is not None:
            worth = -1.0 if pending is None else pending
            told.append(Told(call, reply.text, worth, worth, 0.0))  # type: ignore[arg-type]  # nothing but agents is asked
        elif isinstance(call, Claim):
            reward = 1.0 if next(grades)[1].value >= 1 else -1.0
            told[-1] = told[-1]._replace(reward=reward)
            if call.kind == "answer":
                pending, stood = reward, pending
                told[-1] = told[-1]._replace(after=reward)
        elif (
            isinstance(call, Malformed) and role_of(call.agent) == "proposer"
        ):  # no answer could be read in what it claimed
            pending = stood if keeps and stood is not None else -1.0
            told[-1] = told[-1]._replace(reward=-1.0, after=pending)
    return told


def role_of(agent: str) -> str:
    return agent.rpartition("_")[0]


def role_rewards(outcome: Outcome) -> dict[str, float]:
    """To proposers and reviewers the mean reward of their replies, to all others 1 or -1 by the team's answer.

    Worked example: proposals wrong then right, one true verdict -> proposer_0 0, reviewer_1 1, everybody else 1.
    """
    team = 1.0 if outcome.team.value >= 1 else -1.0
    own: dict[str, list[float]] = {}
    for told in told_in(outcome) if outcome.claims else ():
        if role_of(told.call.agent) in WRITERS:
            own.setdefault(told.call.agent, []).append(told.reward)
    return {agent: fmean(own.get(agent, [team])) for agent in outcome.agents}


def decisions(episode: Episode, futures: Sequence[Episode], how: Counterfactual) -> list[Decision]:
    """The choices of an episode's gates with their values, `futures` being those of its forks that took the other choice.

    keep, skip    what the pending solution is worth: always known
    refresh       what is pending after the new proposal
    speak         the reward of the review

    "call": what was not chosen is valued by the one call that `futures` made instead. "release": a proposal not made is worth as
    much as keeping (so that nothing is learned from keeping), a review not made is valued by one call. "none": whatever was
    not chosen is worth 0. An unreadable choice is the first, as in the workflow.
    """
    told = told_in(episode.outcome)
    tried = {future.origin[1]: future for future in futures if future.origin}
    found = []
    for turn, (call, text, before, _, _) in enumerate(told):
        if role_of(call.agent) in GATES:
            taken = int(chosen(text, call.choices) == call.choices[1])
            after = told[turn + 1 : turn + 2]
            if not taken:
                after = told_in(tried[turn].outcome)[turn + 1 : turn + 2] if turn in tried else []
            values = _values(role_of(call.agent), taken, before, after, how)
            found.append(Decision(turn, call, taken, values))
    return found


def needs_call(role: str, taken: int, how: Counterfactual) -> bool:
    """Whether the choice that was not taken must be tried for its value: that of keeping and skipping is known."""
    return not taken and (how == "call" or (how == "release" and role == "reviewercontroller"))


def _values(
    role: str, taken: int, before: float, after: Sequence[Told], how: Counterfactual
) -> tuple[float, float] | None:
    if how == "none" and not taken:
        return before, 0.0
    if how == "release" and role == "proposercontroller" and not taken:
        return before, before
    if not after:
        return None
    value = after[0].after if role == "proposercontroller" else after[0].reward
    return (0.0 if how == "none" else before), value


def candidates_relative(episodes: Sequence[Episode], roles: Sequence[str], min_std: float) -> dict[Place, float]:
    """A = (r - mean) / std over the candidates for one reply: the one that was played and the forks that begin with another. std is
    that of the population; candidates that differ by less than `min_std` teach nothing.

    Worked example: rewards 1, 1, 1, -1 -> mean .5, std .866 -> .577, .577, .577, -1.732.
    """
    pools: dict[tuple[int, int], list[tuple[Place, float]]] = {}
    for i, episode in enumerate(episodes):
        told = told_in(episode.outcome)
        parent, at = episode.origin or (episode, None)
        for turn in episode.own_turns:
            if turn.role in roles and at in (None, turn.index):
                pools.setdefault((id(parent), turn.index), []).append(((i, turn.index), told[turn.index].reward))
    credit: dict[Place, float] = {}
    for pool in pools.values():
        rewards = [reward for _, reward in pool]
        mean, std = fmean(rewards), pstdev(rewards)
        if std >= min_std:
            credit |= {place: (reward - mean) / std for place, reward in pool}
    return credit
