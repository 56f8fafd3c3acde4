"""The scorer's commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from json import dumps
from math import isnan
from pathlib import Path
from typing import Annotated

import tyro
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from leaderboard.score import SHOWN_REASONS, Row
from leaderboard.score import score as score_files
from leaderboard.standings import Standing, standings
from llm_marl_envs.errors import ConfigError
from llm_marl_envs.suites import load_suite
from llm_marl_envs.terminal import printable
from llm_marl_envs.traces.files import READ_MB
from llm_marl_envs.traces.verify import CPU_S, Budget

REPLAY = "Every trace was replayed and graded again here. That shows that it is self-consistent, not authentic: anybody may have written its texts."


def score(
    files: Annotated[tuple[Path, ...], tyro.conf.Positional],
    data_dir: Path | None = None,
    json: bool = False,
    plugins: tuple[str, ...] = (),
    tools: bool = False,
    suite: str | None = None,
    cpu_s: float = CPU_S,
    memory_mb: int = READ_MB,
) -> None:
    """Replay and re-grade traces, and print one row per entry, best final accuracy first.

    Nothing a trace says about itself is believed: each episode is replayed from its replies, its question is looked up in
    the task, its answer is graded again. A trace that fails this is refused and listed, and the exit status is 1.

    Accuracy is that of the last step, with its 95% interval; peak is the best step's, drop is peak minus final. Calls and
    tokens are per episode, malformed is the share of calls in which a reading failed. Failed episodes (a tool or grader
    could not run) are counted separately; truncated ones count as wrong.

    Examples: `llm-marl score runs/demo`, `llm-marl score a.jsonl b.jsonl.gz --json`, `llm-marl score runs/*/suites/smoke-v1 --suite smoke-v1`

    Args:
        files: Trace files (.jsonl or .jsonl.gz), or folders: then all eval-* traces under them, or all traces if none is an eval.
        data_dir: Folder of local data sets, for tasks that need data; by default LLM_MARL_DATA or the hub.
        json: Print the rows as JSON instead of a table.
        plugins: Modules outside this package whose tasks and workflows may be loaded. Loading runs their code.
        tools: Also run the tools again, and refuse traces whose recorded results differ.
        suite: One row per entry on a suite (`llm-marl suites list`). Only who played all of it, without a refused trace and with at most 1 % failed
            episodes, has a rank; why others have none is told.
        cpu_s: CPU seconds that the verification of one trace may take.
        memory_mb: Megabytes that it may take to read a trace, or that one of its programs may take.
    """
    if not files:
        raise ConfigError("give at least one trace file or folder, for example: llm-marl score runs/demo")
    budget = Budget(cpu_s=cpu_s, memory_mb=memory_mb)
    if suite is not None:
        found = standings(files, load_suite(suite), data_dir, plugins, tools=tools, budget=budget)
        _show_standings(found) if not json else print(
            dumps([asdict(s) for s in found], indent=2).replace("NaN", "null")
        )
        if not all(standing.ranked for standing in found):
            raise SystemExit(1)
        return
    rows = score_files(files, data_dir, plugins, tools=tools, budget=budget)
    if json:
        print(dumps([row.record() for row in rows], indent=2, allow_nan=False))
    else:
        _show(rows)
    if any(row.refused for row in rows):
        raise SystemExit(1)


def _console() -> Console:
    console = Console(soft_wrap=False)
    if not console.is_terminal:
        console.width = 120  # a pipe or a log has no edge to fold at
    return console


def _show_standings(found: Sequence[Standing]) -> None:
    console = _console()
    table = Table(box=SIMPLE_HEAD)
    for column in ("rank", "entry", "overall", *(found[0].parts if found else ()), "workflows", "calls", "tokens"):
        table.add_column(column)
    rank = 0
    for standing in found:
        rank += standing.ranked
        parts = [str(interval) if interval.mean == interval.mean else "-" for interval in standing.parts.values()]
        overall = "-" if isnan(standing.overall) else f"{100 * standing.overall:.1f}%"
        table.add_row(
            str(rank) if standing.ranked else "-", escape(standing.entry), overall, *parts, escape(", ".join(standing.workflows)),
            f"{standing.calls:.1f}", f"{standing.tokens:.0f}",
        )  # fmt: skip
    console.print(table)
    for standing in found:
        if standing.findings:
            console.print(f"[bold]{escape(standing.entry)}[/bold] has no rank:")
            for finding in standing.findings:
                console.print(f"  {escape(finding)}")
            if standing.more_findings:
                console.print(f"  and {standing.more_findings} more")
    console.print(REPLAY)
    console.print(
        "Overall is the mean over families of tasks; tokens are as reported, and entries have spent different numbers of them."
    )


def _show(rows: Sequence[Row]) -> None:
    console = _console()
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("entry\nenvironment", overflow="fold")
    for pair in ("accuracy\nproblems", "peak\ndrop", "calls\ntokens", "malformed\ntruncated", "failed\nrefused"):
        table.add_column(pair, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row))
    console.print(table)
    for row in rows:
        for note in row.notes:
            console.print(f"[yellow]note[/] {escape(_title(row))}: {escape(note)}.", soft_wrap=True)
    for row in rows:
        if row.refused:
            console.print(f"[red]refused[/] {escape(_title(row))}: {row.refused} episodes.", soft_wrap=True)
            for reason in row.reasons:
                console.print(f"  {escape(reason)}", soft_wrap=True, highlight=False)
            if row.refused > SHOWN_REASONS:
                console.print(f"  ... and {row.refused - SHOWN_REASONS} more")
    console.print(REPLAY, soft_wrap=True)


def _cells(row: Row) -> tuple[str, ...]:
    """Two lines per cell, so that a row fits an ordinary terminal."""
    knobs = " ".join(f"{name}={value}" for name, value in row.knobs.items())
    tries = "" if row.episodes == row.problems else f" x{row.episodes / row.problems:.3g}"
    at = "" if row.peak_step is None else f" at {row.peak_step}"
    lines = (
        (escape(row.entry), escape(printable(f"{row.env_id} {row.split} {knobs}".strip()))),
        (_accuracy(row), f"{row.problems} of {row.split_size}{tries}"),
        (_number(100 * row.peak, ".1f", f"%{at}"), _number(100 * row.drop, ".1f")),
        (_number(row.calls, ".2f"), _number(row.tokens, ".0f")),
        (_number(100 * row.malformed, ".1f", "%"), str(row.truncated)),
        (str(row.failed), f"[red]{row.refused}[/]" if row.refused else "0"),
    )
    return tuple("\n".join(pair) for pair in lines)


def _accuracy(row: Row) -> str:
    if isnan(row.accuracy.mean):
        return "-"
    return (
        str(row.accuracy) if row.episodes > 1 else f"{100 * row.accuracy.mean:.1f}% -"
    )  # one episode tells no interval


def _number(value: float, form: str, unit: str = "") -> str:
    return "-" if isnan(value) else f"{value:{form}}{unit}"


def _title(row: Row) -> str:
    return f"{row.entry} in {row.env_id}"
