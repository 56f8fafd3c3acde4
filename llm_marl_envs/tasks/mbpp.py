"""MBPP: short programs for entry-level tasks (Austin et al. 2021, arXiv 2108.07732; CC-BY-4.0)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llm_marl_envs.data import DataSource, HubData, load_rows
from llm_marl_envs.errors import DataError
from llm_marl_envs.task import CPU_S, Problem, Question, Score, Tool
from llm_marl_envs.tasks.families.code import (
    ANSWER_FORMAT,
    Asserts,
    Checks,
    defined_by,
    grade_program,
    of_program,
    telling,
    tools_of,
)
from llm_marl_envs.tasks.families.dataset import Card, DatasetTask, Example


@dataclass(frozen=True)
class MBPP(DatasetTask):
    """Write a function from one sentence and some of its tests.

    Fields of a row: text, code, test_list, test_setup_code, challenge_test_list (config "full") or prompt, code,
    test_imports, test_list ("sanitized"), and task_id.
    """

    config: str = "full"
    shown: int = 1  # tests in the question; the usual prompt shows all three
    cpu_s: float = field(default=3.0, metadata=CPU_S)  # per program, all of its tests

    card = Card(
        title="MBPP: mostly basic Python problems",
        source=DataSource(
            "mbpp",
            HubData("google-research-datasets/mbpp", "full", revision="main"),
            layouts=(
                ("task_id", "text", "code", "test_list", "test_setup_code", "challenge_test_list"),
                ("task_id", "prompt", "code", "test_imports", "test_list"),
            ),
        ),
        splits={"prompt": 10, "train": 374, "validation": 90, "test": 500},
        licence="CC-BY-4.0",
        citation="Austin et al. 2021, arXiv 2108.07732",
        metric="the program in the reply's last fenced block passes all tests, the challenge tests included",
        examples=(
            Example(
                row={
                    "task_id": 1,
                    "text": "Write a function to count the leaves of a binary tree.",
                    "code": "class Tree:\r\n  def __init__(self, left=None, right=None):\r\n    self.left, self.right = left, right\r\n"
                    "def leaves(tree):\r\n  parts = [t for t in (tree.left, tree.right) if t]\r\n"
                    "  return sum(map(leaves, parts)) or 1",
                    "test_list": ["assert leaves(pair) == 2", "assert leaves(Tree()) == 1", "assert leaves(deep) == 3"],
                    "test_setup_code": "pair = Tree(Tree(), Tree())\r\ndeep = Tree(pair, Tree(None, Tree()))",
                    "challenge_test_list": ["assert leaves(Tree(deep, deep)) == 6"],
                },
                right=(
                    "```python\nclass Tree:\n    def __init__(self, *kids):\n        self.kids = [k for k in kids if k]\n"
                    "def leaves(tree):\n    return sum(map(leaves, tree.kids)) if tree.kids else 1\n```",
                ),
                wrong=(
                    "```python\nclass Tree:\n    def __init__(self, *kids): pass\ndef leaves(tree):\n    return 2\n```",
                    "```python\ndef leaves(tree):\n    return 2\n```",
                ),
            ),
            Example(
                row={
                    "task_id": 2,
                    "prompt": "Write a function to round up.",
                    "code": "import math\ndef up(x):\n    return math.ceil(x)",
                    "test_imports": ["import math"],
                    "test_list": ["assert up(0.5) == 1", "assert up(math.pi) == 4", "assert up(-0.5) == 0"],
                },
                right=("```python\ndef up(x):\n    return -int(-x // 1)\n```", "```\nfrom math import ceil as up\n```"),
                wrong=("```python\ndef up(x):\n    return 1\n```", "```python\ndef up(x):\n    return round(x)\n```"),
            ),
        ),
        notes="The question shows the first test only (knob `shown`), which gives the function's name and its arguments; the "
        "usual prompt shows all three, so scores are only comparable with papers at shown=3. A program that answers what is "
        "shown by heart fails the others, except in seven tasks whose tests all expect the same value (rows 66, 73, 215 and 298 "
        "of train, 26, 192 and 328 of test). The sanitized configuration (local folder: mbpp/sanitized) has 7, 120, 43 and 257 "
        "problems. A program gets four times the CPU time that the row's own reference needs, where that is more than `cpu_s`. The hub's revision is "
        "not pinned.",
    )

    def __post_init__(self):
        if self.config not in ("full", "sanitized") or self.shown < 0:
            raise ValueError(f"config is full or sanitized, shown at least 0; got {self.config!r}, {self.shown}")

    @property
    def tools(self) -> Mapping[str, Tool]:
        return tools_of(self)

    def rows(self, split: str) -> list[dict[str, Any]]:
        source = self.card.source
        if self.config == "sanitized":
            hub = dataclasses.replace(source.hub, config="sanitized")
            source = dataclasses.replace(source, name="mbpp/sanitized", hub=hub)
        return load_rows(source, split, self.data_dir)

    def read(self, row: dict[str, Any], id: str) -> Problem:
        ahead = row["test_setup_code"] if "text" in row else "\n".join(row["test_imports"])
        text = row["text"] if "text" in row else row["prompt"]
        tests = [*row["test_list"], *row.get("challenge_test_list", ())]
        return read_tests(id, text, row["code"], ahead, tests, tests[: min(self.shown, len(row["test_list"]))])

    def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
        return grade_program(problem.gold, text, kind, self.cpu_s)


def read_tests(
    id: str, text: str, code: str, setup: str, tests: Sequence[str], shown: Sequence[str], more: str = ""
) -> Problem:
    """A row of MBPP or MBPP+ as a problem. `setup` comes before the tests and may use the program's classes; `more` is
    text of tests that follows them."""
    try:
        taken = of_program(defined_by(code))
    except (SyntaxError, ValueError, TypeError) as bad:
        raise DataError(f"{id}: expected a reference program in Python, got {code!r:.80} ({bad})") from None
    if not tests or not all(isinstance(part, str) and part.strip() for part in (text, *tests)):
        raise DataError(f"{id}: expected a text and tests, got {text!r:.80} and {tests!r:.80}")
    lead = f"{setup}\n" if setup else ""
    graded = Asserts("\n".join((f"{lead}{tests[0]}", *tests[1:], more)), taken)
    seen = "\n".join(part.strip() for part in shown)
    if shown:
        text = f"{text}\nYour program must pass {'this test' if len(shown) == 1 else 'these tests'}:\n```python\n{seen}\n```"
    checks = Checks((graded,), tuple(telling(part, taken, lead) for part in shown), reference=code)
    return Problem(Question(id, text, "code", ANSWER_FORMAT), checks)
