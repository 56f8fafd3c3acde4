"""Tables of small cases as one test: every case is tried, and every case that fails is named. And tests of two sizes.

`@every(("text", "value"), ROWS)` stands where `@pytest.mark.parametrize` would; other arguments are fixtures as always, and
are shared by the cases. And bounds of CPU time that hold on a slow machine.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest


def sizes(names: str | tuple[str, ...], some: Any, full: Any) -> pytest.MarkDecorator:
    """As much as every run has time for, and all of it in the slow tests."""
    values = full if isinstance(names, tuple) else (full,)
    marks = pytest.mark.slow, pytest.mark.timeout(5_400)
    return pytest.mark.parametrize(names, [some, pytest.param(*values, marks=marks)])


LOOP_S = 0.0063  # CPU seconds of `_loop` on the machine for which bounds of time are written


def cpu_s(work: Callable[[], object]) -> float:
    """CPU seconds of this thread for some work, the best of up to three attempts, as on the machine for which bounds are written:
    a machine that is slow just now takes as many times longer for a loop as for the work."""
    found = []
    for _ in range(3):
        loop, began = _loop(), time.thread_time()
        work()
        found.append((time.thread_time() - began) / max(1.0, (loop + _loop()) / 2 / LOOP_S))
        if found[-1] < 0.1:
            break
    return min(found)


def slowness() -> float:
    """How many times longer this machine takes just now than that for which bounds are written; at least 1."""
    return max(1.0, min(_loop() for _ in range(3)) / LOOP_S)


def _loop() -> float:
    began, total = time.thread_time(), 0
    for i in range(100_000):
        total += i * i
    return time.thread_time() - began


def every(names: str | tuple[str, ...], cases: Iterable[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Call the test with each case: a value for one name, a tuple of values for several. Fails with all failing cases."""
    rows = [(case,) if isinstance(names, str) else tuple(case) for case in cases]
    names = (names,) if isinstance(names, str) else names
    assert rows, "a table without cases tests nothing"

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        def tried(**fixtures: Any) -> None:
            failed = []
            for row in rows:
                try:
                    test(**dict(zip(names, row, strict=True)), **fixtures)
                except (Exception, pytest.fail.Exception) as bad:
                    said = f"{type(bad).__name__}: {bad}".replace("\n", "\n        ")
                    failed.append(f"{', '.join(f'{value!r:.200}' for value in row)}\n        {said:.600}")
            if failed:
                pytest.fail(f"{len(failed)} of {len(rows)} cases fail:\n    " + "\n    ".join(failed), pytrace=False)

        signature = inspect.signature(test)
        others = [parameter for name, parameter in signature.parameters.items() if name not in names]
        assert len(others) + len(names) == len(signature.parameters), f"{test.__name__} does not take {names}"
        tried.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
        tried.__name__, tried.__doc__, tried.__module__ = test.__name__, test.__doc__, test.__module__
        return tried

    return decorate
