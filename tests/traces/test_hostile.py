"""Hostile trace files are verified at a bounded price, with a complaint for each: a table by category, and what measures it."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from cases import slowness
from hostile import CATEGORIES, cases
from hostile.making import Case, bomb, honest, played, voted, write
from verifying import Found, Measurer

from llm_marl_envs import Trace
from llm_marl_envs.allowance import Allowance, OverBudget, left, spend, unmetered
from llm_marl_envs.traces.verify import Budget, Refused, Verified, Verifier

CPU_S, MB = 5.0, 500.0  # that the verification of a file may take, with all its workers
JOBS_S = 3.5  # and its programs: 2.2, and up to a second more, for limits of CPU time are kept in whole seconds
SOME = 4  # files of a category that every run tries
NEEDS_SANDBOX = ("programs",)


@pytest.fixture(scope="module")
def measure() -> Iterator[Measurer]:
    measurer = Measurer()
    yield measurer
    measurer.close()


def wrong(case: Case, found: Found) -> list[str]:
    """What is not as the case says."""
    said = [f"it says {found.refused!r}"] if bool(found.refused) != case.refused else []
    said += [f"it crashed: {found.crash}"] if found.crash else []
    if case.refused:
        said += [f"it says {found.refused!r}"] if not re.search(case.says, found.refused) else []
    else:
        said += [f"{len(found.values)} hold: {found.complaints}"] if len(found.values) != case.good else []
        enough = len(found.complaints) == case.bad if case.bad >= 0 else found.complaints
        said += [] if enough else [f"{len(found.complaints)} complaints"]
        said += [text for text in found.complaints if not re.search(case.says or "$^", text)]
        between = set(found.values[1:-1]) if case.value is not None else set()
        said += [f"scores {found.values}"] if between - {case.value} else []
    said += [f"{found.jobs_s:.1f} CPU seconds of programs"] * (found.jobs_s > JOBS_S)
    took = found.cpu_s / slowness() if found.cpu_s > CPU_S else found.cpu_s
    return said + [f"{took:.1f} CPU seconds"] * (took > CPU_S) + [f"{found.mb:.0f} MB"] * (found.mb > MB)


def tried(category: str, fast: bool, measure: Measurer, folder, data_dir) -> list[str]:
    """What is wrong in a category's cases; some of the fast ones only, or all."""
    if category in NEEDS_SANDBOX:
        from llm_marl_envs.tools.sandbox import variants

        if all(variants().values()):
            pytest.skip("no sandbox works here")
    said, worst = [], (0.0, 0.0)
    rows = [case for case in cases(category, str(data_dir)) if case.fast or not fast][: SOME if fast else None]
    assert rows
    for number, case in enumerate(rows):
        path = folder / str(number) / case.file
        path.parent.mkdir()
        case.make(path)
        found = measure(path, str(data_dir), tools=case.tools)
        said += [f"{case.name}: {what:.600}" for what in wrong(case, found)]
        worst = max(worst[0], found.cpu_s + found.jobs_s), max(worst[1], found.mb)
        if path.is_file():
            path.unlink()
    print(f"{category}: {len(rows)} files, at most {worst[0]:.1f} CPU seconds and {worst[1]:.0f} MB")
    return said


@pytest.mark.parametrize("category", ["sizes", "kinds", "types", "identity", "content", "knobs", "waves"])
def test_some_files_of_each_category(category, measure, tmp_path):
    assert tried(category, True, measure, tmp_path, tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("category", CATEGORIES)
def test_hostile_files(category, measure, tmp_path, example_dir):
    assert tried(category, False, measure, tmp_path, example_dir) == []


@pytest.mark.slow
def test_there_are_more_than_a_hundred(example_dir):
    names = [(category, case.name) for category in CATEGORIES for case in cases(category, str(example_dir))]
    assert len(names) == len(set(names)) > 200


# The table is honest: without the bounds it fails.


@pytest.mark.slow
@pytest.mark.parametrize(("category", "name"), [("waves", "a debate of a thousand"), ("waves", "a thousand who all broadcast"), ("knobs", "atlas/solo size=20000 test_size=20000"), ("formulas", "fifty integrals"), ("programs", "a minute for a program")])  # fmt: skip
def test_a_verifier_without_a_budget_fails(category, name, measure, tmp_path, example_dir):
    case = next(case for case in cases(category, str(example_dir)) if case.name == name)
    case.make(tmp_path / case.file)
    found = measure(tmp_path / case.file, str(example_dir), cpu_s=1e6, memory_mb=10**6)
    assert wrong(case, found), "it takes far more, or is ended for it"


# Allowances.


def burn(seconds: float) -> None:
    began = time.thread_time()
    while time.thread_time() - began < seconds:
        pass


def test_an_allowance_ends_what_takes_longer():
    burn(0.01)
    with Allowance(0.05, 1000):
        burn(0.02)
    with pytest.raises(OverBudget, match=r"more than 0\.05 CPU seconds"), Allowance(0.05, 1000):
        burn(1.0)
    burn(0.03)
    assert left() == float("inf"), "outside, there is no limit"


def test_an_allowance_ends_what_takes_memory():
    kept: list[bytes] = []

    def take() -> None:
        while len(kept) < 500:
            kept.append(b"x" * (1 << 20))

    with pytest.raises(OverBudget, match="more than 20 MB of memory"), Allowance(20.0, 40):
        take()
    assert 10 < len(kept) < 200


def test_what_follows_our_own_work_is_watched_again():
    def work() -> None:
        with unmetered():
            burn(0.1)
        burn(1.0)

    began = time.thread_time()
    with pytest.raises(OverBudget), Allowance(0.05, 1000):
        work()
    assert time.thread_time() - began < 0.5


def test_the_timer_leaves_a_process_alone():
    """It is stopped when the process ends, and soon after the last allowance, even one that was passed; a fork has none."""
    program = """
import os, signal, time
from llm_marl_envs.allowance import Allowance, OverBudget
def burn(s):
    began = time.thread_time()
    while time.thread_time() - began < s: pass
try:
    with Allowance(0.03, 1000): burn(1)
except OverBudget: print("over")
with Allowance(5, 1000): burn(0.03)
if os.fork() == 0:
    print(signal.getitimer(signal.ITIMER_PROF)[0] == 0, flush=True)
    os._exit(0)
os.wait()
burn(0.1)
print(signal.getitimer(signal.ITIMER_PROF)[0] == 0, flush=True)
with Allowance(5, 1000): pass
"""
    done = subprocess.run((sys.executable, "-c", program), capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["over", "True", "True"], "")


def test_code_that_takes_all_exceptions_for_its_own_is_ended():
    def stubborn() -> None:
        for _ in range(10):
            try:
                burn(1.0)
            except Exception:
                pytest.fail("it is no Exception")

    began = time.thread_time()
    with pytest.raises(OverBudget), Allowance(0.05, 1000):
        stubborn()
    assert time.thread_time() - began < 0.5


def test_what_workers_take_counts_and_our_own_work_does_not():
    with Allowance(4.0, 1000) as allowance:
        assert left() == pytest.approx(2.2, abs=0.01)
        spend(2.0)
        assert left() == pytest.approx(0.2, abs=0.01)
        with unmetered():
            assert left() == float("inf")
            spend(100.0)
            burn(0.05)
        assert left() == pytest.approx(0.2, abs=0.01)
        spend(2.0)
        assert left() < 0
        assert allowance.used == pytest.approx(4.0, abs=0.02)
        allowance.cpu_s = 1e6


def test_other_traces_of_a_file_pay_for_those_over_the_budget():
    """Only those of that file, only so far, and not for ever."""
    text = bomb("topology", {"agents": 200}, lambda call: "broadcast_all", 200)
    dear, fine = Trace.from_json(text.decode()), Trace.from_json(honest(0).decode())
    verifier = Verifier(budget=Budget(cpu_s=0.1, overruns=2))
    assert isinstance(verifier(fine, "a"), Verified)
    assert "more than 0.1 CPU seconds; if you trust it" in str(verifier(dear, "a"))
    assert isinstance(verifier(fine, "a"), Verified), "it takes little"
    assert "more than 0.05 CPU seconds, which is what others from its file left" in str(verifier(dear, "a"))
    assert "not looked at" in str(verifier(fine, "a"))
    assert isinstance(verifier(fine, "b"), Verified), "that is another file"
    limited = Verifier(budget=Budget(file_s=0.0))
    limited(fine, "a")
    assert isinstance(limited(fine, "a"), Refused)


def test_replay_alone_keeps_the_budget():
    dear = Trace.from_json(bomb("topology", {"agents": 200}, lambda call: "broadcast_all", 200).decode())
    assert "CPU seconds" in str(Verifier(budget=Budget(cpu_s=0.1)).replayed(dear))
    assert Verifier().replayed(Trace.from_json(honest(0).decode())) is None


@pytest.mark.slow
def test_an_answer_gains_nothing_by_being_dear():
    """Programs that do not end in what is left are wrong; that the trace claims that is accepted, and nothing else."""
    loops = [f"```python\ndef solve(v):\n    while True: v = {i}\n```" for i in range(5)]
    claimed = Trace.from_json(voted("snippets", loops).decode())
    found = Verifier()(claimed)
    assert isinstance(found, Verified)
    assert "left of its verification's budget" in found.outcome.team.why
    better = Verifier()(replace(claimed, score=1.0, digests=()))
    assert "claims score 1.0, graded 0" in str(better)


def test_commands_take_a_budget(run, tmp_path):
    path = tmp_path / "x.jsonl"
    write(path, bomb("topology", {"agents": 200}, lambda call: "broadcast_all", 200) + b"\n" + honest(1) + b"\n")
    for command in (("trace", "check"), ("score",)):
        code, text = run(*command, str(path), "--cpu-s", "0.1")
        assert code == 1
        assert "more than 0.1 CPU seconds" in text
    code, text = run("trace", "check", str(path), "--memory-mb", "1", "--no-grade")
    assert code == 1
    assert "more than 1 MB" in text
    assert played("arithmetic/solo", "1").score == 0.0
