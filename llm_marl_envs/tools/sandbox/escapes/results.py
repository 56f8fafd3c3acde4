"""Code in results: objects that would run something where they are unpacked, compared or printed."""

from __future__ import annotations

from llm_marl_envs.tools.sandbox.escapes import SMALL, Escape

_TESTS = """
got = answer()
try:
    repr(got), str(got), bool(got), hash(got) if not isinstance(got, (list, dict, set)) else 0
except Exception:
    pass
assert type(got) is int and got == 41
"""


def _result(name: str, program: str, tests: str = _TESTS, slow: bool = False) -> Escape:
    return Escape("code in results", name, program, tests=tests, limits=SMALL, slow=slow)


ESCAPES = (
    _result("__reduce__ that runs a text", """
class Bomb:
    def __reduce__(self):
        return exec, ("print('ESCAPED: a result was unpickled')",)
    __reduce_ex__ = lambda self, protocol: self.__reduce__()
def answer(): return Bomb()
"""),
    _result("__reduce__ inside plain data", """
class Bomb:
    def __reduce__(self):
        return exec, ("print('ESCAPED: a result was unpickled')",)
def answer(): return {"x": [Bomb(), (Bomb(),)], 1: {Bomb()}}
"""),
    _result("pickled bytes and texts of code", """
import pickle
class Bomb:
    def __reduce__(self):
        return exec, ("print('ESCAPED: a result was unpickled')",)
def answer(): return [pickle.dumps(Bomb()), "__import__('os')._exit(0)", "!!python/object/apply:os._exit [0]"]
"""),
    _result("__getstate__, __deepcopy__ and their like", """
class Bomb(list):
    def __getstate__(self): print("ESCAPED: state"); return {}
    def __setstate__(self, state): print("ESCAPED: state")
    def __deepcopy__(self, memo): return 41
    def __copy__(self): return 41
def answer(): return Bomb([1])
""", tests="import copy\nassert copy.deepcopy(answer()) == 41 or copy.copy(answer()) == 41"),
    _result("a class that calls itself int", """
class Number:
    __class__ = int
    def __eq__(self, other): return True
    def __int__(self): return 41
    __index__ = __int__
    def __instancecheck__(cls, x): return True
Number.__name__ = Number.__qualname__ = "int"
Number.__module__ = "builtins"
def answer(): return Number()
"""),
    _result("an int that is more than an int", """
class Number(int):
    def __eq__(self, other): return True
    def __hash__(self): return 41
    def __repr__(self): return "41"
    def __add__(self, other): return 41
    def bit_length(self): return 41
    to_bytes = __int__ = __index__ = lambda self, *a, **k: 41
def answer(): return Number(0)
"""),
    _result("a metaclass that answers for its class", """
class Meta(type):
    def __eq__(cls, other): return True
    def __instancecheck__(cls, other): return True
    def __hash__(cls): return hash(int)
class Number(metaclass=Meta):
    pass
def answer(): return Number()
"""),
    _result("an enumeration, a named tuple, a data class", """
import enum, collections, dataclasses
class E(enum.IntEnum):
    A = 0
    def __eq__(self, other): return True
class T(collections.namedtuple("T", "a b")):
    def __eq__(self, other): return True
@dataclasses.dataclass
class D:
    x: int = 0
    def __eq__(self, other): return True
def answer(): return [E.A, T(0, 0), D()]
""", tests="e, t, d = answer()\nassert e == 41 or t == (41, 41) or d == 41"),
    _result("an attribute that runs for ever", """
class Slow:
    def __getattribute__(self, name):
        while True: pass
def answer(): return Slow()
""", tests="assert answer().value == 41", slow=True),
    _result("texts in place of texts", """
class Text:
    def __str__(self): raise SystemExit(0)
    __repr__ = __str__
    def __format__(self, spec): os._exit(0)
def answer(): return Text()
""", tests="assert f'{answer()}' == '41'"),
    _result("a result that changes while it is packed", """
class Growing(list):
    def __iter__(self):
        while True:
            yield self
    def __len__(self): return 10**12
def answer():
    x = Growing([0]); x.append(x)
    return x
"""),
    _result("generators, modules, code and types", """
import types
def answer(): return [(i for i in [0]), sys, answer.__code__, int, print, sys._getframe(), NotImplemented, ..., memoryview(b"x"), range(10**18), slice(0)]
""", tests="assert answer()[-1] == 41"),
    _result("dunder names as attributes", """
class Open:
    def __getattr__(self, name): return 41
def answer(): return Open()
""", tests="got = answer()\nassert got.__class__ is int or got.__dict__ == 41 or got.__eq__(41) is True"),
    _result("hostile exceptions", """
class Bad(Exception):
    def __str__(self): raise SystemExit(0)
    __repr__ = __str__
    def __reduce__(self): return exec, ("print('ESCAPED: an exception was unpickled')",)
Bad.__name__ = "SystemExit"
def answer(): raise Bad
"""),
)  # fmt: skip
