"""A run folder: all files of a run, written so that a kill at any moment loses nothing that was finished.

args.json             the settings
metrics.jsonl         one line per training step and per evaluation; the same for two runs of one seed, byte for byte
timing.jsonl          seconds and tokens per second of each step (not reproducible, so kept apart)
alarms.jsonl          what was said about the run in plain words, if anything was
traces/*.jsonl.gz     episodes: train-000010, eval-000020, ...
checkpoints/step-N/   policies in the hub's layout, optimizer state
checkpoints/best/     the policies that were best on validation problems; best.json says of which step
learning_curve.png, report.html
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from llm_marl_envs.errors import ConfigError, UnknownName
from llm_marl_envs.files import atomic_folder, atomic_write, write_failed
from llm_marl_envs.traces.files import write_traces
from llm_marl_envs.traces.trace import Trace

KEPT = 2  # checkpoints
REMEDY = "What was written before is complete; free some space, then run again with --resume."


class RunLog:
    """Writes a run folder. Appends are whole lines; everything else is written aside and renamed into place."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.lines: list[dict[str, Any]] = []  # of this run's metrics and alarms, up to now
        self.alarms: list[dict[str, Any]] = []

    @classmethod
    def start(cls, folder: Path, args: dict[str, Any], *, resume: bool) -> RunLog:
        """A new folder, or an existing one of the same settings to continue. Raises ConfigError rather than overwrite."""
        log = cls(folder)
        path = folder / "args.json"
        if path.exists():
            if not resume:
                raise ConfigError(f"{folder} already holds a run. Continue with --resume, or choose another --out.")
            before = json.loads(path.read_text())
            # a setting that came later and is empty is as it was
            known = before | {k: args[k] for k in args.keys() - before.keys() if not args[k]}
            changed = sorted(k for k in known.keys() | args.keys() if known.get(k) != args.get(k))
            if changed:
                was = ", ".join(f"{k}: {before.get(k)!r} then, {args.get(k)!r} now" for k in changed)
                raise ConfigError(
                    f"cannot resume {folder} with other settings ({was}). Use the same, or another --out."
                )
        else:
            log.write(path.name, json.dumps(args, indent=2) + "\n")
        return log

    def write(self, name: str, text: str) -> None:
        """Put a text file in the folder, whole or not at all."""
        with atomic_write(self.folder / name, REMEDY) as file:
            file.write(text.encode())

    def metrics(self, record: dict[str, Any]) -> None:
        """Append a line; numbers that are not finite, which JSON does not have, become null."""
        lost = {k: None for k, v in record.items() if isinstance(v, float) and not math.isfinite(v)}
        self._append("metrics.jsonl", record | lost)
        self.lines.append(record | lost)

    def alarm(self, record: dict[str, Any]) -> None:
        self._append("alarms.jsonl", record)
        self.alarms.append(record)

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The metrics of training steps ("train") or evaluations ("eval")."""
        return [line for line in self.lines if line["kind"] == kind]

    def timing(self, record: dict[str, Any]) -> None:
        self._append("timing.jsonl", record)

    def traces(self, name: str, traces: Iterable[Trace]) -> Path:
        """Write a whole trace file under a name such as eval-000020; an older one of that name is replaced."""
        return write_traces(self.folder / "traces" / f"{name}.jsonl.gz", traces, REMEDY)

    def checkpoint(self, step: int, save: Callable[[Path], None]) -> None:
        """`save(folder)` fills the checkpoint after `step` steps; it appears under its name only when complete."""
        with atomic_folder(self.checkpoint_folder(step), REMEDY) as folder:
            save(folder)
        for old in self.checkpoints()[:-KEPT]:
            shutil.rmtree(self.checkpoint_folder(old))

    def best(self, step: int, save: Callable[[Path], None]) -> None:
        """`save(folder)` fills the checkpoint that is best on validation so far; it takes the place of the one before."""
        with atomic_folder(self.best_folder, REMEDY) as folder:
            save(folder)
            (folder / "best.json").write_text(json.dumps({"step": step}))

    @property
    def best_folder(self) -> Path:
        return self.folder / "checkpoints" / "best"

    def checkpoints(self) -> list[int]:
        """The steps of all complete checkpoints, oldest first."""
        root = self.folder / "checkpoints"
        return sorted(int(p.name.removeprefix("step-")) for p in root.glob("step-*")) if root.is_dir() else []

    def checkpoint_folder(self, step: int) -> Path:
        return self.folder / "checkpoints" / f"step-{step}"

    def chosen(self, which: str = "") -> Path:
        """The last checkpoint, or the one after so many steps, or "best": the one that validation chose. ConfigError if there is none
        at all, UnknownName if there is not that one."""
        steps = self.checkpoints()
        if not steps:
            raise ConfigError(
                f"{self.folder} has no checkpoint yet. Continue training with: llm-marl train --resume --out {self.folder}"
            )
        known = {str(step): self.checkpoint_folder(step) for step in steps}
        if self.best_folder.is_dir():
            known["best"] = self.best_folder
        if (which or str(steps[-1])) not in known:
            raise UnknownName(f"checkpoint in {self.folder}", which, known)
        return known[which or str(steps[-1])]

    def step_of(self, checkpoint: Path) -> int:
        """The steps that were trained up to a checkpoint."""
        if checkpoint == self.best_folder:
            return json.loads((checkpoint / "best.json").read_text())["step"]
        return int(checkpoint.name.removeprefix("step-"))

    def rewind(self, step: int) -> None:
        """Drop what was logged after `step` (a line with a later step, or torn): the steps are about to be run again."""
        kept: dict[str, list[dict[str, Any]]] = {}
        for name in ("metrics.jsonl", "timing.jsonl", "alarms.jsonl"):
            path = self.folder / name
            if path.exists():
                kept[name] = [line for line in read_lines(path) if line["step"] <= step]
                self.write(name, "".join(json.dumps(line) + "\n" for line in kept[name]))
        self.lines, self.alarms = kept.get("metrics.jsonl", []), kept.get("alarms.jsonl", [])

    def _append(self, name: str, record: dict[str, Any]) -> None:
        try:
            with open(self.folder / name, "a") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as bad:
            raise write_failed(self.folder / name, bad, REMEDY) from bad


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The records of a .jsonl file; a torn last line is left out."""
    *lines, _ = path.read_text().split("\n")
    return [json.loads(line) for line in lines if line]
