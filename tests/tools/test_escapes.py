"""Hostile programs are contained, as root and as an ordinary user; and they do bite where nothing contains them."""

from __future__ import annotations

import fcntl
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
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from cases import sizes

import llm_marl_envs
from llm_marl_envs.tools.sandbox import JobLimits, Sandbox, runtime, variants, wasm
from llm_marl_envs.tools.sandbox.escapes import PRELUDE, Escape, all_escapes, suite
from llm_marl_envs.tools.sandbox.escapes.suite import VARIABLE, Finding, Planted, run_suite
from llm_marl_envs.tools.sandbox.inside import seccomp
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
    for module in ("errors.py", "files.py"):
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


@pytest.mark.skipif(not NATIVE or not seccomp.supported(), reason="no sandbox with a filter works here")
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
@pytest.mark.skipif(not NATIVE, reason=f"no fork server works here: {variants()}")
def test_nobody_waits_for_a_lock_of_a_program(weakened):
    assert not kept_waiting()
    weakened(*rule("flock"))
    assert kept_waiting(), "the planted fault: locks are made"


def kernel_memory() -> int:
    """What the kernel holds for itself and can not give back, MB: objects, page tables, stacks of threads."""
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return sum(int(lines[name].split()[0]) for name in ("SUnreclaim", "PageTables", "KernelStack")) >> 10


@pytest.mark.slow
@pytest.mark.skipif(not NATIVE, reason=f"no fork server works here: {variants()}")
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


HOLE = """
def _run(engine, module, code, folder, part):
    import ctypes, signal
    for name, act in {
        "read": lambda: open("/etc/passwd").read(), "list": lambda: os.listdir("/"), "write": lambda: open("/tmp/x", "w").close(),
        "connect": lambda: socket.socket(), "fork": lambda: os.fork() or os._exit(0), "kill": lambda: os.kill(os.getppid(), 0),
        "become root": lambda: os.setuid(0), "exec": lambda: os.execv("/bin/true", ["true"]),
    }.items():
        try:
            act()
            os.write(1, f"{name}\\n".encode())
        except OSError:
            pass
    return 0
"""


@pytest.mark.slow
@pytest.mark.skipif("wasm" not in HERE, reason=f"no WebAssembly here: {variants()}")
def test_a_hole_in_webassembly_leads_nowhere(tmp_path, monkeypatch):
    """The planted hole: what runs in the job is not the interpreter but attempts on the host."""
    text = wasm.SERVER.read_text()
    shutil.copytree(runtime.INSIDE, tmp_path / "inside")
    monkeypatch.setattr(wasm, "SERVER", tmp_path / "wasm_server.py")

    def gets_through(text: str) -> list[str]:
        before, end = text.rsplit("\n\nmain()", 1)
        wasm.SERVER.write_text(f"{before}\n{HOLE}\nmain(){end}")
        with Sandbox("wasm", workers=1) as box:
            return box.run("").stdout.split("\n")[:-1]

    assert gets_through(text) == []
    assert "        load_filter()\n" in text
    assert "read" in gets_through(
        text.replace("        load_filter()\n", "").replace("if landlock.version():", "if False:")
    )


@pytest.mark.slow
@pytest.mark.skipif("wasm" not in HERE, reason=f"no WebAssembly here: {variants()}")
def test_webassembly_starts_on_a_busy_machine_although_nothing_is_compiled(tmp_path, monkeypatch):
    (tmp_path / "llm-marl-envs").mkdir()
    shutil.copy(Path(wasm.interpreter()), tmp_path / "llm-marl-envs")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        for _ in range(2):  # compiled, then not
            with Sandbox("wasm", workers=1) as box:
                began = time.monotonic()
                assert box.run("print(6 * 7)").stdout == "42\n"
        assert time.monotonic() - began < 15
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert len(list((tmp_path / "llm-marl-envs").glob("*.cwasm"))) == 1
