"""Average regret against the number of visits M, for docs/methods/tracer.md: `python draw_regret.py docs/methods/regret.png`.

Rock-paper-scissors is played with sampled hands, Kuhn poker by walking through the whole game tree.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from random import Random
from statistics import fmean

from test_regret import CHOICES, DEALS, HANDS, kuhn, payoff

from baselines.players.regret import RegretTables

Curve = dict[int, float]  # visits of a state -> the largest average regret of a state


def hands(marks: list[int], seed: int) -> Curve:
    """Of rock-paper-scissors, two players that learn at the same time."""
    tables, rng, found = RegretTables(), Random(seed), {}
    for visits in range(1, max(marks) + 1):
        played = [rng.choices(HANDS, tables.current(me, HANDS))[0] for me in "01"]
        for me, other in (("0", played[1]), ("1", played[0])):
            tables.update(me, HANDS, [[payoff(hand, other) for hand in HANDS]])
        if visits in marks:
            found[visits] = max(row.average_regret for row in tables.rows.values())
    return found


def poker(marks: list[int]) -> Curve:
    """Of Kuhn poker; every state is visited twice in a walk, once for each card that the other may have."""
    tables, found = RegretTables(), {}
    for walk in range(1, max(marks) // 2 + 1):
        seen = defaultdict(list)
        for cards in DEALS:
            kuhn(cards, "", (1.0, 1.0), lambda key: tables.current(key, CHOICES), seen)
        for (key, reach), values in seen.items():
            tables.update(key, CHOICES, values, reach)
        if 2 * walk in marks:
            found[2 * walk] = max(row.average_regret for row in tables.rows.values())
    return found


def mean_of(curves: list[Curve]) -> Curve:
    return {visits: fmean(curve[visits] for curve in curves) for visits in curves[0]}


def main(out: Path, most: int = 8192, seeds: int = 20) -> None:
    from matplotlib.figure import Figure

    marks = [2**i for i in range(1, most.bit_length())]
    games = {
        f"rock-paper-scissors, mean of {seeds} seeds": mean_of([hands(marks, seed) for seed in range(seeds)]),
        "Kuhn poker, whole tree": poker(marks),
    }
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.add_subplot()
    for (name, curve), colour in zip(games.items(), ("#0072B2", "#D55E00"), strict=True):
        axes.plot(list(curve), list(curve.values()), color=colour, marker="o", markersize=3.5, label=name)
        start = next(iter(curve))
        axes.plot(marks, [curve[start] * (start / m) ** 0.5 for m in marks], color=colour, linestyle=":", linewidth=1)
    axes.plot([], [], color="#24292f", linestyle=":", linewidth=1, label="1/sqrt(M) from the first point")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("M, visits of a state")
    axes.set_ylabel("largest average regret of a state")
    axes.grid(color="#d8dee4")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
