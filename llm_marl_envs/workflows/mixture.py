"""Mixture of agents: layers of proposers, each reading the layer before; an aggregator answers (arXiv 2406.04692; MARTI)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import ClassVar

from llm_marl_envs.protocol import Ask, Claim, Roster, Talk
from llm_marl_envs.task import Question
from llm_marl_envs.workflows.prompts import solve

READ = "Others answered:\n{others}\nSome of it may be wrong. Write a better answer."


@dataclass(frozen=True)
class Mixture:
    """In each of `layers` layers, `proposers` answer at the same time; from the second layer on they see all answers of the layer
    before. The aggregator combines the last layer's answers into one. A proposer keeps its name in all layers."""

    proposers: int = 3
    layers: int = 2
    topology: ClassVar[str] = "debate"

    def __post_init__(self):
        if self.proposers < 1 or self.layers < 1:
            raise ValueError(f"proposers and layers start at 1; got {self.proposers} and {self.layers}")

    @cached_property
    def roster(self) -> Roster:
        return Roster(proposer=self.proposers, aggregator=1)

    def talk(self, question: Question, rng: Random) -> Talk:
        names, advice = self.roster.of("proposer"), ""
        for _ in range(self.layers):
            said = yield tuple(Ask(name, solve(question, advice)) for name in names)
            for name, text in zip(names, said, strict=True):
                yield Claim(name, text)
            advice = READ.format(others="\n".join(f"Answer {i}: {text}" for i, text in enumerate(said, 1)))
        answer = yield Ask("aggregator_0", solve(question, advice), kind="aggregate")
        yield Claim("aggregator_0", answer)
        return answer
