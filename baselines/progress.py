"""Live progress on a terminal, plain lines otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars


class Progress:
    """The output of a long run: a bar with the latest figures, and one line per evaluation."""

    def __init__(self, console: Console | None = None, quiet: bool = False):
        self.console = console or Console(quiet=quiet)
        self._bars: Bars | None = None
        self._bar = self._warm = None
        self._latest = ""

    @contextmanager
    def run(self, title: str, steps: int, done: int = 0) -> Iterator[None]:
        """Show a bar of `steps` steps while the block runs."""
        if not self.console.is_terminal:
            self.console.print(f"{title}: {steps} steps" + (f", continuing from step {done}" if done else ""))
        with self._open():
            assert self._bars is not None
            self._bar = self._bars.add_task(title, total=steps, completed=done, figures="")
            yield

    def step(self, step: int, figures: Mapping[str, Any]) -> None:
        for key, count in figures.items():
            if key.startswith("skipped_updates/") and count:
                policy = key.partition("/")[2]
                self.console.print(f"step {step}: {count} updates of {policy} left out, its gradient was not finite")
        if self._bars is not None and self._bar is not None:
            text = f"sampled {100 * figures['accuracy']:.0f}%  calls {figures.get('calls', 0):.1f}"
            self._bars.update(self._bar, completed=step, figures=text)

    def evaluated(self, step: int, evaluation: Any) -> None:
        f = evaluation.figures
        shown = [f"step {step:4d}", f"held-out {evaluation.accuracy}"]
        for name in ("first_draft", "accept_if_right", "reject_if_wrong"):
            if name in f:
                shown.append(f"{name.replace('_', ' ')} {100 * f[name]:.0f}%")
        shown.append(f"calls {f.get('calls', 0):.2f}")
        if f.get("failed"):
            shown.append(f"FAILED {f['failed']:.0f}")
        self.console.print("  ".join(shown))

    def say(self, text: str) -> None:
        """What a person may want to know before they wait for the run."""
        self.console.print(text)

    def warn(self, text: str) -> None:
        """What a person should know before they wait for the run."""
        self.console.print(f"warning: {text}", markup=False)

    def warm_start(self, step: int, steps: int, loss: float) -> None:
        """A step of the tiny model's warm start."""
        if self._bars is None:
            if step == 1 or step % 50 == 0:
                self.console.print(f"warm start of the tiny model: step {step} of {steps}, loss {loss:.3f}")
            return
        if self._warm is None:
            self._warm = self._bars.add_task("warm start", total=steps, figures="")
        self._bars.update(self._warm, completed=step, figures=f"loss {loss:.3f}")

    @contextmanager
    def _open(self) -> Iterator[None]:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
        )
        with Bars(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=self.console) as bars:
            self._bars = bars
            try:
                yield
            finally:
                self._bars = self._bar = self._warm = None
