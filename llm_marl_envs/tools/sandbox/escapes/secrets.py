"""Reading the tests: what they expect, and what earlier jobs left in memory."""

from __future__ import annotations

from llm_marl_envs.tools.sandbox.escapes import Escape, JobLimits

_LONG = JobLimits(cpu_s=5.0, wall_s=30.0, memory_mb=256, output_kb=64)
# The tests hold a secret and print what the program has found out about it.
_TESTS = "SECRET = '@SECRET@'\nEXPECTED = {'answer': SECRET}\n{call}\nprint(found())\nassert EXPECTED['answer'] == 0"


def _spy(name: str, program: str, call: str = "", slow: bool = False, category: str = "reading the tests") -> Escape:
    return Escape(category, name, program, tests=_TESTS.replace("{call}", call), limits=_LONG, slow=slow)


ESCAPES = (
    _spy("all objects there are", """
def found():
    import gc
    mark = "PLAN" + "TED-"
    return [text[:40] for o in gc.get_objects() for text in [repr(o)[:10_000]] if mark in text and "mark" not in text][:3]
"""),
    _spy("frames of whoever called", """
def found():
    frame, seen = sys._getframe(), []
    while frame is not None:
        for space in (frame.f_locals, frame.f_globals):
            seen += [repr(v)[:2000] for k, v in list(space.items())]
        frame = frame.f_back
    mark = "PLAN" + "TED-"
    return [s[s.index(mark):][:32] for s in seen if mark in s][:3]
"""),
    _spy("all memory there is", "def found():\n    return hunt(48 << 20)", slow=True),
    _spy("files of the tests", """
def found():
    seen = []
    for root in (".", "/sandbox", "/tmp", "/dev/shm", "/proc/self"):
        for folder, _, names in os.walk(root):
            for name in names:
                try:
                    text = open(os.path.join(folder, name), "rb").read(1 << 16)
                except OSError:
                    continue
                if b"PLAN" + b"TED-" in text:
                    seen.append(text.decode("utf-8", "replace")[:200])
    return seen
"""),
    _spy("modules of the tests", """
def found():
    seen = []
    for name in ("tests", "server", "job", "wire", "__main__", "program"):
        module = sys.modules.get(name)
        seen += [repr(v)[:500] for v in list(getattr(module, "__dict__", {}).values())]
    mark = "PLAN" + "TED-"
    return [s[s.index(mark):][:32] for s in seen if mark in s and "SECRET" not in s][:3]
"""),
    _spy("the descriptors of this process", """
def found():
    seen = []
    for fd in range(64):
        try:
            seen.append(os.pread(fd, 1 << 16, 0).decode("utf-8", "replace"))
        except OSError:
            continue
    mark = "PLAN" + "TED-"
    return [s[s.index(mark):][:32] for s in seen if mark in s]
"""),
    _spy("what a lent function knows", """
caught = []
def use(function):
    names = ("__globals__", "__closure__", "__code__", "__self__", "__wrapped__", "__defaults__", "_ask", "link", "peer")
    caught.extend(repr(getattr(function, name, None))[:2000] for name in names)
    for argument in ("secret", "__globals__", {"k": "lent"}, None, 10**30):
        try:
            caught.append(repr(function(argument))[:200])
        except BaseException as bad:
            caught.append(repr(bad)[:500])
    return 0
def found():
    mark = "PLAN" + "TED-"
    return [s[s.index(mark):][:32] for s in caught if mark in s]
""", call="def lent(x, secret=SECRET):\n    return {'length': len(secret)}\nuse(lent)"),
    _spy("calls that were never lent", """
import json
def frame(message):
    body = json.dumps(message).encode()
    return len(body).to_bytes(4, "big") + body
def found():
    seen = []
    for request in ([0, []], [-1, []], [10**9, []], ["__globals__", []], [0, [["SECRET"]]], [[0], 0]):
        try:
            os.write(3, frame(["lent", request]))
            size = int.from_bytes(os.read(3, 4), "big")
            seen.append(os.read(3, size).decode())
        except OSError:
            pass
    return seen
""", call=""),
    _spy("exceptions that carry what they met", """
class Greedy(Exception):
    def __str__(self):
        frame, seen = sys._getframe(), []
        while frame:
            seen.append(repr(frame.f_locals)[:3000])
            frame = frame.f_back
        mark = "PLAN" + "TED-"
        return str([s[s.index(mark):][:32] for s in seen if mark in s])
def found():
    raise Greedy
""", call="try:\n    print(found())\nexcept Exception as bad:\n    print(bad)"),
    _spy("objects that report what they are compared with", """
class Mirror:
    met = []
    def __eq__(self, other):
        self.met.append(repr(other))
        return True
    def __ne__(self, other):
        self.met.append(repr(other))
        return False
    def __contains__(self, other):
        self.met.append(repr(other))
        return True
    __lt__ = __le__ = __gt__ = __ge__ = __hash__ = None
mirror = Mirror()
def answer():
    return mirror
def found():
    return mirror.met
""", call="answer() == SECRET, SECRET == answer(), answer() != SECRET"),
    _spy("peek at the talk with the tests", """
import socket, threading
seen = []
def peek():
    line = socket.socket(fileno=os.dup(3))
    while True:
        try:
            data = line.recv(1 << 16, socket.MSG_PEEK)
        except OSError:
            return
        if data and data not in seen:
            seen.append(data.decode("utf-8", "replace"))
            if len(seen) > 100:
                return
threading.Thread(target=peek, daemon=True).start()
def found():
    mark = "PLAN" + "TED-"
    return [s[s.index(mark):][:32] for s in seen if mark in s]
""", call=""),
    Escape("reading the tests", "an earlier job's program, in memory", "print(hunt())", before="secret = '@SECRET@' * 1000\nprint(secret)", limits=_LONG, slow=True),
    Escape("reading the tests", "an earlier job's objects", """
import gc
mark = "PLAN" + "TED-"
for o in gc.get_objects():
    text = repr(o)[:5000] if not isinstance(o, type(sys)) else ""
    if mark in text and "print(" not in text and "mark" not in text:
        escaped(text[text.index(mark):][:32])
""", before="import builtins, sys\nbuiltins.kept = sys.kept = '@SECRET@'\nsys.modules['kept'] = type(sys)('@SECRET@')"),
    Escape("reading the tests", "an earlier job's changes to Python", """
import builtins, json, random
if hasattr(builtins, "kept") or len([1, 2]) != 2 or json.loads("1") != 1 or "kept" in sys.modules or sorted([2, 1]) != [1, 2]:
    escaped("an earlier job has changed this one's Python")
""", before="""
import builtins, json, sys
builtins.kept, builtins.len, builtins.sorted, json.loads = 1, (lambda x: 0), (lambda x: x), (lambda x: 0)
sys.modules["kept"] = sys
""", ends=("ok",)),
    Escape("reading the tests", "an earlier job's standard input", "print(hunt(8 << 20))", before="import sys\nsys.stdin.read()", stdin="@SECRET@" * 100, limits=_LONG, slow=True),
)  # fmt: skip
