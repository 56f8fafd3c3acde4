"""The fork server: one warm interpreter, from which every job is forked.

It reads one packet a job from its socket: JSON with the limits, and the job's descriptors beside it. It never reads what
is in them, so a later job cannot find an earlier one's tests in the memory it inherits. It answers with one packet: how
each process ended and what it used. It ends when the socket does, or (said in the answer) when it cannot clean up.

    python server.py SOCKET_FD WORK_FOLDER CONFINE [EXTRA_PATH]
"""

from __future__ import annotations

import functools
import gc
import importlib
import json
import os
import select
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable

import job
import roles
from wire import Link

_PRELOADED = """abc argparse array ast base64 bisect calendar cmath collections contextlib copy csv ctypes dataclasses datetime
decimal difflib enum fractions functools glob hashlib heapq html inspect io itertools json keyword linecache locale math numbers
operator os pathlib pprint queue random re secrets statistics string struct tempfile textwrap threading time timeit tokenize
traceback types typing unicodedata unittest urllib.parse uuid weakref zlib"""
Live = Callable[
    [dict, list[int], int | None], None
]  # a part, its descriptors (source, stdin, stdout, stderr), its link
_MOST_FILES = 2000  # in the work folder
_TICK = 0.05  # seconds between looks at what a job has used


def serve(control: socket.socket, work: str, live: Live) -> None:
    """Answer jobs until the socket ends. Each process of a job is a fork that does nothing but `live`, which never returns."""
    gc.collect()
    gc.freeze()
    control.send(b"ready")
    while True:
        packet, fds, _, _ = socket.recv_fds(control, 1 << 16, 16)
        if not packet:
            return
        try:
            answer = _play(json.loads(packet), fds, control, work, live)
        finally:
            for fd in fds:
                os.close(fd)
        answer["last"] = not _cleaned(work)
        control.send(json.dumps(answer).encode())
        if answer["last"]:
            return


def _play(wanted: dict, fds: list[int], control: socket.socket, work: str, live: Live) -> dict:
    """Fork the job's processes, four descriptors each, and wait for them: the last one decides, the others serve it."""
    parts = wanted["parts"]  # [{"role", "cpu_s", "memory", "file_bytes", "taken"}]
    links = socket.socketpair() if len(parts) > 1 else ()
    started = time.monotonic()
    children = []
    for i, part in enumerate(parts):
        link = links[i].fileno() if links else None
        pid = os.fork()
        if pid == 0:
            live(part, fds[4 * i : 4 * i + 4], link)
        children.append((pid, os.pidfd_open(pid)))
    for link in links:
        link.close()
    ends: dict[int, tuple[int, float, int]] = {}
    cpu_s = min(part["cpu_s"] for part in parts)
    why = _wait(children, ends, cpu_s, started + wanted["wall_s"], control, work)
    return {"why": why, "wall_s": time.monotonic() - started, "ends": [ends[pid] for pid, _ in children]}


def _wait(children, ends, cpu_s: float, deadline: float, control: socket.socket, work: str) -> str:
    """Wait until the last child has ended, kill the others, and reap all. Returns why they were killed, if they were."""
    poller, why = select.poll(), ""
    for _, fd in children:
        poller.register(fd, select.POLLIN)
    poller.register(control.fileno(), select.POLLRDHUP)
    own = os.path.ismount(work)
    files = os.statvfs(work).f_ffree
    last = children[-1][0]
    while last not in ends:
        left = deadline - time.monotonic()
        if left <= 0:
            why = "wall"
        elif own and files - os.statvfs(work).f_ffree > _MOST_FILES:
            why = "files"
        elif any(_cpu_s_of(pid) > cpu_s for pid, _ in children if pid not in ends):
            why = "cpu"
        ready = dict(poller.poll(1000 * min(left, _TICK))) if not why else {}
        if control.fileno() in ready:
            why = "gone"
        if why:
            break
        for pid, fd in children:
            if fd in ready:
                _reap(pid, ends)
                poller.unregister(fd)
    for pid, fd in children:
        if pid not in ends:
            os.kill(pid, signal.SIGKILL)
            _reap(pid, ends)
        os.close(fd)
    return why


def _cpu_s_of(pid: int) -> float:
    """A living child's CPU seconds to the nanosecond. The kernel's own limit counts in ticks, which a busy machine bends."""
    return time.clock_gettime((~pid << 3) | 2)


def _reap(pid: int, ends: dict) -> None:
    _, status, used = os.wait4(pid, 0)
    ends[pid] = (os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime, used.ru_maxrss)


def _live(work: str, load_filter: Callable[[], None] | None, part: dict, fds: list[int], link: int | None) -> None:
    """A child's whole life in a container."""
    code = 1
    try:
        source = job.take_descriptors(fds, link)
        os.chdir(work if part["role"] != "tests" else "/")
        job.clean_interpreter()
        job.take_limits(part["cpu_s"], part["memory"], part["file_bytes"], part["processes"])
        if load_filter is not None:
            load_filter()
        talk = Link(job.LINK, job.LINK) if link is not None else None
        code = roles.play(part["role"], source, tuple(part["taken"]), talk)
    except MemoryError:
        code = roles.OUT_OF_MEMORY
    finally:
        os._exit(code)


def _cleaned(work: str) -> bool:
    """Empty the work folder. False where that is no matter of a few files: then a new server is cheaper."""
    try:
        os.chmod(work, 0o755)
        os.utime(work, (0, 0))
        entries = list(os.scandir(work))
        for entry in entries[:_MOST_FILES]:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)
        return len(entries) <= _MOST_FILES
    except (OSError, RecursionError):
        return False


def main() -> None:
    control, work, confine, *paths = sys.argv[1:]
    os.environ.clear()
    for name in _PRELOADED.split():
        importlib.import_module(name)
    sys.path.extend(paths)
    if paths:
        importlib.import_module("numpy")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    load_filter = None
    if confine == "1":
        import seccomp

        load_filter = seccomp.loader()
    serve(socket.socket(fileno=int(control)), work, functools.partial(_live, work, load_filter))


if __name__ == "__main__":
    main()
