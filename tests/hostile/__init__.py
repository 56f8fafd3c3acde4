"""Hostile trace files by category: how each is made, and what its verification must find.

Most are one hostile line between two honest ones, so that each also shows that one bad line costs one line.
"""

from __future__ import annotations

from collections.abc import Iterable

from hostile import claims, costs, reading
from hostile.making import Case

CATEGORIES = (
    "sizes",
    "kinds",
    "types",
    "identity",
    "content",
    "knobs",
    "waves",
    "formulas",
    "regexes",
    "programs",
    "tools",
)


def cases(category: str, data_dir: str) -> Iterable[Case]:
    """The cases of a category. data_dir: has MATH-500."""
    match category:
        case "sizes":
            return reading.SIZES
        case "kinds":
            return reading.KINDS
        case "formulas":
            return costs.formulas(data_dir)
        case "types" | "identity" | "content":
            return getattr(claims, category)()
    return getattr(costs, category)()
