"""`make gpu`: training on a CUDA card, or where there is none the same checks on the CPU at smaller sizes.

These tests take minutes and measure, so only a run of this folder alone has them (`make gpu`, or `pytest tests/gpu`): any
other, such as `make test`, does not see them.
"""

from __future__ import annotations

import gc
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ceilings import Ceilings
    from report import Report

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is first imported

HERE = Path(__file__).parent
STARTED = pytest.StashKey[float]()
REPORT = pytest.StashKey["Report"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    # Given as --out=FOLDER: in two words, an existing folder would be taken for one of the tests when pytest.ini is looked for.
    out = HERE.parents[1] / "runs" / "gpu"
    parser.addoption("--out", type=Path, default=out, help="folder of gpu.json and gpu.txt")
    parser.addoption("--seconds", type=float, help="a check that would begin later fails; by default 330 on a card")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """True away from a run of this folder alone."""
    return None if config.inipath == HERE / "pytest.ini" else True


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.stash[STARTED] = time.monotonic()


@pytest.fixture(scope="session")
def device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture(scope="session")
def report(request: pytest.FixtureRequest, device: str) -> Report:
    """Where the checks put their figures."""
    import torch
    import transformers
    from ceilings import machine
    from report import Report

    torch.set_num_threads(min(16, os.cpu_count() or 1))
    transformers.utils.logging.disable_progress_bar()
    made = request.config.stash[REPORT] = Report(request.config.getoption("--out"), machine(device))
    if device == "cpu":
        made.note(
            "No CUDA card: the CPU computed, in float32 where a card uses bfloat16, at smaller sizes; memory is the process's so far. No figure is a card's."
        )
    return made


@pytest.fixture(scope="session")
def ceilings(report: Report, device: str) -> Ceilings:
    """The machine's ceilings, measured once."""
    import torch
    from ceilings import measure_ceilings

    found = measure_ceilings(device, torch.bfloat16 if device == "cuda" else torch.float32)
    kind = str(found.dtype).removeprefix("torch.")
    report.add("the machine", "copy bandwidth of memory, read + written", found.bandwidth / 1e9, "GB/s")
    report.add("the machine", f"{kind} matrix-multiply rate", found.rate / 1e12, "TFLOP/s")
    return found


@pytest.fixture(scope="session")
def tiny(report: Report) -> str:
    from models import short_tiny

    report.note("tiny: after a short warm start (40 of 300 steps, half the batch).")
    return short_tiny(HERE.parents[1] / "build" / "tiny")


@pytest.fixture(scope="session")
def qwen3(tmp_path_factory: pytest.TempPathFactory, device: str, report: Report) -> Iterator[str]:
    """A model of Qwen3-0.6B's shape; on the CPU with 2 layers and a small vocabulary."""
    import shutil

    from models import Qwen3Size, qwen3_shape

    size = Qwen3Size() if device == "cuda" else Qwen3Size(layers=2, vocabulary=2_048)
    report.note(f"0.6B: random weights, {size}.")
    folder = tmp_path_factory.mktemp("qwen3")
    yield qwen3_shape(folder, size, device)
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def room(request: pytest.FixtureRequest, device: str) -> Iterator[None]:
    """Fail what begins too late, and give memory back after each check."""
    spent = time.monotonic() - request.config.stash[STARTED]
    allowed = request.config.getoption("--seconds") or (330 if device == "cuda" else math.inf)
    if spent > allowed:
        pytest.fail(f"not run: {spent:.0f} of {allowed:.0f} seconds were spent before it began (--seconds)")
    yield
    gc.collect()
    if device == "cuda":
        import torch

        torch.cuda.empty_cache()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    """Write what is known so far after each check: a run that is cut leaves its figures behind."""
    result = yield
    report = item.config.stash.get(REPORT, None)
    if report is not None and (result.when == "call" or result.failed):
        report.checks[item.nodeid] = result.outcome
        report.write()
    return result


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    report = config.stash.get(REPORT, None)
    if report is not None:
        terminalreporter.section(f"figures, also in {report.folder}")
        terminalreporter.write(report.text())
