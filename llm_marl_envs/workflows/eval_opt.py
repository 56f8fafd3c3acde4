"""Evaluator-optimizer: a generator drafts, an evaluator judges, the generator refines (arXiv 2605.24202, Eval-Opt)."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar, Literal

from llm_marl_envs.protocol import Ask, Claim, Malformed, Roster, Talk
from llm_marl_envs.reading import accepts
from llm_marl_envs.task import Question
from llm_marl_envs.workflows.prompts import solve


@dataclass(frozen=True)
class EvalOpt:
    """A generator drafts; an evaluator judges; the generator refines until the evaluator accepts or the rounds are used up.

    rounds: maximum number of drafts (paper: 3 for mathematics, 2 for code); with 3 an episode has at most 5 calls.
    refine: "feedback" shows the reviewer's words (the paper's second version), "different" asks for another method (its first).
    memory: the generator continues its own conversation instead of seeing problem and draft in a new one.
    unparseable: what a verdict without \\boxed{Correct} or \\boxed{Incorrect} counts as (paper: reject).
    """

    rounds: int = 3
    refine: Literal["feedback", "different"] = "feedback"
    memory: bool = False
    unparseable: Literal["reject", "accept"] = "reject"
    topology: ClassVar[str] = "planner_executor_critic"
    roster: ClassVar[Roster] = Roster(generator=1, evaluator=1)

    def __post_init__(self):
        if self.rounds < 1:
            raise ValueError(f"rounds starts at 1; got {self.rounds}")
        if self.refine not in ("feedback", "different") or self.unparseable not in ("reject", "accept"):
            raise ValueError("refine is 'feedback' or 'different', unparseable 'reject' or 'accept'")

    def talk(self, question: Question, rng: Random) -> Talk:
        draft = yield Ask("generator_0", solve(question))
        yield Claim("generator_0", draft)
        for _ in range(self.rounds - 1):
            verdict = yield Ask("evaluator_0", evaluate(question, draft), kind="decision")
            accepted = accepts(verdict)
            if accepted is None:
                yield Malformed("evaluator_0", "\\boxed{Correct} or \\boxed{Incorrect}")
                accepted = self.unparseable == "accept"
            else:
                yield Claim("evaluator_0", "right" if accepted else "wrong", "verdict", draft)
            if accepted:
                break
            draft = yield Ask("generator_0", self._refinement(question, draft, verdict), fresh=not self.memory)
            yield Claim("generator_0", draft)
        return draft

    def _refinement(self, question: Question, draft: str, verdict: str) -> str:
        if self.refine == "feedback":
            advice = f"Reviewer: {verdict}\nGive an improved answer; keep what is right."
        else:
            advice = "It was rejected. Solve it by a different method."
        if self.memory:
            return f"{advice} {question.answer_format}"
        return f"Problem: {question.text}\nYour answer: {draft}\n{advice} {question.answer_format}"


def evaluate(question: Question, draft: str) -> str:
    """The evaluator's prompt: it judges one draft and must not give the answer away."""
    return (
        f"Problem: {question.text}\nProposed answer: {draft}\nIs it right? Name any mistake briefly, without giving the "
        "answer. End with \\boxed{Correct} or \\boxed{Incorrect}."
    )
