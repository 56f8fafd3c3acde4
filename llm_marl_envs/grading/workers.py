"""Math-Verify in processes of its own, which keep the time limit.

Math-Verify limits itself by signals, which only work in a main thread, and a comparison in sympy may never end or use all
memory. So a worker process imports it once and forks a child that compares; a child that takes too long or dies is
replaced by another fork within milliseconds, and its item is tried once more. Any thread may ask.

    python -m llm_marl_envs.grading.workers      one worker: one JSON request per input line, one JSON answer per output line
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import logging
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

from llm_marl_envs.allowance import left, spend
from llm_marl_envs.errors import MissingExtra, WorkerFailed

if sys.platform != "win32":  # which has none; plain numbers are graded there, too
    import resource

CPU_S = 0.6  # of one comparison
WALL_S = 5.0  # on a machine too busy to give it that
MEMORY = 384 << 20  # bytes of address space that it gains
START_S = 60.0
FIRST_DIGITS = 1e-5
ATTEMPTS = 2


class Pool:
    """`size` workers, started when first needed. Each serves one caller at a time."""

    def __init__(self, size: int, command: tuple[str, ...] = (sys.executable, "-m", "llm_marl_envs.grading.workers")):
        self.command = command
        self.owner = os.getpid()
        self.idle: queue.LifoQueue[subprocess.Popen[bytes] | None] = queue.LifoQueue()
        self.size = size
        self.workers: set[subprocess.Popen[bytes]] = set()
        self.left = False
        for _ in range(size):
            self.idle.put(None)

    def ask(self, gold: str, answer: str, tolerance: float | None = None) -> dict[str, Any]:
        """{"equal": whether Math-Verify finds them equal, "read": whether it could read the answer, "seconds": CPU time},
        or {"late": why} when comparing them failed twice; with "budget": True where an `Allowance` left less than CPU_S for
        it. Raises WorkerFailed if no worker is available."""
        cpu_s, most = min(CPU_S, left() / ATTEMPTS), "it takes more than is left of its verification's budget"
        if cpu_s <= 0:
            return {"late": most, "budget": True}
        verdict = self._answer({"gold": gold, "answer": answer, "tolerance": tolerance, "cpu_s": cpu_s})
        spend(verdict.get("seconds", ATTEMPTS * cpu_s))
        return {"late": most, "budget": True} if "late" in verdict and cpu_s < CPU_S else verdict

    def _answer(self, question: dict[str, Any]) -> dict[str, Any]:
        request = json.dumps(question).encode() + b"\n"
        worker, reason = self.idle.get(), ""
        try:
            for _ in range(ATTEMPTS):
                try:
                    worker = worker or self._start()
                    assert worker.stdin is not None
                    worker.stdin.write(request)
                    worker.stdin.flush()
                    return json.loads(_line(worker, ATTEMPTS * (WALL_S + 1)))
                except (OSError, EOFError, ValueError) as bad:
                    reason = f"{type(bad).__name__}: {bad}"
                    worker = self._end(worker)
            raise WorkerFailed(f"Math-Verify's worker was lost {ATTEMPTS} times over one comparison ({reason})")
        except BaseException:
            worker = self._end(
                worker
            )  # interrupted, it still owes an answer, which the next caller would take for its own
            raise
        finally:
            self.idle.put(worker)

    def _start(self) -> subprocess.Popen[bytes]:
        worker = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,  # ctrl-C is for the process that owns the pool
        )
        self.workers.add(worker)
        try:
            if self.left or json.loads(_line(worker, START_S)) != "ready":
                raise EOFError("it did not start")
        except BaseException:
            self._end(worker)
            raise
        return worker

    def _end(self, worker: subprocess.Popen[bytes] | None) -> None:
        if worker is not None:
            _end(worker)
            self.workers.discard(worker)

    def close(self) -> None:
        """End the workers that are idle; waits for the others. A fork of the owner leaves them alone."""
        if os.getpid() != self.owner:
            return
        for _ in range(self.size):
            self._end(self.idle.get())
        for _ in range(self.size):
            self.idle.put(None)

    def leave(self) -> None:
        """End all workers for good, busy ones too: who still waits for an answer gets WorkerFailed."""
        if os.getpid() != self.owner:
            return
        self.left = True
        for worker in tuple(self.workers):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
        self.close()


def _line(worker: subprocess.Popen[bytes], seconds: float) -> bytes:
    """The next line of a worker. Raises EOFError when there is none in time."""
    assert worker.stdout is not None
    poller = select.poll()
    poller.register(worker.stdout, select.POLLIN)
    if not poller.poll(1000 * seconds):
        raise EOFError(f"no answer in {seconds:.0f} s")
    line = worker.stdout.readline()  # it writes whole lines
    if not line.endswith(b"\n"):
        raise EOFError("it ended")
    return line


def _end(worker: subprocess.Popen[bytes] | None) -> None:
    if worker is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)  # with its child, which may be busy
        worker.wait()
        for pipe in (worker.stdin, worker.stdout):
            with contextlib.suppress(OSError):  # what could not be written is flushed once more
                if pipe is not None:
                    pipe.close()


_making: dict[int, threading.Lock] = {}  # by process: a fork must not wait for a thread that it has not


def shared() -> Pool:
    """The process's own pool, started at first use by whatever thread. A fork of the process gets another."""
    with _making.setdefault(os.getpid(), threading.Lock()):
        return _shared(os.getpid())


@functools.cache
def _shared(pid: int) -> Pool:
    if find_spec("math_verify") is None:
        raise MissingExtra("grading mathematics that is more than plain numbers", "math")
    pool = Pool(min(4, os.cpu_count() or 1))
    atexit.register(pool.leave)  # who still waits for an answer is a thread that was left behind
    return pool


# The worker's side.


def compare(gold: str, answer: str, tolerance: float | None = None, *, strict: bool = False) -> dict[str, Any]:
    """Math-Verify's own verdict, the gold answer first: it is not symmetric. Without limits: whoever calls keeps them.

    strict: numbers must also be equal in their first digits. Math-Verify rounds to six decimals, so that to it all tiny numbers
    are one."""
    import math_verify

    read = [math_verify.parse(f"${text}$", parsing_timeout=None) for text in (gold, answer)]  # type: ignore[arg-type]
    equal = math_verify.verify(read[0], read[1], timeout_seconds=None)
    if equal and strict and tolerance is None and _apart(read[0][0], read[1][0]):
        equal = False
    if not equal and tolerance is not None and all(read):
        equal = _close(read[0][0], read[1][0], tolerance)
    return {"equal": bool(equal), "read": bool(read[1])}


def _apart(gold: Any, answer: Any) -> bool:
    """Whether two numbers differ by more than FIRST_DIGITS of the larger one."""
    try:
        one, other = gold.evalf(20), answer.evalf(20)
        return bool(abs(one - other) > FIRST_DIGITS * max(abs(one), abs(other)))
    except (TypeError, ValueError, AttributeError):
        return False


def _close(gold: Any, answer: Any, tolerance: float) -> bool:
    try:
        return bool(abs(complex(gold.evalf()) - complex(answer.evalf())) <= tolerance)
    except (TypeError, ValueError, AttributeError):
        return False


def _serve() -> None:
    import math_verify

    logging.disable(logging.CRITICAL)
    math_verify.verify(math_verify.parse("$1$", parsing_timeout=None), math_verify.parse("$x^2$", parsing_timeout=None), timeout_seconds=None)  # type: ignore[arg-type]  # fmt: skip
    _limit_memory()
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whatever a library prints is no answer
    out.write(b'"ready"\n')
    child = None
    for line in sys.stdin.buffer:
        answer, why = None, ""
        for _ in range(ATTEMPTS):
            child = child or _Child((0, out.fileno()))
            answer, why = child.ask(line, json.loads(line).pop("cpu_s", CPU_S))
            if answer is not None:
                break
            child = child.end()
        out.write(answer if answer is not None else json.dumps({"late": why}).encode() + b"\n")
    if child is not None:
        child.end()


def _limit_memory() -> None:
    with contextlib.suppress(OSError, ValueError):  # a system that does not say how much there is
        with open("/proc/self/statm", "rb") as file:
            most = int(file.read().split()[0]) * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


class _Child:
    """A fork that compares, and can be lost. It closes the `foreign` descriptors, which are the worker's alone: if they
    stayed open, nobody would notice the worker's death."""

    def __init__(self, foreign: Iterable[int]) -> None:
        requests, self.requests = os.pipe()
        self.answers, answers = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                for descriptor in (self.requests, self.answers, *foreign):
                    os.close(descriptor)
                with os.fdopen(requests, "rb") as lines:
                    for line in lines:
                        signal.setitimer(signal.ITIMER_REAL, WALL_S + 1)  # deadly, for a child that outlives its worker
                        os.write(answers, json.dumps(_guarded(json.loads(line))).encode() + b"\n")
                        signal.setitimer(signal.ITIMER_REAL, 0)
            finally:
                os._exit(0)
        os.close(requests)
        os.close(answers)

    def ask(self, line: bytes, cpu_s: float = CPU_S) -> tuple[bytes | None, str]:
        """The child's answer; or None, and why there is none."""
        clock = (~self.pid << 3) | 2  # the child's CPU seconds
        cpu, wall = time.clock_gettime(clock), time.monotonic()
        with contextlib.suppress(BrokenPipeError):  # then there is no answer either
            os.write(self.requests, line)
        poller = select.poll()
        poller.register(self.answers, select.POLLIN)
        while True:
            if poller.poll(20):
                answer = os.read(self.answers, 1 << 16)
                return (answer, "") if answer else (None, "the comparison crashed")
            if time.clock_gettime(clock) - cpu > cpu_s or time.monotonic() - wall > WALL_S:
                return None, f"the comparison takes more than {cpu_s:.2g} s"

    def end(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.requests)
        os.close(self.answers)


def _guarded(request: dict[str, Any]) -> dict[str, Any]:
    began = time.process_time()
    request.pop("cpu_s", None)
    try:
        return {**compare(**request, strict=True), "seconds": time.process_time() - began}
    except MemoryError:
        os._exit(1)  # too little is left to go on with
    except Exception as bad:
        said = f"{type(bad).__name__}: {bad}"[:200]
        return {"equal": False, "read": False, "raised": said, "seconds": time.process_time() - began}


if __name__ == "__main__":
    _serve()
