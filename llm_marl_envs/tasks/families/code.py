"""The common part of code tasks: the checks a program must pass, grading by them, and the tools of agents that write programs.

Verdicts are never decided in the process that runs the program. Asserts run in a separate process, which asks the program for
values (`Sandbox.examine`); a program's output is compared here. So nothing a program does to its interpreter changes a grade.
"""

from __future__ import annotations

import ast
import builtins
import functools
import json
import math
import re
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Protocol

from llm_marl_envs.allowance import grant, unmetered
from llm_marl_envs.errors import DataError, ToolFailed
from llm_marl_envs.grading.programs import put_ahead, same_output
from llm_marl_envs.reading import find_program
from llm_marl_envs.task import Problem, Question, Score, Tool, ToolResult
from llm_marl_envs.tools.sandbox import JobLimits, JobResult, Sandbox, shared

ANSWER_FORMAT = "Give the whole program in a ```python block; if you give several blocks, the last one counts."
CONTEST_FORMAT = f"Write it in Python. {ANSWER_FORMAT}"
LONGEST = 1 << 16  # characters of a program, as contests allow; Python takes quadratic time to compile some longer ones
SHOWN = 4_000  # characters of a tool's answer


@dataclass(frozen=True, slots=True)
class Asserts:
    """Python text that must run to its end. Names that it uses but does not define come from the program."""

    text: str
    taken: tuple[str, ...] = ()  # built-in names that the program redefines
    name: str = ""  # the name under which a failure is reported; "": the line that failed


@dataclass(frozen=True, slots=True)
class Exchange:
    """The standard input of a program, and the output that it must print."""

    stdin: str
    stdout: str
    tolerance: float = 0.0  # see `same_output`


Check = Asserts | Exchange


@dataclass(frozen=True, slots=True)
class Checks:
    """The gold of a code problem: a program must pass all of `graded`. `shown` are those that the problem statement shows,
    `ahead` is put before the program (the imports and functions of a prompt). `reference` is the data set's own program: a
    program gets at least FACTOR times the CPU time that it needs, and its memory."""

    graded: tuple[Check, ...]
    shown: tuple[Check, ...] = ()
    ahead: str = ""
    reference: str = field(default="", kw_only=True)


def grade_program(checks: Checks, text: str | None, kind: str, cpu_s: float, numpy: bool = False) -> Score:
    """1 if the reply's program passes all checks, each within `cpu_s` seconds of CPU time, or within FACTOR times what the
    reference needs for it; else 0, and which failed.

    Raises ToolFailed if no sandbox could run the program: then nothing is known about it.
    """
    if kind != "answer":
        return Score(0.0, f"this task grades answers, not {kind}")
    program = find_program(text or "")
    if program is None:
        return Score(0.0, "no fenced block")
    if not checks.graded:
        raise DataError("this problem has no tests, so no program can be graded by it")
    if len(program) > LONGEST:
        return Score(0.0, f"a program of {len(program)} characters; at most {LONGEST} are run", program)
    box, limits = shared(numpy=numpy), JobLimits(cpu_s=cpu_s)
    for number, check in enumerate(checks.graded, 1):
        status, fault = tried(box, put_ahead(checks.ahead, program), check, limits)
        with unmetered():
            more = _needed(checks, check, limits, numpy) if status in ("cpu", "memory", "budget") else limits
        if more != limits:
            grant((checks, number), more.cpu_s, more.memory_mb)
            _, fault = tried(box, put_ahead(checks.ahead, program), check, more)
        if fault is not None:
            return Score(0.0, f"test {number} of {len(checks.graded)}: {fault}", program)
    return Score(1.0, f"passes {len(checks.graded)} of {len(checks.graded)}", program)


FACTOR = 4  # times what the reference needs, as in EvalPlus (Liu et al. 2023, arXiv 2305.01210)
_AMPLE = JobLimits(cpu_s=60.0, memory_mb=4096)


def _needed(checks: Checks, check: Check, limits: JobLimits, numpy: bool) -> JobLimits:
    """The limits of a check, from what the reference needs for it; `limits` where there is none, or it needs no more."""
    return _measured(put_ahead(checks.ahead, checks.reference), check, limits, numpy) if checks.reference else limits


@functools.lru_cache(maxsize=4096)
def _measured(program: str, check: Check, limits: JobLimits, numpy: bool) -> JobLimits:
    box = shared(numpy=numpy)
    tight = replace(_AMPLE, memory_mb=limits.memory_mb)
    status, _, cpu_s = _run(box, program, check, tight)
    memory_mb = limits.memory_mb
    if status == "memory":
        status, _, cpu_s = _run(box, program, check, _AMPLE)
        memory_mb = _AMPLE.memory_mb
    if status != "ok":
        return limits
    return replace(limits, cpu_s=max(limits.cpu_s, FACTOR * cpu_s), memory_mb=memory_mb)


def tried(box: Sandbox, program: str, check: Check, limits: JobLimits) -> tuple[str, str | None]:
    """How a program ended on a check, and why it does not pass it (None if it does)."""
    status, fault, _ = _run(box, program, check, limits)
    return status, fault


def _run(box: Sandbox, program: str, check: Check, limits: JobLimits) -> tuple[str, str | None, float]:
    """How a program ended on a check, why it does not pass it (None if it does), and the CPU seconds it took."""
    if isinstance(check, Asserts):
        run = box.examine(program, check.text, limits, check.taken)
        fault = None if run.status == "ok" else f"{check.name or _where(run, check.text)}: {_ended(run, limits)}"
        return run.status, fault, run.cpu_s
    enough = limits.output_kb + len(check.stdout) // 256
    limits = JobLimits(limits.cpu_s, limits.wall_s, limits.memory_mb, enough, limits.files_mb)
    run = box.run(program, check.stdin, limits)
    if run.status != "ok":
        return run.status, _ended(run, limits), run.cpu_s
    if same_output(run.stdout, check.stdout, check.tolerance):
        return "ok", None, run.cpu_s
    return "wrong", f"expected {clip(check.stdout.strip(), 200)!r}, got {clip(run.stdout.strip(), 200)!r}", run.cpu_s


def _where(run: JobResult, tests: str) -> str:
    """The line of the tests that failed."""
    numbers, lines = re.findall(r'File "tests\.py", line ([0-9]{1,9})', run.stderr), tests.split("\n")
    line = int(numbers[-1]) if numbers else 0
    return clip(lines[line - 1].strip(), 160) if 0 < line <= len(lines) else "the tests"


def _ended(run: JobResult, limits: JobLimits) -> str:
    if run.status in ("error", "failed"):
        said = run.stderr.strip().rpartition("\n")[2].removeprefix("AssertionError: ")
        return clip(said or "it ended with an error", 300)
    return {
        "cpu": f"it takes more than {limits.cpu_s:g} seconds of CPU time",
        "wall": f"it only waits, or has not ended after {limits.wall:g} seconds",
        "memory": f"it needs more than {limits.memory_mb} MB of memory",
        "output": f"it writes more than {limits.output_kb} kB",
        "signal": "it was ended by a signal",
        "budget": "it takes more than is left of its verification's budget",
    }[run.status]


def clip(text: str, longest: int = SHOWN) -> str:
    """`text` without its middle if it is too long."""
    if len(text) <= longest:
        return text
    return f"{text[: longest // 2]} [... {len(text) - longest} characters left out ...] {text[-(longest // 2) :]}"


class CodeTask(Protocol):
    """What the tools need from a task."""

    @property
    def cpu_s(self) -> float: ...

    def problems(self, split: str) -> Sequence[Problem]: ...


def tools_of(task: CodeTask, numpy: bool = False) -> Mapping[str, Tool]:
    """`python` and `run_examples`, both stateless. They raise ToolFailed if no sandbox could run a program."""

    def python(code: str) -> ToolResult:
        """Run a program (fenced or not) and return what it prints, or why it was stopped."""
        limits = JobLimits(cpu_s=task.cpu_s)
        program = find_program(code) or code
        if len(program) > LONGEST:
            return _too_long(program)
        run = shared(numpy=numpy).run(program, limits=limits)
        said = "\n".join(text.rstrip() for text in (run.stdout, run.stderr) if text.strip())
        if run.status not in ("ok", "error"):
            said = f"{clip(said, SHOWN - 200)}\nStopped: {_ended(run, limits)}.".lstrip()
        return ToolResult(clip(said) or "(no output)", float(run.status == "ok" and bool(said)))

    def run_examples(code: str, *, question: Question) -> ToolResult:
        """Run a program (fenced or not) on the examples that the problem statement shows."""
        checks = checks_of(task, question)
        if not checks.shown:
            return ToolResult("The problem statement shows no example that can be run.", 0.0)
        program = put_ahead(checks.ahead, find_program(code) or code)
        if len(program) > LONGEST:
            return _too_long(program)
        box, limits = shared(numpy=numpy), JobLimits(cpu_s=task.cpu_s)
        faults = [tried(box, program, check, limits)[1] for check in checks.shown]
        failed = [f"Example {i}: {clip(fault, 600)}" for i, fault in enumerate(faults, 1) if fault is not None]
        passed = len(faults) - len(failed)
        return ToolResult(clip("\n".join((f"{passed} of {len(faults)} examples pass.", *failed))), passed / len(faults))

    return {"python": python, "run_examples": run_examples}


def _too_long(program: str) -> ToolResult:
    return ToolResult(f"Not run: a program of {len(program)} characters; at most {LONGEST} are run.", 0.0)


def checks_of(task: CodeTask, question: Question) -> Checks:
    """The checks of the problem that a question belongs to. Raises ToolFailed for a question of another task."""
    split = question.id.split("/")[1] if question.id.count("/") >= 2 else ""
    try:
        return next(p.gold for p in task.problems(split) if p.question.id == question.id)
    except (StopIteration, ValueError):
        raise ToolFailed(f"no problem {question.id!r} in this task, so its examples are not known") from None


def of_program(names: Iterable[str]) -> tuple[str, ...]:
    """The names of a program that are also built-in names: tests must take the program's."""
    return tuple(sorted({n for n in names if hasattr(builtins, n) or n in sys.stdlib_module_names}))


def parse(text: str) -> ast.Module:
    """A data set's text parsed as Python, without warnings about old escapes. Raises SyntaxError or ValueError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)


def defined_by(program: str) -> list[str]:
    """The functions and classes that a text defines at its top level. Raises SyntaxError or ValueError."""
    body = parse(program).body
    return [node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]


def telling(test: str, taken: tuple[str, ...] = (), setup: str = "") -> Asserts:
    """A check with one assert; if that is `assert CALL == VALUE`, a failure says what the call returned."""
    try:
        body = parse(test).body
    except (SyntaxError, ValueError, RecursionError):
        body = []
    match body:
        case [ast.Assert(test=ast.Compare(left=call, ops=[ast.Eq()], comparators=[value]), msg=None)]:
            text = f"got = {ast.unparse(call)}\nassert got == {ast.unparse(value)}, f'got {{got!r:.200}}'"
            return Asserts(setup + text, taken, test.strip())
    return Asserts(setup + test, taken, test.strip())


# Calls with JSON arguments, as in LeetCode's and Codewars' tests: of a method of Solution, or of a function. JSON knows
# neither tuples nor keys that are numbers, so results are compared as lists and by the text of their keys.
_CALL = """
def _plain(value):
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {{str(k): _plain(v) for k, v in value.items()}}
    return value
try:
    _function = Solution().{name}
except (NameError, AttributeError):
    _function = {name}
_got, _wanted = _plain(_function(*{arguments})), {wanted}
assert {test}, f"got {{_got!r:.200}}"
"""


def call_check(name: str, arguments: Sequence[Any], wanted: Any, wrapped: bool = False) -> Asserts:
    """A call's result must equal `wanted`; with `wrapped`, if `wanted` is a list of one item, it may also equal that item.

    Raises DataError for a name that is not an identifier.
    """
    if not name.isidentifier():
        raise DataError(f"expected the name of a function, got {name!r:.80}")
    test = "_got == _wanted"
    if wrapped and isinstance(wanted, list) and len(wanted) == 1:
        test += " or _got == _wanted[0]"
    text = _CALL.format(name=name, arguments=literal(list(arguments)), wanted=literal(_keyed(wanted)), test=test)
    said = f"{name}({', '.join(map(literal, arguments))}) == {literal(wanted)}"
    return Asserts(text, of_program([name]), clip(said, 300))


def read_json(text: Any, what: str) -> Any:
    """JSON data, with integers of any length. Raises DataError that begins with `what`."""
    try:
        return json.loads(text, parse_int=lambda digits: int(digits) if len(digits) < 4000 else int(Decimal(digits)))
    except (ValueError, TypeError, RecursionError) as bad:
        raise DataError(f"{what} is not JSON ({bad!s:.100}), but {text!r:.80}") from None


def with_starter(text: str, starter: str, function: str | None) -> str:
    """A contest problem's statement, and how its program is called."""
    if starter.strip():
        return f"{text.rstrip()}\n\nStart from this:\n```python\n{starter.rstrip()}\n```"
    how = f"Write the function {function}." if function else "Read standard input and write to standard output."
    return f"{text.rstrip()}\n\n{how}"


# The imports that LeetCode and the official harnesses put before a program.
CONTEST_IMPORTS = """
import bisect, collections, copy, functools, heapq, itertools, math, operator, random, re, string, sys
from bisect import *
from collections import *
from functools import *
from heapq import *
from itertools import *
from math import *
from typing import *
from builtins import *
sys.setrecursionlimit(50_000)
""".strip()


def _keyed(value: Any) -> Any:
    if isinstance(value, list):
        return [_keyed(v) for v in value]
    return {str(k): _keyed(v) for k, v in value.items()} if isinstance(value, dict) else value


def literal(value: Any) -> str:
    """JSON data as Python text, including infinities and integers with more digits than Python reads in decimal."""
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(k)}: {literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    if isinstance(value, int) and not isinstance(value, bool):
        return hex(value) if abs(value) >> 64 else str(value)
    return repr(value)
