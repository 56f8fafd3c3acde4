"""Results of training runs: a learning curve, and one page that opens from disk, with no network and no script.

The first run is the main one: the report shows its team in detail. The others are arms beside it (controls, other methods, seeds).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

from baselines.panels import INK, RULE, Draw, diagnostics_of, panels_of, strategies_of
from baselines.runs import COLOURS, Run, read_runs
from llm_marl_envs.errors import MissingExtra
from llm_marl_envs.files import atomic_write
from llm_marl_envs.session import Status
from llm_marl_envs.stats.intervals import Interval
from llm_marl_envs.traces.files import read_traces
from llm_marl_envs.traces.trace import Trace

LOOK: Any = {"text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK}
LOOK |= {"axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": RULE}
LOOK |= {"axes.titlesize": "medium", "text.parse_math": False, "svg.fonttype": "none"}


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
        diagnostics={title: _render({title: draw}, "svg").decode() for title, draw in diagnostics_of(read[0]).items()},
        strategies=last_strategies(read[0]),
        points=in_points,
        samples=pick_samples(first, last),
        problems=len(first),
        settings=dict.fromkeys(key for run in read for key in run.args),
    )
    _write(Path(out_folder) / "learning_curve.png", _render(panels, "png"))
    return _write(Path(out_folder) / "report.html", page.encode())


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


def last_strategies(run: Run) -> list[tuple[str, str, float, float]]:
    """(state, choice, its probability by the current and by the average strategy) at the end, of players that learn in tables."""
    average = strategies_of(run, "average")
    return [
        (*row, points[-1][1], average[row][-1][1])
        for row, points in strategies_of(run, "current").items()
        if row in average
    ]


def in_points(change: Interval | None) -> str:
    """A difference of accuracies, with its sign."""
    if change is None:
        return "–"
    return f"{100 * change.mean:+.1f} [{100 * change.low:+.1f}, {100 * change.high:+.1f}]"


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


def _render(panels: Mapping[str, Draw], form: str) -> bytes:
    """The panels as one PNG, or as an SVG to stand in the page (matplotlib escapes the texts in it)."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

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
