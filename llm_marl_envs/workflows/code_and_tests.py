"""Code and tests: a coder and a writer of unit tests, executed against each other (PettingLLMs, arXiv 2510.11062)."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar

from llm_marl_envs.protocol import Ask, Claim, Roster, Talk, UseTool
from llm_marl_envs.reading import find_program
from llm_marl_envs.task import Question
from llm_marl_envs.workflows.prompts import solve

TEST = (
    "{question}\nYour teammate writes this program. Write tests for it: Python asserts that call it, in one ```python block, from "
    "the problem alone."
)
FIX = (
    "The program so far:\n{code}\nThe tests so far:\n{tests}\nTogether they gave:\n{result}\nEither may be wrong. Correct your part, "
    "or repeat it."
)
PASSED = "all tests passed"


@dataclass(frozen=True)
class CodeAndTests:
    """In each round the coder and the tester write at the same time, without seeing the other's new text; then the program and the
    tests are run together. If the tests pass, the team is done; otherwise both see both texts and the result of the run.

    rounds: maximum number of versions of the program. A run that passes is the tester's verdict "right" about the program, one that fails
    is its verdict "wrong".
    """

    rounds: int = 3
    topology: ClassVar[str] = "planner_executor_critic"
    roster: ClassVar[Roster] = Roster(coder=1, tester=1)
    needs: ClassVar[frozenset[str]] = frozenset({"python"})

    def __post_init__(self):
        if self.rounds < 1:
            raise ValueError(f"rounds starts at 1; got {self.rounds}")

    def talk(self, question: Question, rng: Random) -> Talk:
        advice, code = "", None
        test = TEST.format(question="\n".join((question.text, *question.materials)))
        for _ in range(self.rounds):
            code, tests = yield (
                Ask("coder_0", solve(question, advice)),
                Ask("tester_0", f"{test}\n{advice}" if advice else test),
            )
            yield Claim("coder_0", code)
            program, checks = find_program(code) or code, find_program(tests) or tests
            both = f'{program}\n\n{checks}\nprint("{PASSED}")\n'
            result = yield UseTool("tester_0", "python", {"code": both})
            passed = result.rstrip().endswith(PASSED)
            yield Claim("tester_0", "right" if passed else "wrong", "verdict", code)
            if passed:
                break
            advice = FIX.format(code=program, tests=checks, result=result)
        return code
