"""Hostile programs are contained, as root and as an ordinary user; and they do bite where nothing contains them."""

from __future__ import annotations

import functools
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections import Counter
from pathlib import Path

import pytest

import llm_marl_envs
from llm_marl_envs.tools.sandbox import JobLimits, Sandbox, variants, wasm
from llm_marl_envs.tools.sandbox.escapes import PRELUDE, Escape, all_escapes, suite
from llm_marl_envs.tools.sandbox.escapes.suite import VARIABLE, Finding, Planted, run_suite
from llm_marl_envs.tools.sandbox.server import Server

HERE = tuple(name for name, reason in variants().items() if reason is None)
# Wasm's interpreter is many times slower, so its tests are slow ones.
NATIVE = [name for name in HERE if name != "wasm"]
ORDINARY = 12_345  # a user id that nobody has
CATEGORIES = (
    "files", "environment", "network", "processes", "exec", "memory", "disk", "descriptors", "signals", "/proc", "timing",
    "reading the tests", "faking the verdict", "code in results", "output", "namespaces", "ptrace", "kernel", "kernel memory",
    "imports", "recursion", "numbers and patterns", "threads", "links", "streams", "wire", "objects",
)  # fmt: skip
SCRIPT = """
import json, os, sys
from llm_marl_envs.tools.sandbox import Sandbox
from llm_marl_envs.tools.sandbox.escapes import all_escapes
from llm_marl_envs.tools.sandbox.escapes.suite import run_suite
assert os.geteuid() != 0
escapes = all_escapes() if sys.argv[2] == "all" else [e for e in all_escapes() if not e.slow][int(sys.argv[2]) :: 2]
with Sandbox(sys.argv[1], workers=1) as box:
    findings = run_suite(box, escapes)
bad = [f"{f.escape.category}: {f.escape.name}: {f.detail}" for f in findings if not f.contained]
print(json.dumps([len(findings), bad]))
"""

needs_a_sandbox = pytest.mark.skipif(not HERE, reason=f"no sandbox works here: {variants()}")
needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can become somebody else; these tests are ordinary"
)


def escaped(findings: list[Finding]) -> list[str]:
    return [f"{f.escape.category}: {f.escape.name}: {f.detail}" for f in findings if not f.contained]


def one(name: str) -> Escape:
    (found,) = [e for e in all_escapes() if e.name == name]
    return found


@functools.cache
def interpreter() -> str | None:
    """A Python of ours or the system's that an ordinary user can start."""
    for path in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        check = [path, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
        try:
            if (
                subprocess.run(check, user=ORDINARY, group=ORDINARY, extra_groups=[], cwd="/", check=False).returncode
                == 0
            ):
                return path
        except OSError:
            continue
    return None


@pytest.fixture(scope="module")
def open_copy():
    """A copy of the sandbox's code where an ordinary user can read it; it needs nothing but the standard library. (Pytest's own
    folders are the owner's alone, and every other run of pytest sees to it that they are.)"""
    folder = Path(tempfile.mkdtemp(prefix="llm-marl-open-"))
    folder.chmod(0o755)
    source, package = Path(llm_marl_envs.__file__).parent, folder / "llm_marl_envs"
    shutil.copytree(
        source / "tools" / "sandbox", package / "tools" / "sandbox", ignore=shutil.ignore_patterns("__pycache__")
    )
    for module in ("allowance.py", "errors.py", "files.py"):
        shutil.copy(source / module, package)
    for init in (package, package / "tools"):
        (init / "__init__.py").touch()
    subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def with_wasmtime(python: str, folder: Path) -> str:
    """An environment in the folder with wasmtime in it, and WebAssembly's interpreter in the cache beside it."""
    subprocess.run([python, "-m", "venv", "--without-pip", str(folder / "env")], check=True)
    (packages,) = (folder / "env" / "lib").glob("python*/site-packages")
    shutil.copytree(
        Path(wasm.interpreter()).parent,
        folder / "cache" / "llm-marl-envs",
        ignore=lambda at, names: [name for name in names if not name.endswith("wasm")],
    )
    for name in ("wasmtime", "platformdirs"):
        module = Path(importlib.import_module(name).__file__ or "").parent
        shutil.copytree(module, packages / name)
        for about in module.parent.glob(f"{name}-*.dist-info"):
            shutil.copytree(about, packages / about.name)
    subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
    return str(folder / "env" / "bin" / "python")


def run_as_ordinary(folder: Path, variant: str, which: str) -> tuple[int, list[str]]:
    python = interpreter()
    if python is None:
        pytest.skip("no Python 3.11 that an ordinary user can start")
    if variant == "wasm":
        python = with_wasmtime(python, folder)
    done = subprocess.run(
        [python, "-B", "-c", SCRIPT, variant, which],
        user=ORDINARY,
        group=ORDINARY,
        extra_groups=[],
        cwd="/",
        env={"PYTHONPATH": str(folder), "PATH": os.environ["PATH"], "XDG_CACHE_HOME": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    count, bad = json.loads(done.stdout)
    return count, bad


def test_there_are_many_of_every_kind():
    escapes = all_escapes()
    count = Counter(e.category for e in escapes)
    assert tuple(sorted(count)) == tuple(sorted(CATEGORIES))
    assert min(count.values()) >= 4
    assert len(escapes) >= 300
    assert len({(e.category, e.name) for e in escapes}) == len(escapes)
    assert len({e.program for e in escapes}) == len(escapes)
    assert {e.name for e in escapes} > suite._NOT_IN_WASM


def test_every_program_is_python_that_the_suite_fills_in():
    compile(PRELUDE, "prelude", "exec", dont_inherit=True)
    with Planted() as planted:
        for escape in all_escapes():
            for text in map(planted.fill, (escape.program, escape.tests, escape.before)):
                assert not re.search("@[A-Z]+@", text), escape.name
                compile(text, escape.name, "exec", dont_inherit=True)


# Every second quick program as root, the others as an ordinary user, in each variant; all of them as both in the slow tests.


@needs_a_sandbox
@pytest.mark.parametrize("variant", NATIVE)
def test_contained_quickly(variant):
    with Sandbox(variant, workers=1) as box:
        assert escaped(run_suite(box, [e for e in all_escapes() if not e.slow][NATIVE.index(variant) :: 2])) == []


@needs_a_sandbox
@needs_root
@pytest.mark.parametrize("variant", NATIVE)
def test_contained_quickly_as_an_ordinary_user(variant, open_copy):
    count, bad = run_as_ordinary(open_copy, variant, str(1 - NATIVE.index(variant)))
    assert bad == []
    assert count > 75


@pytest.mark.slow
@needs_a_sandbox
@pytest.mark.parametrize("variant", HERE)
def test_all_contained(variant):
    with Sandbox(variant, workers=1) as box:
        assert escaped(run_suite(box)) == []


@pytest.mark.slow
@needs_a_sandbox
@needs_root
@pytest.mark.parametrize("variant", HERE)
def test_all_contained_as_an_ordinary_user(variant, open_copy):
    count, bad = run_as_ordinary(open_copy, variant, "all")
    assert bad == []
    assert count == len(all_escapes()) - (len(suite._NOT_IN_WASM) if variant == "wasm" else 0)


@needs_a_sandbox
def test_honest_programs_are_not_taken_for_escapes():
    """The planted texts and system calls of the prelude are there for honest programs too: no finding without a deed."""
    honest = [
        Escape("honest", "sums", "print(sum(range(10)))", ends=("ok",)),
        Escape("honest", "files", "open('a', 'w').write('b')\nprint(open('a').read())", ends=("ok",)),
        Escape(
            "honest", "threads", "import threading\nthreading.Thread(target=print, args=(1,)).start()", ends=("ok",)
        ),
        Escape(
            "honest", "answers", "def answer(x):\n    return 2 * x + 1", tests="assert answer(20) == 41", ends=("ok",)
        ),
        Escape("honest", "asyncio", "import asyncio\nasync def f(): print(1)\nasyncio.run(f())", ends=("ok",)),
    ]
    with Sandbox(workers=1) as box:
        assert escaped(run_suite(box, honest)) == []


@needs_a_sandbox
def test_the_memory_hunt_finds_what_is_there():
    """Or its finding nothing would mean nothing: small and big texts, on Python's heap and on the C library's."""
    program = PRELUDE + textwrap.dedent("""
        import ctypes
        make = lambda digit: "PLAN" + "TED-" + digit * 24
        small, big = make("a"), make("b") * 50_000
        libc = ctypes.CDLL(None)
        libc.malloc.restype = ctypes.c_void_p
        libc.malloc.argtypes = [ctypes.c_size_t]
        ctypes.memmove(libc.malloc(200), make("c").encode(), 32)
        print(hunt())
    """)
    with Sandbox(workers=1) as box:
        run = box.run(program, limits=JobLimits(cpu_s=10))
    assert run.stdout.strip() == str([f"PLANTED-{digit * 24}" for digit in "abc"]), run.stderr


# Each of these changes something outside, or says that it did, when nothing keeps it in; all are harmless to a machine.
BITES_ALONE = (
    "read a file of the host's by its path",
    "follow a symbolic link out",
    "write to the host's files",
    "hard link a file into the work folder",
    "the host's files by a process's root",
    "TCP to the host's own port",
    "UDP to the host's own port",
    "a unix socket of the host's",
    "an abstract unix socket of the host's",
    "asyncio streams",
    "netlink",
    "fork",
    "fork, vfork, clone and clone3 by system call",
    "subprocess and its relatives",
    "a pool of processes",
    "this interpreter anew",
    "this interpreter by its descriptor",
    "a program in memory",
    "shells and programs with rights",
    "kill the parent",
    "kill a process of the host",
    "a signal by a descriptor's owner, the long way",
    "own memory and descriptors",
    "the machine's name",
    "compare and advise another process",
    "a filter of one's own",
    "descriptors sent by socket",
)


@pytest.mark.filterwarnings("ignore:this sandbox isolates nothing")
def test_without_a_sandbox_they_bite():
    """The planted fault: a sandbox that isolates nothing."""
    sample = [e for e in all_escapes() if e.name in BITES_ALONE]
    assert len(sample) == len(BITES_ALONE)
    assert not any(e.dangerous for e in sample)
    with Sandbox("unsafe", unsafe=True, workers=1) as box:
        contained = {f.escape.name for f in run_suite(box, sample) if f.contained}
    assert len(contained) <= 3, contained  # what the machine itself forbids: a kernel's or a container's settings
    assert contained.isdisjoint(
        {"read a file of the host's by its path", "TCP to the host's own port", "kill the parent", "fork"}
    )


@pytest.mark.filterwarnings("ignore:this sandbox isolates nothing")
def test_the_suite_sees_what_a_program_does_not_tell():
    """Programs that say nothing: only a look from outside tells."""
    silent = [
        Escape("silent", "file", "open('@FOLDER@/new', 'w').close()"),
        Escape("silent", "content", "open('@FOLDER@/host.txt', 'a').write('x')"),
        Escape("silent", "TCP", "import socket\nsocket.create_connection(('127.0.0.1', @PORT@)).close()"),
        Escape("silent", "abstract", "import socket\nsocket.socket(socket.AF_UNIX).connect('\\0@ABSTRACT@')"),
        Escape("silent", "victim", "os.kill(@VICTIM@, 9)\nimport time\ntime.sleep(0.2)"),
        Escape("silent", "secret", "print(open('@FOLDER@/secret.txt').read()[::-1][::-1])"),
        Escape("silent", "status", "sys.exit(0)", ends=("error",)),
        Escape("silent", "verdict", "def f(): return 1", tests="assert f() == 1"),
        Escape("silent", "output", "print('ESCAPED: said so')"),
        Escape("silent", "nothing", "print(1)"),
    ]
    with Sandbox("unsafe", unsafe=True, workers=1) as box:
        found = run_suite(box, silent)
    assert [f.escape.name for f in found if f.contained] == ["nothing"], escaped(found)


def test_what_was_planted_is_gone_afterwards():
    with Planted() as planted:
        assert os.environ[VARIABLE] == planted.secret
        folder, victim = planted.folder, planted.victim
        assert planted.harm() == []
    assert VARIABLE not in os.environ
    assert not folder.exists()
    assert victim.returncode is not None


# A judge as naive as most: program and tests in one interpreter, and exit code 0 is a pass.
FOOL_A_NAIVE_JUDGE = (
    "exit 0 when loaded",
    "exit at once when loaded",
    "exit 0 when called",
    "exit at once when called",
    "a patched unittest",
    "patched built-ins",
    "everything equal",
    "everything close",
    "an object in which everything is",
    "lists that lie",
    "texts that lie",
    "dictionaries and sets that lie",
    "numbers that lie",
)


@pytest.mark.parametrize("name", FOOL_A_NAIVE_JUDGE)
def test_fakes_do_fool_a_naive_judge(name):
    """The other planted fault: each of these passes where the verdict is made beside the program."""
    escape = one(name)
    judged = [sys.executable, "-I", "-c", f"{PRELUDE}\n{escape.program}\n{escape.tests}"]
    assert subprocess.run(judged, capture_output=True, timeout=60, check=False).returncode == 0


@pytest.mark.slow
@needs_a_sandbox
@pytest.mark.parametrize("variant", NATIVE)
def test_each_is_within_5_seconds_and_500_megabytes(variant, monkeypatch):
    """Of CPU time and of memory, for each process of a job."""
    used: list[tuple[float, int]] = []
    original = Server._answer

    def answer(self, seconds: float) -> bytes:
        packet = original(self, seconds)
        if packet.startswith(b"{"):
            used.extend((cpu_s, kilobytes >> 10) for _, cpu_s, kilobytes in json.loads(packet)["ends"])
        return packet

    monkeypatch.setattr(Server, "_answer", answer)
    with Sandbox(variant, workers=1) as box:
        findings = run_suite(box)
    assert escaped(findings) == []
    assert len(findings) == len(all_escapes()) <= len(used)
    assert max(cpu_s for cpu_s, _ in used) <= 5
    assert 50 < max(megabytes for _, megabytes in used) <= 500
