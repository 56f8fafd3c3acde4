"""What a forked job does before it plays its role: take its descriptors, its limits, and a clean interpreter."""

from __future__ import annotations

import builtins
import io
import os
import resource
import signal
import sys
import warnings

LINK = 3  # the descriptor that joins a program and its tests

FIXED = {
    resource.RLIMIT_NOFILE: 64,
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_MEMLOCK: 0,
    resource.RLIMIT_MSGQUEUE: 0,
    resource.RLIMIT_SIGPENDING: 64,  # POSIX timers, too, each of which the kernel has memory for
}


def take_limits(wanted: dict[int, int]) -> None:
    """Hard limits of this process from now on."""
    for limit, value in wanted.items():
        _, hard = resource.getrlimit(limit)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (value, value))


def limits_of(part: dict) -> dict[int, int]:
    """A part's limits: CPU seconds, bytes of address space, bytes of a file, threads of this user."""
    return {
        # the kernel's own count of CPU seconds runs ahead on a busy machine; the server's exact one decides
        resource.RLIMIT_CPU: int(part["cpu_s"] + 0.999) + 1,
        resource.RLIMIT_AS: part["memory"],
        resource.RLIMIT_FSIZE: part["file_bytes"],
        resource.RLIMIT_NPROC: part["processes"],
    }


def prepare_template() -> None:
    """Make this interpreter the one that jobs inherit: without us, with streams on the descriptors that they will have."""
    for name in ("server", "job", "roles", "strict", "wire", "seccomp", "__main__"):
        sys.modules.pop(name, None)
    sys.path[:] = [p for p in sys.path if p != os.path.dirname(__file__)]
    warnings.simplefilter("ignore")
    sys.argv = ["program.py"]
    builtins.exit = builtins.quit = sys.exit  # as in an interpreter with `site`
    _make_streams()


def prepare() -> None:
    """What a job's process does before it knows its job."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    take_limits(FIXED)


def _make_streams() -> None:
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), "utf-8", "surrogateescape")
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)), "utf-8", "backslashreplace")
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(2, "w", closefd=False)), "utf-8", "backslashreplace", write_through=True
    )
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr


def take_descriptors(given: list[int]) -> str:
    """Read the source; then have nothing open but the standard streams and the link."""
    source, *kept = given
    text = os.pread(source, os.fstat(source).st_size, 0).decode("utf-8", "surrogatepass")
    for number, fd in enumerate(kept):
        os.dup2(fd, number)
    os.closerange(len(kept), 1 << 20)
    return text


def rehearse() -> None:
    """Do once in the server what every job does, so that the pages it writes to are written before they are shared."""
    streams = sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__
    _make_streams()
    names = {"__name__": "rehearsal"}
    exec(compile(_REHEARSAL, "program.py", "exec", dont_inherit=True), names)
    sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__ = streams


_REHEARSAL = """
import math, collections, itertools, re, string, functools, heapq, bisect
from typing import List, Dict, Optional
def f(numbers: List[int]) -> List[float]:
    found = {}
    for i, n in enumerate(sorted(numbers)):
        found.setdefault(n % 3, []).append(n / 2)
    return [x for xs in found.values() for x in xs if x > 0]
class A:
    def __init__(self, x): self.x = x
    def __repr__(self): return f"A({self.x!r})"
try:
    assert f([1, 2, 3]) == []
except AssertionError as bad:
    str(bad)
str(A("b")), " ".join(map(str, f(list(range(9))))), math.sqrt(2), {1, 2} | {3}, "a,b".split(","), 10**30 % 7
"""
