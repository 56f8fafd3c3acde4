"""What a piece of work may cost, kept by mechanism: CPU seconds, here and in worker processes, and memory.

    with Allowance(4.0, 400):
        replay_and_grade()          # raises OverBudget where it takes more in this process

While the work runs, a timer of this process's CPU time looks at both. Whoever has other processes work (the sandbox, the
comparison of formulas) gives them no more than what is `left`, and says what they took (`spend`): what does not end in that time
is wrong, so that an answer gains nothing by being dear.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import threading
import time
from collections.abc import Hashable, Iterator
from contextvars import ContextVar, Token
from math import inf
from pathlib import Path
from types import FrameType

TICK_S = 0.01  # CPU seconds between two looks
AGAIN_S = 0.25  # and from OverBudget to the next, where somebody took it for his own
WORKERS = 0.55  # of the CPU seconds: the most for worker processes
GAIN = 0.5  # of the memory: the most that this process may gain


class OverBudget(BaseException):
    """The work costs more than it may. Like KeyboardInterrupt it is no Exception, so that no code under way takes it for its own."""


class Allowance:
    """`cpu_s` CPU seconds, of which worker processes may take WORKERS, and `memory_mb` megabytes: so many for a worker process,
    and GAIN of them for what this process gains.

    Where there are no timers (Windows, threads other than the main one, under a profiler that uses the same timer), it is
    kept in the workers and between them only.
    """

    def __init__(self, cpu_s: float, memory_mb: int):
        self.cpu_s, self.memory_mb = cpu_s, memory_mb
        self.workers_s = WORKERS * cpu_s  # that they may take
        self.spent = 0.0  # by workers
        self._granted: set[Hashable] = set()
        self.began = self._began = time.thread_time()
        self._rss: int | None = None
        self._token: Token[Allowance | None] | None = None

    @property
    def used(self) -> float:
        """CPU seconds, here and in workers."""
        return time.thread_time() - self._began + self.spent

    @property
    def left(self) -> float:
        """CPU seconds that a worker process may take now."""
        return min(self.workers_s - self.spent, self.cpu_s - self.used)

    def check(self) -> None:
        """Raises OverBudget."""
        if self.used >= self.cpu_s:
            raise OverBudget(f"takes more than {self.cpu_s:g} CPU seconds")
        if (now := _resident()) is None:
            return
        self._rss = now if self._rss is None else self._rss
        if now - self._rss > GAIN * (self.memory_mb << 20):
            raise OverBudget(f"takes more than {GAIN * self.memory_mb:.0f} MB of memory")

    def __enter__(self) -> Allowance:
        self._token = _current.set(self)
        _clock.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Look no more. Whoever catches OverBudget calls this as well: it may have come in the midst of leaving."""
        if self._token is not None:
            _current.reset(self._token)
            self._token = None


_current: ContextVar[Allowance | None] = ContextVar("allowance", default=None)


def left() -> float:
    """CPU seconds that a worker process may take now; infinitely many outside an allowance."""
    return inf if (allowance := _current.get()) is None else allowance.left


def memory_mb() -> float:
    """Megabytes that a worker process may take; infinitely many outside an allowance."""
    return inf if (allowance := _current.get()) is None else allowance.memory_mb


def spend(cpu_s: float) -> None:
    """Say what a worker process took."""
    if (allowance := _current.get()) is not None:
        allowance.spent += cpu_s


def grant(what: Hashable, cpu_s: float, memory_mb: int) -> None:
    """Allow workers so much more, once for each `what`: it is the problem's own need."""
    if (allowance := _current.get()) is not None and what not in allowance._granted:
        allowance._granted.add(what)
        allowance.workers_s += cpu_s
        allowance.cpu_s += cpu_s
        allowance.memory_mb = max(allowance.memory_mb, memory_mb)


@contextlib.contextmanager
def unmetered() -> Iterator[None]:
    """For our own work in between, such as reading data: it counts for nothing."""
    allowance, began = _current.get(), time.thread_time()
    token = _current.set(None)
    try:
        yield
    finally:
        _current.reset(token)
        if allowance is not None:
            allowance._began += time.thread_time() - began
            allowance._rss = None
            _clock.start()


class _Clock:
    """The timer of the process's CPU time. It runs on between allowances, which may be many and short, and stops by itself when
    nobody needs it."""

    def __init__(self) -> None:
        self.runs = False

    def start(self) -> None:
        if self.runs or not hasattr(signal, "ITIMER_PROF") or threading.current_thread() is not threading.main_thread():
            return
        if (handler := signal.getsignal(signal.SIGPROF)) == signal.SIG_DFL:
            signal.signal(signal.SIGPROF, self.look)
        elif handler != self.look:
            return  # a profiler's
        self.every(TICK_S)

    def every(self, first_s: float) -> None:
        """The first look after so many seconds, 0 for none; then every TICK_S."""
        if hasattr(signal, "ITIMER_PROF"):
            signal.setitimer(signal.ITIMER_PROF, first_s, TICK_S)
        self.runs = first_s == TICK_S

    def look(self, number: int, frame: FrameType | None) -> None:
        if (allowance := _current.get()) is None:
            self.every(0.0)
            return
        try:
            allowance.check()
        except OverBudget:
            self.every(AGAIN_S)
            raise


_clock = _Clock()
atexit.register(_clock.every, 0.0)  # later, the signal would end the process
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_clock.__init__)  # a fork has no timer


def _resident() -> int | None:
    """Bytes of this process that are in memory; None where the system does not say."""
    try:
        return int(_STATM.read_bytes().split()[1]) * _PAGE
    except (OSError, AttributeError):
        return None


_STATM = Path("/proc/self/statm")
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
