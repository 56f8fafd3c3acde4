"""The untrained control that spends what a team spends on more tries of one agent, and takes their majority."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from baselines.evaluate import EvaluateFn, Evaluation, majority
from baselines.methods.shared import Shared
from llm_marl_envs.task import ANY

MOST_VOTES = 256


@dataclass(frozen=True)
class SelfConsistency(Shared):
    """No training: the majority of several sampled answers of the starting model (arXiv 2203.11171), alone in a study.

    votes: how many. tokens: prompt and reply tokens per problem to spend; it takes as many votes as come nearest to that, by what
    one costs, and `votes` is not asked. heat: their temperature.
    """

    learns: ClassVar[bool] = False
    plays: ClassVar[str] = "solo"
    votes: int = 5
    tokens: float = field(default=0.0, metadata=ANY)
    heat: float = 0.7

    def __post_init__(self):
        super().__post_init__()
        if not 1 <= self.votes <= MOST_VOTES or self.tokens < 0 or self.heat <= 0:
            raise ValueError(
                f"votes are 1 to {MOST_VOTES}, tokens at least 0, heat above 0; got {self.votes}, {self.tokens} and {self.heat}"
            )

    def evaluate(self, play: EvaluateFn) -> Evaluation:
        votes = self.votes
        if self.tokens:
            one = play(temperature=self.heat).figures.get("tokens", 0.0)
            votes = min(MOST_VOTES, max(1, round(self.tokens / one))) if one else MOST_VOTES
        return majority(play(samples=votes, temperature=self.heat))
