"""Run folders as they are read for reports: settings, evaluations, steps, what was said, and how each is named and drawn."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baselines.args import sort_knobs
from baselines.held_out import cliff, gain, peak
from baselines.methods import make_method
from baselines.runlog import read_lines
from llm_marl_envs.errors import ConfigError, LLMMarlError
from llm_marl_envs.stats.intervals import Interval

Points = Sequence[tuple[int, float]]  # (step, value)
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito (2008), without yellow
DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
NORMALISERS = {"tokens": "a policy's sampled tokens", "sequences": "a policy's replies, then their tokens"}


@dataclass(frozen=True, slots=True)
class Run:
    """A run folder as read: settings, evaluations (at least one), training steps, seconds and alarms; how it is named and drawn."""

    args: Mapping[str, Any]
    evals: Sequence[Mapping[str, Any]]
    trains: Sequence[Mapping[str, Any]]
    timings: Sequence[Mapping[str, Any]]
    alarms: Sequence[Mapping[str, Any]]
    label: str
    style: Mapping[str, Any]

    @property
    def peak(self) -> Mapping[str, Any]:
        """The evaluation that was best on validation problems, or else best itself."""
        return peak(self.evals) or max(self.evals, key=lambda line: line["accuracy"])

    @property
    def validated(self) -> bool:
        return peak(self.evals) is not None

    @property
    def gain(self) -> Interval | None:
        """Last minus first accuracy, paired; None where that cannot be said."""
        return gain(self.evals[0], self.evals[-1]) if len(self.evals) > 1 else None

    @property
    def cliff(self) -> Interval | None:
        return cliff(self.evals) if len(self.evals) > 1 else None

    def by_name(self, prefix: str, names: Sequence[str] | None = None) -> dict[str, Points]:
        """The figures of steps that are called `prefix` and a name (of `names`), by that name."""
        known = sorted({k.removeprefix(prefix) for line in self.trains for k in line if k.startswith(prefix)})
        found = {name: series(self.trains, prefix + name) for name in known if names is None or name in names}
        return {name: points for name, points in found.items() if points}

    @property
    def roles(self) -> list[str]:
        """The roles whose replies were sampled."""
        return list(self.by_name("reply_tokens/"))

    @property
    def shares(self) -> dict[str, Points]:
        """Role -> its share of the squared gradient norm, at the steps that had a gradient."""
        key = "grad_share/"
        lines = [line for line in self.trains if sum(v for k, v in line.items() if k.startswith(key)) > 0]
        return {k.removeprefix(key): series(lines, k) for k in sorted(set().union(*lines)) if k.startswith(key)}

    @property
    def normaliser(self) -> str:
        """What the loss is averaged over, in words; without it gradient shares cannot be compared between runs."""
        try:
            *_, knobs = sort_knobs(tuple(self.args["set"]), *(self.args[k] for k in ("task", "workflow", "method")))
            return NORMALISERS[make_method(self.args["method"], **knobs).normaliser]
        except (LLMMarlError, KeyError):  # a method from another package, not importable here
            return "an unknown normaliser"


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


Lines = list[dict[str, Any]]


def _read_run(folder: Path) -> tuple[dict[str, Any], Lines, Lines, Lines, Lines]:
    if not (folder / "args.json").is_file():
        raise ConfigError(f"{folder} is not a run folder: no args.json. Give a folder that `llm-marl train` wrote.")
    metrics, ends = folder / "metrics.jsonl", ("accuracy", "accuracy_low", "accuracy_high")
    try:
        args = dict(json.loads((folder / "args.json").read_text()))
        lines, timings, alarms = (
            [line for line in (read_lines(path) if path.exists() else []) if line["step"] >= 0]
            for path in (metrics, folder / "timing.jsonl", folder / "alarms.jsonl")
        )
        evals = [x | {"interval": Interval(*(x[end] for end in ends))} for x in lines if x["kind"] == "eval"]
    except (OSError, ValueError, KeyError, TypeError) as bad:
        raise ConfigError(f"cannot read the run in {folder}: {type(bad).__name__}: {bad}") from None
    if not evals:
        raise ConfigError(f"{folder} has no evaluation yet. Wait for the first, or go on: llm-marl train --resume")
    return args, evals, [x for x in lines if x["kind"] == "train"], timings, alarms


def series(lines: Sequence[Mapping[str, Any]], key: str) -> Points:
    """A figure over the steps that have it."""
    return [(line["step"], line[key]) for line in lines if line.get(key) is not None]
