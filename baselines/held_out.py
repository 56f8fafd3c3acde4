"""What the evaluations of a run say: its gain, the best checkpoint, the fall from it. Pure functions over the `eval` lines of metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llm_marl_envs.stats.compare import paired
from llm_marl_envs.stats.intervals import Interval

Line = Mapping[str, Any]


def peak(evals: Sequence[Line]) -> Line | None:
    """The first evaluation that is best on the validation problems; None if there were none. So that it does not flatter: the best
    of several accuracies on one set is above what it would be on another."""
    known = [line for line in evals if line.get("validation") is not None]
    return max(known, key=lambda line: line["validation"], default=None)


def gain(first: Line, last: Line) -> Interval | None:
    """Last minus first accuracy on the same held-out problems, with its paired interval; None where scores were not kept."""
    if not ("scores" in first and "scores" in last and len(first["scores"]) == len(last["scores"]) > 0):
        return None
    return paired(first["scores"], last["scores"])


def cliff(evals: Sequence[Line]) -> Interval | None:
    """How far the last accuracy is below that of the peak, which validation chose; None where that cannot be said. A definition of
    the "terminal accuracy cliff" of arXiv 2605.24202, which gives none."""
    best = peak(evals)
    return None if best is None else gain(evals[-1], best)
