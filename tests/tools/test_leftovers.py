"""After thousands of hostile jobs nothing is left behind; and killed servers lose no result."""

from __future__ import annotations

import ctypes
import importlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest
from cases import sizes

from llm_marl_envs.tools.sandbox import JobLimits, JobResult, Sandbox, launch, places, runtime, variants
from llm_marl_envs.tools.sandbox.escapes import PRELUDE, all_escapes
from llm_marl_envs.tools.sandbox.escapes.suite import Planted, run_suite

HERE = tuple(name for name, reason in variants().items() if reason is None)
# Wasm's interpreter is many times slower.
EACH = [pytest.param(name, marks=pytest.mark.slow) if name == "wasm" else name for name in HERE]
pytestmark = pytest.mark.skipif(not HERE, reason=f"no sandbox works here: {variants()}")


@pytest.fixture(autouse=True)
def place(monkeypatch):
    """A folder of this test's own for all temporary files; and orphans become children of this process, so none hides."""
    folder = Path(tempfile.mkdtemp(prefix="llm-marl-leftovers-"))
    folder.chmod(0o755)  # the sandbox's ordinary user passes through
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    adopt = ctypes.CDLL(None).prctl
    adopt(36, ctypes.c_ulong(1), *[ctypes.c_ulong(0)] * 3)  # PR_SET_CHILD_SUBREAPER
    yield folder
    adopt(36, ctypes.c_ulong(0), *[ctypes.c_ulong(0)] * 3)
    shutil.rmtree(folder, ignore_errors=True)


PF_EXITING = 0x4  # linux/sched.h


class Process(NamedTuple):
    parent: int
    command: str


def descendants() -> dict[int, Process]:
    """The living processes that descend from this one: neither ended (Z, X) nor in the kernel's hands for their end."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                state, parent, *_, flags = (folder / "stat").read_text().rpartition(")")[2].split()[:7]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if state not in "ZX" and not int(flags) & PF_EXITING:
                found[int(folder.name)] = Process(int(parent), command)

    def ours(pid: int) -> bool:
        while pid in found and found[pid].parent != os.getpid():
            pid = found[pid].parent
        return pid in found

    return {pid: process for pid, process in found.items() if ours(pid)}


def what_is_there() -> dict[str, object]:
    """All that a sandbox could leave behind on this machine."""
    return {
        "processes": sorted(process.command for process in descendants().values()),
        "mounts": sorted(line.split(" ", 4)[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()),
        "files": sorted(os.listdir(tempfile.gettempdir())),
        "shared memory": sorted(name for name in os.listdir("/dev/shm") if "planted" in name),
        "descriptors": sorted(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
    }


def left_behind(before: dict[str, object]) -> dict[str, object]:
    """What is there now and was not before. (What others started before, and ended meanwhile, is not the sandbox's.)"""
    found = {}
    for name, now in what_is_there().items():
        was = before[name]
        more = now - was if isinstance(now, int) else list((Counter(now) - Counter(was)).elements())  # type: ignore
        if more and (not isinstance(more, int) or more > 0):
            found[name] = more
    return found


def server_processes() -> list[int]:
    """Servers and whatever starts or holds them, but not their jobs: a job that is killed has ended by a signal."""
    found = descendants()
    same = {pid for pid, p in found.items() if p.parent in found and found[p.parent].command == p.command}
    names = ("container.py", "server.py", "bwrap", "launch.py", "wasm_job.py")
    return [pid for pid, p in found.items() if pid not in same and any(name in p.command for name in names)]


def hostile_jobs(count: int) -> list[tuple[str, str, str]]:
    """(program, tests, stdin) of the cheap hostile programs, over and over, each category in its turn."""
    cheap: dict[str, list] = {}
    for escape in all_escapes():
        if not escape.slow and escape.name not in ("10,000 folders one in another", "all memory there is"):
            cheap.setdefault(escape.category, []).append(escape)
    turns = itertools.chain.from_iterable(zip(*(itertools.cycle(kind) for kind in cheap.values()), strict=False))
    return [(e.program, e.tests, e.stdin) for e in itertools.islice(turns, count)]


def play(variant: str, count: int) -> None:
    with Planted() as planted, Sandbox(variant, workers=2) as box:
        limits = JobLimits(cpu_s=1.0, wall_s=2.0, memory_mb=96, output_kb=64)

        def one(job: tuple[str, str, str]) -> None:
            program, tests, stdin = map(planted.fill, job)
            box.examine(PRELUDE + program, tests, limits) if tests else box.run(PRELUDE + program, stdin, limits)

        with ThreadPoolExecutor(2) as pool:
            assert len(list(pool.map(one, hostile_jobs(count)))) == count
        assert planted.harm() == []
        assert box.run("print(sum(range(10)))").stdout == "45\n"


@sizes("count", 110, 2_000)
@pytest.mark.parametrize("variant", EACH)
def test_nothing_is_left_behind(variant, count):
    assert len({program for program, _, _ in hostile_jobs(count)}) > 70
    before = what_is_there()
    play(variant, count)
    assert not left_behind(before)


@sizes("jobs", 60, 300)
@pytest.mark.parametrize("variant", EACH)
def test_nothing_is_left_open_while_it_works(variant, jobs):
    """The same descriptors and processes after many jobs as after one."""
    with Sandbox(variant, workers=1) as box:
        box.run("print(1)")
        time.sleep(0.2)
        before = what_is_there()
        for i in range(jobs):
            assert box.run(f"print({i})").stdout == f"{i}\n"
        until = time.monotonic() + 2.0  # a server may have work of its own after its answer
        while what_is_there() != before and time.monotonic() < until:
            time.sleep(0.02)
        assert not left_behind(before)


@pytest.mark.parametrize("variant", EACH)
def test_a_sandbox_that_is_dropped_midway_leaves_nothing(variant):
    """Closed while a job runs, the job is waited for; the caller's mistakes and a failing start leave nothing either."""
    before = what_is_there()
    box = Sandbox(variant, workers=1)
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(box.run, "import time; time.sleep(0.5); print('done')")
        time.sleep(0.2)
        box.close()
        assert job.result().stdout == "done\n"
    assert not left_behind(before)


@sizes(("jobs", "least"), (200, 5), (500, 10))
@pytest.mark.parametrize("variant", EACH)
def test_killing_the_server_at_random_loses_no_result(variant, jobs, least):
    """Some jobs, or more until there were some kills, while somebody kills servers, their first processes or their launchers: all outputs are right."""
    rng, stop, kills = Random(11), threading.Event(), []
    for _ in range(2):  # the first start of a process looks for the interpreter's files, too
        began = time.monotonic()
        with Sandbox(variant, workers=1) as box:
            box.run("pass")
    one_start = time.monotonic() - began  # as things are now: a kill within every start would be no matter of chance

    def kill() -> None:
        while not stop.wait(rng.uniform(0.5, 3) * one_start):
            running = server_processes()
            if running:
                try:
                    os.kill(rng.choice(running), signal.SIGKILL)
                    kills.append(1)
                except ProcessLookupError:
                    pass

    before = what_is_there()
    killer = threading.Thread(target=kill)
    with Sandbox(variant, workers=2) as box:
        killer.start()
        try:
            with ThreadPoolExecutor(4) as pool:
                work = "import time; time.sleep({:.3f}); print({} ** 2)"
                runs: list[JobResult] = []
                while len(runs) < jobs or (len(kills) < least and len(runs) < 10 * jobs):
                    texts = [work.format(rng.uniform(0, 0.02), len(runs) + i) for i in range(100)]
                    runs += pool.map(box.run, texts)
        finally:
            stop.set()
            killer.join()
    assert [(run.status, run.stdout) for run in runs] == [("ok", f"{i**2}\n") for i in range(len(runs))]
    assert len(kills) >= least
    assert not left_behind(before)


@sizes("categories", ("files",), ("files", "reading the tests", "descriptors", "/proc", "processes"))
def test_findings_do_not_depend_on_the_order(categories):
    """No program spoils the sandbox for a later one: the same findings backwards."""
    escapes = [e for e in all_escapes() if not e.slow and e.category in categories]
    with Sandbox(workers=1) as box:
        forwards = {f.escape.name: f.contained for f in run_suite(box, escapes)}
        backwards = {f.escape.name: f.contained for f in run_suite(box, escapes[::-1])}
    assert forwards == backwards


# Folders of killed runs.

KEEPS_ONE = """
import sys, time
from llm_marl_envs.tools.sandbox import Sandbox
box = Sandbox(sys.argv[1], workers=1)
box.run("pass")
print("works", flush=True)
sys.stdin.read()
print(box.run("print(7)").stdout, end="")
box.close()
"""


def folders(place: Path) -> set[str]:
    return {path.name for path in place.glob("llm-marl-server-*")}


def test_folders_of_killed_processes_are_swept_and_of_living_ones_are_not(tmp_path):
    script = (
        "import runpy, sys\nprint(runpy.run_path(sys.argv[1])['take'](sys.argv[2])[0], flush=True)\nsys.stdin.read()"
    )
    command = [sys.executable, "-c", script, places.__file__, str(tmp_path)]
    killed, living = (subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in "ab")
    empty, full = (Path(run.stdout.readline().strip()) for run in (killed, living))  # type: ignore[union-attr]
    (full / "file").touch()
    killed.kill()
    killed.communicate()
    assert {empty, full} == set(tmp_path.iterdir()), "nobody has swept yet"
    mine, lock = places.take(str(tmp_path))
    assert {full, Path(mine)} == set(tmp_path.iterdir())
    places.give_back(mine, lock)
    living.communicate("")
    places.sweep(str(tmp_path))
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_folders_of_killed_runs_are_swept_and_of_living_ones_are_not(place):
    others = HERE
    command = [sys.executable, "-c", KEEPS_ONE]
    environment = os.environ | {"TMPDIR": str(place)}
    runs = [
        subprocess.Popen([*command, variant], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for variant in (others[0], *others)
    ]
    for run in runs:
        assert run.stdout is not None
        assert run.stdout.readline() == "works\n"
    assert len(folders(place)) == len(runs)
    runs[0].kill()
    runs[0].communicate()
    assert len(folders(place)) == len(runs), "nobody has swept yet"
    (place / "llm-marl-server-mine").write_text("a file of that name is nobody's folder")
    (place / "llm-marl-server-old").mkdir()
    (place / "llm-marl-server-old" / "full").mkdir()
    with Sandbox(others[0], workers=1) as box:
        assert box.run("print(1)").stdout == "1\n"
        assert len(folders(place)) == len(runs) + 1, "the living, ours, and the file"
    for run in runs[1:]:
        assert run.communicate("")[0] == "7\n", "it still works"
    assert folders(place) == {"llm-marl-server-mine"}


def test_a_folder_that_is_swept_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    made = []
    mkdtemp = tempfile.mkdtemp

    def make(**named):
        made.append(mkdtemp(**named))
        if len(made) == 1:
            places.sweep(str(tmp_path))
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", make)
    folder, lock = places.take(str(tmp_path))
    assert [os.path.exists(path) for path in made] == [False, True]
    places.sweep(str(tmp_path))
    assert os.path.isdir(folder)
    places.give_back(folder, lock)
    assert os.listdir(tmp_path) == []


# Limits by user: what one job takes, another still has.

TAKE_ALL = """
import ctypes, os, threading, time
libc, timer, made = ctypes.CDLL(None), ctypes.c_int(), 0
while libc.syscall(ctypes.c_long(107 if os.uname().machine == "aarch64" else 222), 1, None, ctypes.byref(timer)) == 0:
    made += 1
threading.stack_size(64 << 10)
threads = 0
try:
    while True:
        threading.Thread(target=time.sleep, args=(100,), daemon=True).start()
        threads += 1
except RuntimeError:
    pass
print(made, threads, flush=True)
time.sleep(@HOLD@)
os._exit(0)
"""
TAKE_SOME = """
import ctypes, os, threading
libc, timer = ctypes.CDLL(None), ctypes.c_int()
number = ctypes.c_long(107 if os.uname().machine == "aarch64" else 222)
timers = sum(libc.syscall(number, 1, None, ctypes.byref(timer)) == 0 for _ in range(@WANTED@))
for _ in range(20):
    threading.Thread(target=int).start()
print(@WANTED@ - timers)
"""


def beside_a_hog(box: Sandbox, hold: float) -> tuple[set[str], list[int]]:
    """What jobs lack that run meanwhile, and the timers and threads of a job that takes all that a user may have."""
    with ThreadPoolExecutor(1) as pool:
        hog = pool.submit(box.run, TAKE_ALL.replace("@HOLD@", str(hold)), "", JobLimits(cpu_s=10.0, memory_mb=256))
        said, wanted = set(), 10
        while not hog.done():
            said.add(box.run(TAKE_SOME.replace("@WANTED@", str(wanted))).stdout)
            wanted = min(wanted + 5, 60)  # more than the one before gave back
    return said, [int(word) for word in hog.result().stdout.split()]


NATIVE = [name for name in HERE if name != "wasm"]


@pytest.mark.skipif(not NATIVE, reason=f"no fork server works here: {variants()}")
def test_one_job_does_not_starve_another():
    with Sandbox(NATIVE[0], workers=2) as box:
        said, (timers, threads) = beside_a_hog(box, 0.4)
    assert timers <= 64
    assert threads < 300
    assert said == {"0\n"}


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give each server a user of its own")
@pytest.mark.parametrize("variant", HERE)
def test_each_server_has_a_user_of_its_own(variant):
    with Sandbox(variant, workers=2) as box:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(box.run, ["import time; time.sleep(1)"] * 2))
        users: dict[int, set[int]] = {}
        for server in box._servers:
            status = Path(f"/proc/{server.process.pid}/status").read_text()
            users[server.process.pid] = {int(uid) for uid in status.partition("Uid:")[2].split("\n")[0].split()}
    assert len(users) == 2
    assert [len(uids) for uids in users.values()] == [1, 1], "real, effective, saved: it cannot come back"
    assert len(set.union(*users.values()) - {0, 65534}) == 2


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or not NATIVE, reason="only root can give each server a user of its own")
def test_without_users_of_their_own_one_job_starves_another(tmp_path, monkeypatch):
    """The planted fault, twice: without the limit on queued signals the users alone keep jobs apart; without both, nothing does."""
    variant = importlib.import_module(f"llm_marl_envs.tools.sandbox.{NATIVE[0]}")
    real, folder = runtime.runtime(False), tmp_path / "inside"
    shutil.copytree(runtime.INSIDE, folder)
    with open(folder / "job.py", "a") as file:
        file.write("\nFIXED.pop(resource.RLIMIT_SIGPENDING)\n")
    binds = tuple((str(folder) if source == str(runtime.INSIDE) else source, inside) for source, inside in real.binds)
    monkeypatch.setattr(variant, "runtime", lambda numpy: replace(real, binds=binds))
    with Sandbox(NATIVE[0], workers=2) as box:
        said, (timers, _) = beside_a_hog(box, 4.0)
    assert timers > 1000
    assert said == {"0\n"}
    text = (folder / "launch.py").read_text()
    assert "int(uid) + os.getpid()" in text
    (folder / "launch.py").write_text(text.replace("int(uid) + os.getpid()", "int(uid)"))
    monkeypatch.setattr(launch, "INSIDE", folder)
    for hold in (
        4.0,
        20.0,
    ):  # a machine that is very busy begins no job within the four seconds in which there is nothing left
        with Sandbox(NATIVE[0], workers=2) as box:
            said, hog = beside_a_hog(box, hold)
        if said - {"0\n"}:
            break
    assert said - {"0\n"}, hog
