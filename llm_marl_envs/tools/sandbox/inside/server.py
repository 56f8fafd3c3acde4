"""The fork server: one warm interpreter, from which every job is forked.

It reads one packet per job from its socket: JSON with the limits, and the job's descriptors beside it. It never reads what
is in them, so a later job cannot find an earlier one's tests in the memory it inherits. It answers with one packet: how
each process ended and what it used. It ends when the socket does, or (said in the answer) when it cannot clean up.

    python server.py SOCKET_FD WORK_FOLDER CONFINE [EXTRA_PATH]
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import job
import roles
from wire import Link

# What most programs import. Each module more is memory that every fork pays for, and `random` and `threading` have work
# done at every fork (a third of its time): they, and all others, are imported when needed.
_PRELOADED = """abc bisect collections contextlib copy datetime decimal enum fractions functools heapq io itertools json math
numbers operator re string time typing"""
Live = Callable[
    [dict, list[int]], None
]  # a part and its descriptors: source, stdin, stdout, stderr, and the link if any
_BLANKS = 4  # processes that wait: two jobs' worth
_MOST_FILES = 2000  # in the work folder
_TICK = 0.05  # seconds between looks at what a job has used
_IDLE_S, _STIR_S = 3.0, 0.005  # a job that uses no CPU time for so much longer than its budget only waits


class Blank(NamedTuple):
    """A process that waits, all set up, for its part in some job. It knows nothing of any job yet."""

    pid: int
    ended: int  # readable when it is
    line: socket.socket


def serve(control: socket.socket, work: str, prepare: Callable[[], None], live: Live) -> None:
    """Answer jobs until the socket ends. Each process of a job is a fork, which does `prepare` ahead of time, then `live`,
    which never returns."""
    gc.collect()
    gc.freeze()
    control.send(b"ready")
    fork = functools.partial(_fork, prepare, live)
    blanks = [fork() for _ in range(_BLANKS)]
    while True:
        packet, fds, _, _ = socket.recv_fds(control, 1 << 16, 16)
        if not packet:
            return
        try:
            answer = _play(json.loads(packet), fds, control, work, blanks, fork)
        finally:
            for fd in fds:
                os.close(fd)
        answer["last"] = not _cleaned(work)
        control.send(json.dumps(answer).encode())
        if answer["last"]:
            return


def _fork(prepare: Callable[[], None], live: Live) -> Blank:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(theirs.fileno(), job.LINK)
            os.closerange(job.LINK + 1, 1 << 20)
            line = socket.socket(fileno=job.LINK)
            prepare()
            packet, fds, _, _ = socket.recv_fds(line, 1 << 16, 8)
            if packet:
                live(json.loads(packet), fds)
        finally:
            os._exit(1)
    theirs.close()
    return Blank(pid, os.pidfd_open(pid), ours)


def _play(
    wanted: dict, fds: list[int], control: socket.socket, work: str, blanks: list[Blank], fork: Callable[[], Blank]
) -> dict:
    """Give the job's parts to blank processes and wait for them: the last one decides, the others serve it."""
    parts = wanted["parts"]  # [{"role", "cpu_s", "memory", "file_bytes", "processes", "taken"}]
    links = socket.socketpair() if len(parts) > 1 else ()
    started = time.monotonic()
    children = []
    for i, part in enumerate(parts):
        blank = blanks.pop(0)
        given = fds[4 * i : 4 * i + 4] + ([links[i].fileno()] if links else [])
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it is dead: that is seen below
            socket.send_fds(blank.line, [json.dumps(part).encode()], given)
        blank.line.close()
        children.append((blank.pid, blank.ended))
    for link in links:
        link.close()
    blanks += [fork() for _ in parts]  # while these are at work
    ends: dict[int, tuple[int, float, int]] = {}
    cpu_s = min(part["cpu_s"] for part in parts)
    why = _wait(children, ends, cpu_s, started + wanted["wall_s"], control, work)
    return {"why": why, "wall_s": time.monotonic() - started, "ends": [ends[pid] for pid, _ in children]}


def _wait(children, ends, cpu_s: float, deadline: float, control: socket.socket, work: str) -> str:
    """Wait until the last child has ended, kill the others, and reap all. Returns why they were killed, if they were."""
    poller, why, ticks = select.poll(), "", 0
    for _, fd in children:
        poller.register(fd, select.POLLIN)
    poller.register(control.fileno(), select.POLLRDHUP)
    last = children[-1][0]
    used, since = 0.0, time.monotonic()  # CPU seconds of all, and when they last changed
    while last not in ends:
        now = time.monotonic()
        left = deadline - now
        total = sum(_cpu_s_of(pid) for pid, _ in children if pid not in ends) if ticks else 0.0
        if abs(total - used) > _STIR_S:  # less, if one of them has ended
            used, since = total, now
        if left <= 0 or now - since > cpu_s + _IDLE_S:
            why = "wall"
        elif ticks and _files_in(work) > _MOST_FILES:
            why = "files"
        elif ticks and any(_cpu_s_of(pid) > cpu_s for pid, _ in children if pid not in ends):
            why = "cpu"
        ready = dict(poller.poll(1000 * min(left, _TICK))) if not why else {}
        ticks += 1
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


def _files_in(work: str) -> int:
    """Files in the work folder's own file system; 0 where it is a part of another, which is not ours to judge."""
    if os.stat(work).st_dev == os.stat(os.path.dirname(work)).st_dev:
        return 0
    about = os.statvfs(work)
    return about.f_files - about.f_ffree


def _cpu_s_of(pid: int) -> float:
    """A living child's CPU seconds to the nanosecond. The kernel's own limit counts in ticks, which a busy machine bends."""
    return time.clock_gettime((~pid << 3) | 2)


def _reap(pid: int, ends: dict) -> None:
    _, status, used = os.wait4(pid, 0)
    ends[pid] = (os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime, used.ru_maxrss)


def _prepare(load_filter: Callable[[], None] | None) -> None:
    job.prepare()
    if load_filter is not None:
        load_filter()


def _live(work: str, part: dict, fds: list[int]) -> None:
    """What a process in the container does with its part."""
    code = 1
    try:
        linked = len(fds) > 4
        source = job.take_descriptors(fds)
        os.chdir(work if part["role"] != "tests" else "/")
        job.take_limits(job.limits_of(part))
        link = Link(job.LINK, job.LINK) if linked else None
        code = roles.play(part["role"], source, tuple(part["taken"]), link)
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
                import shutil  # not before: each job would pay for its memory

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
    job.rehearse()
    job.prepare_template()
    serve(
        socket.socket(fileno=int(control)),
        work,
        functools.partial(_prepare, load_filter),
        functools.partial(_live, work),
    )


if __name__ == "__main__":
    main()
