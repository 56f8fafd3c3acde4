"""Tricks with imports, recursion, large numbers, patterns, threads, signals and links.

All but one of a kind are for the long runs only.
"""

from __future__ import annotations

from llm_marl_envs.tools.sandbox.escapes import ANY, ENDS, STOPPED, TIGHT, Escape, fooling, running

IMPORTS = (
    fooling("imports", "modules that the tests import, replaced", """
import types
class Loose(types.ModuleType):
    def __getattr__(self, name):
        return lambda *args, **named: True
for name in ("math", "json", "re", "collections", "numpy", "unittest"):
    sys.modules[name] = Loose(name)
def answer(x):
    return 0
""", "import math, json\nassert math.isclose(answer(20), 41)", slow=False),
    fooling("imports", "a finder for everything", """
import importlib.abc, importlib.machinery, types
class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        return importlib.machinery.ModuleSpec(name, self)
    def create_module(self, spec):
        return types.ModuleType(spec.name)
    def exec_module(self, module):
        module.isclose = lambda *args, **named: True
sys.meta_path.insert(0, Finder())
sys.path_importer_cache.clear()
def answer(x):
    return 0
""", "import math\nassert math.isclose(answer(20), 41)"),
    fooling("imports", "an import that is another function", """
import builtins
builtins.__import__ = lambda *args: type("M", (), {"isclose": staticmethod(lambda *a: True)})
builtins.__build_class__ = builtins.isinstance = builtins.all = lambda *a: True
def answer(x):
    return 0
""", "import math\nassert math.isclose(answer(20), 41)"),
    fooling("imports", "numbers changed in place", """
import ctypes
for number in range(-5, 257):  # the small ones exist once: make all of them 41
    ctypes.memmove(id(number) + 24, id(41) + 24, 4)
def answer(x):
    return 12
"""),
    Escape("imports", "files for whoever imports next", "import json, random, string\nprint(json.dumps([1]), string.digits)", before="""
for name in ("json.py", "random.py", "string.py", "sitecustomize.py", "usercustomize.py", "wire.py", "x.pth", "pyvenv.cfg"):
    with open(name, "w") as file:
        file.write("print('ESCAPED: imported')")
os.makedirs("__pycache__", exist_ok=True)
""", ends=("ok",), limits=TIGHT, slow=True),
    running("imports", "no module left", "sys.modules.clear()\nimport gc\ngc.collect()\nraise SystemExit(0)"),
    running("imports", "a library that unpacks to gigabytes", """
import io, zipfile
with zipfile.ZipFile("library.zip", "w", zipfile.ZIP_DEFLATED) as file:
    with file.open("big.py", "w") as entry:
        for _ in range(256):
            entry.write(b"#" * (1 << 20))
sys.path.insert(0, "library.zip")
import big
escaped("256 MB of source")
""", ENDS),
    running("imports", "an import that never ends", """
import importlib.abc
class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        __import__(name + "x")
sys.meta_path.insert(0, Finder())
import nothing
""", ENDS),
)  # fmt: skip

RECURSION = (
    running("recursion", "JSON a million deep", """
import json
for text in ("[" * 1_000_000, '{"a":' * 500_000, "[" * 1_000_000 + "]" * 1_000_000):
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        pass
""", slow=False),
    running("recursion", "a pickle a million deep", """
import pickle
for text in (b"(" * 1_000_000 + b"t." , b"]" + b"]a" * 1_000_000 + b".", b"(" * 300_000 + b"l" * 300_000 + b"."):
    try:
        hash(repr(pickle.loads(text)))
    except Exception:
        pass
"""),
    running("recursion", "a copy of something deep", """
import copy
x = []
for _ in range(200_000):
    x = [x]
sys.setrecursionlimit(1 << 30)
copy.deepcopy(x)
"""),
    running("recursion", "objects that come back when they go", """
class Phoenix:
    def __del__(self):
        Phoenix()
        globals().setdefault("kept", []).append(self)
Phoenix()
del Phoenix
""", ANY),
    running("recursion", "a hundred thousand causes", """
bad = ValueError("first")
for i in range(100_000):
    new = ValueError(str(i))
    new.__cause__, new.__context__, bad = bad, new, new
raise bad
""", ("error", "memory", "signal", *STOPPED)),
    running("recursion", "a group of groups of errors", """
bad = ValueError("first")
for i in range(20_000):
    bad = ExceptionGroup(str(i), [bad])
raise bad
""", ("error", "memory", "signal", *STOPPED)),
    running("recursion", "generators in generators", """
def chain(n):
    inner = iter([1])
    for _ in range(n):
        def outer(inner=inner):
            yield from inner
        inner = outer()
    return inner
sys.setrecursionlimit(1 << 30)
list(chain(200_000))
"""),
    fooling("recursion", "an answer that never comes to an end", """
def answer(x):
    found = {}
    found["again"] = [found]
    return found
""", "assert answer(20) == answer(20)"),
)  # fmt: skip

NUMBERS = (
    running("numbers and patterns", "digits without end", """
sys.set_int_max_str_digits(0)
print(len(str(3 ** 30_000_000)))
escaped("fourteen million digits")
""", ENDS),
    running("numbers and patterns", "lengths beyond all memory", """
for act in (lambda: "x" * (1 << 62), lambda: [0] * (1 << 60), lambda: "x".center(1 << 50), lambda: f"{1:{1 << 40}}", lambda: "%*d" % (1 << 30, 1),
            lambda: bytes(1 << 50), lambda: range(1 << 100)[1 << 99] and list(range(1 << 60)), lambda: bytearray(b"x").ljust(1 << 45)):
    try:
        act()
    except (MemoryError, OverflowError, ValueError):
        continue
    escaped("it is there")
""", slow=False),
    running("numbers and patterns", "decimals of any precision", """
import decimal
decimal.setcontext(decimal.Context(prec=decimal.MAX_PREC, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN))
print(decimal.Decimal(2).sqrt())
""", ENDS),
    running("numbers and patterns", "fractions that grow", """
from fractions import Fraction
x = Fraction(1, 3)
while True:
    x = x * x + Fraction(1, 7)
""", ENDS),
    running("numbers and patterns", "keys that all collide", """
step = sys.hash_info.modulus
found = {i * step: i for i in range(1, 200_000)}
escaped("200,000 collisions")
""", STOPPED),
    running("numbers and patterns", "patterns that repeat repetitions", """
import re
for pattern in ("(?:(?:x{1000}){1000}){1000}", "(" * 90 + "a" + ")*" * 90 + "b", "(?:a?){60}a{60}", "(.*)*" * 20 + "$", "(x+x+)+y"):
    try:
        re.compile(pattern).match("a" * 60 + "x" * 60)
    except (re.error, OverflowError, MemoryError, RecursionError):
        pass
""", ("ok", *ENDS)),
    running("numbers and patterns", "small archives of large things", """
import bz2, gzip, lzma
kept = []
for pack in (bz2, lzma, gzip):
    bomb = pack.compress(bytes(8 << 20))
    for _ in range(32):
        kept.append(pack.decompress(bomb))
escaped("768 MB")
""", ("memory", "error", *STOPPED)),
    running("numbers and patterns", "an order that is none", """
import random
class Never:
    def __lt__(self, other):
        return random.random() < 0.5
    __gt__ = __le__ = __ge__ = __lt__
for _ in range(10_000):
    sorted(Never() for _ in range(1000))
""", STOPPED),
)  # fmt: skip

THREADS = (
    running("threads", "a thread that is waited for without end", "import threading\nthreading.Thread(target=threading.Event().wait).start()", ("wall",)),
    running("threads", "threads that write while all ends", """
import threading
def write():
    while True:
        print("x" * 100, flush=True)
for _ in range(20):
    threading.Thread(target=write, daemon=True).start()
""", ("ok", "output", "error", "signal", *STOPPED)),
    running("threads", "turns of a nanosecond", """
import threading
sys.setswitchinterval(1e-9)
def turn():
    while True:
        pass
for _ in range(40):
    threading.Thread(target=turn).start()
""", STOPPED),
    running("threads", "threads begun at the end", """
import atexit, threading
def again():
    threading.Thread(target=again).start()
atexit.register(again)
again()
""", ANY),
    fooling("threads", "an end while the tests wait", """
import threading
threading.Timer(0.05, os._exit, (0,)).start()
def answer(x):
    import time
    time.sleep(0.2)
""", slow=False),
    running("threads", "a deadlock of imports and locks", """
import threading, _thread
lock = threading.RLock()
def one():
    lock.acquire()
    threading.Event().wait()
_thread.start_new_thread(one, ())
import time
time.sleep(0.1)
lock.acquire()
""", ("wall",)),
)  # fmt: skip

SIGNALS = (
    running("signals", "a storm of alarms", """
import signal
for kind, number in ((signal.ITIMER_REAL, signal.SIGALRM), (signal.ITIMER_VIRTUAL, signal.SIGVTALRM), (signal.ITIMER_PROF, signal.SIGPROF)):
    signal.signal(number, lambda *_: None)
    signal.setitimer(kind, 1e-6, 1e-6)
while True:
    pass
""", STOPPED),
    fooling("signals", "a program that stops itself", """
import ctypes, struct
def answer(x):
    libc, timer = ctypes.CDLL(None), ctypes.c_int()
    event = struct.pack("qii", 0, 19, 0) + bytes(48)  # SIGSTOP by a timer, as kill is closed
    arm = os.uname().machine == "aarch64"
    libc.syscall(ctypes.c_long(107 if arm else 222), 1, event, ctypes.byref(timer))
    libc.syscall(ctypes.c_long(110 if arm else 223), timer.value, 0, struct.pack("qqqq", 0, 0, 0, 1), None)
    import time
    time.sleep(100)
"""),
    fooling("signals", "ends by faulthandler and abort", """
import faulthandler
faulthandler.dump_traceback_later(0.05, exit=True, file=open("log", "w"))
def answer(x):
    import time
    time.sleep(0.3)
"""),
    running("signals", "an abort in the middle of a write", """
import ctypes
os.write(1, b"x" * 1000)
ctypes.CDLL(None).abort()
""", ("signal", "error")),
)  # fmt: skip

LINKS = (
    running("links", "links in circles", """
os.symlink("a", "b"), os.symlink("b", "a"), os.symlink(".", "self")
attempt("followed a circle", lambda: open("a").close())
attempt("a long way through oneself", lambda: open("self/" * 45 + "nothing").close())
os.symlink("x" * 4095, "long")
""", ("ok",)),
    running("links", "a link written through", """
for place in ("/sandbox/code/job.py", "/dev/stdout", "/proc/self/mem", "@FOLDER@/host.txt", "../code", "/"):
    try:
        os.symlink(place, "through")
    except OSError:
        continue
    attempt(f"wrote through a link to {place}", lambda: open("through", "w").write("x"))
    attempt(f"made a file behind {place}", lambda: open("through/planted", "w").close())
    os.unlink("through")
""", ("ok",), slow=False),
    running("links", "names that nobody should print", """
for name in ("\\n", "\\x1b[2J", "-rf", "a" * 255, "\\udcff", "..a", " ", "*", "$(reboot)"):
    open(name, "w").close()
    os.mkdir(name + "d") if len(name) < 250 else None
print(len(os.listdir(".")))
""", ("ok",)),
    running("links", "folders that nobody may enter", """
for i in range(50):
    os.mkdir("d"), os.chdir("d")
for i in range(50):
    os.chdir("..")
    os.chmod("d", 0)
""", ("ok", "error")),
    running("links", "pipes with a name", """
attempt("a pipe", os.mkfifo, "pipe")
attempt("a node", os.mknod, "node", 0o600 | 0o010000)
if os.path.exists("pipe"):
    open("pipe").read()
""", ("ok",)),
    running("links", "the work folder swapped for a link", """
for act in (lambda: os.rename("/sandbox/work", "/sandbox/gone"), lambda: os.rmdir("/sandbox/work"), lambda: os.symlink("/", "/sandbox/work"),
            lambda: os.rename(".", "x"), lambda: os.link("/sandbox/code/job.py", "job.py")):
    attempt("moved", act)
""", ("ok",)),
)  # fmt: skip

ESCAPES = (*IMPORTS, *RECURSION, *NUMBERS, *THREADS, *SIGNALS, *LINKS)
