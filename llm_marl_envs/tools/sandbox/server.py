"""Our end of a fork server: start it, hand it jobs one at a time, notice when it is gone."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import tempfile
import time
from types import ModuleType
from typing import Any

from llm_marl_envs.errors import ToolFailed
from llm_marl_envs.tools.sandbox import cgroup, places
from llm_marl_envs.tools.sandbox.jobs import BASE_MB, NUMPY_MB, Ended, JobLimits, JobResult, Part, memory_file, run_of

START_S = 30.0  # the longest a start may take
GRACE_S = 5.0  # how much later than a job's wall limit its server may answer
THREADS = 256


class ServerLost(Exception):
    """The server ended or went silent before it answered. The job can be played again by another."""


class Server:
    """One fork server of a variant (a module with `start`)."""

    def __init__(self, variant: ModuleType, numpy: bool, files_mb: int):
        self.numpy, self.files_mb = numpy, files_mb
        self.took_s = 0.0  # CPU seconds of the last job, all its processes
        self.stage, self._lock = places.take(tempfile.gettempdir())
        self.group = _group()
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            prefix = self.group.join() if self.group else []
            self.process = variant.start(theirs.fileno(), numpy, files_mb, self.stage, prefix)
        except BaseException:
            self.control.close()
            self._clear()
            raise
        finally:
            theirs.close()
        try:
            if self._answer(START_S) != b"ready":
                raise ServerLost("it sent no greeting")
        except ServerLost as lost:
            stderr = self.close()
            if not stderr:
                raise  # ended without a word: somebody killed it, or a process in it; another may live longer
            raise ToolFailed(f"the sandbox did not start: {stderr.strip()[-500:] or lost}") from None

    def play(self, parts: tuple[Part, ...], limits: JobLimits) -> tuple[JobResult, bool]:
        """The job's outcome, and whether the server can take another. Raises ServerLost."""
        fds: list[int] = []
        try:
            for part in parts:
                fds += [memory_file(part.text), memory_file(part.stdin), memory_file(), memory_file()]
            wanted = {"wall_s": limits.wall, "parts": [self._part(part, limits) for part in parts]}
            if self.group:
                self.group.limit(_most(wanted["parts"]))
            try:
                socket.send_fds(self.control, [json.dumps(wanted).encode()], fds)
            except OSError as bad:
                raise ServerLost(str(bad)) from None
            try:
                answer = json.loads(self._answer(limits.wall + GRACE_S))
            except ServerLost:
                if self.group and self.group.starved():
                    return JobResult("memory", "", "", 0.0), False
                raise
            cap = (limits.output_kb << 10) + 1
            ends = [
                Ended(code, cpu_s, os.pread(fds[4 * i + 2], cap, 0), os.pread(fds[4 * i + 3], cap, 0))
                for i, (code, cpu_s, _) in enumerate(answer["ends"])
            ]
            self.took_s = sum(end.cpu_s for end in ends)
        finally:
            for fd in fds:
                os.close(fd)
        if answer["why"] == "gone":
            raise ServerLost("it took us for gone")
        run = run_of(parts, ends, answer["why"], limits)
        if run.status != "ok" and self.group and self.group.starved():
            run = run._replace(status="memory")
        return run, not answer["last"]

    def _part(self, part: Part, limits: JobLimits) -> dict[str, Any]:
        return {
            "role": part.role,
            "cpu_s": limits.cpu_s,
            "memory": (limits.memory_mb + BASE_MB + (NUMPY_MB if self.numpy else 0)) << 20,
            "file_bytes": max(limits.output_kb << 10, limits.files_mb << 20) + 1,
            "processes": THREADS,
            "taken": part.taken,
        }

    def _answer(self, seconds: float) -> bytes:
        poller = select.poll()
        poller.register(self.control, select.POLLIN)
        if not poller.poll(1000 * seconds):
            raise ServerLost(f"no answer in {seconds:.0f} s")
        try:
            packet = self.control.recv(1 << 16)
        except OSError as bad:
            raise ServerLost(str(bad)) from None
        if not packet:
            raise ServerLost("it ended")
        return packet

    def leave(self) -> None:
        """Have the server end, with whatever runs in it, though another thread may wait for its answer: it gets ServerLost."""
        with contextlib.suppress(OSError):  # closed by that thread
            self.control.shutdown(socket.SHUT_RDWR)

    def close(self) -> str:
        """End the server and whatever runs in it. Returns what it said on stderr."""
        self.control.close()
        deadline = time.monotonic() + 1.0
        while self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        said = self.process.stderr.read() if self.process.stderr else b""
        if self.process.stderr:
            self.process.stderr.close()
        self.process.wait()
        self._clear()
        return said.decode("utf-8", "replace")

    def _clear(self) -> None:
        if self.group:
            self.group.close()
        places.give_back(self.stage, self._lock)


def _group() -> cgroup.Cgroup | None:
    """A cgroup for a server, where one can be made."""
    parent, _ = cgroup.home()
    try:
        return parent and cgroup.Cgroup(parent, 2 * THREADS)
    except OSError:
        return None


def _most(parts: list[dict[str, Any]]) -> int:
    """Bytes that a job may have: each part's address space, and its four files; the work folder counts as one more."""
    return sum(part["memory"] + 4 * part["file_bytes"] for part in parts) + parts[0]["file_bytes"]
