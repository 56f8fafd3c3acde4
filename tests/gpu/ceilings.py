"""What the machine can do, measured in the same run: how fast its memory copies and how fast it multiplies matrices."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

VERSIONS = ("torch", "transformers", "tokenizers", "safetensors", "peft", "accelerate", "triton", "numpy", "pytest")


@dataclass(frozen=True, slots=True)
class Ceilings:
    """bandwidth: bytes per second, read and written counted. rate: floating-point operations per second in `dtype`."""

    bandwidth: float
    rate: float
    dtype: torch.dtype

    def floor(self, flops: float, moved: float) -> float:
        """Seconds below which no program can do this much work: the slower of the two ceilings decides."""
        return max(flops / self.rate, moved / self.bandwidth)


class Stopwatch:
    """Moments on the device's own clock (CUDA events), or on the host's where the CPU computes."""

    def __init__(self, device: str):
        self.cuda = device == "cuda"

    def mark(self) -> Any:
        """A moment in the stream of work. Costs no synchronisation."""
        if not self.cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self, start: Any, end: Any) -> float:
        """Between two marks; waits for the second one."""
        if not self.cuda:
            return end - start
        end.synchronize()
        return start.elapsed_time(end) / 1000

    def wait(self) -> None:
        """Until the device has done all that it was given."""
        if self.cuda:
            torch.cuda.synchronize()


def measure_ceilings(device: str, dtype: torch.dtype) -> Ceilings:
    """The best that simple calls of torch reach: a copy far larger than any cache, and a square product of random matrices.

    Medians of ten after three warm-ups. Random numbers, since products of zeros draw less power and run faster.
    """
    count, side = (1 << 29, 8192) if device == "cuda" else (1 << 26, 1024)
    source = torch.rand(count, device=device)
    target = torch.empty_like(source)
    copy = _median(device, lambda: target.copy_(source))
    assert torch.equal(source, target)
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    product = _median(device, lambda: left @ right)
    return Ceilings(2 * source.numel() * source.element_size() / copy, 2 * side**3 / product, dtype)


def _median(device: str, work: Callable[[], Any], repeats: int = 10) -> float:
    watch = Stopwatch(device)
    for _ in range(3):
        work()
    watch.wait()
    seconds = []
    for _ in range(repeats):
        start = watch.mark()
        work()
        seconds.append(watch.seconds(start, watch.mark()))
    return statistics.median(seconds)


def machine(device: str) -> dict[str, Any]:
    """What ran: card, driver's view of it, processor, versions. Sizes are in bytes."""
    found: dict[str, Any] = {
        "device": device,
        "card": "none: the CPU computes",
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in VERSIONS},
    }
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        found |= {
            "card": properties.name,
            "card_memory": properties.total_memory,
            "multiprocessors": properties.multi_processor_count,
            "capability": f"{properties.major}.{properties.minor}",
            "cuda": torch.version.cuda,
        }
    return found


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not there"


class Peak:
    """The largest memory in use: on a card, what torch had allocated since `restart`; on the CPU, the whole process so far."""

    def __init__(self, device: str):
        self.cuda = device == "cuda"

    def restart(self) -> None:
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()

    def bytes(self) -> int:
        if self.cuda:
            return torch.cuda.max_memory_allocated()
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
