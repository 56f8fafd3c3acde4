"""Results of training runs: a learning curve, and one page that opens from disk, with no network and no script.

The first run is the main one: the report shows its team in detail. The others are arms beside it (controls, other methods, seeds).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from baselines.args import sort_knobs
from baselines.methods import make_method
from baselines.runlog import read_lines
from llm_marl_envs.errors import ConfigError, LLMMarlError, MissingExtra
from llm_marl_envs.files import atomic_write
from llm_marl_envs.session import Status
from llm_marl_envs.stats.intervals import Interval
from llm_marl_envs.traces.files import read_traces
from llm_marl_envs.traces.trace import Trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Points = Sequence[tuple[int, float]]  # (step, value)
Draw = Callable[["Axes"], None]
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito (2008), without yellow
DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
INK, RULE = "#24292f", "#d8dee4"
LOOK: Any = {"text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK}
LOOK |= {"axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": RULE}
LOOK |= {"axes.titlesize": "medium", "text.parse_math": False, "svg.fonttype": "none"}
RATES = {"first_draft": "first draft right", "accept_if_right": "accept if right", "reject_if_wrong": "reject if wrong"}
NORMALISERS = {"tokens": "a policy's sampled tokens", "sequences": "a policy's replies, then their tokens"}


@dataclass(frozen=True, slots=True)
class Run:
    """A run folder as read: settings, evaluations (at least one) and training steps; how it is named and drawn."""

    args: Mapping[str, Any]
    evals: Sequence[Mapping[str, Any]]
    trains: Sequence[Mapping[str, Any]]
    label: str
    style: Mapping[str, Any]

    @property
    def shares(self) -> dict[str, Points]:
        """Role -> its share of the squared gradient norm, at the steps that had a gradient."""
        key = "grad_share/"
        lines = [line for line in self.trains if sum(v for k, v in line.items() if k.startswith(key)) > 0]
        return {k.removeprefix(key): _series(lines, k) for k in sorted(set().union(*lines)) if k.startswith(key)}

    @property
    def normaliser(self) -> str:
        """What the loss is averaged over, in words; without it gradient shares cannot be compared between runs."""
        try:
            *_, knobs = sort_knobs(tuple(self.args["set"]), *(self.args[k] for k in ("task", "workflow", "method")))
            return NORMALISERS[make_method(self.args["method"], **knobs).normaliser]
        except (LLMMarlError, KeyError):  # a method from another package, not importable here
            return "an unknown normaliser"


def draw_learning_curve(runs: Sequence[Path], out: Path) -> Path:
    """Write one PNG, to be read at 1200 pixels or more, with the panels that the runs have figures for."""
    _need("a learning curve", "matplotlib")
    return _write(Path(out), _render(panels_of(read_runs(runs)), "png"))


def write_report(runs: Sequence[Path], out_folder: Path) -> Path:
    """Write learning_curve.png and report.html into a folder; returns the page's path."""
    _need("a report", "matplotlib", "jinja2")
    from jinja2 import Environment, StrictUndefined

    read = read_runs(runs)
    panels = panels_of(read)
    first, last = _eval_traces(Path(runs[0]))
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(Path(__file__).with_name("report.html").read_text(encoding="utf-8")).render(
        runs=read,
        main=read[0],
        headline=headline(read),
        plots={title: _render({title: draw}, "svg").decode() for title, draw in panels.items()},
        samples=pick_samples(first, last),
        problems=len(first),
        settings=dict.fromkeys(key for run in read for key in run.args),
    )
    _write(Path(out_folder) / "learning_curve.png", _render(panels, "png"))
    return _write(Path(out_folder) / "report.html", page.encode())


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Run folders with a name each, a colour per arm, and a dash for each seed of an arm. Raises ConfigError for a folder
    that holds no run, or no evaluation yet."""
    if not folders:
        raise ConfigError("a report needs at least one run folder")
    raw = [_read_run(Path(folder)) for folder in folders]
    arms = [{key: value for key, value in args.items() if key != "seed"} for args, *_ in raw]
    distinct = [arm for i, arm in enumerate(arms) if arm not in arms[:i]]
    parts = [(args.get("method"), args.get("workflow"), *args.get("set", ())) for args, *_ in raw]
    labels = [
        f"{' '.join(map(str, part))}, seed {args.get('seed')}" for part, (args, *_) in zip(parts, raw, strict=True)
    ]
    runs = []
    for i, label in enumerate(labels):
        name = f"{label} ({Path(folders[i]).name})" if labels.count(label) > 1 else label
        style = {"color": COLOURS[distinct.index(arms[i]) % 6], "linestyle": DASHES[arms[:i].count(arms[i]) % 4]}
        runs.append(Run(*raw[i], name, style))
    return runs


def _read_run(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]:
    if not (folder / "args.json").is_file():
        raise ConfigError(f"{folder} is not a run folder: no args.json. Give a folder that `llm-marl train` wrote.")
    metrics, ends = folder / "metrics.jsonl", ("accuracy", "accuracy_low", "accuracy_high")
    try:
        args = dict(json.loads((folder / "args.json").read_text()))
        lines = [line for line in (read_lines(metrics) if metrics.exists() else []) if line["step"] >= 0]
        evals = [x | {"interval": Interval(*(x[end] for end in ends))} for x in lines if x["kind"] == "eval"]
    except (OSError, ValueError, KeyError, TypeError) as bad:
        raise ConfigError(f"cannot read the run in {folder}: {type(bad).__name__}: {bad}") from None
    if not evals:
        raise ConfigError(f"{folder} has no evaluation yet. Wait for the first, or go on: llm-marl train --resume")
    return args, evals, [x for x in lines if x["kind"] == "train"]


def headline(runs: Sequence[Run]) -> str:
    """The result in a sentence: the main run, and the other arms of its seed. Rising or falling is claimed only where the
    two 95% intervals do not touch."""
    main, *others = runs
    before, after, step = main.evals[0]["interval"], main.evals[-1]["interval"], main.evals[-1]["step"]
    apart = "rose" if after.low > before.high else "fell" if after.high < before.low else ""
    said = f"Held-out accuracy {apart or 'went'} from {before} to {after} in {step} steps ({main.label})"
    if len(main.evals) == 1:
        said = f"Held-out accuracy is {before} at step {step} ({main.label})"
    elif not apart:
        said += ", with overlapping intervals"
    arms = [run for run in others if run.args.get("seed") == main.args.get("seed")]
    return "; ".join([said, *(f"{r.label}: {r.evals[0]['interval']} → {r.evals[-1]['interval']}" for r in arms)]) + "."


def pick_samples(first: Mapping[str, Trace], last: Mapping[str, Trace]) -> dict[str, list[Trace]]:
    """Problems worth reading, with their episodes before and after training (or the only one there is)."""
    wanted = {"Was wrong, became right": (0, 1), "Still wrong": (0, 0), "Was right, became wrong": (1, 0)}
    if not last:
        wanted, last = {"Right": (1, 1), "Wrong": (0, 0)}, first
    grades = {key: tuple(int((t[key].score or 0) >= 1) for t in (first, last)) for key in first if key in last}
    found = {what: next((key for key, grade in grades.items() if grade == fits), None) for what, fits in wanted.items()}
    pairs = {what: (first[key], last[key]) for what, key in found.items() if key is not None}
    return {what: [before] if before is after else [before, after] for what, (before, after) in pairs.items()}


def _eval_traces(folder: Path) -> list[dict[str, Trace]]:
    """The first and the last evaluation's episodes by problem; the last is empty if there was only one."""
    files = sorted((folder / "traces").glob("eval-*.jsonl*"))
    ends = [read_traces(path) for path in files[:1] + files[1:][-1:]]
    return [{t.question.id: t for t in traces if t.status is not Status.FAILED} for traces in (*ends, (), ())][:2]


def panels_of(runs: Sequence[Run]) -> dict[str, Draw]:
    """Title -> what draws it, for each panel that has figures."""
    main, whose = runs[0], f" ({runs[0].label})" if len(runs) > 1 else ""
    rates = {name: points for key, name in RATES.items() if (points := _series(main.evals, key))}
    if list(rates.values()) == [_series(main.evals, "accuracy")]:
        rates = {}  # one agent, one answer: the accuracy again
    half, shares = len(main.trains) // 40, {}
    for role, points in main.shares.items():
        around = [points[max(0, i - half) : i + half + 1] for i in range(len(points))]
        means = [sum(y for _, y in near) / len(near) for near in around]
        shares[role] = [(step, mean) for (step, _), mean in zip(points, means, strict=True)]
    unit = f"share of squared gradient norm\nloss averaged over {main.normaliser}" + (
        f"\nmean of {2 * half + 1} steps" if half else ""
    )
    panels: dict[str, Draw] = {"Held-out accuracy": lambda axes: _draw_accuracy(axes, runs)}
    if rates:
        panels[f"How the team got better{whose}"] = lambda axes: _draw_named(axes, rates, "share of cases, held-out")
    panels["Calls per episode"] = lambda axes: _draw_runs(axes, runs, "calls", "calls, held-out")
    if len(shares) > 1:
        panels[f"Gradient share per role{whose}"] = lambda axes: _draw_named(axes, shares, unit)
    return panels


def _series(lines: Sequence[Mapping[str, Any]], key: str) -> Points:
    return [(line["step"], line[key]) for line in lines if key in line]


def _draw_runs(axes: Axes, runs: Sequence[Run], key: str, unit: str) -> None:
    for run in runs:
        steps, values = zip(*(_series(run.evals, key) or [(0, math.nan)]), strict=True)
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


def _draw_named(axes: Axes, series: Mapping[str, Points], unit: str) -> None:
    """Lines with their names where they end, kept apart."""
    ends = []
    for i, (name, points) in enumerate(series.items()):
        colour, dots = COLOURS[i % 6], {"marker": "o", "markersize": 3.5} if len(points) <= 30 else {}
        axes.plot(*zip(*points, strict=True), color=colour, linestyle=DASHES[i // 6 % 4], **dots)
        ends.append((points[-1][1], name, colour))
    place = math.inf
    for y, name, colour in sorted(ends, reverse=True):
        place = min(place - 0.07, y)
        at = axes.get_yaxis_transform()  # x in the axes, y in the data
        axes.text(1.015, place, name, transform=at, color=colour, va="center")
    axes.set_ylabel(unit)


def _render(panels: Mapping[str, Draw], form: str) -> bytes:
    """The panels as one PNG, or as an SVG to stand in the page (matplotlib escapes the texts in it)."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    columns, rows = min(2, len(panels)), (len(panels) + 1) // 2
    with matplotlib.rc_context(LOOK | {"svg.hashsalt": "".join(panels)}):
        figure = Figure(figsize=(6 * columns, 4 * rows), layout="constrained")
        for i, (title, draw) in enumerate(panels.items(), 1):
            axes = figure.add_subplot(rows, columns, i)
            draw(axes)
            axes.set_title(title, loc="left")
            axes.set_xlabel("training steps")
            axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True))
            if axes.dataLim.width == 0:  # one evaluation only
                axes.set_xticks([axes.dataLim.x0])
            if not title.startswith("Calls"):
                axes.set_ylim(-0.03, 1.03)
                axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        handles, labels = figure.axes[0].get_legend_handles_labels()
        if handles:
            fit = max(1, 76 * columns // (8 + max(map(len, labels))))
            figure.set_figheight(4 * rows + 0.2 * math.ceil(len(labels) / fit))
            figure.legend(handles, labels, loc="outside upper left", ncols=fit, frameon=False)
        bare = dict.fromkeys(("Date", "Creator", "Format", "Type")) if form == "svg" else None
        figure.savefig(buffer := BytesIO(), format=form, dpi=150, metadata=bare, transparent=form == "svg")
    drawn = buffer.getvalue()
    if form == "svg":
        drawn = drawn[drawn.index(b"<svg") :]
        for colour, of_page in ((INK, b"currentColor"), (RULE, b"var(--rule)"), (COLOURS[0].lower(), b"var(--blue)")):
            drawn = drawn.replace(colour.encode(), of_page)
    return drawn


def _need(what: str, *modules: str) -> None:
    if any(find_spec(module) is None for module in modules):
        raise MissingExtra(what, "report")


def _write(path: Path, data: bytes) -> Path:
    with atomic_write(path) as file:
        file.write(data)
    return path
