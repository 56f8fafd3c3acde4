"""Scripted experts, one file for each family of tasks. The tiny model imitates them before reinforcement learning improves on it.

Their mistakes are systematic, not random: a model decoded greedily averages random noise away and would start near 100%.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Protocol

from llm_marl_envs.protocol import Ask, Claim
from llm_marl_envs.session import Session
from llm_marl_envs.task import Problem, Task


class Experts(Protocol):
    """A frozen dataclass of how often they err."""

    def say(self, session: Session, call: Ask, task: Task, problem: Problem, rng: Random) -> str:
        """This call's reply, in the role's manner."""
        ...


def answers_in(session: Session, agent: str | None = None) -> list[str]:
    """All answers claimed so far, or an agent's own, in order."""
    claims = (event.call for event in session.events if type(event.call) is Claim)
    return [claim.text for claim in claims if claim.kind == "answer" and agent in (None, claim.agent)]


def calls_right(right: bool, miss: float, overrule: float, rng: Random) -> bool:
    """A judge's verdict: `miss` of what is wrong is called right, `overrule` of what is right is called wrong."""
    return right == (rng.random() >= (overrule if right else miss))


def pick(right: Sequence[bool], miss: float, rng: Random) -> int:
    """The place of one that is right, if there is one and it is not missed; else of any."""
    good = [i for i, is_right in enumerate(right) if is_right]
    return rng.choice(good) if good and rng.random() >= miss else rng.randrange(len(right))


def gate(choices: Sequence[str], wanted: str, slip: float, rng: Random) -> str:
    """One of a menu: the wanted one, or another in `slip` of all cases. A menu that has it not is drawn from."""
    others = [choice for choice in choices if choice != wanted]
    return wanted if wanted in choices and (not others or rng.random() >= slip) else rng.choice(others)
