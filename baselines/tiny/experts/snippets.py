"""Experts for small programs, which know the code of each step. A program has one line for each, in the order of the words.

The slip: for strings and numbers, the last step of several is forgotten. The evaluator counts where it can be seen:

    Steps 2, lines 1. \\boxed{Incorrect}
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from baselines.tiny.experts import answers_in, calls_right, pick
from llm_marl_envs.protocol import Ask
from llm_marl_envs.session import Session
from llm_marl_envs.task import Problem, Task
from llm_marl_envs.tasks.snippets import Steps, program_of
from llm_marl_envs.workflows.voting import Voting

CARELESS = ("string", "number")
STRATEGIES = ("one line for each step", "take the steps in order", "count the steps first", "mind the last step")


@dataclass(frozen=True)
class Programmers:
    """How often each expert errs. careless, careful: programs of several steps that forget the last, in families of either kind;
    after_wrong: the same in the careless ones after a wrong draft, after_right: in all after a right one. swap: the last two
    steps in the wrong order. miss, overrule: verdicts on wrong and on right programs that are false."""

    careless: float = 0.8
    careful: float = 0.15
    after_wrong: float = 0.6
    after_right: float = 0.15
    swap: float = 0.05
    miss: float = 0.15
    overrule: float = 0.1

    def say(self, session: Session, call: Ask, task: Task, problem: Problem, rng: Random) -> str:
        """This call's reply, in the role's manner."""
        gold, answers = problem.gold, answers_in(session)
        match session.play.workflow.roster.role(call.agent):
            case "evaluator":
                accepts = calls_right(answers[-1] == fenced(gold.code), self.miss, self.overrule, rng)
                verdict = "Correct" if accepts else "Incorrect"
                return f"Steps {len(gold.code)}, lines {answers[-1].count('    v = ')}. \\boxed{{{verdict}}}"
            case "aggregator" if isinstance(session.play.workflow, Voting):
                return f"\\boxed{{{self._choose(answers, gold, rng) + 1}}}"
            case "synthesizer":
                return answers[self._choose(answers, gold, rng)]
            case "orchestrator":
                chosen = rng.sample(STRATEGIES, rng.randint(1, 3))
                return "\n".join(f"STRATEGY {k}: {strategy}" for k, strategy in enumerate(chosen, 1))
            case "tester":
                return f"```python\n{gold.shown[0].name if gold.shown else 'assert callable(solve)'}\n```"
        forget = self.careless if gold.takes in CARELESS else self.careful
        own = answers_in(session, call.agent)
        if own and call.kind != "return":
            right = own[-1] == fenced(gold.code)
            forget = self.after_right if right else min(forget, self.after_wrong)
        return self._write(gold.code, forget, rng)

    def _choose(self, answers: list[str], gold: Steps, rng: Random) -> int:
        return pick([answer == fenced(gold.code) for answer in answers], self.miss, rng)

    def _write(self, code: tuple[str, ...], forget: float, rng: Random) -> str:
        chance = rng.random()
        if len(code) > 1 and chance < forget:
            return fenced(code[:-1])
        if len(code) > 1 and chance < forget + self.swap:
            return fenced((*code[:-2], code[-1], code[-2]))
        return fenced(code)


def fenced(code: tuple[str, ...]) -> str:
    """The program of some steps as a reply."""
    return f"```python\n{program_of(code)}\n```"
