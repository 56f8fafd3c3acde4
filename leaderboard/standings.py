"""A suite's table: entries that played all of it, every trace verified, and what keeps others from a rank.

Verified is what a replay and a second grading show; covered is what the suite's list of problems says. The best five of forty problems
rank nowhere, nor does an entry of which a trace was refused or more than 1 % of the episodes failed.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from statistics import fmean
from typing import Any

from leaderboard.score import trace_files
from llm_marl_envs.errors import TraceError
from llm_marl_envs.outcome import Outcome
from llm_marl_envs.session import Status
from llm_marl_envs.spec import VERSION
from llm_marl_envs.stats.intervals import Interval, accuracy_of
from llm_marl_envs.suites import Suite, SuitePart
from llm_marl_envs.terminal import printable
from llm_marl_envs.traces.files import read_traces
from llm_marl_envs.traces.trace import Trace
from llm_marl_envs.traces.verify import Budget, Refused, Verifier

FAILED = 0.01  # the share of failed episodes above which nothing is ranked
SHOWN = 20  # findings of an entry that are told


@dataclass(frozen=True)
class Standing:
    """An entry's result on a suite. overall: the mean over families of the mean over their parts, failed episodes as wrong; nan where nothing
    was verified. calls, tokens: of an episode, tokens as reported. findings: why it has no rank, each with file and trace; empty: it has one.
    notes: what a reader should know."""

    entry: str
    parts: Mapping[str, Interval]
    overall: float
    workflows: tuple[str, ...]
    episodes: int
    failed: int
    calls: float
    tokens: float
    findings: tuple[str, ...] = ()
    more_findings: int = 0
    notes: tuple[str, ...] = ()

    @property
    def ranked(self) -> bool:
        return not self.findings


@dataclass
class _Entry:
    name: str
    played: dict[str, dict[tuple[str, int], Outcome]] = field(default_factory=lambda: defaultdict(dict))
    workflows: dict[str, None] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    same: Counter[str] = field(default_factory=Counter)  # other entries -> episodes in which they said the same
    count: int = 0  # of findings

    def find(self, what: str) -> None:
        self.count += 1
        if len(self.findings) < SHOWN:
            self.findings.append(printable(what, 500))


def standings(
    files: Iterable[str | Path],
    suite: Suite,
    data_dir: str | Path | None = None,
    plugins: tuple[str, ...] = (),
    *,
    tools: bool = False,
    places: Mapping[str, Any] = {},
    budget: Budget = Budget(),
) -> list[Standing]:
    """The entries in `files`, those with a rank first, best first. An entry is what `meta["entry"]` of its traces says, else their file.

    A trace that is refused, is of no part of the suite, repeats an episode, or is that of an entry before it to the second is a finding;
    that two entries said the same is a note, for two greedy models may. So give files in the order in which they came. tools: run tools
    again, by this verifier's own (`places`). Raises TraceError for a file that cannot be read, DataError if a data set is missing or
    is not the suite's.
    """
    check = Verifier(data_dir, plugins, tools=tools, places=places, budget=budget)
    listed = {part.name: [p.question.id for p in part.chosen(part.make_task(data_dir, places))] for part in suite.parts}
    known = {name: frozenset(ids) for name, ids in listed.items()}
    entries: dict[str, _Entry] = {}
    said: dict[Hashable, tuple[str, float]] = {}  # what was said in an episode -> who said it first, in which time
    for path in trace_files(files):
        broken: list[TraceError] = []
        for trace in read_traces(path, broken.append, budget.memory_mb):
            entry = entries.setdefault(name := _name(trace, path), _Entry(name))
            _add(entry, trace, path, suite, known, check)
            replies = [event.reply for event in trace.events if event.reply]
            texts = blake2b(
                _plain([reply.text for reply in replies]).encode("utf-8", "surrogatepass"), digest_size=16
            ).digest()
            what = trace.env_id, trace.question.id, trace.seed, texts
            other, seconds = said.setdefault(what, (name, took := sum(reply.seconds for reply in replies)))
            if other != name:
                entry.same[other] += 1
                if seconds == took > 0:
                    entry.find(f"{path.name}: trace {trace.id} is {other!r}'s, to the second")
        for error in broken:
            entries.setdefault(path.name, _Entry(path.name)).find(f"{path.name}: {error}")
    found = [_standing(entry, suite, listed) for entry in entries.values()]
    return sorted(found, key=lambda s: (not s.ranked, -s.overall if s.overall == s.overall else 1.0, s.entry))


def _name(trace: Trace, path: Path) -> str:
    meta = trace.meta if isinstance(trace.meta, Mapping) else {}
    return printable(str(meta.get("entry") or path.name), 200)


def _add(
    entry: _Entry, trace: Trace, path: Path, suite: Suite, known: Mapping[str, frozenset[str]], check: Verifier
) -> None:
    where = f"{path.name}: trace {trace.id}, question {trace.question.id}"
    part, why = _part_of(trace, suite)
    if part is None:
        return entry.find(f"{where}: {why}")
    if trace.question.id not in known[part.name]:
        return entry.find(f"{where}: the suite does not have this problem of {part.task}/{part.split}")
    sample = trace.meta.get("sample", 0)
    if type(sample) is not int or not 0 <= sample < part.samples:
        return entry.find(f"{where}: sample {sample!r}; the suite has {part.samples} of each problem, from 0")
    if (trace.question.id, sample) in entry.played[part.name]:
        return entry.find(f"{where}: sample {sample} is there twice")
    match check(trace, entry.name):
        case Refused(complaints=complaints):
            entry.find(f"{where}: {'; '.join(complaints)}")
        case verified:
            entry.workflows[trace.spec.workflow] = None
            entry.played[part.name][trace.question.id, sample] = verified.outcome


def _part_of(trace: Trace, suite: Suite) -> tuple[SuitePart | None, str]:
    """The part that a trace is of, or why it is of none."""
    spec = trace.spec
    of_task = [part for part in suite.parts if part.task == spec.task]
    if not of_task:
        return None, f"{suite.name} does not have the task {spec.task!r}"
    part = of_task[0]
    if spec.version != VERSION:
        return None, f"played under the rules of {spec.version}; they are {VERSION} now"
    if (said := _plain(spec.task_knobs)) != (ours := _plain(part.task_knobs)):
        return None, f"played with {spec.task} {said}; the suite has {ours}"
    if trace.split != part.split:
        return None, f"of the split {trace.split!r}; the suite has {part.split!r}"
    if spec.workflow not in part.workflows:
        return None, f"{spec.workflow!r} is no workflow of {part.name}"
    if trace.limits != part.limits:
        return None, f"limits {_plain(asdict(trace.limits))}; the suite has {_plain(asdict(part.limits))}"
    return part, ""


def _plain(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _standing(entry: _Entry, suite: Suite, listed: Mapping[str, list[str]]) -> Standing:
    parts, families = {}, defaultdict(list)
    for part in suite.parts:
        played = entry.played.get(part.name, {})
        missing = [id for id in listed[part.name] for sample in range(part.samples) if (id, sample) not in played]
        if missing:
            expected = len(listed[part.name]) * part.samples
            entry.find(
                f"{part.name}: {len(missing)} of {expected} episodes are missing or were refused, such as one of {missing[0]}"
            )
        parts[part.name] = accuracy_of((id, _value(outcome)) for (id, _), outcome in played.items())
        if played:
            families[part.family].append(parts[part.name].mean)
    outcomes = [outcome for played in entry.played.values() for outcome in played.values()]
    failed = sum(outcome.status is Status.FAILED for outcome in outcomes)
    if outcomes and failed > FAILED * len(outcomes):
        entry.find(f"{failed} of {len(outcomes)} episodes failed; more than {FAILED:.0%} have no rank")
    overall = fmean(fmean(means) for means in families.values()) if families else float("nan")
    n = max(1, len(outcomes))
    return Standing(
        entry.name, parts, overall, tuple(entry.workflows), len(outcomes), failed,
        sum(sum(o.calls.values()) for o in outcomes) / n, sum(sum(o.tokens.values()) for o in outcomes) / n,
        tuple(entry.findings), entry.count - len(entry.findings),
        tuple(f"said the same as {other!r} in {count} of {n} episodes" for other, count in entry.same.items()),
    )  # fmt: skip


def _value(outcome: Outcome) -> float:
    return 0.0 if outcome.status is Status.FAILED else outcome.team.value
