"""Faking the verdict: programs that have not solved anything and want to pass. None computes what the tests ask for."""

from __future__ import annotations

from llm_marl_envs.tools.sandbox.escapes import SHORT, SMALL, Escape, JobLimits

# Expected values are nowhere in the programs.
_TESTS = "assert answer(20) == 41\nassert answer(1) == 3\nassert answer(-4) == -7"


def _fake(name: str, program: str, tests: str = _TESTS, limits: JobLimits = SMALL, slow: bool = False) -> Escape:
    return Escape("faking the verdict", name, program, tests=tests, limits=limits, slow=slow)


# Speak the protocol oneself: a frame is four bytes of length and JSON.
_FRAMES = """
import json
def raw(body):
    data = len(body).to_bytes(4, "big") + body
    while data:
        data = data[os.write(3, data):]
def frame(message):
    raw(json.dumps(message).encode())
"""


def _forge(name: str, program: str, tests: str = _TESTS, slow: bool = False) -> Escape:
    return _fake(f"forged: {name}", _FRAMES + program, tests, SHORT, slow)


ESCAPES = (
    _fake("exit 0 when loaded", "sys.exit(0)"),
    _fake("say that it passed", 'print("passed")\nprint("OK")\nos.write(2, b"Ran 3 tests\\n\\nOK\\n")\ndef answer(x): print("passed")'),
    _fake("exit at once when loaded", "os._exit(0)"),
    _fake("exit 0 when called", "def answer(x):\n    sys.exit(0)"),
    _fake("exit at once when called", "def answer(x):\n    os._exit(0)"),
    _fake("exit 0 from a thread and from the end", """
import atexit, threading
atexit.register(os._exit, 0)
threading.Timer(0.01, os._exit, (0,)).start()
def answer(x):
    import time
    time.sleep(0.05)
    raise SystemExit(0)
"""),
    _fake("exceptions that are no errors", """
def answer(x):
    raise {20: SystemExit(0), 1: GeneratorExit(), -4: KeyboardInterrupt()}[x]
"""),
    _fake("a trace that skips lines", """
def trace(frame, event, argument):
    frame.f_trace_lines = False
    return None
sys.settrace(trace)
sys.setprofile(trace)
import threading
threading.settrace(trace)
for frame in sys._current_frames().values():
    while frame:
        frame.f_trace = lambda *a: os._exit(0)
        frame = frame.f_back
def answer(x): return 0
"""),
    _fake("a patched unittest", """
import unittest
unittest.TestCase.assertEqual = lambda *a, **k: None
unittest.TestCase.run = lambda self, result=None: setattr(result, 'testsRun', 1)
unittest.TestResult.wasSuccessful = lambda self: True
unittest.main = lambda *a, **k: None
def answer(x): return 0
""", tests="""
import unittest
class Checks(unittest.TestCase):
    def test_answer(self):
        self.assertEqual(answer(20), 41)
outcome = unittest.TestLoader().loadTestsFromTestCase(Checks).run(unittest.TestResult())
assert outcome.wasSuccessful() and outcome.testsRun == 1
"""),
    _fake("patched built-ins", """
import builtins, operator, math
class Anything(Exception): pass
builtins.AssertionError = Anything
builtins.__build_class__ = None
builtins.isinstance = builtins.all = builtins.any = lambda *a: True
builtins.abs = lambda x: 0
builtins.len = lambda *a: 3
builtins.__import__ = lambda *a, **k: sys
math.isclose = operator.eq = lambda *a, **k: True
def answer(x): return 0
""", tests="assert all(answer(x) == y for x, y in ((20, 41), (1, 3)))\nassert abs(answer(20) - 41) < 1 and isinstance(answer(1), int)"),
    _fake("names of the tests' own", """
check = assertion = METADATA = candidate = lambda *a, **k: True
def answer(x): return 0
""", tests="def check(candidate):\n    assert candidate(20) == 41\ncheck(answer)"),
    _fake("a hook for every error", """
sys.excepthook = sys.unraisablehook = lambda *a: os._exit(0)
import signal, faulthandler
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGPIPE):
    signal.signal(number, lambda *a: os._exit(0))
def answer(x): return 0
"""),
    _fake("everything equal", """
class Equal:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 41
    def __bool__(self): return True
    def __getattr__(self, name): return Equal()
    def __call__(self, *a): return Equal()
    def __sub__(self, other): return 0
    __rsub__ = __add__ = __radd__ = __sub__
    def __abs__(self): return 0
    def __lt__(self, other): return True
    __le__ = __gt__ = __ge__ = __lt__
    def __float__(self): return 41.0
    __index__ = __int__ = lambda self: 41
    def __len__(self): return 1
    def __iter__(self): return iter([self])
    def __getitem__(self, i): return self
def answer(x): return Equal()
"""),
    _fake("everything close", """
class Close(float):
    def __sub__(self, other): return 0.0
    __rsub__ = __abs__ = lambda self, *a: 0.0
    def __eq__(self, other): return True
    def __lt__(self, other): return True
def answer(x): return Close(1)
""", tests="assert abs(answer(20) - 41.0) < 1e-6"),
    _fake("an object in which everything is", """
class All:
    def __contains__(self, other): return True
def answer(x): return All()
""", tests="assert 41 in answer(20)"),
    _fake("lists that lie", """
class Liar(list):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __getitem__(self, i): return i
    def __len__(self): return 3
def answer(x): return Liar()
""", tests="assert answer(20) == [41, 42, 43]\nassert len(answer(20)) == 3"),
    _fake("texts that lie", """
class Liar(str):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 0
    def strip(self, *a): return self
    lower = upper = strip
def answer(x): return Liar("0")
""", tests="assert answer(20).strip() == '41'"),
    _fake("dictionaries and sets that lie", """
class D(dict):
    def __eq__(self, other): return True
    def __missing__(self, key): return 41
    def get(self, *a): return 41
    def items(self): return self
class S(set):
    def __eq__(self, other): return True
    def __contains__(self, other): return True
    def issuperset(self, other): return True
def answer(x): return D() if x == 20 else S()
""", tests="assert answer(20).get('x') == 41 or answer(20)['x'] == 41 or 41 in answer(1)"),
    _fake("numbers that lie", """
import decimal, fractions, enum
class I(int):
    def __eq__(self, other): return True
    def __rsub__(self, other): return 0
    __hash__ = None
class F(fractions.Fraction):
    def __eq__(self, other): return True
    def __getattribute__(self, name): return 41 if name in ("numerator", "_numerator") else object.__getattribute__(self, name)
class C(complex):
    def __eq__(self, other): return True
class D(decimal.Decimal):
    def __eq__(self, other): return True
    def __str__(self): return "0"
def answer(x): return {20: I(0), 1: F(5, 7), -4: C(0), 5: D(0)}[x]
""", tests="assert any(answer(x) == y for x, y in ((20, 41), (1, 3), (-4, -7), (5, 11)))"),
    _fake("not a number", "def answer(x): return float('nan')", tests="assert answer(20) == 41 or answer(20) >= 41 or 41 <= answer(20) or answer(20) == answer(20)"),
    _forge("right answers to questions not asked", """
frame(["loaded", None])
for i in range(200):
    frame(["value", {"k": "ref", "v": i}])
    frame(["value", True])
def answer(x): return 0
"""),
    _forge("no frame at all", "os.write(3, b'passed\\n' * 1000)\ndef answer(x): return 0"),
    _forge("a frame of four gigabytes", "os.write(3, b'\\xff\\xff\\xff\\xff')\nwhile True:\n    os.write(3, b'x' * 65536)"),
    _forge("a frame that never ends", """
import time
os.write(3, (60 << 20).to_bytes(4, "big") + b"[")
while True:
    os.write(3, b" ")
    time.sleep(0.01)
""", slow=True),
    _forge("data nested a million deep", "raw(b'[' * 1_000_000)\ndef answer(x): return 0"),
    _forge("lists nested a hundred thousand deep", """
frame(["loaded", None])
raw(b'["value",' + b'[' * 100_000 + b']' * 100_000 + b']')
def answer(x): return 0
"""),
    _forge("data a little too deep to print", """
def answer(x):
    value = []
    for _ in range(400):
        value = [value]
    return value
"""),
    _forge("kinds that do not exist", """
frame(["loaded", None])
for body in ({"k": "object", "v": "x"}, {"k": "pickle", "v": "gASV"}, {"v": 1}, {"k": ["tuple"], "v": 1}, {"k": "__reduce__", "v": ["os.system", "true"]},
             {"k": "set", "v": [[1]]}, {"k": "dict", "v": [[[1], 2]]}, {"k": "int", "v": "__import__('os')"}, {"k": "range", "v": [0, 0, 0]},
             {"k": "array", "v": [1], "dtype": "O", "shape": [1]}, {"k": "ref", "v": "x"}, {"k": "ref", "v": True}, {"k": "ref", "v": [0]}):
    frame(["value", body])
def answer(x): return 0
"""),
    _forge("answers of the wrong shape", """
frame(["loaded", None])
for body in ([], ["value"], ["value", 1, 2], {"value": 1, "x": 2}, "ok", None, True, 1, ["ok", 1], ["passed", None], [None, None], [["value"], 1]):
    frame(body)
def answer(x): return 0
"""),
    _forge("exceptions with hostile names", """
import builtins
names = ["SystemExit", "KeyboardInterrupt", "GeneratorExit", "BaseException", "BaseExceptionGroup", "AssertionError", "__import__", "exec", "exit", "quit",
         "os._exit", "StopIteration", "UnicodeDecodeError", "ExceptionGroup", "Warning", "\\x00", "", "_", "x" * 100_000, ["SystemExit"], {"SystemExit": 0}, None, 0]
frame(["loaded", None])
frame(["value", {"k": "ref", "v": 0}])
while True:
    for name in names:
        frame(["raised", [name, 0]])
    frame(["raised", "SystemExit"]), frame(["raised", None]), frame(["raised", ["SystemExit", [0]]]), frame(["raised", []])
""", tests="""
passed = 0
for x in range(60):
    try:
        answer(x)
    except Exception:
        pass
    else:
        passed += 1
assert passed
"""),
    _forge("refusals where a name is asked for", """
frame(["loaded", None])
for _ in range(20):
    frame(["raised", ["KeyError", "answer"]])
"""),
    _forge("calls of what was never lent, for ever", """
frame(["loaded", None])
while True:
    frame(["lent", [0, [1, 2, 3]]])
""", slow=True),
    _forge("an iterator without an end", """
def answer(x):
    import itertools
    return (i for i in itertools.repeat(0))
""", tests="assert list(answer(20)) == [41]", slow=True),
    _forge("gigabytes in small frames", """
frame(["loaded", None])
frame(["value", {"k": "ref", "v": 0}])
body = b'["value",[' + b'"x",' * (8 << 20) + b'"x"]]'
while True:
    raw(body)
""", tests="kept = [answer(x) for x in range(100)]\nassert kept[0] == 41", slow=True),
    _forge("numbers too long to read", """
frame(["loaded", None])
frame(["value", {"k": "ref", "v": 0}])
raw(b'["value",' + b'9' * (1 << 20) + b']')
raw(b'["value",{"k":"Decimal","v":"1e999999999999999999"}]')
raw(b'["value",{"k":"Fraction","v":["1e400000000"]}]')
"""),
    _forge("a closed pipe", "os.close(3)\ndef answer(x): return 0"),
    _forge("a pipe closed in the middle of an answer", """
frame(["loaded", None])
os.write(3, b"\\x00\\x00\\x00\\x09[\\"va")
os._exit(0)
"""),
    _forge("a forged result on every descriptor", """
for fd in range(3, 64):
    try:
        os.write(fd, b'{"why": "", "ends": [[0, 0.0, 0], [0, 0.0, 0]], "last": false}')
        os.write(fd, b"ok passed ready\\n")
    except OSError:
        pass
def answer(x): return 0
"""),
    _forge("a server that is somebody else", """
import gc, types
for thing in gc.get_objects():
    if type(thing).__name__ in ("Program", "Link"):
        kind = type(thing)
        for name in ("send", "receive", "serve", "_do", "ask"):
            if hasattr(kind, name):
                setattr(kind, name, lambda *a, **k: True)
def answer(x): return 0
"""),
)  # fmt: skip
