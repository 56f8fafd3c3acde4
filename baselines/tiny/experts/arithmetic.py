"""Experts for sums. The slip is a forgotten carry, with the working written out so that an evaluator can see it:

    What is 47 + 58?   Units 7+8=15, tens 4+5=9. \\boxed{95}        (right: tens 4+5+1=10. \\boxed{105})

Greedy drafts are then right on the sums without a carry, about 55% of two-digit ones, and the right way is sampled often
enough for reinforcement learning to find it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random

from baselines.tiny.experts import answers_in, calls_right, gate, pick
from llm_marl_envs.protocol import Ask
from llm_marl_envs.session import Session
from llm_marl_envs.task import Problem, Task
from llm_marl_envs.workflows.voting import Voting

PLACES = ("Units", "tens", "hundreds", "thousands", "ten thousands")
STRATEGIES = ("add the units, then the tens", "add column by column", "mind the carry", "add the larger number first")


@dataclass(frozen=True)
class Adders:
    """How often each expert errs. forget: drafts of a sum with a carry that forget it; the same in refinements after a wrong
    and after a right draft. invent: a carry where there is none. stray: any other slip. miss, overrule: verdicts on wrong
    and on right answers that are false; a gate errs as often as it misses."""

    forget: float = 0.8
    forget_after_wrong: float = 0.7
    forget_after_right: float = 0.2
    invent: float = 0.08
    stray: float = 0.03
    miss: float = 0.2
    overrule: float = 0.1

    def say(self, session: Session, call: Ask, task: Task, problem: Problem, rng: Random) -> str:
        """This call's reply, in the role's manner."""
        answers = answers_in(session)
        match session.play.workflow.roster.role(call.agent):
            case "evaluator":
                return "\\boxed{Correct}" if self._accepts(answers[-1], task, problem, rng) else "\\boxed{Incorrect}"
            case "verifier":
                said = "approve" if self._accepts(answers[-1], task, problem, rng) else "reject"
                return f"<verify>{said}</verify>"
            case "reviewer":
                right = self._accepts(answers[-1], task, problem, rng)
                return "RIGHT\nEvery column is added." if right else "WRONG\nA carry is missing."
            case "proposercontroller":
                right = _right(answers[-1], task, problem)
                return gate(call.choices, "keep" if right else "refresh", self.miss, rng)
            case "reviewercontroller":
                return gate(call.choices, "speak", self.miss, rng)
            case "aggregator" if isinstance(session.play.workflow, Voting):
                return f"\\boxed{{{self._choose(answers, task, problem, rng) + 1}}}"
            case "synthesizer" | "aggregator" | "judge" | "decider" if answers:
                return answers[self._choose(answers, task, problem, rng)]
            case "orchestrator":
                chosen = rng.sample(STRATEGIES, rng.randint(1, 3))
                return "\n".join(f"STRATEGY {k}: {strategy}" for k, strategy in enumerate(chosen, 1))
            case "linker":
                return rng.choice(call.choices)
            case "spawner":
                return gate(call.choices, rng.choice("12") if "workers: none" in call.prompt.lower() else "0", 0.0, rng)
            case "delegator":
                workers = re.findall(r"worker_[0-9]+", call.prompt.partition("\nWorkers: ")[2].partition("\n")[0])
                return "\n".join(f"{worker}: {rng.choice(STRATEGIES)}" for worker in workers)
            case "communicator":
                return "none"
            case "stopper":
                right = any(_right(answer, task, problem) for answer in answers)
                return gate(call.choices, "stop" if right else "continue", self.miss, rng)
        before = answers_in(session, call.agent) or answers
        if not before or call.kind == "return":
            return self._solve(problem, self.forget, rng)
        right = _right(before[-1], task, problem)
        return self._solve(problem, self.forget_after_right if right else self.forget_after_wrong, rng)

    def _accepts(self, answer: str, task: Task, problem: Problem, rng: Random) -> bool:
        return calls_right(_right(answer, task, problem), self.miss, self.overrule, rng)

    def _choose(self, answers: list[str], task: Task, problem: Problem, rng: Random) -> int:
        return pick([_right(answer, task, problem) for answer in answers], self.miss, rng)

    def _solve(self, problem: Problem, forget: float, rng: Random) -> str:
        expression = problem.question.text.removeprefix("What is ").removesuffix("?")
        chance = rng.random()
        if set(expression) - set("0123456789+ "):
            off = 10 if chance < forget else 1 if chance > 1 - self.stray else 0
            return f"{expression.replace(' ', '')}={problem.gold + off}. \\boxed{{{problem.gold + off}}}"
        numbers = [int(n) for n in expression.split("+")]
        honest = column_sum(numbers)
        forgetful = column_sum(numbers, carry=False)
        if forgetful != honest and chance < forget:
            return forgetful
        if forgetful == honest and chance < self.invent:
            return column_sum(numbers, invent=True)
        if chance > 1 - self.stray:
            return honest.replace(f"{{{sum(numbers)}}}", f"{{{sum(numbers) + rng.choice((-10, -1, 1, 10))}}}")
        return honest


def _right(answer: str, task: Task, problem: Problem) -> bool:
    return task.grade(problem, answer).value == 1


def column_sum(numbers: list[int], *, carry: bool = True, invent: bool = False) -> str:
    """A sum worked out column by column; without carries, or with one carry into the tens that is not there.

    >>> column_sum([47, 58])
    'Units 7+8=15, tens 4+5+1=10. \\\\boxed{105}'
    """
    steps, low, carried = [], "", 0
    columns = max(len(str(n)) for n in numbers)
    total = 0
    for k in range(columns):
        digits = [n // 10**k % 10 for n in numbers if n >= 10**k]
        extra = 1 if invent and k == 1 else carried
        terms = [*digits, extra] if extra else digits
        total = sum(terms)
        place = PLACES[k] if k < len(PLACES) else f"10^{k}"
        steps.append(f"{place} {'+'.join(map(str, terms))}={total}")
        carried = total // 10 if carry else 0
        if k < columns - 1:
            low = str(total % 10) + low
    return f"{', '.join(steps)}. \\boxed{{{int(f'{total}{low}')}}}"
