"""DeepCoder: contest problems with tests, for training (Luo et al. 2025, DeepCoder-Preview; MIT licence)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llm_marl_envs.data import DataSource, HubData, load_rows
from llm_marl_envs.errors import ConfigError, DataError
from llm_marl_envs.reading import find_program
from llm_marl_envs.task import CPU_S, Problem, Question, Score, Tool
from llm_marl_envs.tasks.families.code import (
    CONTEST_FORMAT,
    CONTEST_IMPORTS,
    Check,
    Checks,
    grade_program,
    parse,
    read_json,
    tools_of,
    with_starter,
)
from llm_marl_envs.tasks.families.contests import listed_checks, paired_checks, shown_in
from llm_marl_envs.tasks.families.dataset import Card, DatasetTask, Example, LeftOut

SPLITS = {"train": ("primeintellect", "taco", "lcbv5"), "test": ("codeforces", "lcbv5")}  # and their configurations
CONFIGS = ("all", "primeintellect", "taco", "lcbv5", "codeforces")


@dataclass(frozen=True, slots=True)
class Stored(Checks):
    """Checks whose graded part stays as it is in the data until a program is graded: as objects they take many times the space."""

    tests: str = ""
    function: str | None = None
    id: str = ""
    solutions: tuple[str, ...] = ()

    def unpacked(self) -> Checks:
        """All tests, and as reference the first solution that is Python 3. It may be wrong: then it sets no limits."""
        checks = read_checks(read_json(self.tests, self.id), self.function, self.id)
        programs = (find_program(solution) or solution for solution in self.solutions)
        return Checks(checks, self.shown, self.ahead, reference=next(filter(_is_python, programs), ""))


@dataclass(frozen=True)
class DeepCoder(DatasetTask):
    """Write a program (standard input to standard output) or a function. Fields of a row: problem, tests (JSON); also solutions,
    starter_code and metadata in some configurations.

    config: "all", or one of the hub's: "primeintellect", "taco" (train), "lcbv5" (train, test), "codeforces" (test).
    """

    config: str = "all"
    cpu_s: float = field(default=6.0, metadata=CPU_S)  # per test

    card = Card(
        title="DeepCoder-Preview: contest problems with tests, from PrimeIntellect's SYNTHETIC-1, TACO, LiveCodeBench and Codeforces",
        source=DataSource(
            "deepcoder",
            HubData("agentica-org/DeepCoder-Preview-Dataset", ("primeintellect", "taco", "lcbv5"), revision="main"),
            layouts=(("problem", "tests"), ("problem", "tests", "solutions"), ("problem", "tests", "starter_code", "metadata")),
            files={split: (tuple(f"deepcoder/{c}/{split}" for c in configs),) for split, configs in SPLITS.items()},
        ),
        splits={"train": 24287, "test": 687},
        licence="MIT; the problems are their platforms'",
        citation="Luo et al. 2025, DeepCoder: A Fully Open-Source 14B Coder at O3-mini Level",
        metric="the program in the reply's last fenced block passes all tests",
        examples=(
            Example(  # taco
                row={
                    "problem": "Read two lines with a number each. Print their mean.\n\n-----Examples-----\nInput\n3\n4\n\n"
                    "Output\n3.5\n",
                    "tests": json.dumps({"inputs": ["3\n4\n", ["1", "0"], "-2\n-2"], "outputs": ["3.5\n", ["0.5"], "-2\n"]}),
                    "solutions": [
                        "print (int(raw_input()) + int(raw_input())) / 2.0",
                        "```python\nprint((int(input()) + int(input())) / 2)\n```",
                    ],
                },
                right=("```python\nprint((int(input()) + int(input())) / 2)\n```",),
                wrong=("```python\nprint((int(input()) + int(input())) // 2)\n```",),
            ),
            Example(  # primeintellect
                row={
                    "problem": "Write a function `pairs` that returns the pairs of neighbours of a list.",
                    "solutions": ["def pairs(xs):\n    return list(zip(xs, xs[1:]))"],
                    "tests": json.dumps(
                        [
                            {"type": "function_call", "fn_name": "pairs", "input": [[1, 2, 3]], "output": [[[1, 2], [2, 3]]]},
                            {"type": "function_call", "fn_name": "pairs", "input": [[]], "output": []},
                        ]
                    ),
                },
                right=("```python\ndef pairs(xs):\n    return [[a, b] for a, b in zip(xs, xs[1:])]\n```",),
                wrong=("```python\ndef pairs(xs):\n    return []\n```",),
            ),
            Example(  # lcbv5
                row={
                    "problem": "Return the sum of a list and a number.",
                    "starter_code": "class Solution:\n    def add(self, xs: List[int], n: int) -> int:\n        ",
                    "tests": json.dumps(
                        [
                            {"input": "[1, 2]\n3", "output": "6", "testtype": "functional", "metadata": {"func_name": "add"}},
                            {"input": "[]\n0", "output": "0", "testtype": "functional", "metadata": {"func_name": "add"}},
                        ]
                    ),
                    "metadata": {"func_name": "add"},
                },
                right=("```python\nclass Solution:\n    def add(self, xs: List[int], n: int):\n        return sum(xs, n)\n```",),
                wrong=("```python\nclass Solution:\n    def add(self, xs, n):\n        return 6\n```",),
            ),
            Example(  # codeforces
                row={
                    "problem": "Given N and then N numbers, print their sum.\n\nExample\n\n2\n3 4\n\n7\n",
                    "tests": json.dumps([{"input": "2\n3 4\n", "output": "7\n"}, {"input": "1\n-5\n", "output": "-5\n"}]),
                },
                right=("```python\ninput()\nprint(sum(map(int, input().split())))\n```",),
                wrong=("```python\nprint(7)\n```",),
            ),
        ),
        notes="`train` is primeintellect (16,252), taco (7,436) and lcbv5 (599), in this order, `test` codeforces (408) and lcbv5 "
        "(279); one configuration alone lies in `deepcoder/<configuration>/<split>`, as on the hub. Rows are left out that have no "
        "statement or no tests, and those whose tests are broken: not JSON, of an unknown kind, a function without a name, or not as "
        "many inputs as outputs (the release fills these up with the first one). All tests must pass; the release runs the 15 "
        "longest. Output is compared line by line and token by token, numbers that are not whole within 1e-6 (those of lcbv5 "
        "exactly); a call's result must equal the expected one or, if that is a list of one item, this item. A program may use four "
        "times the CPU time of the row's first solution that is Python 3, if it solves the test and this is more than `cpu_s`. The "
        "examples that an agent may run are the tests that the statement shows. lcbv5's problems are also those of `livecodebench`: "
        "train on one and test on the other only by date. The hub's revision is not pinned.",
    )  # fmt: skip

    def __post_init__(self):
        if self.config not in CONFIGS:
            raise ConfigError(f"deepcoder's config is one of {', '.join(CONFIGS)}; got {self.config!r}")

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(split for split, configs in SPLITS.items() if self.config in ("all", *configs))

    @property
    def tools(self) -> Mapping[str, Tool]:
        return tools_of(self, numpy=True)

    def rows(self, split: str) -> list[dict[str, Any]]:
        source, configs = self.card.source, SPLITS[split]
        if self.config != "all":
            source, configs = dataclasses.replace(source, name=f"deepcoder/{self.config}", files={}), (self.config,)
        hub = dataclasses.replace(source.hub, config=configs)
        return load_rows(dataclasses.replace(source, hub=hub), split, self.data_dir)

    def read(self, row: dict[str, Any], id: str) -> Problem | LeftOut:
        text, tests = row["problem"], row["tests"]
        try:
            tests = tests if isinstance(tests, str) else json.dumps(tests)
            name = _name(row.get("metadata"), f"{id}: metadata")
            found = read_json(tests, f"{id}: tests")
            name = name or _name(found[0] if isinstance(found, list) and found else found, f"{id}: tests")
            checks = read_checks(found, name, f"{id}: tests")
        except (DataError, TypeError) as bad:
            return LeftOut(f"its tests cannot be read ({bad})")
        if not checks or not isinstance(text, str) or not text.strip():
            return LeftOut("it has no tests or no statement")
        solutions = row.get("solutions")
        known = tuple(s for s in solutions if isinstance(s, str)) if isinstance(solutions, list | tuple) else ()
        gold = Stored((), shown_in(text, checks), CONTEST_IMPORTS, tests=tests, function=name, id=id, solutions=known)
        starter = row.get("starter_code")
        question = with_starter(text, starter if isinstance(starter, str) else "", name)
        return Problem(Question(id, question, "code", CONTEST_FORMAT), gold)

    def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
        return grade_program(problem.gold.unpacked(), text, kind, self.cpu_s, numpy=True)


def read_checks(tests: Any, name: str | None, id: str) -> tuple[Check, ...]:
    """Tests in any of the layouts. Raises DataError for tests that are in none."""
    if isinstance(tests, dict) and "inputs" in tests:
        return paired_checks(tests, id)
    made: list[Check] = []
    for test in tests if isinstance(tests, list) else [tests]:
        match test:
            case {"testtype": "functional"} | {"testtype": "stdin"}:
                made += listed_checks(test, _name(test, id) or name, id)
            case {"input": given, "output": wanted, "type": "function_call"}:
                function = test.get("fn_name") or name
                if not isinstance(function, str):
                    raise DataError(f"{id}: expected the name of the function, got {test!r:.80}")
                given = [read_json(line, id) for line in given.split("\n")] if isinstance(given, str) else given
                made += paired_checks({"inputs": [given], "outputs": [wanted], "fn_name": function}, id)
            case {"input": str() | list() as given, "output": str() | list() as wanted}:
                if test.get("type", test.get("testtype", "stdin_stdout")) != "stdin_stdout":
                    raise DataError(f"{id}: expected tests of a known kind, got {test!r:.80}")
                made += paired_checks({"inputs": [given], "outputs": [wanted]}, id)
            case _:
                raise DataError(f"{id}: expected tests with input and output, got {test!r:.80}")
    return tuple(made)


def _name(of: Any, id: str) -> str | None:
    """The name of the function that a row's or a test's metadata, or a test itself, says is called."""
    if isinstance(of, str):
        of = read_json(of, id) if of.strip() else None
    if not isinstance(of, dict):
        return None
    return of.get("func_name") or of.get("fn_name") or _name(of.get("metadata"), id)


def _is_python(program: str) -> bool:
    try:
        parse(program)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
