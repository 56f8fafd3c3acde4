"""Training and warm starts in processes of their own, which may be killed. Imported there by name, from a fork server: keep it
small."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from baselines.args import TrainArgs

if TYPE_CHECKING:
    from baselines.tiny.warm_start import Recipe

# Most of a small run is the start of an interpreter with torch: pay it once.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["baselines.train", "peft", "transformers.models.qwen3.modeling_qwen3"])


def play(settings: TrainArgs, stderr: Path, lines: int, sent: int) -> None:
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
        os.kill(os.getpid(), sent)

    threading.Thread(target=interrupt, daemon=True).start()
    train(settings, Progress(quiet=True))


def make_tiny(recipe: Recipe, cache: Path, at_once: threading.Barrier, found: multiprocessing.SimpleQueue) -> None:
    """Where the tiny model lies, and the sum of its weights."""
    import torch
    from transformers import AutoModelForCausalLM

    from baselines.tiny.warm_start import tiny_model

    torch.set_num_threads(1)
    at_once.wait()
    folder = tiny_model("eval_opt", recipe=recipe, cache=cache)
    model = AutoModelForCausalLM.from_pretrained(folder)
    found.put((folder, sum(float(p.detach().double().abs().sum()) for p in model.parameters())))


def begin_tiny(recipe: Recipe, cache: Path) -> None:
    """Killed while it is made."""
    from baselines.tiny.warm_start import tiny_model

    tiny_model("eval_opt", recipe=recipe, cache=cache, progress=lambda *_: os.kill(os.getpid(), signal.SIGKILL))
