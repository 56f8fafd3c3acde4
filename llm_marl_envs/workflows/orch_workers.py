"""Orchestrator-workers: a plan of strategies, one worker for each, a synthesizer (arXiv 2605.24202, Orch-Workers)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import ClassVar, Literal

from llm_marl_envs.protocol import Ask, Claim, Malformed, Roster, Spawn, Stop, Talk
from llm_marl_envs.task import Question
from llm_marl_envs.workflows.prompts import solve

PLAN = (
    "Problem: {question}\nPropose up to {workers} different strategies for solving it, one a line, as\n"
    "STRATEGY 1: ...\nDo not solve it yourself."
)
SYNTHESIZE = "Problem: {question}\n{solutions}\nCompare the solutions and write the final one. {form}"
STRATEGY = re.compile(
    r"^[ \t*#-]{0,8}STRATEGY[ \t]{0,4}([0-9]{1,3})[ \t]{0,4}[:.)][ \t*]{0,4}(\S[^\n]{0,2000})", re.M | re.I
)


@dataclass(frozen=True)
class OrchWorkers:
    """The orchestrator writes strategies; a worker is spawned for each and solves the complete problem; the synthesizer decides.

    workers: maximum number of strategies. too_many: what happens if there are more; "fail" (paper) gives no answer, so the episode scores 0,
    "cut" takes the first ones. unparseable: what happens without any strategy; "direct" hires one worker without advice,
    "fail" gives no answer.
    """

    workers: int = 3
    too_many: Literal["fail", "cut"] = "fail"
    unparseable: Literal["direct", "fail"] = "direct"
    topology: ClassVar[str] = "centralized"

    def __post_init__(self):
        if self.workers < 1:
            raise ValueError(f"workers starts at 1; got {self.workers}")
        if self.too_many not in ("fail", "cut") or self.unparseable not in ("direct", "fail"):
            raise ValueError("too_many is 'fail' or 'cut', unparseable 'direct' or 'fail'")

    @cached_property
    def roster(self) -> Roster:
        return Roster(orchestrator=1, synthesizer=1, spawned={"worker": self.workers})

    def talk(self, question: Question, rng: Random) -> Talk:
        plan = yield Ask("orchestrator_0", PLAN.format(question=question.text, workers=self.workers), kind="decision")
        strategies = [advice.strip() for _, advice in STRATEGY.findall(plan)]
        if not strategies or len(strategies) > self.workers:
            yield Malformed("orchestrator_0", f"1 to {self.workers} lines 'STRATEGY k: ...'")
            if (self.unparseable if not strategies else self.too_many) == "fail":
                return None
            strategies = strategies[: self.workers] or [""]
        names = self.roster.of("worker")[: len(strategies)]
        for name in names:
            yield Spawn(name, by="orchestrator_0")
        solutions = yield tuple(
            Ask(name, solve(question, f"Strategy: {advice}" if advice else ""), kind="return")
            for name, advice in zip(names, strategies, strict=True)
        )
        for name, solution in zip(names, solutions, strict=True):
            yield Claim(name, solution)
            yield Stop(name, by="orchestrator_0")
        listed = "\n".join(f"Solution {i}: {solution}" for i, solution in enumerate(solutions, 1))
        ask = SYNTHESIZE.format(question=question.text, solutions=listed, form=question.answer_format)
        answer = yield Ask("synthesizer_0", ask, kind="aggregate")
        yield Claim("synthesizer_0", answer)
        return answer
