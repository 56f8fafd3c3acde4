"""Noisy scripted experts for sums; the tiny model imitates them before reinforcement learning improves on it.

Their mistakes are systematic, not random: a model decoded greedily averages random noise away and would start near 100%.
The slip is a forgotten carry, with the working written out so that an evaluator can see it:

    What is 47 + 58?   Units 7+8=15, tens 4+5=9. \\boxed{95}        (right: tens 4+5+1=10. \\boxed{105})

Greedy drafts are then right on the sums without a carry, about 55% of two-digit ones, and the right way is sampled often
enough for reinforcement learning to find it.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from llm_marl_envs.protocol import Ask
from llm_marl_envs.session import Session
from llm_marl_envs.task import Problem, Task

PLACES = ("Units", "tens", "hundreds", "thousands", "ten thousands")
STRATEGIES = ("add the units, then the tens", "add column by column", "mind the carry", "add the larger number first")


@dataclass(frozen=True)
class Experts:
    """How often each expert errs. forget: drafts of a sum with a carry that forget it; the same in refinements after a wrong
    and after a right draft. invent: a carry where there is none. stray: any other slip. miss, overrule: verdicts on wrong
    and on right answers that are false."""

    forget: float = 0.8
    forget_after_wrong: float = 0.7
    forget_after_right: float = 0.2
    invent: float = 0.08
    stray: float = 0.03
    miss: float = 0.2
    overrule: float = 0.1

    def say(self, session: Session, call: Ask, task: Task, problem: Problem, rng: Random) -> str:
        """This call's reply, in the role's manner."""
        said = [e.reply.text for e in session.events if type(e.call) is Ask and e.reply is not None]
        match session.play.workflow.roster.role(call.agent):
            case "evaluator":
                right = task.grade(problem, said[-1]).value == 1
                truthful = rng.random() >= (self.overrule if right else self.miss)
                return "\\boxed{Correct}" if right == truthful else "\\boxed{Incorrect}"
            case "aggregator":
                return f"\\boxed{{{self._choose(said, task, problem, rng) + 1}}}"
            case "orchestrator":
                chosen = rng.sample(STRATEGIES, rng.randint(1, 3))
                return "\n".join(f"STRATEGY {k}: {strategy}" for k, strategy in enumerate(chosen, 1))
            case "synthesizer":
                return said[1:][self._choose(said[1:], task, problem, rng)]
            case _:
                drafts = said[:-1][-1:]  # in eval_opt: the draft that the last verdict was about
                if not drafts or call.kind == "return":
                    forget = self.forget
                else:
                    right = task.grade(problem, drafts[0]).value == 1
                    forget = self.forget_after_right if right else self.forget_after_wrong
                return self._solve(problem, forget, rng)

    def _choose(self, solutions: list[str], task: Task, problem: Problem, rng: Random) -> int:
        right = [i for i, text in enumerate(solutions) if task.grade(problem, text).value == 1]
        return rng.choice(right) if right and rng.random() >= self.miss else rng.randrange(len(solutions))

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
