"""Snippets: procedural programming problems, nothing to download: small functions from a description and examples."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np

from llm_marl_envs.errors import UnknownName
from llm_marl_envs.seeds import seed_of
from llm_marl_envs.task import ANY, CPU_S, LENGTH, MANY, Problem, Question, Score, Tool
from llm_marl_envs.tasks.families.code import ANSWER_FORMAT, Asserts, Checks, grade_program, telling, tools_of
from llm_marl_envs.tasks.families.procedural import SPLITS, split_by

POOL = 40  # inputs from which a family's problems take their examples and tests
HIDDEN = 10  # tests that the question does not show
MOST_SHOWN = 8
MOST_STEPS = 3


@dataclass(frozen=True, slots=True)
class Steps(Checks):
    """Checks of a composition, with what it takes (a family's name) and the code of its steps, of which `program_of` makes a
    program."""

    takes: str = field(kw_only=True)
    code: tuple[str, ...] = field(kw_only=True)


def program_of(code: Sequence[str]) -> str:
    """The program of a composition: one line for each of its steps."""
    return "\n".join(("def solve(v):", *(f"    v = {line}" for line in code), "    return v"))


@dataclass(frozen=True)
class Snippets:
    """Write `solve(value)`: one to three steps on a list, a string, a number or a dict, such as "keep the even numbers;
    then sort from large to small".

    A function is a composition of steps; compositions that do the same are one function, named by the shortest. Its own
    hash decides its split, so splits are disjoint whatever the seed. Every question shows examples which no other function
    of the family (up to `steps` steps) agrees with unless it agrees with the hidden tests as well; so with
    `described=False`, which leaves the words out, the examples still tell what is asked.

    examples: how many of them are shown at most (None: all); the others are graded all the same. Fewer make short prompts, for
    small models.
    """

    steps: int = 2
    described: bool = True
    train_size: int = field(default=1_000, metadata=MANY)
    test_size: int = field(default=100, metadata=MANY)
    seed: int = field(default=0, metadata=ANY)
    cpu_s: float = field(default=2.0, metadata=CPU_S)  # per program and test
    examples: int | None = field(default=None, metadata=LENGTH)

    def __post_init__(self):
        if not 1 <= self.steps <= MOST_STEPS or min(self.train_size, self.test_size) < 1:
            raise ValueError(f"steps are 1 to {MOST_STEPS}, sizes start at 1; got {self}")
        if self.examples is not None and not (self.described and self.examples >= 0):
            raise ValueError(
                f"examples starts at 0, and without described=True all must be shown, or they do not tell what is asked; got {self}"
            )

    @property
    def tools(self) -> Mapping[str, Tool]:
        return tools_of(self)

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(SPLITS)

    def problems(self, split: str) -> Sequence[Problem]:
        if split not in SPLITS:
            raise UnknownName("split of snippets", split, SPLITS)
        return _problems(self, split)

    def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
        return grade_program(problem.gold, text, kind, self.cpu_s)


@dataclass(frozen=True, slots=True)
class Primitive:
    """A primitive step: in words, as a Python expression of `v`, and as the function that this is. The last step of a composition
    may `end` it with another type."""

    words: str
    code: str
    ends: bool = False
    does: Callable[[Any], Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        object.__setattr__(self, "does", eval(f"lambda v: {self.code}"))  # so that the two cannot differ


@dataclass(frozen=True, slots=True)
class Family:
    """Steps on one type of value, and how to draw such a value."""

    takes: str
    draw: Callable[[Random], Any]
    steps: tuple[Primitive, ...]


def _list_steps() -> Iterator[Primitive]:
    yield Primitive("reverse the list", "v[::-1]")
    yield Primitive("sort the numbers from small to large", "sorted(v)")
    yield Primitive("sort the numbers from large to small", "sorted(v, reverse=True)")
    yield Primitive("keep the even numbers", "[x for x in v if x % 2 == 0]")
    yield Primitive("keep the odd numbers", "[x for x in v if x % 2]")
    yield Primitive("keep the positive numbers", "[x for x in v if x > 0]")
    yield Primitive("keep every second number, beginning with the first", "v[::2]")
    yield Primitive("keep only the first of equal numbers", "list(dict.fromkeys(v))")
    yield Primitive("square every number", "[x * x for x in v]")
    yield Primitive("negate every number", "[-x for x in v]")
    yield Primitive("replace every number by its distance from zero", "[abs(x) for x in v]")
    yield Primitive(
        "replace every number by the sum of it and all before it", "[sum(v[: i + 1]) for i in range(len(v))]"
    )
    yield Primitive(
        "take the differences of neighbours (the later less the earlier)",
        "[b - a for a, b in zip(v, v[1:])]",
    )
    yield Primitive("move the first number to the end", "v[1:] + v[:1]")
    for k in (1, 2, 3):
        yield Primitive(f"drop the first {k} of the list", f"v[{k}:]")
        yield Primitive(f"add {k} to every number", f"[x + {k} for x in v]")
    for k in (2, 3):
        yield Primitive(f"multiply every number by {k}", f"[x * {k} for x in v]")
        yield Primitive(f"keep only the first {k} of the list", f"v[:{k}]")
    yield Primitive("return the sum of the numbers (0 if there are none)", "sum(v)", ends=True)
    yield Primitive("return how many numbers there are", "len(v)", ends=True)
    yield Primitive("return the largest number (0 if there is none)", "max(v, default=0)", ends=True)
    yield Primitive("return the smallest number (0 if there is none)", "min(v, default=0)", ends=True)


def _string_steps() -> Iterator[Primitive]:
    yield Primitive("reverse the string", "v[::-1]")
    yield Primitive("make all letters large", "v.upper()")
    yield Primitive("make all letters small", "v.lower()")
    yield Primitive("swap large and small letters", "v.swapcase()")
    yield Primitive(
        "remove the vowels (a, e, i, o, u, large or small)", "''.join(c for c in v if c not in 'aeiouAEIOU')"
    )
    yield Primitive("keep only the letters", "''.join(c for c in v if c.isalpha())")
    yield Primitive("keep only the digits", "''.join(c for c in v if c.isdigit())")
    yield Primitive("write every character twice", "''.join(c * 2 for c in v)")
    yield Primitive("sort the characters by their code points", "''.join(sorted(v))")
    yield Primitive("keep only the first of equal characters", "''.join(dict.fromkeys(v))")
    yield Primitive("keep every second character, beginning with the first", "v[::2]")
    yield Primitive("put the words (separated by single spaces) in reverse order", "' '.join(v.split(' ')[::-1])")
    yield Primitive(
        "reverse each word (words are separated by single spaces)", "' '.join(w[::-1] for w in v.split(' '))"
    )
    yield Primitive("replace spaces by hyphens", "v.replace(' ', '-')")
    yield Primitive("move the first character to the end", "v[1:] + v[:1]")
    for k in (1, 2, 3):
        yield Primitive(f"drop the first {k} of the string", f"v[{k}:]")
    for k in (3, 5):
        yield Primitive(f"keep only the first {k} of the string", f"v[:{k}]")
    yield Primitive("return the length of the string", "len(v)", ends=True)
    yield Primitive("return the number of spaces", "v.count(' ')", ends=True)
    yield Primitive(
        "return the number of vowels (a, e, i, o, u, large or small)",
        "sum(c in 'aeiouAEIOU' for c in v)",
        ends=True,
    )
    yield Primitive("return the sum of its digits", "sum(int(c) for c in v if c.isdigit())", ends=True)


def _number_steps() -> Iterator[Primitive]:
    yield Primitive("negate it", "-v")
    yield Primitive("take its distance from zero", "abs(v)")
    yield Primitive("square it", "v * v")
    yield Primitive("take the sum of its decimal digits (leaving out a minus sign)", "sum(map(int, str(abs(v))))")
    yield Primitive("take the number of its decimal digits (leaving out a minus sign)", "len(str(abs(v)))")
    yield Primitive("take its distance from zero with the decimal digits reversed", "int(str(abs(v))[::-1])")
    yield Primitive("take its largest decimal digit", "int(max(str(abs(v))))")
    yield Primitive("if it is odd, add 1", "v + v % 2")
    yield Primitive("if it is even, halve it", "v if v % 2 else v // 2")
    yield Primitive("if it is below 0, take 0", "max(v, 0)")
    for k in (1, 3, 10):
        yield Primitive(f"add {k}", f"v + {k}")
        yield Primitive(f"subtract it from {k}", f"{k} - v")
    for k in (2, 3, 5):
        yield Primitive(f"multiply it by {k}", f"v * {k}")
        yield Primitive(f"divide it by {k}, rounding down", f"v // {k}")
    for k in (4, 7):
        yield Primitive(f"take the remainder of dividing it by {k} (from 0 to {k - 1})", f"v % {k}")
    yield Primitive(
        "return it as a string of binary digits (with a minus sign if it is below 0)", "f'{v:b}'", ends=True
    )


def _dict_steps() -> Iterator[Primitive]:
    yield Primitive("make the keys upper case", "{k.upper(): x for k, x in v.items()}")
    yield Primitive("reverse each key", "{k[::-1]: x for k, x in v.items()}")
    yield Primitive("negate the values", "{k: -x for k, x in v.items()}")
    yield Primitive("square the values", "{k: x * x for k, x in v.items()}")
    yield Primitive("add to each value the length of its key", "{k: x + len(k) for k, x in v.items()}")
    yield Primitive("keep the entries with even values", "{k: x for k, x in v.items() if x % 2 == 0}")
    yield Primitive("keep the entries with positive values", "{k: x for k, x in v.items() if x > 0}")
    yield Primitive(
        "keep the entries whose keys contain an 'a' or 'A'", "{k: x for k, x in v.items() if 'a' in k.lower()}"
    )
    for n in (2, 3):
        yield Primitive(
            f"keep the entries with keys longer than {n}", f"{{k: x for k, x in v.items() if len(k) > {n}}}"
        )
    for n in (1, 2, 5):
        yield Primitive(f"add {n} to each value", f"{{k: x + {n} for k, x in v.items()}}")
    for n in (2, 3):
        yield Primitive(f"multiply each value by {n}", f"{{k: x * {n} for k, x in v.items()}}")
    yield Primitive("return the sum of the values", "sum(v.values())", ends=True)
    yield Primitive("return the number of entries", "len(v)", ends=True)
    yield Primitive("return the list of the keys, sorted by their code points", "sorted(v)", ends=True)
    yield Primitive("return the list of the values from small to large", "sorted(v.values())", ends=True)
    yield Primitive("return the largest value (0 if there is none)", "max(v.values(), default=0)", ends=True)
    yield Primitive(
        "return the keys joined by commas, those of larger values first, keys of equal values by their code points",
        "','.join(sorted(v, key=lambda k: (-v[k], k)))",
        ends=True,
    )


def _draw_list(rng: Random) -> list[int]:
    return [rng.randint(-12, 20) for _ in range(rng.choice((0, 1, 3, 4, 5, 5, 6, 7)))]


def _draw_string(rng: Random) -> str:
    words = (
        "".join(rng.choice("abeinorstAEMPT037") for _ in range(rng.randint(1, 6))) for _ in range(rng.randint(1, 3))
    )
    return " ".join(words)


def _draw_number(rng: Random) -> int:
    return rng.choice((1, 1, -1)) * rng.randrange(10 ** rng.randint(1, 4))


def _draw_dict(rng: Random) -> dict[str, int]:
    keys = ("".join(rng.choice("abdeklmA") for _ in range(rng.randint(1, 5))) for _ in range(rng.randint(0, 5)))
    kept = {key.upper(): key for key in keys}  # no two become one when they are made upper case
    return {key: rng.randint(-9, 15) for key in kept.values()}


@functools.cache
def families() -> Mapping[str, Family]:
    return {
        "list": Family("a list of integers", _draw_list, tuple(_list_steps())),
        "string": Family("a string", _draw_string, tuple(_string_steps())),
        "number": Family("an integer", _draw_number, tuple(_number_steps())),
        "dict": Family("a dict from strings to integers", _draw_dict, tuple(_dict_steps())),
    }


def apply(steps: Sequence[Primitive], value: Any) -> Any:
    """The reference: what a composition makes of a value."""
    for step in steps:
        value = step.does(value)
    return value


@functools.cache
def functions(name: str, most: int) -> Mapping[tuple[int, ...], tuple[Primitive, ...]]:
    """All different functions of a family of up to `most` steps: the shortest composition's indices, and its steps.

    Two compositions are the same function if they agree on inputs that do not depend on any seed. The first is the empty
    one; each of the others changes some input.
    """
    family = families()[name]
    inputs = pool(name, "all seeds", 4 * POOL)
    found: dict[str, tuple[int, ...]] = {_behaviour(inputs): ()}
    level: list[tuple[tuple[int, ...], list[Any]]] = [((), list(inputs))]
    for _ in range(most):
        longer = []
        for indices, values in level:
            for i, step in enumerate(family.steps):
                made = [step.does(value) for value in values]
                key = _behaviour(made)
                if key not in found:
                    found[key] = (*indices, i)
                    if not step.ends:
                        longer.append(((*indices, i), made))
        level = longer
    return {indices: tuple(family.steps[i] for i in indices) for indices in found.values()}


def _behaviour(values: Sequence[Any]) -> str:
    """What tells functions apart. A dict is what it holds, in whatever order."""
    return repr([sorted(v.items()) if isinstance(v, dict) else v for v in values])


def pool(name: str, seed: object, size: int = POOL) -> list[Any]:
    """Different inputs of a family."""
    rng, found = Random(seed_of("snippets inputs", name, seed)), {}
    while len(found) < size:
        value = families()[name].draw(rng)
        found.setdefault(repr(value), value)
    return list(found.values())


def split_of(name: str, indices: Sequence[int]) -> str:
    """The split that a function belongs to."""
    return split_by("snippets split", name, tuple(indices))


@functools.lru_cache(maxsize=16)
def _problems(task: Snippets, split: str) -> tuple[Problem, ...]:
    size = task.train_size if split == "train" else task.test_size
    known = {name: functions(name, task.steps) for name in families()}
    inputs = {name: pool(name, task.seed) for name in known}
    tables = {name: _table(list(known[name].values()), inputs[name]) for name in known}
    wanted = [(n, i) for n in known for i, f in enumerate(known[n]) if f and split_of(n, f) == split]
    rng = Random(seed_of("snippets", split, task.seed, task.steps))
    rng.shuffle(wanted)
    made: list[Problem] = []
    for name, row in wanted:
        if len(made) == size:
            break
        if (chosen := _choose(tables[name], row, rng)) is not None:
            steps = list(known[name].values())[row]
            tests = [
                [f"assert solve({v!r}) == {apply(steps, v)!r}" for v in (inputs[name][c] for c in cs)] for cs in chosen
            ]
            made.append(_problem(task, f"snippets/{split}/{task.seed}/{len(made)}", name, steps, *tests))
    return tuple(made)


def _table(known: Sequence[Sequence[Primitive]], inputs: Sequence[Any]) -> np.ndarray:
    """A number for what each function makes of each input: the same number, the same value.  # (functions, inputs)"""
    numbers: dict[str, int] = {}
    return np.array(
        [[numbers.setdefault(_behaviour([apply(f, v)]), len(numbers)) for v in inputs] for f in known], dtype=np.int64
    )


def _choose(table: np.ndarray, row: int, rng: Random) -> tuple[list[int], list[int]] | None:
    """Inputs for the examples and for the hidden tests; None if a few examples do not tell the function from all others
    that ever differ from it, or if its results hardly vary.

    Examples are chosen greedily: each leaves as few other functions as possible.
    """
    same = table == table[row]  # (functions, inputs)
    order = rng.sample(range(table.shape[1]), table.shape[1])
    rivals, shown = same[~same.all(axis=1)][:, order], []
    while len(rivals) or len(shown) < 3:
        if len(shown) == MOST_SHOWN:
            return None
        left = rivals.sum(axis=0)
        best = next(int(c) for c in np.argsort(left, kind="stable") if c not in shown)
        shown.append(best)
        rivals = rivals[rivals[:, best]]
    hidden = [c for c in range(len(order)) if c not in shown][:HIDDEN]
    results = [int(table[row, order[c]]) for c in hidden]
    if len(set(results)) < 3 or max(map(results.count, results)) > HIDDEN // 2:
        return None
    return [order[c] for c in shown], [order[c] for c in hidden]


def _problem(
    task: Snippets, id: str, name: str, steps: Sequence[Primitive], chosen: Sequence[str], hidden: Sequence[str]
) -> Problem:
    words = "; then ".join(step.words for step in steps)
    what = f"It must do this: {words}." if task.described else "Find out from the examples what it must return."
    text = f"Write a Python function solve(value). Its value is {families()[name].takes}. {what}"
    if shown := chosen[: task.examples]:
        examples = "\n".join(shown)
        text += f"\nExamples:\n```python\n{examples}\n```"
    graded = (Asserts("\n".join((*chosen, *hidden))),)
    code = tuple(step.code for step in steps)
    gold = Steps(graded, tuple(telling(test) for test in shown), takes=name, code=code)
    return Problem(Question(id, text, "code", ANSWER_FORMAT), gold)
