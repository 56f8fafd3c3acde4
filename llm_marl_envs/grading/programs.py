"""Programs in replies: find one, put a prompt's own lines ahead of it, compare what it printed."""

from __future__ import annotations

import re
from decimal import Decimal

_FUTURE = re.compile(r"^from __future__ import (?:\([^)]*\)|[^\n]*)$", re.MULTILINE)
_NUMBER = re.compile(r"[+-]?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?")
_LONGEST_NUMBER = 60


def put_ahead(ahead: str, program: str) -> str:
    """`ahead`, then the program. Imports from `__future__` stay first, as Python requires."""
    if not ahead:
        return program
    futures = _FUTURE.findall(program)
    return "\n".join((*futures, ahead, _FUTURE.sub("", program) if futures else program))


def same_output(got: str, expected: str, tolerance: float = 0.0) -> bool:
    """Whether a program printed what it should have: line by line, token by token.

    White space within a line, at its end and around the whole text is ignored; line breaks are not. Two tokens are the same if
    they are the same text, or plain numerals (no leading zeros) of the same value ("3.0" and "3"); where the expected one
    has a point or an exponent, a difference up to `tolerance`, absolute or relative, is allowed.
    """
    if got == expected:
        return True
    lines, wanted = got.strip().split("\n"), expected.strip().split("\n")
    return len(lines) == len(wanted) and all(_same_line(*pair, tolerance) for pair in zip(lines, wanted, strict=True))


def _same_line(got: str, expected: str, tolerance: float) -> bool:
    tokens, wanted = got.split(), expected.split()
    if tokens == wanted:
        return True
    return len(tokens) == len(wanted) and all(
        one == other or _same_number(one, other, tolerance) for one, other in zip(tokens, wanted, strict=True)
    )


def _same_number(got: str, expected: str, tolerance: float) -> bool:
    if max(len(got), len(expected)) > _LONGEST_NUMBER or not (_NUMBER.fullmatch(got) and _NUMBER.fullmatch(expected)):
        return False
    one, other = Decimal(got), Decimal(expected)
    if one == other:
        return True
    exact = expected.lstrip("+-").isdigit() or not tolerance
    return not exact and abs(one - other) <= Decimal(tolerance) * max(1, abs(other))
