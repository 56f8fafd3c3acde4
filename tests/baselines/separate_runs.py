"""A training run in a process of its own that is interrupted. Imported there by name, from a fork server: keep it small."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from baselines.args import TrainArgs


def play(settings: TrainArgs, stderr: Path, lines: int, signal: int) -> None:
    """Train as the command does, and be sent the signal as soon as there are so many lines of metrics.

    From a thread of this process: whoever waits elsewhere, on a busy machine, wakes up when the run is over.
    """
    with open(stderr, "w") as file:
        os.dup2(file.fileno(), 2)
    from baselines.progress import Progress
    from baselines.train import train

    def interrupt() -> None:
        metrics = settings.out / "metrics.jsonl"
        while not (metrics.exists() and metrics.read_bytes().count(b"\n") >= lines):
            time.sleep(0.001)
        os.kill(os.getpid(), signal)

    threading.Thread(target=interrupt, daemon=True).start()
    train(settings, Progress(quiet=True))
