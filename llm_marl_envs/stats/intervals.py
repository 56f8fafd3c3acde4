"""Figures about episodes, with intervals. Pure functions; every random draw comes from a generator that is seeded here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isnan, sqrt
from statistics import NormalDist

import numpy as np

from llm_marl_envs.seeds import seed_of


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95% interval; its ends are nan if the interval is unknown."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        ends = "-" if isnan(self.low) else f"[{100 * self.low:.1f}, {100 * self.high:.1f}]"
        return f"{100 * self.mean:.1f}% {ends}"


def wilson(right: float, n: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval for a proportion (Wilson 1927): sound for small n and near 0 and 1.

    >>> str(wilson(8, 10))
    '80.0% [49.0, 94.3]'
    """
    if n == 0:
        return Interval(float("nan"), 0.0, 1.0)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    p = right / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return Interval(p, max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half)))


def bootstrap(
    values: Sequence[float],
    weights: Sequence[float] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 5_000,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap of a mean over independent values (problems, episodes, or seeds), weighted if there are `weights`."""
    data = np.asarray(values, dtype=float)
    if len(data) == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    parts = np.ones_like(data) if weights is None else np.asarray(weights, dtype=float)
    rng = np.random.default_rng(seed_of("bootstrap", seed))
    drawn = rng.integers(len(data), size=(resamples, len(data)))  # (resamples, values)
    with np.errstate(invalid="ignore"):  # a draw may hold no weight at all
        means = (data * parts)[drawn].sum(1) / parts[drawn].sum(1)
    low, high = np.nanquantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float((data * parts).sum() / parts.sum()), float(low), float(high))


def mean_of(values: Sequence[float], *, share: bool, weights: Sequence[float] | None = None) -> Interval:
    """A mean with its interval, which never has zero width: equal values do not prove certainty.

    A share (a figure from 0 to 1) gets Wilson's interval if all values are 0 or 1, or all are the same, and the bootstrap
    otherwise. For other figures, and for a single value, the interval is unknown (nan, shown as "-") if all values are the same.

    >>> str(mean_of([0.0] * 8, share=True))
    '0.0% [0.0, 32.4]'
    """
    alike = len(set(values)) <= 1
    if len(values) == 1 or (alike and not share):
        return Interval(values[0] if values else float("nan"), float("nan"), float("nan"))
    if share and (alike or (weights is None and set(values) <= {0.0, 1.0})):
        return wilson(sum(values), len(values))
    return bootstrap(values, weights)


def accuracy_of(scores: Iterable[tuple[str, float]]) -> Interval:
    """Accuracy over problems from (problem, score) pairs: each problem's mean over its tries counts once.

    Wilson's interval if every problem was tried once with score 0 or 1, or if all means are the same (n is the number of
    problems); otherwise problems are bootstrapped.
    """
    tries: dict[str, list[float]] = defaultdict(list)
    for problem, score in scores:
        tries[problem].append(score)
    means = [sum(t) / len(t) for t in tries.values()]
    return wilson(sum(means), len(means)) if len(means) <= 1 else mean_of(means, share=True)
