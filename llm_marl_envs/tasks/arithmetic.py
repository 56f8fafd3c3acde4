"""Arithmetic: procedural sums, nothing to download, its knobs set the difficulty."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from llm_marl_envs.errors import UnknownName
from llm_marl_envs.grading.number_score import grade_number
from llm_marl_envs.seeds import seed_of
from llm_marl_envs.task import ANY, LENGTH, MANY, Problem, Question, Score, Tool
from llm_marl_envs.tasks.families.procedural import SPLITS, split_by

Expression = tuple[int | str, ...]  # (47, "+", 58)
ENUMERABLE = 50_000  # up to this many expressions are listed, more are drawn


@dataclass(frozen=True)
class Arithmetic:
    """Procedural sums such as 47 + 58, their knobs set the difficulty.

    An expression is `terms` numbers of `digits` digits, joined by `operators` (any of + - *, the usual precedence). An expression's own hash decides its split, whatever the seed and the order of its terms, so splits are disjoint by
    construction: 58 + 47 is in the same split as 47 + 58. `seed` decides which expressions are taken and in which order.
    """

    digits: int = field(default=2, metadata=LENGTH)
    terms: int = field(default=2, metadata=LENGTH)
    operators: str = "+"
    train_size: int = field(default=6_000, metadata=MANY)
    test_size: int = field(default=500, metadata=MANY)
    seed: int = field(default=0, metadata=ANY)

    def __post_init__(self):
        if self.digits < 1 or self.terms < 2 or min(self.train_size, self.test_size) < 1:
            raise ValueError("digits and sizes start at 1, terms at 2")
        if not self.operators or set(self.operators) - set("+-*"):
            raise ValueError(f"operators are any of + - *; got {self.operators!r}")

    @property
    def tools(self) -> Mapping[str, Tool]:
        return {}

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(SPLITS)

    def problems(self, split: str) -> Sequence[Problem]:
        if split not in SPLITS:
            raise UnknownName("split of arithmetic", split, SPLITS)
        return _problems(self, split)

    def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
        return grade_number(problem.gold, text, kind)


@functools.lru_cache(maxsize=16)
def _problems(task: Arithmetic, split: str) -> tuple[Problem, ...]:
    size = task.train_size if split == "train" else task.test_size
    chosen = itertools.islice(_expressions(task, split), size)
    return tuple(
        Problem(
            Question(
                id=f"arithmetic/{split}/{task.seed}/{i}",
                text=f"What is {' '.join(map(str, expression))}?",
                answer_format="Give the answer in \\boxed{}.",
            ),
            value_of(expression),
        )
        for i, expression in enumerate(chosen)
    )


def _expressions(task: Arithmetic, split: str) -> Iterator[Expression]:
    """Distinct expressions of a split, in the seed's order: all of them if they can be listed, else as long as drawing finds new ones."""
    low, high = (1 if task.digits == 1 else 10 ** (task.digits - 1)), 10**task.digits
    slots = [range(low, high) if i % 2 == 0 else task.operators for i in range(2 * task.terms - 1)]
    rng = Random(seed_of("arithmetic", split, task.seed, task.digits, task.terms, task.operators))
    if (high - low) ** task.terms * len(task.operators) ** (task.terms - 1) <= ENUMERABLE:
        everything = [e for e in itertools.product(*slots) if split_of(e) == split]
        rng.shuffle(everything)
        yield from everything
        return
    seen: set[Expression] = set()
    in_vain = 0
    while in_vain < 10_000:
        expression = tuple(rng.choice(slot) for slot in slots)
        in_vain += 1
        if expression not in seen and split_of(expression) == split:
            seen.add(expression)
            in_vain = 0
            yield expression


def split_of(expression: Expression) -> str:
    """The split that an expression belongs to, whatever the order of its terms."""
    return split_by("split", sorted(map(str, expression)))


def value_of(expression: Expression) -> int:
    """The value of (a, op, b, op, c, ...): products first, then from left to right."""
    total, product, sign = 0, int(expression[0]), 1
    for operator, number in zip(expression[1::2], expression[2::2], strict=True):
        if operator == "*":
            product *= int(number)
        else:
            total += sign * product
            product, sign = int(number), 1 if operator == "+" else -1
    return total + sign * product
