"""HumanEval+: HumanEval with about 80 times as many tests (Liu et al. 2023, arXiv 2305.01210; Apache-2.0)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llm_marl_envs.data import DataSource, HubData
from llm_marl_envs.task import CPU_S, Problem, Score, Tool
from llm_marl_envs.tasks.families.code import grade_program, tools_of
from llm_marl_envs.tasks.families.dataset import Card, DatasetTask, Example, LeftOut
from llm_marl_envs.tasks.humaneval import read_prompt

_TEST = """import numpy as np

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

def check(candidate):
    inputs = [[[2, 5]], [[]], [[-3]], [[1, 2, 3]]]
    results = [2.8, 0.0, -1.2, 2.4]
    for i, (inp, exp) in enumerate(zip(inputs, results)):
        assertion(candidate(*inp), exp, 0)
"""


# Rows whose own tests are wrong, with the reason. They are left out.
BROKEN = {"HumanEval/32": "its test unpacks the float that find_zero returns, so no program passes it"}


@dataclass(frozen=True)
class HumanEvalPlus(DatasetTask):
    """Complete a function. Fields of a row: task_id, prompt, canonical_solution, test, entry_point."""

    cpu_s: float = field(default=10.0, metadata=CPU_S)  # per program, all of its tests

    card = Card(
        title="HumanEval+: HumanEval, tested more strictly",
        source=DataSource(
            "humanevalplus",
            HubData("evalplus/humanevalplus", None, revision="main"),
            layouts=(("task_id", "prompt", "canonical_solution", "test", "entry_point"),),
        ),
        splits={"test": 164},
        licence="Apache-2.0",
        citation="Liu et al. 2023, arXiv 2305.01210",
        metric="the program in the reply's last fenced block passes all tests",
        examples=(
            Example(
                row={
                    "task_id": "HumanEval/0",
                    "prompt": "def fifth(numbers: list) -> float:\n"
                    '    """ A fifth of the doubled sum of numbers.\n    fifth([2, 5]) ==> 2.8\n    """\n',
                    "canonical_solution": "    return sum(numbers) * 2 / 5\n",
                    "entry_point": "fifth",
                    "test": _TEST,
                },
                right=(
                    "```python\ndef fifth(numbers):\n    return sum(numbers) * 2 / 5\n```",
                    "```python\nimport numpy as np\ndef fifth(numbers):\n    return np.float64(0.4 * sum(numbers))\n```",
                ),
                wrong=(
                    "```python\ndef fifth(numbers):\n    return 2.8\n```",
                    "```python\ndef fifth(numbers):\n    return sum(numbers) * 2 / 5 + 1e-3\n```",
                    "```python\ndef fifth(numbers):\n    return float('nan')\n```",
                ),
            ),
        ),
        notes=f"Left out: {'; '.join(f'{id} ({why})' for id, why in BROKEN.items())}. Its tests need numpy, which programs may use as well. The CPU limit is per program; the official one is per "
        "input. The hub's revision is not pinned.",
    )

    @property
    def tools(self) -> Mapping[str, Tool]:
        return tools_of(self, numpy=True)

    def read(self, row: dict[str, Any], id: str) -> Problem | LeftOut:
        why = BROKEN.get(row["task_id"])
        return LeftOut(why) if why else read_prompt(row, id)

    def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
        return grade_program(problem.gold, text, kind, self.cpu_s, numpy=True)
