"""Solo: one agent, one reply. The control that every team is measured against."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar

from llm_marl_envs.protocol import Ask, Claim, Roster, Talk
from llm_marl_envs.task import Question
from llm_marl_envs.workflows.prompts import solve


@dataclass(frozen=True)
class Solo:
    """The single-agent control of arXiv 2605.24202: the generator's prompt only."""

    roster: ClassVar[Roster] = Roster(generator=1)

    def talk(self, question: Question, rng: Random) -> Talk:
        answer = yield Ask("generator_0", solve(question), kind="return")
        yield Claim("generator_0", answer)
        return answer
