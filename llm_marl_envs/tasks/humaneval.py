"""HumanEval: functions from their signature and docstring (Chen et al. 2021, arXiv 2107.03374; MIT licence)."""

from __future__ import annotations

import ast
import doctest
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from llm_marl_envs.data import DataSource, HubData
from llm_marl_envs.errors import DataError
from llm_marl_envs.task import CPU_S, Problem, Question, Score, Tool
from llm_marl_envs.tasks.families.code import (
    ANSWER_FORMAT,
    Asserts,
    Checks,
    grade_program,
    of_program,
    parse,
    telling,
    tools_of,
)
from llm_marl_envs.tasks.families.dataset import Card, DatasetTask, Example


@dataclass(frozen=True)
class HumanEval(DatasetTask):
    """Complete a function. Fields of a row: task_id, prompt, canonical_solution, test, entry_point."""

    cpu_s: float = field(default=3.0, metadata=CPU_S)  # per program, all of its tests

    card = Card(
        title="HumanEval: Python functions from their docstrings",
        source=DataSource(
            "humaneval",
            HubData("openai/openai_humaneval", "openai_humaneval", revision="main"),
            layouts=(("task_id", "prompt", "canonical_solution", "test", "entry_point"),),
            files={"test": (("humaneval/HumanEval",),)},
        ),
        splits={"test": 164},
        licence="MIT",
        citation="Chen et al. 2021, arXiv 2107.03374",
        metric="the program in the reply's last fenced block passes all tests",
        examples=(
            Example(
                row={
                    "task_id": "HumanEval/0",
                    "prompt": "from typing import List\n\n\ndef halved(numbers: List[int]) -> List[float]:\n"
                    '    """ Half of every number.\n    >>> halved([2, 5])\n    [1.0, 2.5]\n    """\n',
                    "canonical_solution": "    return [n / 2 for n in numbers]\n",
                    "test": "\n\nMETADATA = {}\n\n\ndef check(candidate):\n    assert candidate([2, 5]) == [1.0, 2.5]\n"
                    "    assert candidate([]) == []\n    assert candidate([-3]) == [-1.5]\n\n",
                    "entry_point": "halved",
                },
                right=(
                    "```python\ndef halved(numbers: List[int]) -> List[float]:\n    return [n / 2 for n in numbers]\n```",
                    "First:\n```\ndef halved(n): pass\n```\nBetter:\n~~~py\ndef halved(n):\n    return [x * 0.5 for x in n]\n~~~",
                ),
                wrong=(
                    "def halved(numbers):\n    return [n / 2 for n in numbers]",
                    "```python\ndef halved(numbers):\n    return [1.0, 2.5]\n```",
                    "```python\ndef halved(numbers):\n    return [n // 2 for n in numbers]\n```",
                ),
            ),
        ),
        notes="The imports and functions of a prompt are put before the program; the tests use their own copy of "
        "them. The examples that an agent may run are the docstring's doctests, or its lines such as `f(1) => 2`: 126 problems "
        "have some; problems 47 and 148 each show a wrong one. The hub's revision is not pinned.",
    )

    @property
    def tools(self) -> Mapping[str, Tool]:
        return tools_of(self)

    def read(self, row: dict[str, Any], id: str) -> Problem:
        return read_prompt(row, id)

    def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
        return grade_program(problem.gold, text, kind, self.cpu_s)


def read_prompt(row: dict[str, Any], id: str) -> Problem:
    """A row of HumanEval or HumanEval+ as a problem."""
    prompt, test, name = row["prompt"], row["test"], row["entry_point"]
    try:
        tree = parse(f"{prompt}    pass\n")
    except (SyntaxError, ValueError) as bad:
        raise DataError(f"{id}: expected a prompt in Python, got {prompt!r:.80} ({bad})") from None
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    if name not in functions or "def check(" not in test:
        raise DataError(f"{id}: expected a prompt that begins {name!r} and tests that define check()")
    tree.body.remove(functions[name])
    ahead, taken = ast.unparse(tree), of_program([name])
    # Some tests draw random cases: every program must get the same ones.
    tests = f"import random\nrandom.seed(0)\n{ahead}\n{test}\ncheck({name})\n"
    said = ast.get_docstring(functions[name]) or ""
    shown = tuple(telling(f"assert {call} == {value}", taken) for call, value in shown_examples(said, name))
    text = f"Complete this Python function:\n```python\n{prompt.rstrip()}\n```"
    question = Question(id, text, "code", ANSWER_FORMAT)
    checks = Checks((Asserts(tests, taken),), shown, ahead, reference=f"{prompt}{row['canonical_solution']}")
    return Problem(question, checks)


_SAYS = re.compile(
    r"\s*(?:==>?|(?:# *)?=>|->|➞|→|(?:# *)?returns|should return)\s*"
)  # a single = may be part of an explanation


def shown_examples(docstring: str, name: str) -> Iterator[tuple[str, str]]:
    """The calls and results, as Python text, that a docstring shows: doctests, or lines such as `f(1) => 2`."""
    parser = doctest.DocTestParser()
    try:
        tests = [(e.source.strip(), e.want.strip()) for e in parser.get_examples(docstring)]
    except ValueError:
        tests = []
    for line in [] if tests else docstring.split("\n"):
        for start in re.finditer(rf"(?<![\w.]){re.escape(name)}\(", line):
            ends = (m.end() for m in re.finditer(r"\)", line) if m.end() > start.end())
            call = next((end for end in ends if _is_call(line[start.start() : end], name)), None)
            if call is not None and (says := _SAYS.match(line, call)):
                tests.append((line[start.start() : call], line[says.end() :].partition(" #")[0].strip(" .")))
    yield from ((call, value) for call, value in tests if _is_call(call, name) and _is_value(value))


def _is_call(text: str, name: str) -> bool:
    """Whether a text is a call of the function with only literals as arguments."""
    try:
        body = parse(text).body
    except (SyntaxError, ValueError):
        return False
    match body:
        case [ast.Expr(ast.Call(func=ast.Name(id=called), args=args, keywords=keywords))] if called == name:
            return all(_is_literal(a) for a in (*args, *(k.value for k in keywords)))
    return False


def _is_value(text: str) -> bool:
    try:
        body = parse(text).body
    except (SyntaxError, ValueError):
        return False
    return len(body) == 1 and isinstance(body[0], ast.Expr) and _is_literal(body[0].value)


def _is_literal(tree: ast.expr) -> bool:
    try:
        ast.literal_eval(tree)
    except ValueError:
        return False
    return True
