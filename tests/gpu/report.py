"""The figures of a run: gathered by the checks, written as a table and as gpu.json."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

WIDTH = 132
COLUMNS = (  # of the table of runs: heading, figure, format
    ("generation tok/s", "generation", "{:,.0f}"),
    ("of ceiling", "generation, share of the ceilings", "{:.1%}"),
    ("in forward", "generation, share of time in forward passes", "{:.0%}"),
    ("training tok/s", "training", "{:,.0f}"),
    ("of ceiling", "training, share of the matrix-multiply ceiling", "{:.1%}"),
    ("host", "time outside generation and update", "{:.1%}"),
    ("GiB gen.", "peak memory in generation", "{:.1f}"),
    ("GiB train", "peak memory in training", "{:.1f}"),
    ("gap mean", "gap of engine and learner, mean", "{:.4f}"),
    ("s", "wall time", "{:.0f}"),
)


class Figure(NamedTuple):
    """`of` says what was measured: a run's name, or the machine."""

    of: str
    name: str
    value: float
    unit: str


@dataclass
class Report:
    """Everything that `make gpu` finds out. `write` may be called after every check, so that a cut run leaves its figures."""

    folder: Path
    machine: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    checks: dict[str, str] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)

    def add(self, of: str, name: str, value: float, unit: str) -> None:
        self.figures.append(Figure(of, name, float(value), unit))

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def record(self) -> dict[str, Any]:
        return {
            "machine": self.machine,
            "notes": self.notes,
            "figures": [figure._asdict() for figure in self.figures],
            "checks": self.checks,
        }

    def write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "gpu.json").write_text(json.dumps(self.record(), indent=1) + "\n")
        (self.folder / "gpu.txt").write_text(self.text())

    def text(self) -> str:
        """The table, as it is shown and written."""
        console = Console(file=StringIO(), width=WIDTH, force_terminal=False)
        versions = self.machine.get("versions", {})
        console.print(f"Card: {self.machine.get('card')}; device: {self.machine.get('device')}", markup=False)
        console.print(", ".join(f"{k} {v}" for k, v in versions.items()), markup=False, highlight=False)
        for note in self.notes:
            console.print(f"- {note}", markup=False, highlight=False)
        console.print(self._others())
        if self.runs:
            console.print(self._runs())
        bad = {name: outcome for name, outcome in self.checks.items() if outcome != "passed"}
        console.print(f"{len(self.checks) - len(bad)} checks passed, {len(bad)} did not", highlight=False)
        for name, outcome in bad.items():
            console.print(f"  {outcome}: {name}", markup=False, highlight=False)
        assert isinstance(console.file, StringIO)
        return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"

    def _others(self) -> Table:
        table = Table(box=SIMPLE_HEAD)
        for heading in ("measured on", "figure"):
            table.add_column(heading)
        table.add_column("value", justify="right")
        table.add_column("unit")
        for figure in self.figures:
            if figure.of not in self.runs:
                table.add_row(figure.of, figure.name, f"{figure.value:,.4g}", figure.unit)
        return table

    def _runs(self) -> Table:
        table = Table(box=SIMPLE_HEAD)
        table.add_column("5 steps of", no_wrap=True)
        for heading, _, _ in COLUMNS:
            table.add_column(heading, justify="right")
        for run in self.runs:
            found = {figure.name: figure.value for figure in self.figures if figure.of == run}
            table.add_row(run, *(form.format(found[name]) if name in found else "-" for _, name, form in COLUMNS))
        return table
