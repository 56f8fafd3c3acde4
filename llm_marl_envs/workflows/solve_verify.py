"""Solve and verify: a solver and a verifier who approves or rejects (Dr. MAS, arXiv 2602.08847, mathematics)."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar, Literal

from llm_marl_envs.protocol import Ask, Claim, Malformed, Roster, Talk
from llm_marl_envs.reading import verdict_in
from llm_marl_envs.task import Question
from llm_marl_envs.workflows.prompts import solve

AUXILIARY = "Your teammates said, as auxiliary information:\n{said}"
VERIFY = (
    "Problem: {question}\nYour teammate's solution: {solution}\nCheck it step by step. End with "
    "<verify>approve</verify> or <verify>reject</verify>."
)


@dataclass(frozen=True)
class SolveVerify:
    """The solver solves, the verifier approves or rejects; after a rejection the solver sees both texts and solves again.

    loops: maximum number of solutions (paper: 2); the last one is not verified. missing: what a reply without a verdict means (paper:
    approve).
    """

    loops: int = 2
    missing: Literal["approve", "reject"] = "approve"
    topology: ClassVar[str] = "planner_executor_critic"
    roster: ClassVar[Roster] = Roster(solver=1, verifier=1)

    def __post_init__(self):
        if self.loops < 1:
            raise ValueError(f"loops starts at 1; got {self.loops}")
        if self.missing not in ("approve", "reject"):
            raise ValueError(f"missing is 'approve' or 'reject'; got {self.missing!r}")

    def talk(self, question: Question, rng: Random) -> Talk:
        solution = yield Ask("solver_0", solve(question))
        yield Claim("solver_0", solution)
        for _ in range(self.loops - 1):
            said = yield Ask("verifier_0", VERIFY.format(question=question.text, solution=solution), kind="decision")
            approved = verdict_in(said, "verify", "approve", "reject")
            if approved is None:
                yield Malformed("verifier_0", "<verify>approve</verify> or <verify>reject</verify>")
                approved = self.missing == "approve"
            else:
                yield Claim("verifier_0", "right" if approved else "wrong", "verdict", solution)
            if approved:
                break
            said = f"Solver: {solution}\nVerifier: {said}"
            solution = yield Ask("solver_0", solve(question, AUXILIARY.format(said=said)))
            yield Claim("solver_0", solution)
        return solution
