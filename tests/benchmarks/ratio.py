"""The one way in which speed is measured here: two things in turns, and the ratio of what they took."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

ROUNDS = 7


def compare(benchmark, ours: Callable[[], float], other: Callable[[], float], label: str) -> float:
    """The median over rounds of ours / other, the two alternating. Also records ours with pytest-benchmark."""
    ours(), other()
    pairs = [(ours(), other()) for _ in range(ROUNDS)]
    ratio = median(a / b for a, b in pairs)
    benchmark.extra_info["ratio"] = ratio
    print(
        f"\n{label}: ratio {ratio:.3f} (ours {median(a for a, _ in pairs):,.4g}, other {median(b for _, b in pairs):,.4g})"
    )
    benchmark.pedantic(ours, rounds=1)
    return ratio
