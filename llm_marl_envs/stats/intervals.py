"""Figures about episodes, with intervals. Pure functions; every random draw comes from a generator made here from a seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np

from llm_marl_envs.seeds import seed_of


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95% interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.mean:.1f}% [{100 * self.low:.1f}, {100 * self.high:.1f}]"


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


def bootstrap(values: Sequence[float], confidence: float = 0.95, resamples: int = 5_000, seed: int = 0) -> Interval:
    """Percentile bootstrap of a mean over independent values (problems, or seeds)."""
    data = np.asarray(values, dtype=float)
    if len(data) == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    rng = np.random.default_rng(seed_of("bootstrap", seed))
    means = data[rng.integers(len(data), size=(resamples, len(data)))].mean(1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(data.mean()), float(low), float(high))


def accuracy_of(scores: Iterable[tuple[str, float]]) -> Interval:
    """Accuracy over problems from (problem, score) pairs: Wilson's interval if every problem was tried once and marked 0 or
    1; with several tries a problem its mean counts once, and problems are bootstrapped."""
    tries: dict[str, list[float]] = defaultdict(list)
    for problem, score in scores:
        tries[problem].append(score)
    means = [sum(t) / len(t) for t in tries.values()]
    if all(len(t) == 1 for t in tries.values()) and set(means) <= {0.0, 1.0}:
        return wilson(sum(means), len(means))
    return bootstrap(means)
