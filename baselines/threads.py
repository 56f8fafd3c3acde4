"""Threads for work that waits for processes and servers: tools and graders."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")


class Threads:
    """Up to `most` threads, started when there is work for them.

    They are daemons. An interpreter that ends waits for the threads of concurrent.futures' pools, so after ctrl-C for
    whatever program is being tested there; nobody has to wait for these.
    """

    def __init__(self, most: int):
        self.most, self.started = most, 0
        self._work: SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]] | None] = SimpleQueue()

    def submit(self, work: Callable[..., T], *args: Any) -> Future[T]:
        """Have a thread call `work(*args)`. Its result, or whatever it raises, is the future's."""
        future: Future[T] = Future()
        self._work.put((future, work, args))
        if self.started < self.most:
            self.started += 1
            Thread(target=_do, args=(self._work,), name="rollout", daemon=True).start()
        return future

    def close(self) -> None:
        """Drop what has not begun, and let each thread end with what it is at. Waits for nothing."""
        try:
            while True:
                self._work.get_nowait()
        except Empty:
            pass
        for _ in range(self.started):
            self._work.put(None)


def _do(work: SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]] | None]) -> None:
    while (item := work.get()) is not None:
        future, call, args = item
        try:
            future.set_result(call(*args))
        except BaseException as bad:  # it is the caller's, like the result
            future.set_exception(bad)
        del item, future, call, args  # not kept alive by a thread that waits
