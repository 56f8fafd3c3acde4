"""What a forked job does before it plays its role: take its descriptors, its limits, and a clean interpreter."""

from __future__ import annotations

import builtins
import gc
import io
import os
import resource
import signal
import sys
import warnings

LINK = 3  # the descriptor that joins a program and its tests


def take_limits(cpu_s: float, memory: int, file_bytes: int, processes: int) -> None:
    """Hard limits of this process: CPU seconds, bytes of address space, bytes of a file, threads of this user."""
    cpu = int(cpu_s + 0.999) + 1  # the kernel's own count runs ahead on a busy machine; the server's exact one decides
    wanted = {
        resource.RLIMIT_CPU: cpu,
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_FSIZE: file_bytes,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_NPROC: processes,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    for limit, value in wanted.items():
        _, hard = resource.getrlimit(limit)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (value, value))


def take_descriptors(given: list[int], link: int | None) -> str:
    """Read the source; then have nothing open but the standard streams and the link."""
    source, *streams = given
    size = os.fstat(source).st_size
    text = os.pread(source, size, 0).decode("utf-8", "surrogatepass")
    kept = streams if link is None else [*streams, link]
    high = [os.dup2(fd, 200 + i, inheritable=False) for i, fd in enumerate(kept)]  # out of the way first
    for number, fd in enumerate(high):
        os.dup2(fd, number)
    os.closerange(len(kept), 1 << 20)
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), "utf-8", "surrogateescape")
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)), "utf-8", "backslashreplace")
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(2, "w", closefd=False)), "utf-8", "backslashreplace", write_through=True
    )
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    return text


def clean_interpreter() -> None:
    """Leave a program nothing of the server's but warm modules."""
    for name in ("server", "job", "roles", "wire", "seccomp", "__main__"):
        sys.modules.pop(name, None)
    sys.path[:] = [p for p in sys.path if p != os.path.dirname(__file__)]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    warnings.simplefilter("ignore")
    sys.argv = ["program.py"]
    builtins.exit = builtins.quit = sys.exit  # as in an interpreter with `site`
    gc.unfreeze()
