"""A job for the sandbox and its result, as plain data."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import NamedTuple

OUT_OF_MEMORY = 86  # the exit code with which a job says so
BASE_MB = 64  # address space of the bare interpreter, not counted as the program's
NUMPY_MB = 1024  # numpy's, most of it never touched
TEXT = 4000  # characters of stderr that are kept


@dataclass(frozen=True, slots=True)
class JobLimits:
    """What a program may use. CPU time decides, so a busy machine changes no score. A program that only waits is ended a few
    seconds after its CPU budget would have been used up; `wall_s` (None: ten times the CPU seconds and ten more) ends whatever
    else takes no end."""

    cpu_s: float = 5.0
    wall_s: float | None = None
    memory_mb: int = 512
    output_kb: int = 1024
    files_mb: int = 16

    def __post_init__(self):
        if min(self.cpu_s, self.memory_mb, self.output_kb, self.files_mb, self.wall) <= 0:
            raise ValueError(f"limits are above 0; got {self}")

    @property
    def wall(self) -> float:
        return 10 * self.cpu_s + 10 if self.wall_s is None else self.wall_s


class JobResult(NamedTuple):
    """The result of a job. `status`: ok (ended by itself, exit code 0), error, cpu, wall, memory, output (a limit was
    passed), signal, failed (a test raised; `stderr` says which), and budget (what is left of an `Allowance` did not do)."""

    status: str
    stdout: str
    stderr: str
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Part:
    """One process of a job: its text, its input, and the names that tests take from the program though they are built in."""

    role: str  # program, served, tests
    text: str
    stdin: str = ""
    taken: tuple[str, ...] = ()


class Ended(NamedTuple):
    """How one process ended: exit code (negative: a signal), CPU seconds, and its two outputs, a byte over the cap at most."""

    code: int
    cpu_s: float
    stdout: bytes
    stderr: bytes


def memory_file(content: str | None = None) -> int:
    """A descriptor of an anonymous file, holding `content`."""
    fd = os.memfd_create("job", os.MFD_CLOEXEC)
    if content:
        data = memoryview(content.encode("utf-8", "surrogatepass"))
        while data:
            data = data[os.write(fd, data) :]
        os.lseek(fd, 0, os.SEEK_SET)
    return fd


def run_of(parts: tuple[Part, ...], ends: list[Ended], why: str, limits: JobLimits) -> JobResult:
    """The verdict on a job: the last process decides, unless another passed a limit."""
    last, cap = ends[-1], limits.output_kb << 10
    cpu_s = max(end.cpu_s for end in ends)
    stdout, stderr = (text[:cap].decode("utf-8", "replace") for text in (last.stdout, last.stderr))
    if last.code == 0 and last.cpu_s <= limits.cpu_s and ends[0].cpu_s <= limits.cpu_s and not why:
        status = "output" if len(last.stdout) > cap else "ok"
    elif why:
        status = {"wall": "wall", "cpu": "cpu", "files": "output"}[why]
    elif any(end.cpu_s > limits.cpu_s for end in ends):
        status = "cpu"
    elif any(end.code == OUT_OF_MEMORY for end in ends):
        status = "memory"
    elif parts[-1].role == "tests":
        status = "failed"
    else:
        status = "signal" if last.code < 0 else "output" if len(last.stdout) > cap else "error"
    return JobResult(status, stdout, stderr[-TEXT:], cpu_s)
