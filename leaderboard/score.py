"""Trace files in, one row per entry and environment out. Every trace is verified first; only those that pass are counted."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import isnan
from pathlib import Path
from typing import Any

from llm_marl_envs.errors import TraceError
from llm_marl_envs.outcome import Outcome
from llm_marl_envs.session import Status
from llm_marl_envs.stats.figures import team_figures
from llm_marl_envs.stats.intervals import Interval, accuracy_of
from llm_marl_envs.terminal import printable
from llm_marl_envs.traces.files import read_traces
from llm_marl_envs.traces.trace import Trace
from llm_marl_envs.traces.verify import Budget, Refused, Verified, Verifier

SHOWN_REASONS = 5  # refusals quoted in a row; all of them are counted


class BrokenLine(UserWarning):
    """A line of a trace file that is no trace."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one entry did in one environment (id, knobs and split).

    Accuracy, calls, tokens and all further figures are those of the last step; `peak` is the best accuracy of any step (the
    earliest, if several are equal), `drop` is peak minus final. calls and tokens (as reported) are per episode, malformed
    is the share of calls that could not be read. No figure except `failed` includes failed episodes; truncated ones count as
    wrong.
    """

    entry: str
    env_id: str
    split: str
    knobs: Mapping[str, Any]
    problems: int
    split_size: int  # problems that the split has
    episodes: int  # scored ones, at the last step
    accuracy: Interval
    step: int | None
    peak: float
    peak_step: int | None
    calls: float
    tokens: float
    malformed: float
    truncated: int
    failed: int
    refused: int  # over all steps
    reasons: tuple[str, ...]  # the first refusals
    notes: tuple[str, ...]  # what readers must know before they compare rows

    @property
    def ranked(self) -> float:
        """What rows are ordered by: accuracy with failed episodes as wrong, so that no failure improves a rank."""
        played = self.episodes + self.failed
        return self.accuracy.mean * self.episodes / played if played else self.accuracy.mean

    @property
    def drop(self) -> float:
        return self.peak - self.accuracy.mean

    def record(self) -> dict[str, Any]:
        """The row as flat JSON; what could not be measured is null."""
        flat = asdict(self) | {"accuracy": self.accuracy.mean, "drop": self.drop}
        flat |= {"accuracy_low": self.accuracy.low, "accuracy_high": self.accuracy.high}
        return {k: None if isinstance(v, float) and isnan(v) else v for k, v in flat.items()}


@dataclass(slots=True)
class _Entry:
    """What has been read for a row so far."""

    first: Trace
    name: str
    played: dict[int | None, list[tuple[str, Outcome]]] = field(default_factory=dict)  # step -> (question id, outcome)
    seen: dict[tuple[str, int | None, int | None], str] = field(default_factory=dict)  # -> trace id
    judged: dict[int | None, list[tuple[str, float]]] = field(default_factory=dict)  # step -> a judge's opinions
    split_size: int = 0
    refused: int = 0
    reasons: list[str] = field(default_factory=list)

    def refuse(self, why: str) -> None:
        self.refused += 1
        if len(self.reasons) < SHOWN_REASONS:
            self.reasons.append(printable(why, 500))


def score(
    files: Iterable[str | Path],
    data_dir: str | Path | None = None,
    plugins: tuple[str, ...] = (),
    *,
    tools: bool = False,
    budget: Budget = Budget(),
) -> list[Row]:
    """One row per entry and environment, best final accuracy first.

    files: trace files, or folders of them. An entry is what `meta["entry"]` says, else the file. A trace that fails the
    check, or repeats (question, sample, step), is refused and counted; a line that is no trace is left out, with a
    BrokenLine warning. tools: run tools again and compare. budget: what a trace and a file may cost. Raises TraceError for a file
    that cannot be read, and DataError if a task's data is missing; a torn last line is a TornTrace warning.
    """
    check = Verifier(data_dir, plugins, tools=tools, budget=budget)
    broken: list[TraceError] = []
    entries: dict[str, _Entry] = {}
    for path in trace_files(files):
        for trace in read_traces(path, broken.append, budget.memory_mb):
            meta = trace.meta if isinstance(trace.meta, dict) else {}
            name = str(meta.get("entry") or path.name)
            spec = trace.spec
            key = json.dumps([name, trace.env_id, trace.split, spec.task_knobs, spec.workflow_knobs], sort_keys=True)
            if key not in entries:
                entries[key] = _Entry(replace(trace, events=(), digests=(), meta={}), name)
            _add(entries[key], trace, meta, check, path)
    if not entries and broken:
        raise broken[0]
    for error in broken[:SHOWN_REASONS]:
        warnings.warn(f"left out: {error}", BrokenLine, stacklevel=2)
    if not entries:
        raise TraceError(f"no traces in {', '.join(map(str, files))}. Write some with: llm-marl evaluate")
    rows = [_row(entry) for entry in entries.values()]
    return sorted(rows, key=lambda r: (isnan(r.ranked), -r.ranked, r.entry, r.env_id))


def trace_files(paths: Iterable[str | Path]) -> list[Path]:
    """The trace files in `paths`: of a folder, the `eval-*` trace files at any depth, or all if it has none."""
    found: dict[Path, Path] = {}  # by resolved path: a file that is given twice is read once
    for path in map(Path, paths):
        inside = [path]
        if path.is_dir():
            inside = sorted(p for end in ("*.jsonl", "*.jsonl.gz") for p in path.rglob(end) if p.is_file())
            inside = [p for p in inside if p.name.startswith("eval-")] or inside
            if not inside:
                raise TraceError(f"no traces under {path}: expected files named *.jsonl or *.jsonl.gz")
        for file in inside:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def _add(entry: _Entry, trace: Trace, meta: Mapping[str, Any], check: Verifier, path: Path) -> None:
    step, sample = meta.get("step"), meta.get("sample")
    for name, value in (("step", step), ("sample", sample)):
        if value is not None and type(value) is not int:
            return entry.refuse(
                f"trace {trace.id}, question {trace.question.id}: {name} {value!r} is not a whole number"
            )
    played = entry.played.setdefault(step, [])
    match check(trace, path):
        case Refused() as refused:
            return entry.refuse(str(refused))
        case Verified(outcome=outcome):
            entry.split_size = check.split_size(trace)
    same = (trace.question.id, sample, step)
    if same in entry.seen:
        again = "" if step is None else f" at step {step}"
        return entry.refuse(
            f"trace {trace.id}, question {trace.question.id}: a duplicate of trace {entry.seen[same]}, "
            f"the same question and sample{again}"
        )
    entry.seen[same] = trace.id
    if type(opinion := meta.get("judged")) is bool:
        entry.judged.setdefault(step, []).append((trace.question.id, float(opinion)))
    played.append((trace.question.id, replace(outcome, claims=(), session=None)))  # a row needs no texts


def _row(entry: _Entry) -> Row:
    steps = sorted(entry.played, key=_order) or [None]
    accuracy = {step: _accuracy(entry.played.get(step, ())) for step in steps}
    last = steps[-1]
    peak_step = max(steps, key=lambda s: -1.0 if isnan(accuracy[s].mean) else accuracy[s].mean)
    episodes = entry.played.get(last, [])
    scored = [(id, outcome) for id, outcome in episodes if outcome.status is not Status.FAILED]
    figures = team_figures([outcome for _, outcome in episodes])
    spec = entry.first.spec
    return Row(
        entry=printable(entry.name),
        env_id=printable(entry.first.env_id),
        split=printable(entry.first.split),
        knobs={**dict(spec.task_knobs), **dict(spec.workflow_knobs)},
        problems=len({id for id, _ in scored}),
        split_size=entry.split_size,
        episodes=len(scored),
        accuracy=accuracy[last],
        step=last,
        peak=accuracy[peak_step].mean,
        peak_step=peak_step,
        calls=figures.get("calls", float("nan")),
        tokens=figures.get("tokens", float("nan")),
        malformed=figures.get("malformed", float("nan")),
        truncated=sum(outcome.status is Status.TRUNCATED for _, outcome in scored),
        failed=len(episodes) - len(scored),
        refused=entry.refused,
        reasons=tuple(entry.reasons),
        notes=tuple(_notes(entry, steps)),
    )


def _accuracy(episodes: Sequence[tuple[str, Outcome]]) -> Interval:
    return accuracy_of((id, outcome.team.value) for id, outcome in episodes if outcome.status is not Status.FAILED)


def _notes(entry: _Entry, steps: Sequence[int | None]) -> Iterator[str]:
    tries = {step: _tries(entry.played.get(step, ())) for step in steps}
    last = steps[-1]
    if not tries[last]:
        yield "nothing could be scored" if len(steps) == 1 else f"nothing of the last step ({last}) could be scored"
    sets = {frozenset(of) for of in tries.values()}
    if len(sets) > 1:
        sizes = ", ".join(f"{_named(step)}: {len(of)}" for step, of in tries.items())
        common = len(frozenset.intersection(*sets))
        yield f"the steps cover different problems ({sizes}; {common} in common), so peak and final do not compare"
    counts = set(tries[last].values())
    if len(counts) > 1:
        yield f"some problems were tried {min(counts)} times, others up to {max(counts)} times"
    earlier = [outcome for step in steps[:-1] for _, outcome in entry.played[step]]
    episodes = entry.played.get(last, [])
    now = sum(outcome.status is Status.FAILED for _, outcome in episodes)
    if now:
        yield f"{now} of {len(episodes)} episodes failed; for the order of rows they count as wrong"
    if failed := sum(outcome.status is Status.FAILED for outcome in earlier):
        yield f"{failed} episodes of earlier steps failed"
    if opinions := entry.judged.get(last):
        yield f"a judge calls {accuracy_of(opinions)} right (of {len(opinions)} episodes; unverified, not ranked)"


def _tries(episodes: Sequence[tuple[str, Outcome]]) -> dict[str, int]:
    tries: dict[str, int] = {}
    for id, outcome in episodes:
        if outcome.status is not Status.FAILED:
            tries[id] = tries.get(id, 0) + 1
    return tries


def _order(step: int | None) -> tuple[bool, int]:
    return (step is not None, step or 0)  # episodes without a step come before step 0


def _named(step: int | None) -> str:
    return "no step" if step is None else f"step {step}"
