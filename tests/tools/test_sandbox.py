"""The sandbox's own contract: statuses, limits, the talk between a program and its tests, and what it refuses."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from llm_marl_envs.errors import ConfigError, ToolFailed, UnknownName
from llm_marl_envs.tools import sandbox
from llm_marl_envs.tools.sandbox import JobLimits, Sandbox, SandboxUnavailable, variants
from llm_marl_envs.tools.sandbox.inside import seccomp
from llm_marl_envs.tools.sandbox.runtime import _names

WORKING = [name for name, reason in variants().items() if reason is None]
NATIVE = [name for name in WORKING if name != "wasm"]
SOON = JobLimits(cpu_s=0.3, wall_s=30.0, memory_mb=128, output_kb=64)  # for programs that would go on for ever
ENOUGH = JobLimits(cpu_s=20.0, memory_mb=128, output_kb=64)  # for all others, on any machine

pytestmark = pytest.mark.skipif(not WORKING, reason=f"no sandbox works here: {variants()}")


@pytest.fixture(scope="module", params=WORKING)
def box(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with Sandbox(request.param, workers=1) as box:
        yield box


@pytest.fixture(scope="module")
def native() -> Iterator[Sandbox]:
    if not NATIVE:
        pytest.skip(f"no fork server works here: {variants()}")
    with Sandbox(NATIVE[0], workers=2) as box:
        yield box


@pytest.mark.parametrize(
    ("program", "stdin", "status", "stdout"),
    [
        ("print(6 * 7)", "", "ok", "42\n"),
        ("print(int(input()) * 2)", "21\n", "ok", "42\n"),
        ("import sys; print(sys.stdin.read().upper(), end='')", "é中\n", "ok", "É中\n"),
        ("if __name__ == '__main__': print(1)", "", "ok", "1\n"),
        ("print(sum(map(int, open('/dev/stdin'))))", "1\n2\n", "ok", "3\n"),
        ("from pathlib import Path; print(Path('/proc/self/fd/0').read_text())", "a", "ok", "a\n"),
        ("import sys; sys.stdin = open(0); print(input())", "a\n", "ok", "a\n"),
        ("print('a', file=open('/dev/stdout', 'w'), flush=True)", "", "ok", "a\n"),
        ("print(1); exit()", "", "ok", "1\n"),
        ("import sys; sys.exit(3)", "", "error", ""),
        ("print(1)\n1 / 0", "", "error", "1\n"),
        ("def f(:", "", "error", ""),
        ("a\0b", "", "error", ""),
        ("\ud800", "", "error", ""),
        ("print('\\ud800')", "", "ok", "\\ud800\n"),
        ("while True: pass", "", "cpu", ""),
        ("import atexit; atexit.register(print, 'last'); print('first')", "", "ok", "first\nlast\n"),
    ],
)
def test_programs(box, program, stdin, status, stdout):
    run = box.run(program, stdin, SOON if status == "cpu" else ENOUGH)
    assert (run.status, run.stdout) == (status, stdout), run


def test_an_error_says_where_and_nothing_of_ours(box):
    run = box.run("def f():\n    return 1 / 0\nf()")
    assert 'File "program.py", line 2, in f\nZeroDivisionError: division by zero' in run.stderr
    assert "roles.py" not in run.stderr
    assert "job.py" not in run.stderr


def test_limits(box):
    assert box.run("print('x' * 100_000)", limits=ENOUGH).status == "output"
    assert box.run("import time; time.sleep(60)", limits=JobLimits(wall_s=0.5)).status == "wall"
    memory = "x = []\nwhile True: x.append(bytearray(1 << 20))"
    assert box.run(memory, limits=ENOUGH).status == "memory"


def test_a_program_that_only_waits_is_stopped_soon(native):
    """Not after ten times its CPU budget; a short wait is allowed."""
    began, limits = time.monotonic(), replace(ENOUGH, cpu_s=0.3)
    assert (
        native.run("import threading; lock = threading.Lock(); lock.acquire(); lock.acquire()", limits=limits).status
        == "wall"
    )
    assert time.monotonic() - began < limits.wall, "this is the limit by the clock"
    assert native.run("import time; time.sleep(1); print(1)", limits=limits).status == "ok"


def test_a_program_within_its_limit_is_no_less_for_a_busy_machine(native):
    """CPU time decides: with four of them on two cores each takes twice as long by the wall."""
    limits = replace(SOON, cpu_s=1.0)
    program = "import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass\nprint('done')"
    runs = []
    threads = [threading.Thread(target=lambda: runs.append(native.run(program, limits=limits))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(run.status, run.stdout) for run in runs] == [("ok", "done\n")] * 6
    assert all(0.4 < run.cpu_s < 1.0 for run in runs)


@pytest.mark.parametrize(
    ("program", "tests"),
    [
        ("def f(x): return x + 1", "assert f(1) == 2"),
        ("def f(*a, **k): return a, k", "assert f(1, [2], b={3}) == ((1, [2]), {'b': {3}})"),
        ("def f(n): yield from range(n)", "assert list(f(2500)) == list(range(2500)); assert next(f(1)) == 0"),
        ("def f(g): return g(2) + 1", "assert f(lambda x: x * 2) == 5"),
        ("def f(xs, t): return [x for x in xs if isinstance(x, t)]", "assert f([1, 'a'], str) == ['a']"),
        ("def f(): raise ValueError('bad')", "try: f()\nexcept ValueError as e: assert str(e) == 'bad'\nelse: raise"),
        (
            "class Node:\n    def __init__(self, v): self.v, self.left = v, None\ndef total(n): return n.v + n.left.v",
            "root = Node(3)\nroot.left = Node(4)\nassert total(root) == 7 and root.left.v == 4",
        ),
        ("LIMIT = 5\ndef f(): return LIMIT", "assert f() == LIMIT == 5"),
        ("if __name__ == '__main__': raise SystemExit\ndef f(): return 1", "assert f() == 1"),
        ("def f(x): return x", "import math\nassert f(math.inf) == math.inf and math.isnan(f(math.nan))"),
        ("def f(x): return x", "assert f(10**50) == 10**50 and f(-0.1) == -0.1 and f(b'a\\0') == b'a\\0'"),
        (
            "def f(x): return x",
            "from collections import Counter, OrderedDict, deque\nfrom decimal import Decimal\nfrom fractions import Fraction\n"
            "import datetime as d\nfor x in (Counter('aab'), OrderedDict(a=1), deque([1]), Decimal('1.10'), Fraction(1, 3),\n"
            "  d.date(2020, 2, 29), d.datetime(2020, 2, 29, 1), d.timedelta(1), range(3), 1j, frozenset([1]), bytearray(b'a'),\n"
            "  {(1, 2): [None, True]}, '\\ud800'):\n    assert f(x) == x and type(f(x)) is type(x), x",
        ),
        ("import collections\nP = collections.namedtuple('P', 'x y')\ndef f(): return P(1, 2)", "assert f() == (1, 2)"),
    ],
)
def test_what_passes(box, program, tests):
    run = box.examine(program, tests, ENOUGH)
    assert run.status == "ok", run


@pytest.mark.parametrize(
    ("program", "tests"),
    [
        ("def f(x): return x", "assert f(1) == 2"),
        ("def g(x): return x", "assert f(1) == 1"),
        ("import os; os._exit(0)", "assert f(1) == 2"),
        ("raise SystemExit(0)", "assert f(1) == 2"),
        ("def f(x): raise SystemExit(0)", "f(1)"),
        ("def f(x): raise StopIteration", "assert all(map(f, [1])) and f(1)"),
        ("class L:\n    def __eq__(self, o): return True\ndef f(x): return L()", "assert f(1) == 2"),
        ("class L:\n    def __contains__(self, o): return True\ndef f(): return L()", "assert 7 in f()"),
        (
            "class L(int):\n    def __eq__(self, o): return True\n    __hash__ = None\ndef f(): return L(1)",
            "assert f() == 2",
        ),
        ("abs = lambda x: 0\ndef f(): return 9", "assert abs(f() - 1) < 1e-6"),
        ("class math:\n    isclose = staticmethod(lambda *a: True)\ndef f(): return 9", "assert math.isclose(f(), 1)"),
        ("def f():\n    f()", "f()"),
        ("def f():\n    x = []\n    x.append(x)\n    return x", "f()"),
        ("import os\ndef f(): os.write(3, b'\\0\\0\\0\\5hello')", "assert f() is None"),
    ],
)
def test_what_fails(native, program, tests):
    run = native.examine(program, tests, ENOUGH)
    assert run.status == "failed", run


def test_builtin_names_are_the_tests_own_unless_taken(box):
    program = "def sum(a, b): return a * b"
    assert box.examine(program, "assert sum([1, 2]) == 3").status == "ok"
    assert box.examine(program, "assert sum(2, 5) == 10", taken=["sum"]).status == "ok"
    assert box.examine("", "assert sum([1, 2]) == 3", taken=["sum"]).status == "failed", "an empty program has none"


def test_who_uses_too_much_in_a_talk(box):
    assert box.examine("while True: pass", "f()", SOON).status == "cpu"
    assert box.examine("def f():\n    while True: pass", "f()", SOON).status == "cpu"
    assert box.examine("def f(): return 1", "while True: f()", SOON).status == "cpu"


def test_files_of_ones_own_can_be_locked_sent_and_copied(native):
    """What the filter answers without doing it, or refuses, has no effect on ordinary programs."""
    program = """
import fcntl, shutil, socket, sqlite3
with sqlite3.connect("a.db") as base:
    base.execute("create table t (x)")
    base.executemany("insert into t values (?)", [(1,), (2,)])
print(sqlite3.connect("a.db").execute("select sum(x) from t").fetchone()[0])
with open("a.txt", "w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    fcntl.lockf(file, fcntl.LOCK_EX)
    file.write("text")
print(open(shutil.copyfile("a.txt", "b.txt")).read(), open(shutil.copy("a.txt", "c.txt")).read())
left, right = socket.socketpair()
left.sendall(b"bytes")
print(right.recv(5, socket.MSG_WAITALL))
import asyncio, ctypes, decimal
from concurrent.futures import ThreadPoolExecutor
print(list(ThreadPoolExecutor(4).map(abs, [-1, -2])), asyncio.run(asyncio.sleep(0, 3)), decimal.Decimal(2).sqrt() > 1)
"""
    run = native.run(program, limits=ENOUGH)
    assert (run.status, run.stdout) == ("ok", "3\ntext text\nb'bytes'\n[1, 2] 3 True\n"), run


def test_jobs_share_nothing(box):
    box.run("import math; math.pi = 3; import builtins; builtins.print = None; open('left', 'w').write('x')")
    run = box.run("import math, os; print(math.pi, os.path.exists('left'))")
    assert run.stdout == "3.141592653589793 False\n"


def test_sets_have_the_same_order_in_every_run(box):
    program = "print(set('the order of a set of texts'))"
    with Sandbox(box.variant, workers=1) as other:
        assert box.run(program).stdout == other.run(program).stdout


def test_numpy_where_it_is_asked_for():
    if not NATIVE:
        pytest.skip("the WebAssembly sandbox has no numpy")
    with Sandbox(NATIVE[0], numpy=True, workers=1) as box:
        program = "import numpy as np\ndef f(n): return np.arange(n), np.float32(n), np.eye(2) > 0"
        tests = (
            "import numpy as np\na, b, c = f(3)\nassert (a == [0, 1, 2]).all() and a.dtype == np.arange(1).dtype\n"
            "assert type(b) is np.float32 and c.shape == (2, 2) and c.dtype == bool"
        )
        assert box.examine(program, tests).status == "ok"
    with Sandbox(NATIVE[0], workers=1) as box:
        assert box.run("import numpy").status == "error"


def test_results_are_right_from_many_threads(native):
    found: dict[int, str] = {}

    def play(first: int) -> None:
        for i in range(first, first + 10):
            found[i] = native.run(f"print({i} ** 2)").stdout

    threads = [threading.Thread(target=play, args=(10 * i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {i: f"{i * i}\n" for i in range(80)}


def test_a_fork_has_a_sandbox_of_its_own():
    ours = sandbox.shared()
    assert ours.run("print(1)").stdout == "1\n"
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads: that is the point
        child = os.fork()
    if child == 0:
        try:
            box = sandbox.shared()
            os.write(writing, b"right" if box is not ours and box.run("print(2)").stdout == "2\n" else b"wrong")
            box.close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 10) == b"right"
    os.close(reading)
    os.close(writing)
    assert ours.run("print(3)").stdout == "3\n"


def test_what_is_refused(monkeypatch):
    with pytest.raises(ConfigError, match="say unsafe=True"):
        Sandbox("unsafe")
    with pytest.raises(UnknownName, match="no sandbox 'docker'"):
        Sandbox("docker")
    with pytest.raises(ValueError, match="limits are above 0"):
        JobLimits(cpu_s=0)
    with pytest.warns(UserWarning, match="isolates nothing"):
        box = Sandbox("unsafe", unsafe=True, workers=1)
    with box:
        assert box.run("print(1)").stdout == "1\n"
        with pytest.raises(ConfigError, match="work folder of 16 MB"):
            box.run("", limits=JobLimits(files_mb=17))
    with pytest.raises(ToolFailed, match="closed"):
        box.run("print(1)")
    monkeypatch.setattr(sandbox, "variants", lambda: {"bubblewrap": "bwrap is not there: install bubblewrap"})
    with pytest.raises(SandboxUnavailable, match=r"no sandbox works here.*install bubblewrap.*llm-marl doctor"):
        Sandbox()


def test_a_sandbox_without_bubblewrap_says_what_to_install(monkeypatch):
    from llm_marl_envs.tools.sandbox import bubblewrap, wasm

    monkeypatch.setenv("PATH", "/nowhere")
    assert "apt-get install bubblewrap" in str(bubblewrap.missing())
    monkeypatch.setenv("XDG_CACHE_HOME", "/nowhere")
    assert "/nowhere/llm-marl-envs/python.wasm" in str(wasm.missing())


@pytest.mark.skipif(not seccomp.supported(), reason="another machine")
def test_the_filter_is_short_enough_for_its_jumps():
    assert len(seccomp.program()) % 8 == 0
    assert len(seccomp.program()) // 8 < 4096


def test_libraries_are_there_under_all_of_their_names(tmp_path):
    """Links that begin with other letters and lead astray, too: before glibc 2.34, libc.so.6 led to libc-2.31.so."""
    files = tmp_path / "files"
    files.mkdir()
    for name in ("libc-2.31.so", "libz.so.1.2.13", "libother.so.1"):
        (files / name).touch()
    for name, target in (("libc.so.6", "libc-2.31.so"), ("libz.so.1", "libz.so.1.2.13"), ("libgone.so", "gone")):
        (files / name).symlink_to(target)
    libraries = [str(files / name) for name in ("libc-2.31.so", "libz.so.1.2.13")]
    found = [(Path(a).name, Path(b).name) for a, b in _names(libraries) if Path(b).is_relative_to(tmp_path)]
    assert found == [
        ("libc-2.31.so", "libc-2.31.so"),
        ("libc-2.31.so", "libc.so.6"),
        ("libz.so.1.2.13", "libz.so.1"),
        ("libz.so.1.2.13", "libz.so.1.2.13"),
    ]
