"""LiveCodeBench, code generation: contest problems with their dates (Jain et al. 2024, arXiv 2403.07974)."""

from __future__ import annotations

import base64
import binascii
import pickletools
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llm_marl_envs.data import DataSource, HubData
from llm_marl_envs.errors import DataError
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
from llm_marl_envs.tasks.families.contests import listed_checks
from llm_marl_envs.tasks.families.dataset import Card, DatasetTask, Example

_LARGEST = 1 << 29  # most bytes of a problem's unpacked private tests
_FILES = {f"v{n}": (f"test{n if n > 1 else ''}.jsonl",) for n in range(1, 7)}


@dataclass(frozen=True, slots=True)
class Packed(Checks):
    """Checks whose graded part stays packed until a program is graded: the unpacked data set takes gigabytes."""

    private: str = ""
    function: str | None = None
    id: str = ""

    def unpacked(self) -> Checks:
        """The public and the private tests. Raises DataError if the private ones are malformed."""
        tests = read_json(unpack_tests(self.private, self.id), f"{self.id}: private_test_cases")
        return Checks(
            (*self.shown, *listed_checks(tests, self.function, self.id)),
            self.shown,
            self.ahead,
            reference=self.reference,
        )


@dataclass(frozen=True)
class LiveCodeBench(DatasetTask):
    """Write a program (standard input to standard output) or a method of class Solution.

    Fields of a row: question_content, starter_code, public_test_cases, private_test_cases, metadata; also question_title,
    platform, question_id, contest_id, contest_date, difficulty.
    """

    cpu_s: float = field(default=6.0, metadata=CPU_S)  # per test

    card = Card(
        title="LiveCodeBench: contest problems, newest last",
        source=DataSource(
            "livecodebench",
            HubData("livecodebench/code_generation_lite", None, revision="main", files=_FILES),
            layouts=(("question_content", "starter_code", "public_test_cases", "private_test_cases", "metadata"),),
            files={split: ((f"livecodebench/{file.removesuffix('.jsonl')}",),) for split, (file,) in _FILES.items()},
        ),
        splits={"v1": 400, "v2": 111, "v3": 101, "v4": 101, "v5": 167, "v6": 175},
        licence="Problems: their platforms'; collected for research (fair use)",
        citation="Jain et al. 2024, arXiv 2403.07974",
        metric="the program in the reply's last fenced block passes all public and private tests",
        examples=(
            Example(
                row={
                    "question_title": "Sum",
                    "question_content": "Given N and then N numbers, print their sum.\n\nSample Input 1\n\n2\n3 4\n",
                    "platform": "atcoder",
                    "question_id": "invented_a",
                    "contest_id": "invented",
                    "contest_date": "2024-01-01T00:00:00",
                    "starter_code": "",
                    "difficulty": "easy",
                    "public_test_cases": '[{"input": "2\\n3 4\\n", "output": "7\\n", "testtype": "stdin"}]',
                    # base64 of zlib of a pickle of '[{"input": "3\n1 1 1\n", ...}, {"input": "1\n-5\n", ...}]'
                    "private_test_cases": "eJxrYJnawAABPTXR1UqZeQWlJUpWCkrGMXmGCkAYk6eko6CUX1qCEAcJlKQWl5RUFqSChIpLUjLzlGp1FJC0A/XpmqLrhYlg0Rw7"
                    "RQ8ApYMoyA==",
                    "metadata": "{}",
                },
                right=("```python\ninput()\nprint(sum(map(int, input().split())))\n```",),
                wrong=(
                    "```python\nprint(7)\n```",
                    "```python\ninput()\nprint(sum(map(abs, map(int, input().split()))))\n```",
                ),
            ),
            Example(
                row={
                    "question_title": "Add",
                    "question_content": "Return the sum of a list and a number.",
                    "platform": "leetcode",
                    "question_id": "0",
                    "contest_id": "invented",
                    "contest_date": "2024-01-01T00:00:00",
                    "starter_code": "class Solution:\n    def add(self, xs: List[int], n: int) -> int:\n        ",
                    "difficulty": "easy",
                    "public_test_cases": '[{"input": "[1, 2]\\n3", "output": "6", "testtype": "functional"}]',
                    "private_test_cases": '[{"input": "[]\\n0", "output": "0", "testtype": "functional"}]',
                    "metadata": '{"func_name": "add"}',
                },
                right=(
                    "```python\nclass Solution:\n    def add(self, xs: List[int], n: int) -> int:\n        return sum(xs, n)\n```",
                ),
                wrong=(
                    "```python\nclass Solution:\n    def add(self, xs, n):\n        return 6\n```",
                    "```python\nprint(6)\n```",
                ),
            ),
        ),
        notes="Each split is one file of the hub's repository; release_v5 is v1 to v5 together. The examples that an agent may "
        "run are the public tests. Output is compared line by line and token by token, numbers by their exact value; a call's "
        "result must be equal (tuples count as lists); each test uses a new Solution. The usual modules are imported "
        "before a program. The hub's revision is not pinned.",
    )

    @property
    def tools(self) -> Mapping[str, Tool]:
        return tools_of(self, numpy=True)

    def read(self, row: dict[str, Any], id: str) -> Problem:
        metadata = read_json(row["metadata"] or "{}", f"{id}: metadata")
        name = metadata.get("func_name") if isinstance(metadata, dict) else None
        shown = listed_checks(read_json(row["public_test_cases"], f"{id}: public_test_cases"), name, id)
        if not isinstance(row["private_test_cases"], str):
            raise DataError(f"{id}: expected private_test_cases as a text, got {row['private_test_cases']!r:.80}")
        gold = Packed((), shown, CONTEST_IMPORTS, row["private_test_cases"], name, id)
        text = with_starter(row["question_content"], row["starter_code"] or "", name)
        return Problem(Question(id, text, "code", CONTEST_FORMAT), gold)

    def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
        return grade_program(problem.gold.unpacked(), text, kind, self.cpu_s, numpy=True)


def unpack_tests(text: str, id: str) -> str:
    """The JSON text of private tests: plain, or as base64 of zlib of a pickle of it.

    The pickle is never loaded. Its instructions are read, and must be those of one plain text and nothing else. Raises
    DataError for anything else, and for more than `_LARGEST` bytes.
    """
    if text.lstrip()[:1] in ("[", "{"):
        return text
    try:
        inflate = zlib.decompressobj()
        packed = inflate.decompress(base64.b64decode(text, validate=True), _LARGEST)
        if inflate.unconsumed_tail or not inflate.eof:
            raise DataError(f"{id}: private_test_cases is cut off, or unpacks to more than {_LARGEST} bytes")
        steps = [(step.name, value) for step, value, _ in pickletools.genops(packed)]
    except (binascii.Error, zlib.error, ValueError, IndexError, UnicodeError) as bad:
        raise DataError(f"{id}: private_test_cases cannot be unpacked: {type(bad).__name__}: {bad!s:.100}") from None
    texts = [value for name, value in steps if name in _TEXTS and isinstance(value, str)]
    strange = {name for name, _ in steps} - _TEXTS - _HARMLESS
    if strange or len(texts) != 1:
        raise DataError(
            f"{id}: private_test_cases contains a pickle of something other than one text ({', '.join(sorted(strange)) or len(texts)}); "
            f"it was not loaded. Do not trust its source."
        )
    return texts[0]


_TEXTS = frozenset(("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE"))
_HARMLESS = frozenset(("PROTO", "FRAME", "MEMOIZE", "BINPUT", "LONG_BINPUT", "PUT", "STOP"))
