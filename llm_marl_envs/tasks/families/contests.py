"""The tests of contest problems, in the layouts of APPS and TACO, LiveCodeBench and PrimeIntellect."""

from __future__ import annotations

from typing import Any

from llm_marl_envs.errors import DataError
from llm_marl_envs.tasks.families.code import Asserts, Check, Exchange, call_check, read_json

TOLERANCE = 1e-6  # what problems ask for, if their answers are not whole numbers


def paired_checks(tests: Any, id: str) -> tuple[Check, ...]:
    """Tests as APPS and TACO have them: {"inputs": [...], "outputs": [...]}, and "fn_name" if a function is called. Raises
    DataError for anything else."""
    name = tests.get("fn_name") if isinstance(tests, dict) else None
    try:
        pairs = list(zip(tests["inputs"], tests["outputs"], strict=True))
        return tuple(call(name, *pair) if name else exchange(*pair) for pair in pairs)
    except (TypeError, KeyError, ValueError) as bad:
        raise DataError(
            f"{id}: expected as many inputs as outputs, texts or arguments; got {tests!r:.80} ({bad!s:.80})"
        ) from None


def listed_checks(tests: Any, name: str | None, id: str) -> tuple[Check, ...]:
    """Tests as LiveCodeBench has them: [{"input", "output", "testtype"}], arguments as one JSON value per line. Raises DataError
    for anything else."""
    made: list[Check] = []
    for test in tests if isinstance(tests, list) else [tests]:
        match test:
            case {"input": str(given), "output": str(wanted), "testtype": "stdin"}:
                made.append(Exchange(given, wanted))
            case {"input": str(given), "output": str(wanted), "testtype": "functional"} if isinstance(name, str):
                arguments = [read_json(line, f"{id}: a test's input") for line in given.split("\n")]
                made.append(call_check(name, arguments, read_json(wanted, f"{id}: a test's output")))
            case _:
                raise DataError(f"{id}: expected tests with input, output and testtype, got {test!r:.80}")
    return tuple(made)


def exchange(stdin: str | list[str], stdout: str | list[str]) -> Exchange:
    """A test of a whole program; texts may be lists of lines. Raises TypeError for anything else."""
    given, wanted = (text if isinstance(text, str) else "\n".join(text) for text in (stdin, stdout))
    return Exchange(given, wanted, TOLERANCE)


def call(name: str, arguments: list[Any], wanted: Any) -> Asserts:
    """A test of a function. JSON turns whole numbers that are keys into texts: they are turned back into numbers. Raises
    TypeError for arguments that are no list."""
    if not isinstance(name, str) or not isinstance(arguments, list):
        raise TypeError(f"a name and a list of arguments are needed, got {name!r:.40} and {arguments!r:.40}")
    whole = all(_is_whole(k) for a in arguments if isinstance(a, dict) for k in a)
    made = [{int(k): v for k, v in a.items()} if isinstance(a, dict) and whole else a for a in arguments]
    return call_check(name, made, wanted, wrapped=True)


def _is_whole(key: str) -> bool:
    return key.removeprefix("-").isdecimal() and key.isascii()


def shown_in(text: str, checks: tuple[Check, ...]) -> tuple[Exchange, ...]:
    """The tests that a statement shows: the input on lines of their own, and the output on lines after them."""
    lines = "\n" + "\n".join(line.strip() for line in text.split("\n")) + "\n"
    return tuple(check for check in checks if isinstance(check, Exchange) and _stands_in(lines, check))


def _stands_in(lines: str, check: Exchange) -> bool:
    if len(check.stdin.strip()) > len(lines):  # most tests are far longer than a statement
        return False
    given, wanted = ("\n".join(x.strip() for x in part.strip().split("\n")) for part in (check.stdin, check.stdout))
    at = lines.find(f"\n{given}\n") if given else -1
    return at >= 0 and bool(wanted) and lines.find(f"\n{wanted}\n", at + len(given)) >= 0
