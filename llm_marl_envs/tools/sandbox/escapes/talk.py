"""Tricks with the streams, the talk with the tests, and the objects that a program answers with; all but
one of a kind for the long runs only."""

from __future__ import annotations

from llm_marl_envs.tools.sandbox.escapes import STOPPED, fooling, running

# Speak the protocol oneself: a frame is four bytes of length and JSON.
_TALK = """
import json, socket, time
link = socket.socket(fileno=3)
def frame(message):
    data = json.dumps(message).encode()
    link.sendall(len(data).to_bytes(4, "big") + data)
def heard():
    length = int.from_bytes(link.recv(4, socket.MSG_WAITALL), "big")
    return json.loads(link.recv(length, socket.MSG_WAITALL))
"""

STREAMS = (
    running("streams", "standard output mapped into memory", """
import mmap
os.ftruncate(1, 1 << 20)
area = mmap.mmap(1, 1 << 20)
area[:] = b"x" * (1 << 20)
""", ("output", "error", "signal")),
    running("streams", "other files in place of the streams", """
fd = os.open("f", os.O_CREAT | os.O_RDWR)
for number in (0, 1, 2):
    os.dup2(fd, number)
for _ in range(200):
    os.write(1, bytes(1 << 16))
print("unseen")
"""),
    running("streams", "written backwards and in vectors", """
for i in range(2000):
    os.lseek(1, -1 if i % 2 else 0, os.SEEK_END if i % 2 else os.SEEK_SET)
    os.writev(1, [b"y" * 1000] * 16)
    os.pwrite(1, b"z" * 1000, i * 1000)
""", ("output", "error", *STOPPED)),
    running("streams", "input that is written to", """
os.ftruncate(0, 8 << 20)
os.pwrite(0, b"planted" * 1000, 0)
sys.stdin.buffer.read()
"""),
    running("streams", "an exit code from elsewhere", """
class Code(int):
    def __index__(self):
        escaped("asked for")
        return 0
    __and__ = __rand__ = lambda *_: 0
raise SystemExit(Code(3))
""", slow=False),
    running("streams", "an end that prints for ever", """
class Loud:
    def __str__(self):
        while True:
            sys.stdout.write("x" * 10_000)
raise SystemExit(Loud())
""", ("output", "error", *STOPPED)),
)  # fmt: skip

WIRE = (
    fooling("wire", "half a frame, then silence", _TALK + "link.send((1000).to_bytes(4, 'big') + b'[')\ntime.sleep(100)"),
    fooling("wire", "a byte at a time", _TALK + """
for byte in (1 << 20).to_bytes(4, "big") + b"[" * (1 << 20):
    link.send(bytes([byte]))
    time.sleep(0.01)
"""),
    fooling("wire", "every answer twice", _TALK + """
frame(["loaded", None])
while True:
    heard()
    frame(["value", 41]), frame(["value", 3]), frame(["ok", -7])
"""),
    fooling("wire", "one side closed", _TALK + "frame(['loaded', None])\nlink.shutdown(socket.SHUT_WR)\nlink.recv(1 << 16)\ntime.sleep(100)"),
    fooling("wire", "answers that are no JSON", _TALK + """
for body in (b"", b"NaN", b"\\xff\\xfe", b"[1,", b'{"k": "tuple"}', b"1e999", b'"' + b"\\\\ud800" * 1000 + b'"', b"[" * 100_000):
    link.sendall(len(body).to_bytes(4, "big") + body)
time.sleep(0.2)
""", slow=False),
    fooling("wire", "names that answer for others", _TALK + """
frame(["loaded", None])
for _ in range(1000):
    heard()
    frame(["value", {"k": "ref", "v": 0}]), frame(["value", {"k": "function", "v": "len"}])
"""),
    fooling("wire", "a flood that nobody asked for", _TALK + """
frame(["loaded", None])
while True:
    frame(["value", "x" * 100_000])
"""),
    fooling("wire", "errors instead of answers", _TALK + """
frame(["loaded", None])
while heard():
    frame(["raised", ["SystemExit", [0]]]), frame(["raise", "SystemExit", "0"]), frame(["error", "StopIteration", None])
"""),
)  # fmt: skip

OBJECTS = (
    fooling("objects", "an iterator without end", "def answer(x):\n    import itertools\n    return itertools.count()", "assert sum(answer(20)) == 41"),
    fooling("objects", "a generator without end", "def answer(x):\n    while True:\n        yield 41", "assert list(answer(20)) == [41]"),
    fooling("objects", "a length that lies", """
class Long(list):
    def __len__(self):
        return 1 << 60
    def __length_hint__(self):
        return 1 << 60
    def __iter__(self):
        return iter([])
def answer(x):
    return Long()
""", "assert list(answer(20)) == [41]"),
    fooling("objects", "a coroutine instead of an answer", "async def answer(x):\n    return 41", slow=False),
    fooling("objects", "a name that is no function", "class answer(int):\n    def __new__(cls, x):\n        return int.__new__(cls, x)\n    def __eq__(self, other):\n        return True\n    __hash__ = int.__hash__"),
    fooling("objects", "a class registered as everything", """
import numbers, collections.abc
class Any:
    def __eq__(self, other): return True
    def __iter__(self): return iter(())
    def __bool__(self): return True
    __hash__ = __len__ = lambda self: 0
for base in (numbers.Number, numbers.Real, collections.abc.Sequence, collections.abc.Mapping, collections.abc.Set):
    base.register(Any)
def answer(x):
    return Any()
"""),
    fooling("objects", "a class that is changed in flight", """
class A:
    def __getattribute__(self, name):
        object.__setattr__(self, "__class__", B)
        return object.__getattribute__(self, name)
class B(A):
    __eq__ = lambda self, other: True
    __hash__ = None
def answer(x):
    return A()
"""),
)  # fmt: skip

ESCAPES = (*STREAMS, *WIRE, *OBJECTS)
