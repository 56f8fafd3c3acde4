"""What reports draw of runs, each panel as a function of matplotlib's axes: curves of all runs, and the main run's diagnostics."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from baselines.runs import COLOURS, DASHES, Points, Run, series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Draw = Callable[["Axes"], None]
INK, RULE = "#24292f", "#d8dee4"
RATES = {"first_draft": "first draft right", "accept_if_right": "accept if right", "reject_if_wrong": "reject if wrong"}
SHARE, PART, LOG = "share", "part", "log"  # of all; of all, but as little as it is; over powers of ten
PER_ROLE = {  # figure of a step: title, what its axis says, how it is scaled
    "grad_mass/": ("Gradient mass", "share of |advantage| x weight", SHARE),
    "entropy/": ("Entropy", "nats per token", ""),
    "kl/": ("KL to the reference", "nats per token", ""),
    "clipped/": ("Clipped", "share of tokens", PART),
    "reply_tokens/": ("Reply length", "tokens", ""),
    "malformed/": ("Malformed replies", "share of calls", PART),
    "own_score/": ("Own claims right", "mean grade of answers, verdicts, evidence", SHARE),
    "zero_variance/": ("Groups without signal", "share of groups", SHARE),
    "logprob_gap/": ("Rollout and learner", "difference of log-probs per token", LOG),
}
GATE = re.compile(r"(current|average) (\S+) (.+)/(\w+)")  # a player's figure: which strategy, choice, state; the player
COLUMNS = 40  # of a drawing of strategies over time; what falls into one is averaged


def panels_of(runs: Sequence[Run]) -> dict[str, Draw]:
    """Title -> what draws it, for each panel that has figures."""
    main, whose = runs[0], f" ({runs[0].label})" if len(runs) > 1 else ""
    rates = {name: points for key, name in RATES.items() if (points := series(main.evals, key))}
    if list(rates.values()) == [series(main.evals, "accuracy")]:
        rates = {}  # one agent, one answer: the accuracy again
    unit = f"share of squared gradient norm\nloss averaged over {main.normaliser}{_of_steps(main)}"
    shares = _smoothed(main, main.shares)
    panels: dict[str, Draw] = {"Held-out accuracy": lambda axes: _draw_accuracy(axes, runs)}
    if rates:
        panels[f"How the team got better{whose}"] = lambda axes: _draw_named(
            axes, rates, "share of cases, held-out", SHARE
        )
    panels["Calls per episode"] = lambda axes: _draw_runs(axes, runs, "calls", "calls, held-out")
    if len(shares) > 1:
        panels[f"Gradient share per role{whose}"] = lambda axes: _draw_named(axes, shares, unit, SHARE)
    return panels


def diagnostics_of(run: Run) -> dict[str, Draw]:
    """Title -> what draws it: the figures of training steps by role, speed, and the strategies of players over time."""
    panels: dict[str, Draw] = {}

    def add(title: str, found: Mapping[str, Points], unit: str, scale: str) -> None:
        if any(y for points in found.values() for _, y in points):
            panels[title] = lambda axes: _draw_named(axes, found, unit, scale)

    for prefix, (title, unit, scale) in PER_ROLE.items():
        found = run.by_name(prefix, run.roles) or run.by_name(prefix)
        add(title, _smoothed(run, found), unit + _of_steps(run), scale)
    speeds = {"rollout": series(run.timings, "play_tokens_s"), "learner": series(run.timings, "learn_tokens_s")}
    add("Speed", _smoothed(run, {k: v for k, v in speeds.items() if v}), f"tokens per second{_of_steps(run)}", "")
    if regret := run.by_name("regret/"):
        add(
            "Average regret",
            {f"largest, {name}": points for name, points in regret.items()},
            "per visit of a state",
            "",
        )
    for which, title in (("current", "Strategies while learning"), ("average", "Strategies as evaluated (average)")):
        if rows := strategies_of(run, which):
            panels[title] = lambda axes, rows=rows: _draw_strategies(axes, rows)
    return panels


def strategies_of(run: Run, which: str) -> dict[tuple[str, str], Points]:
    """(state, choice) -> the choice's probability over the steps since the state was first visited; "current" or "average"."""
    rows: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
    for line in run.trains:
        for key, share in line.items():
            if (found := GATE.fullmatch(key)) and found[1] == which:
                rows[found[3], found[2]].append((line["step"], share))
    return dict(sorted(rows.items()))


def _half(run: Run) -> int:
    """A twentieth of the steps is averaged over: so many before and after each."""
    return len(run.trains) // 40


def _of_steps(run: Run) -> str:
    return f"\nmean of {2 * _half(run) + 1} steps" if _half(run) else ""


def _smoothed(run: Run, named: Mapping[str, Points]) -> dict[str, Points]:
    half, found = _half(run), {}
    for name, points in named.items():
        around = [points[max(0, i - half) : i + half + 1] for i in range(len(points))]
        found[name] = [
            (step, sum(y for _, y in near) / len(near)) for (step, _), near in zip(points, around, strict=True)
        ]
    return found


def _as_share(axes: Axes, top: float = 1.03) -> None:
    from matplotlib.ticker import PercentFormatter

    axes.set_ylim(-0.03 * top, top)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _draw_runs(axes: Axes, runs: Sequence[Run], key: str, unit: str) -> None:
    for run in runs:
        steps, values = zip(*(series(run.evals, key) or [(0, math.nan)]), strict=True)
        axes.plot(steps, values, **run.style, marker="o", markersize=3.5, label=run.label)
    axes.margins(y=0.15)
    axes.set_ylim(bottom=0)
    axes.set_ylabel(unit)


def _draw_accuracy(axes: Axes, runs: Sequence[Run]) -> None:
    _draw_runs(axes, runs, "accuracy", "problems solved, greedy\nband: 95% interval")
    for run in runs:
        steps = [line["step"] for line in run.evals]
        low, high = ([getattr(line["interval"], end) for line in run.evals] for end in ("low", "high"))
        axes.fill_between(steps, low, high, color=run.style["color"], alpha=0.15, linewidth=0)
        if len(steps) == 1:
            axes.vlines(steps, low, high, color=run.style["color"])
    axes.axhline(runs[0].evals[0]["accuracy"], color=INK, linestyle=":", linewidth=1, label="before training")
    _as_share(axes)


def _draw_named(axes: Axes, named: Mapping[str, Points], unit: str, scale: str) -> None:
    """Lines with their names where they end, kept apart."""
    ends = []
    for i, (name, points) in enumerate(named.items()):
        colour, dots = COLOURS[i % 6], {"marker": "o", "markersize": 3.5} if len(points) <= 30 else {}
        axes.plot(*zip(*points, strict=True), color=colour, linestyle=DASHES[i // 6 % 4], **dots)
        ends.append((points[-1][1], name, colour))
    if scale == SHARE:
        _as_share(axes)
    elif scale == PART:
        _as_share(axes, max(0.1, 1.1 * max(y for points in named.values() for _, y in points)))
    elif scale == LOG and all(y > 0 for points in named.values() for _, y in points):
        values = [math.log10(y) for points in named.values() for _, y in points]
        axes.set_yscale("log")
        axes.set_ylim(
            10.0 ** math.floor(min(values)), 10.0 ** (math.floor(max(values)) + 1)
        )  # whole decades have labels
        axes.yaxis.set_major_formatter(lambda y, _: f"{y:.0e}")
        axes.yaxis.set_minor_formatter(lambda y, _: "")
    else:
        axes.set_ylim(bottom=0)
    axes.set_ylabel(unit)
    place = math.inf
    for y, name, colour in sorted(ends, reverse=True):
        height = float(axes.transAxes.inverted().transform(axes.transData.transform((axes.dataLim.x0, y)))[1])
        place = min(place - 0.066, height)
        axes.text(1.015, place, name, transform=axes.transAxes, color=colour, va="center")


def _draw_strategies(axes: Axes, rows: Mapping[tuple[str, str], Points]) -> None:
    """A row for each state, the steps from left to right: the darker, the likelier its second choice. White: not visited yet."""
    first = min(points[0][0] for points in rows.values())
    last = max(points[-1][0] for points in rows.values())
    columns = min(COLUMNS, last - first + 1)
    width = (last - first + 1) / columns
    cells: list[list[float]] = []
    for points in rows.values():
        binned: dict[int, list[float]] = defaultdict(list)
        for step, share in points:
            binned[int((step - first) / width)].append(share)
        cells.append([fmean(binned[i]) if i in binned else math.nan for i in range(columns)])
    edges = [first - 0.5 + width * i for i in range(columns + 1)]
    drawn = axes.pcolormesh(edges, range(len(rows) + 1), cells, cmap="cividis_r", vmin=0, vmax=1)
    axes.hlines(range(len(rows) + 1), edges[0], edges[-1], color="white", linewidth=2)
    axes.set_yticks([i + 0.5 for i in range(len(rows))], [f"{state}: {choice}" for state, choice in rows], fontsize=7)
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.figure.colorbar(drawn, ax=axes, format=lambda share, _: f"{share:.0%}", fraction=0.04, pad=0.02)
