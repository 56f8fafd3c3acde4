"""MBPP+: 378 problems of MBPP with about 35 times as many tests (Liu et al. 2023, arXiv 2305.01210; Apache-2.0)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llm_marl_envs.data import DataSource, HubData
from llm_marl_envs.errors import DataError
from llm_marl_envs.task import CPU_S, Problem, Score, Tool
from llm_marl_envs.tasks.families.code import grade_program, tools_of
from llm_marl_envs.tasks.families.dataset import Card, DatasetTask, Example
from llm_marl_envs.tasks.mbpp import read_tests

_TEST = """import numpy as np
from math import inf

def is_floats(x) -> bool:
    whole = [x] if isinstance(x, float) else x
    if isinstance(whole, np.ndarray):
        return whole.dtype.kind == "f"
    return isinstance(whole, (list, tuple)) and all(isinstance(part, float) for part in whole)

def assertion(out, exp, atol):
    atol = 1e-6 if atol == 0 and is_floats(exp) else atol
    if atol != 0:
        np.testing.assert_allclose(out, exp, atol=atol)
    else:
        assert out == exp

inputs = [[[1, 2]], [[3.5]], [[]], [[-1, inf]]]
results = [3, 3.5, 0, inf]
for i, (inp, exp) in enumerate(zip(inputs, results)):
    assertion(total(*inp), exp, 0)
"""


@dataclass(frozen=True)
class MBPPPlus(DatasetTask):
    """Write a function from one sentence and some of its tests.

    Fields of a row: task_id, code, prompt, source_file, test_imports, test_list, test.
    """

    shown: int = 1  # tests in the question; the usual prompt shows all three
    cpu_s: float = field(default=10.0, metadata=CPU_S)  # per program, all of its tests

    card = Card(
        title="MBPP+: MBPP, tested more strictly",
        source=DataSource(
            "mbppplus",
            HubData("evalplus/mbppplus", None, revision="main"),
            layouts=(("task_id", "code", "prompt", "test_imports", "test_list", "test"),),
        ),
        splits={"test": 378},
        licence="Apache-2.0",
        citation="Liu et al. 2023, arXiv 2305.01210",
        metric="the program in the reply's last fenced block passes all tests",
        examples=(
            Example(
                row={
                    "task_id": 2,
                    "code": "def total(numbers):\n  return sum(numbers)",
                    "prompt": "Write a function to add up a list of numbers.",
                    "source_file": "invented.ipynb",
                    "test_imports": [],
                    "test_list": ["assert total([1, 2]) == 3", "assert total([]) == 0"],
                    "test": _TEST,
                },
                right=(
                    "```python\ntotal = sum\n```",
                    "```python\nimport numpy as np\ndef total(numbers):\n    return np.array(numbers).sum()\n```",
                ),
                wrong=(
                    "```python\ndef total(numbers):\n    return 3 if numbers else 0\n```",
                    "```python\ndef total(numbers):\n    return sum(numbers) if numbers else None\n```",
                    "```python\ndef total(numbers):\n    return int(sum(numbers))\n```",
                ),
            ),
        ),
        notes="The question shows the first test of MBPP only (knob `shown`). The tests need numpy, which programs may use as "
        "well. The CPU limit is per program; the official one is per input. The hub's revision is not pinned.",
    )

    @property
    def tools(self) -> Mapping[str, Tool]:
        return tools_of(self, numpy=True)

    def read(self, row: dict[str, Any], id: str) -> Problem:
        tests = row["test_list"]
        if not isinstance(row["test"], str) or not row["test"].strip():
            raise DataError(f"{id}: expected tests in Python, got {row['test']!r:.80}")
        imports = "\n".join(row["test_imports"])
        return read_tests(id, row["prompt"], row["code"], imports, tests, tests[: self.shown], row["test"])

    def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
        return grade_program(problem.gold, text, kind, self.cpu_s, numpy=True)
