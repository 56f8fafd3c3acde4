"""Run untrusted programs.

    with Sandbox() as box:
        box.run("print(6 * 7)").stdout                                  # "42\\n"
        box.examine("def f(x): return x + 1", "assert f(1) == 2").status  # "ok"

A fork server of a warm interpreter sits in a container; each job is a fork of it with limits and a system-call filter
of its own. Tests run in another process than the program they test, so it can neither see nor touch them.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import os
import queue
import threading
import warnings
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType

from llm_marl_envs.allowance import left, memory_mb, spend
from llm_marl_envs.errors import ConfigError, ToolFailed, UnknownName
from llm_marl_envs.tools.sandbox.jobs import JobLimits, JobResult, Part
from llm_marl_envs.tools.sandbox.server import Server, ServerLost

__all__ = ["JobLimits", "JobResult", "Sandbox", "SandboxUnavailable", "shared", "variants"]

ORDER = ("bubblewrap", "namespaces", "wasm")
JOB_S = 0.01  # CPU seconds of ours for a job
ATTEMPTS = 8  # a job is played again when its server is lost; more often, and it is the job that kills servers


class SandboxUnavailable(ToolFailed):
    """Nothing on this machine can run untrusted programs safely."""


class Sandbox:
    """A pool of `workers` servers, started when first needed. Any thread may call; each job has a server to itself.

    `variant`: "auto" takes the first of `ORDER` that works here. "unsafe" isolates nothing and must be asked for twice.
    `numpy=True` lets programs import numpy. Raises SandboxUnavailable with what to install.
    """

    def __init__(
        self, variant: str = "auto", *, numpy: bool = False, workers: int = 2, files_mb: int = 16, unsafe: bool = False
    ):
        if variant == "unsafe" and not unsafe:
            raise ConfigError('variant="unsafe" runs programs with all of your rights; say unsafe=True if you mean it')
        if variant not in ("auto", "unsafe", *ORDER):
            raise UnknownName("sandbox", variant, ("auto", "unsafe", *ORDER))
        if variant == "auto":
            works = variants()
            variant = next((name for name, reason in works.items() if reason is None), "")
            if not variant:
                raise SandboxUnavailable(_refusal(works))
        elif variant != "unsafe" and (reason := _reason(variant)) is not None:
            raise SandboxUnavailable(f"the sandbox {variant} does not work here: {reason}")
        if unsafe and variant == "unsafe":
            warnings.warn("this sandbox isolates nothing: programs run with all of your rights", stacklevel=2)
        self.variant, self.numpy, self.files_mb = variant, numpy, files_mb
        self._module = importlib.import_module(f"llm_marl_envs.tools.sandbox.{variant}")
        self._idle: queue.LifoQueue[Server | None] = queue.LifoQueue()
        for _ in range(workers):
            self._idle.put(None)
        self._servers: set[Server] = set()
        self._workers, self._lock = workers, threading.Lock()
        self._closed = self._left = False  # no new jobs; and none that is under way

    def run(self, program: str, stdin: str = "", limits: JobLimits = JobLimits()) -> JobResult:
        """Run a text as a program. Whatever it does, the outcome is a `JobResult`; only trouble of ours raises ToolFailed."""
        return self._play((Part("program", program, stdin),), limits)

    def examine(
        self, program: str, tests: str, limits: JobLimits = JobLimits(), taken: Sequence[str] = ()
    ) -> JobResult:
        """Run `tests` against `program`, each in its own process; "ok" if the tests ran to their end.

        Names that the tests read, and neither define nor import, are the program's: calls carry plain data there and
        back (see inside/wire.py). Built-in names stay the tests' own, but those in `taken`.
        """
        return self._play((Part("served", program), Part("tests", tests, taken=tuple(taken))), limits)

    def _play(self, parts: tuple[Part, ...], limits: JobLimits) -> JobResult:
        if limits.files_mb > self.files_mb:
            raise ConfigError(f"this sandbox has a work folder of {self.files_mb} MB; got files_mb={limits.files_mb}")
        if left() <= 0:
            return JobResult("budget", "", "", 0.0)
        allowed = replace(limits, cpu_s=min(limits.cpu_s, left()), memory_mb=min(limits.memory_mb, memory_mb()))
        run, took_s = self._played(parts, allowed)
        spend(took_s + JOB_S)
        return run._replace(status="budget") if allowed != limits and run.status in ("cpu", "wall", "memory") else run

    def _played(self, parts: tuple[Part, ...], limits: JobLimits) -> tuple[JobResult, float]:
        """The result, and the CPU seconds of all processes of the job."""
        server, reason = self._idle.get(), ""
        try:
            if self._closed:
                raise ToolFailed("this sandbox is closed")
            for _ in range(ATTEMPTS):
                try:
                    server = server or self._start()
                    run, goes_on = server.play(parts, limits)
                    took_s = server.took_s
                    if not goes_on:
                        server = self._end(server)
                    return run, took_s
                except ServerLost as lost:
                    reason, server = str(lost), self._end(server)
                    if self._left:
                        raise ToolFailed("this sandbox was closed while the job ran") from None
            raise ToolFailed(f"the sandbox was lost {ATTEMPTS} times over one job ({reason}); the job may be the cause")
        except BaseException:
            server = self._end(
                server
            )  # interrupted, it still owes an answer, which the next job would take for its own
            raise
        finally:
            self._idle.put(server)

    def _start(self) -> Server:
        server = Server(self._module, self.numpy, self.files_mb)
        with self._lock:
            self._servers.add(server)
            if self._left:
                server.leave()
        return server

    def _end(self, server: Server | None) -> None:
        if server is not None:
            server.close()
            with self._lock:
                self._servers.discard(server)

    def close(self, wait: bool = True) -> None:
        """End all servers. Jobs that are under way are waited for; or, with `wait=False`, lost: ToolFailed."""
        with self._lock:
            first, self._closed, self._left = not self._closed, True, self._left or not wait
            if self._left:
                for server in self._servers:
                    server.leave()
        if first:
            for _ in range(self._workers):
                self._end(self._idle.get())
            for _ in range(self._workers):
                self._idle.put(None)

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, bad: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()


_making: dict[int, threading.Lock] = {}  # by process: a fork must not wait for a thread that it has not


def shared(numpy: bool = False) -> Sandbox:
    """The process's own sandbox, started at first use by whatever thread. A fork of the process gets another."""
    with _making.setdefault(os.getpid(), threading.Lock()):
        return _shared(os.getpid(), numpy)


@functools.cache
def _shared(pid: int, numpy: bool) -> Sandbox:
    box = Sandbox(numpy=numpy, workers=min(4, os.cpu_count() or 1))
    atexit.register(box.close, wait=False)  # who still waits for a job is a thread that was left behind
    return box


@functools.cache
def variants() -> dict[str, str | None]:
    """Each variant in the order of preference, and why it does not work here (None: it does)."""
    return {name: _reason(name) for name in ORDER}


@functools.cache
def _reason(name: str) -> str | None:
    """Start a server and see it run a program, and refuse it a file and a socket."""
    try:
        module = importlib.import_module(f"llm_marl_envs.tools.sandbox.{name}")
    except ModuleNotFoundError:
        return "not part of this installation"
    if (reason := module.missing()) is not None:
        return reason
    try:
        server = Server(module, False, 1)
    except (ToolFailed, ServerLost, OSError) as bad:
        return str(bad)
    try:
        run, _ = server.play((Part("program", _PROBE),), JobLimits(cpu_s=5.0, files_mb=1))
    except ServerLost as lost:
        return f"it does not answer: {lost}"
    finally:
        server.close()
    return (
        None if (run.status, run.stdout) == ("ok", "contained\n") else f"it does not contain: {run.stdout}{run.stderr}"
    )


_PROBE = """
import os
def connect():
    import socket
    socket.socket()
for attempt in (lambda: open("/etc/passwd"), lambda: os.listdir("/home"), connect, lambda: os.fork()):
    try:
        attempt()
        print("not contained")
    except (OSError, AttributeError, ImportError):
        pass
print("contained")
"""


def _refusal(works: dict[str, str | None]) -> str:
    reasons = "; ".join(f"{name}: {reason}" for name, reason in works.items())
    return f"no sandbox works here, so no program is run ({reasons}). See: llm-marl doctor"
