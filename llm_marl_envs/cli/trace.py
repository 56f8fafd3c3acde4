"""`llm-marl trace`: check, measure, export, show and import records of episodes."""

from __future__ import annotations

import gzip
import json
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import tyro
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from llm_marl_envs.errors import ConfigError, DataError, MissingExtra, TraceError
from llm_marl_envs.files import write_lines
from llm_marl_envs.orchestration.export import to_orchestration, without_texts
from llm_marl_envs.orchestration.importers import read_transcripts
from llm_marl_envs.orchestration.page import write_page
from llm_marl_envs.orchestration.schema import View, check_view
from llm_marl_envs.session import Status
from llm_marl_envs.stats.figures import CASES, SHARES
from llm_marl_envs.stats.intervals import mean_of
from llm_marl_envs.terminal import printable
from llm_marl_envs.traces.files import COPIES, READ_MB, read_lines, read_traces, size_read
from llm_marl_envs.traces.trace import Trace
from llm_marl_envs.traces.verify import CPU_S, Budget, Refused, Verified, Verifier

OUT, ERR = Console(), Console(stderr=True)
_GRADES = ("team", "answer", "verdict", "evidence")  # reward channels that are mean grades, from 0 to 1
SHOWN = 20  # complaints that are listed; the rest are only counted


def trace(
    action: Annotated[Literal["check", "stats", "export", "show", "import"], tyro.conf.Positional],
    files: Annotated[tuple[Path, ...], tyro.conf.Positional],
    out: Path | None = None,
    pick: tuple[str, ...] = (),
    limit: int = 50,
    grade: bool = True,
    texts: bool = True,
    layout: Literal["auto", "openai", "claude_code", "codex"] = "auto",
    data_dir: Path | None = None,
    plugins: tuple[str, ...] = (),
    tools: bool = False,
    corpus: Path | None = None,
    retriever: str | None = None,
    cpu_s: float = CPU_S,
    memory_mb: int = READ_MB,
) -> None:
    """Check, measure, export or show recorded episodes, or import transcripts of other systems.

    check: replay and grade every trace again, and compare forks with their parents; exit status 1 if any check fails.
    stats: the metrics of docs/traces.md with 95% intervals, per environment; with --out as JSON lines.
    export: write the public orchestration-trace schema, one JSON object per line.
    show: write one self-contained HTML page: timeline, prompts and replies, replay, search, comparison.
    import: read OpenAI-style message logs, or Claude Code or Codex logs, into that schema (not replayable).

    stats and show also take files that export or import wrote.

    Examples: `llm-marl trace check runs/demo/shared-seed1/traces/eval-000030.jsonl.gz`, `llm-marl trace show mine.jsonl --out mine.html`,
    `llm-marl trace import ~/.claude/projects/x/session.jsonl --out session.jsonl`

    Args:
        action: What to do.
        files: Files of traces, of exported data, or of transcripts; for import also folders.
        out: Where to write; by default beside the first file.
        pick: Show only these: trace ids (or their beginnings), question ids or numbers from 1.
        limit: Show at most this many, from the first.
        grade: Grade claims again, for the metrics that need grades; this needs the task's data. Without it, they are left out.
        texts: False exports digests instead of texts.
        layout: The transcripts' layout; auto looks at the first records.
        data_dir: Folder of local data sets, for grading; by default LLM_MARL_DATA or the hub.
        plugins: Modules outside this package whose tasks and workflows may be loaded. Loading runs their code.
        tools: For check: also run the tools again, and compare their results with the traces.
        corpus: For check with --tools: what to search; the traces' own words about it are not believed.
        retriever: For check with --tools: the URL of a retriever instead.
        cpu_s: CPU seconds that the verification of one trace may take.
        memory_mb: Megabytes that it may take to read a trace, or that one of its programs may take.
    """
    if not files:
        raise ConfigError(f"give at least one file, for example: llm-marl trace {action} traces.jsonl")
    places = {"corpus": corpus and str(corpus), "retriever": retriever}
    budget = Budget(cpu_s=cpu_s, memory_mb=memory_mb)
    verifier = Verifier(data_dir, plugins, tools=tools and action == "check", places=places, budget=budget)
    match action:
        case "check":
            _check(files, verifier, grade)
        case "stats":
            _stats(views_of(files, verifier, grade=grade), out)
        case "export":
            target = out or _beside(files[0], ".orchestration.jsonl")
            count = _write(target, views_of(files, verifier, grade=grade, texts=texts))
            OUT.print(_written(count, target), soft_wrap=True)
        case "show":
            found = _picked(views_of(files, verifier, grade=grade, texts=texts), pick, limit)
            target = write_page(found, out or _beside(files[0], ".html"), f"{files[0].name}: {_counted(len(found))}")
            OUT.print(f"wrote {_counted(len(found))} to {escape(str(target))}; open it in a browser")
        case "import":
            target = out or _beside(files[0], ".orchestration.jsonl")
            skipped, untimed = Counter[str](), [0]
            count = _write(target, _imported(files, layout, texts, skipped, untimed))
            OUT.print(_written(count, target), soft_wrap=True)
            if untimed[0]:
                OUT.print(
                    f"{_counted(untimed[0])} without times: their axis counts calls; seconds and speed-up are not known (-)"
                )
            if skipped:
                kinds = ", ".join(f"{number} x {printable(kind, 60)}" for kind, number in skipped.most_common())
                OUT.print(escape(f"not understood and left out: {skipped.total()} ({kinds})"), soft_wrap=True)


def _imported(
    files: Iterable[Path], layout: str, texts: bool, skipped: Counter[str], untimed: list[int]
) -> Iterator[View]:
    """Transcripts as orchestration data; counts what was not understood, and the episodes without times."""
    for view in read_transcripts(files, layout):
        skipped.update(view["events"][0].get("skipped", {}))
        untimed[0] += view["events"][0].get("axis") == "calls"
        yield view if texts else without_texts(view)


def views_of(files: Iterable[Path], verifier: Verifier, *, grade: bool = True, texts: bool = True) -> Iterator[View]:
    """Orchestration data of trace files and of exported files. With `grade`, claims are graded where the task's data is
    available; a warning says where it is not, and which traces fail the check."""
    ungraded: set[str] = set()
    memory_mb = verifier.budget.memory_mb
    for file in files:
        if _is_exported(file):
            found = _read_views(file, memory_mb)
            yield from found if texts else map(without_texts, found)
            continue
        for trace in _read(file, None, memory_mb):
            outcome = None
            if grade and trace.env_id not in ungraded:
                try:
                    match verifier(trace, file):
                        case Verified(outcome=found):
                            outcome = found
                        case Refused() as refused:
                            warnings.warn(f"fails the check: {printable(refused, 500)}", stacklevel=2)
                except (DataError, MissingExtra) as bad:
                    ungraded.add(trace.env_id)
                    warnings.warn(f"claims are not graded: {bad}", stacklevel=2)
            try:
                yield to_orchestration(trace, outcome, texts=texts)
            except TraceError as bad:
                warnings.warn(f"left out: {bad}", stacklevel=2)


class Examined(NamedTuple):
    """What the check of files found: the scores of the traces that hold, how many were read, what is wrong, the forks (so many of
    them, of those that hold, without their parents here), and the exported episodes that follow the schema."""

    scores: list[float]
    read: int
    wrong: list[str]
    forks: int
    apart: int
    exported: int


def examine(files: Iterable[Path], verifier: Verifier, *, grade: bool = True) -> Examined:
    """Check files: every trace by itself (only replayed, without `grade`), forks against their parents, and that no episode that
    holds is there twice. Of a trace, only what tells its beginnings apart is kept. Raises TraceError for a file that cannot be
    read."""
    read, exported, scores, wrong = 0, 0, [], []
    held: set[str] = set()
    begun: dict[str, Sequence[bytes]] = {}
    forks: dict[str, tuple[str, int]] = {}
    for file in files:
        if _is_exported(file):
            exported += sum(1 for _ in _read_views(file, verifier.budget.memory_mb))
            continue
        before = read, len(wrong)
        for trace in _read(file, lambda bad: wrong.append(str(bad)), verifier.budget.memory_mb):
            read += 1
            found = verifier(trace, file) if grade else verifier.replayed(trace, file)
            if isinstance(found, Refused):
                wrong.append(f"{file}: {found}")
                continue
            if trace.id in held:
                wrong.append(f"{file}: trace {trace.id}, question {trace.question.id}: the same episode once more")
            else:
                held.add(trace.id)
                scores += [found.outcome.team.value] if found else []
            begun[trace.id] = trace.beginnings()
            if trace.parent:
                forks[trace.id] = trace.parent
        if (read, len(wrong)) == before:
            wrong.append(f"{file} holds no traces")
    apart = 0
    for fork, (parent, turn) in forks.items():
        if parent not in begun:
            apart += 1
        elif not 0 <= turn < len(begun[parent]) or begun[fork][turn : turn + 1] != begun[parent][turn : turn + 1]:
            wrong.append(f"trace {fork} does not begin with the first {turn} replies of trace {parent}")
    return Examined(scores, read, wrong, len(forks), apart, exported)


def _check(files: Sequence[Path], verifier: Verifier, grade: bool) -> None:
    _, read, wrong, forks, apart, valid = examine(files, verifier, grade=grade)
    how = "replayed and graded" if grade else "replayed"
    exported = f"; {valid} exported episodes follow the schema, but cannot be replayed" if valid else ""
    missing = f" ({apart} without their parents here)" if apart else ""
    OUT.print(f"{read} traces {how}, {len(wrong)} complaints; {forks} forks{missing}{exported}")
    for complaint in wrong[:SHOWN]:
        OUT.print(f"  {escape(printable(complaint, 500))}", soft_wrap=True)
    if len(wrong) > SHOWN:
        OUT.print(f"  and {len(wrong) - SHOWN} more")
    if wrong:
        raise SystemExit(1)


def _read(file: Path, bad: Callable[[TraceError], None] | None, memory_mb: int) -> Iterable[Trace]:
    """A file's traces, with a progress bar on a terminal."""
    return track(read_traces(file, bad, memory_mb), file.name, console=ERR, transient=True, disable=not ERR.is_terminal)


def _stats(views: Iterable[View], out: Path | None) -> None:
    found: dict[str, list[View]] = {}
    failed = 0
    for view in views:
        if any(event.get("status") == Status.FAILED for event in view["events"]):
            failed += 1
            continue
        figures = {kind: view[kind] for kind in ("rewards", "costs")} | {"metrics": view.get("metrics", {})}
        if view["events"][0].get("axis") == "calls":  # without times
            unknown = {"costs": {"wall_clock_s": None}, "metrics": {"speed_up": None}}
            figures |= {kind: figures[kind] | names for kind, names in unknown.items()}
        found.setdefault(view.get("system", "unknown"), []).append(figures)
    if not found:
        raise TraceError(f"no episodes in these files{f' except {failed} that failed' if failed else ''}")
    if failed:
        warnings.warn(
            f"{failed} episodes failed (a tool or grader could not run); no figure includes them", stacklevel=2
        )
    rows = [row for system, episodes in found.items() for row in _figures(system, episodes)]
    if out is not None:
        _write(out, rows)
        return
    for system, episodes in found.items():
        table = Table(title=escape(printable(f"{system}: {len(episodes)} episodes")), title_justify="left")
        for name in ("", "figure", "mean", "95% interval", "episodes"):
            table.add_column(name, justify="left" if name in ("", "figure") else "right", no_wrap=True)
        for row in rows:
            if row["system"] == system:
                interval = "-" if row["low"] is None else f"{row['low']:.4g} to {row['high']:.4g}"
                name = escape(printable(row["figure"]))
                mean = "-" if row["mean"] is None else f"{row['mean']:.4g}"
                table.add_row(row["kind"], name, mean, interval, str(row["episodes"]))
        OUT.print(table)
    OUT.print("What the metrics mean: docs/traces.md")


def _figures(system: str, episodes: Sequence[View]) -> Iterator[dict[str, Any]]:
    for kind in ("rewards", "costs", "metrics"):
        for name in dict.fromkeys(name for episode in episodes for name in episode[kind]):
            having = [episode for episode in episodes if episode[kind].get(name) is not None]
            values = [float(episode[kind][name]) for episode in having]
            cases = [episode["costs"].get(CASES[name], 1) for episode in having] if name in CASES else None
            share = name in SHARES or (kind == "rewards" and name in _GRADES)
            interval = mean_of(values, share=share, weights=cases)
            ends = {end: None if isnan(x) else x for end, x in asdict(interval).items()}
            yield {"system": system, "kind": kind[:-1], "figure": name, "episodes": len(values)} | ends


def _picked(views: Iterable[View], pick: Sequence[str], limit: int) -> list[View]:
    if limit < 1:
        raise ConfigError(f"--limit starts at 1; got {limit}")
    found, seen = [], 0
    for number, view in enumerate(views, 1):
        wanted = not pick or any(p in (str(number), view["task_id"]) or view["trace_id"].startswith(p) for p in pick)
        seen += wanted
        if wanted and len(found) < limit:
            found.append(view)
    if not found:
        wanted = f"none of them is {', '.join(pick)}" if pick else "there is nothing in them"
        raise TraceError(f"nothing to show in these files: {wanted}")
    if seen > len(found):
        warnings.warn(
            f"showing the first {len(found)} of {seen} episodes; choose with --pick, or raise --limit", stacklevel=2
        )
    return found


def _is_exported(path: Path) -> bool:
    """Whether a file holds orchestration data rather than traces: its first object says so."""
    if not path.is_file():
        return False  # read_traces says what is wrong with it
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as file:
            return b'"trace_id"' in file.read(100_000).partition(b'"events"')[0]
    except (OSError, EOFError, zlib.error):
        return False


def _read_views(path: Path, memory_mb: int = READ_MB) -> Iterator[View]:
    most = memory_mb << 20
    lines = read_lines(path, most // COPIES)
    if path.suffix == ".json":
        if path.stat().st_size > most // COPIES:
            raise TraceError(f"{path} is longer than {most // COPIES} bytes (--memory-mb allows more)")
        lines = iter((b"".join(line for line in lines if line is not None),))
    for number, line in enumerate(lines, 1):
        if line is None or size_read(line, most) > most:
            raise TraceError(
                f"{path} line {number}: to read it takes more than {memory_mb} MB (--memory-mb allows more)"
            )
        try:
            view = json.loads(line.decode()) if line.strip() else None
        except (ValueError, RecursionError) as bad:
            raise TraceError(f"{path} line {number} is not orchestration data: {bad}") from None
        if view is not None and (wrong := check_view(view)):
            raise TraceError(f"{path} line {number}: {'; '.join(wrong[:5])}")
        if view is not None:
            yield view


def _write(path: Path, views: Iterable[dict[str, Any]]) -> int:
    return write_lines(path, (json.dumps(view).encode() for view in views), "Choose another place with --out.")


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name.removesuffix(".gz").removesuffix(".jsonl").removesuffix(".json") + ending)


def _counted(count: int) -> str:
    return f"{count} episode{'s' if count != 1 else ''}"


def _written(count: int, path: Path) -> str:
    return f"wrote {_counted(count)} to {escape(str(path))}; look at it with: llm-marl trace show {escape(str(path))}"
