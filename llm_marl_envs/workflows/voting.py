"""Voting: several generators answer the same prompt, an aggregator picks one of them (arXiv 2605.24202, Voting)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import ClassVar, Literal

from llm_marl_envs.protocol import Ask, Claim, Malformed, Roster, Talk
from llm_marl_envs.reading import boxed
from llm_marl_envs.task import Question
from llm_marl_envs.workflows.prompts import solve

AGGREGATE = "Problem: {question}\n{candidates}\nWhich solution is right? End with \\boxed{{N}}, N from 1 to {votes}."


@dataclass(frozen=True)
class Voting:
    """`votes` generators solve the problem at the same time; the aggregator sees all solutions and chooses one by its number.

    fallback: what an unreadable choice means. "digit" (paper): the first digit in the reply if it names a candidate, else
    the first candidate; "first": the first candidate; "none": the team gives no answer.
    """

    votes: int = 3
    fallback: Literal["digit", "first", "none"] = "digit"
    topology: ClassVar[str] = "debate"

    def __post_init__(self):
        if self.votes < 1:
            raise ValueError(f"votes starts at 1; got {self.votes}")
        if self.fallback not in ("digit", "first", "none"):
            raise ValueError("fallback is 'digit', 'first' or 'none'")

    @cached_property
    def roster(self) -> Roster:
        return Roster(generator=self.votes, aggregator=1)

    def talk(self, question: Question, rng: Random) -> Talk:
        generators = self.roster.of("generator")
        prompt = solve(question)
        drafts = yield tuple(Ask(name, prompt) for name in generators)
        for name, draft in zip(generators, drafts, strict=True):
            yield Claim(name, draft)
        candidates = "\n".join(f"Solution {i}: {draft}" for i, draft in enumerate(drafts, 1))
        ask = AGGREGATE.format(question=question.text, candidates=candidates, votes=self.votes)
        reply = yield Ask("aggregator_0", ask, kind="aggregate")
        choice = self._choice(boxed(reply) or "")
        if choice is None:
            yield Malformed("aggregator_0", f"\\boxed{{N}} with N from 1 to {self.votes}")
            choice = self._guess(reply)
        if choice is None:
            return None
        chosen = drafts[choice - 1]
        yield Claim("aggregator_0", chosen)
        return chosen

    def _choice(self, text: str) -> int | None:
        return int(text) if re.fullmatch(r"[0-9]{1,4}", text) and 1 <= int(text) <= self.votes else None

    def _guess(self, reply: str) -> int | None:
        if self.fallback == "none":
            return None
        digit = re.search(r"[0-9]", reply) if self.fallback == "digit" else None
        return (self._choice(digit.group()) if digit else None) or 1
