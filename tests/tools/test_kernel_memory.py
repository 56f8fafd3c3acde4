"""What the kernel holds for a program is bounded; and each rule of the filter is needed: without it an escape succeeds."""

from __future__ import annotations

import fcntl
import importlib
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from cases import sizes

from llm_marl_envs.tools.sandbox import Sandbox, runtime, variants
from llm_marl_envs.tools.sandbox.escapes import Escape, all_escapes
from llm_marl_envs.tools.sandbox.escapes.suite import run_suite
from llm_marl_envs.tools.sandbox.inside import seccomp

NATIVE = [name for name, reason in variants().items() if reason is None and name != "wasm"]
pytestmark = pytest.mark.skipif(
    not NATIVE or not seccomp.supported(), reason=f"no sandbox with a filter works here: {variants()}"
)


def one(name: str) -> Escape:
    (found,) = [e for e in all_escapes() if e.name == name]
    return found


@pytest.fixture
def weakened(tmp_path, monkeypatch):
    """A function that plants a fault in the code inside the sandbox: text at the end of one of its modules."""
    real = runtime.runtime(False)
    variant = importlib.import_module(f"llm_marl_envs.tools.sandbox.{NATIVE[0]}")

    def weaken(module: str, text: str) -> None:
        folder = tmp_path / f"inside-{len(list(tmp_path.iterdir()))}"
        shutil.copytree(runtime.INSIDE, folder, ignore=shutil.ignore_patterns("__pycache__"))
        with open(folder / module, "a") as file:
            file.write(f"\n\n{text}\n")
        binds = tuple(
            (str(folder) if source == str(runtime.INSIDE) else source, inside) for source, inside in real.binds
        )
        monkeypatch.setattr(variant, "runtime", lambda numpy: replace(real, binds=binds))

    return weaken


def rule(name: str) -> tuple[str, str]:
    """The filter without the rule on a system call: it is made whatever its arguments."""
    return "seccomp.py", f"_before_{name} = _rules\ndef _rules():\n    return _before_{name}() | {{{name!r}: ()}}"


def opened(x86: int, arm: int) -> tuple[str, str]:
    """The filter with one more system call."""
    more = f"dict(x86_64={x86}, aarch64={arm})"
    return "seccomp.py", f"_MACHINES = {{m: (a, (*l, ({more}[m],) * 2), n) for m, (a, l, n) in _MACHINES.items()}}"


TIMERS = "job.py", "FIXED.pop(resource.RLIMIT_SIGPENDING)"
WEAKENED = [
    ("threads that leave the common descriptors", *rule("close_range")),
    ("page tables for pages far apart", *rule("mmap")),
    ("threads that never had them in common", *rule("clone")),
    ("page tables for pages moved far apart", *rule("mremap")),
    ("pages that a file has let go", *opened(40, 71)),
    ("descriptors on their way", *opened(46, 211)),
    ("splices", *opened(275, 76)),
    ("sockets of other families", *rule("socketpair")),
    ("urgent bytes", *rule("sendto")),
    ("urgent bytes", *rule("recvfrom")),
    ("larger buffers", *rule("fcntl")),
    ("larger buffers", *opened(54, 208)),
    ("leases and owners", *rule("fcntl")),
    ("records that are locked", *rule("fcntl")),
    ("POSIX timers", *TIMERS),
    ("fork, vfork, clone and clone3 by system call", *rule("clone3")),
    ("tricks with the parent's death", *rule("prlimit")),
]


@sizes("rows", WEAKENED[:1], WEAKENED)
def test_a_filter_without_a_rule_is_noticed(rows, weakened):
    unnoticed = []
    for name, module, text in rows:
        weakened(module, text)
        with Sandbox(NATIVE[0], workers=1) as box:
            unnoticed += [f"{name}: {text}" for f in run_suite(box, [one(name)]) if f.contained]
    assert unnoticed == []


LOCKS = """
import fcntl, os, time
file = open(os.__file__)
fcntl.flock(file, fcntl.LOCK_EX)
print("locked", flush=True)
time.sleep(0.3)
"""


def kept_waiting() -> bool:
    """Whether a program in the sandbox can lock a file of the host's, one of Python's own, against others."""
    seen: list[bool] = []

    def look() -> None:
        with open(os.__file__) as file:
            while not done.wait(0.01):
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    fcntl.flock(file, fcntl.LOCK_UN)
                except BlockingIOError:
                    seen.append(True)

    done = threading.Event()
    watch = threading.Thread(target=look)
    with Sandbox(NATIVE[0], workers=1) as box:
        watch.start()
        try:
            assert box.run(LOCKS).stdout == "locked\n"
        finally:
            done.set()
            watch.join()
    return bool(seen)


@pytest.mark.slow
def test_nobody_waits_for_a_lock_of_a_program(weakened):
    assert not kept_waiting()
    weakened(*rule("flock"))
    assert kept_waiting(), "the planted fault: locks are made"


def kernel_memory() -> int:
    """What the kernel holds for itself and can not give back, MB: objects, page tables, stacks of threads."""
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return sum(int(lines[name].split()[0]) for name in ("SUnreclaim", "PageTables", "KernelStack")) >> 10


@pytest.mark.slow
def test_the_kernel_holds_little(weakened):
    """Looked at from outside while they run; and the same look sees what a weaker filter lets through."""

    def most(escapes: list[Escape]) -> int:
        seen, done = [kernel_memory()], threading.Event()

        def look() -> None:
            while not done.wait(0.02):
                seen.append(kernel_memory())

        watch = threading.Thread(target=look)
        with Sandbox(NATIVE[0], workers=1) as box:
            watch.start()
            run_suite(box, escapes)
            done.set()
            watch.join()
        return max(seen) - seen[0]

    held = [e for e in all_escapes() if e.category == "kernel memory"]
    assert len(held) >= 19
    assert most(held) < 100, "others on this machine may add to it"
    weakened(*rule("mmap"))
    assert most([one("page tables for pages far apart")]) > 200
