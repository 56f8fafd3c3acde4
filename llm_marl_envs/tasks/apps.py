"""APPS: programming problems of three difficulties (Hendrycks et al. 2021, arXiv 2105.09938; MIT licence)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llm_marl_envs.data import DataSource, HubData
from llm_marl_envs.task import CPU_S, Problem, Question, Score, Tool
from llm_marl_envs.tasks.families.code import (
    CONTEST_FORMAT,
    CONTEST_IMPORTS,
    Checks,
    grade_program,
    read_json,
    tools_of,
    with_starter,
)
from llm_marl_envs.tasks.families.contests import paired_checks, shown_in
from llm_marl_envs.tasks.families.dataset import Card, DatasetTask, Example, LeftOut


@dataclass(frozen=True)
class APPS(DatasetTask):
    """Write a program (standard input to standard output) or a function.

    Fields of a row: question, solutions, input_output (JSON: inputs, outputs, optional fn_name), difficulty,
    starter_code, problem_id, url.
    """

    cpu_s: float = field(default=4.0, metadata=CPU_S)  # per test

    card = Card(
        title="APPS: programming problems from contests and exercises",
        source=DataSource(
            "apps",
            HubData(
                "codeparrot/apps", "all", revision="main", files={"train": ("train.jsonl",), "test": ("test.jsonl",)}
            ),
            layouts=(("question", "input_output", "starter_code"),),
        ),
        splits={"train": 5000, "test": 5000},
        licence="MIT",
        citation="Hendrycks et al. 2021, arXiv 2105.09938",
        metric="the program in the reply's last fenced block passes all tests",
        examples=(
            Example(
                row={
                    "problem_id": 0,
                    "question": "Read two lines with a number each. Print their mean.\n\n-----Examples-----\nInput\n3\n4\n\n"
                    "Output\n3.5\n",
                    "solutions": '["print((int(input()) + int(input())) / 2)"]',
                    "input_output": json.dumps(
                        {"inputs": ["3\n4\n", "1\n0\n", "-2\n-2\n"], "outputs": ["3.5\n", "0.5", "-2"]}
                    ),
                    "difficulty": "introductory",
                    "url": "",
                    "starter_code": "",
                },
                right=(
                    "```python\nprint((int(input()) + int(input())) / 2)\n```",
                    "```python\nimport sys\na, b = map(int, sys.stdin)\nsys.stdout.write(f'{(a + b) / 2:.8f}  \\n\\n')\nexit()\n```",
                ),
                wrong=(
                    "```python\nprint(3.5)\n```",
                    "```python\nprint((int(input()) + int(input())) // 2)\n```",
                    "```python\nprint('3.5 0.5 -2')\n```",
                    "```python\nprint((int(input()) + int(input())) / 2)\nraise SystemExit(1)\n```",
                ),
            ),
            Example(
                row={
                    "problem_id": 1,
                    "question": "Return the pairs of neighbours of a list.",
                    "solutions": '["class Solution:\\n    def pairs(self, xs):\\n        return list(zip(xs, xs[1:]))"]',
                    "input_output": '{"fn_name": "pairs", "inputs": [[[1, 2, 3]], [[]], [[4, 4]]], '
                    '"outputs": [[[[1, 2], [2, 3]]], [], [[[4, 4]]]]}',
                    "difficulty": "interview",
                    "url": "",
                    "starter_code": "class Solution:\n    def pairs(self, xs: List[int]) -> List[List[int]]:\n        ",
                },
                right=(
                    "```python\nclass Solution:\n    def pairs(self, xs: List[int]):\n        return [*zip(xs, xs[1:])]\n```",
                    "```python\ndef pairs(xs):\n    return [[a, b] for a, b in zip(xs, xs[1:])]\n```",
                ),
                wrong=(
                    "```python\nclass Solution:\n    def pairs(self, xs):\n        return []\n```",
                    "```python\nclass Solution:\n    pass\n```",
                    "```python\nprint([[1, 2], [2, 3]])\n```",
                ),
            ),
        ),
        notes="Rows without tests are left out. Output is compared line by line and token by token, numbers that are not whole "
        "within 1e-6; the official harness also accepts lines in any order. A call's result must equal the expected one or, if that "
        "is a list of one item, this item. The examples that an agent may run are the tests whose input and output are in "
        "the statement. The usual modules are imported before a program. The hub's revision is not pinned.",
    )

    @property
    def tools(self) -> Mapping[str, Tool]:
        return tools_of(self, numpy=True)

    def read(self, row: dict[str, Any], id: str) -> Problem | LeftOut:
        text, starter = row["question"], row["starter_code"] or ""
        if not row["input_output"]:
            return LeftOut("it has no tests")
        tests = read_json(row["input_output"], f"{id}: input_output")
        name = tests.get("fn_name") if isinstance(tests, dict) else None
        checks = paired_checks(tests, f"{id}: input_output")
        if not checks:
            return LeftOut("it has no tests")
        return Problem(
            Question(id, with_starter(text, starter, name), "code", CONTEST_FORMAT),
            Checks(checks, shown_in(text, checks), CONTEST_IMPORTS),
        )

    def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
        return grade_program(problem.gold, text, kind, self.cpu_s, numpy=True)
