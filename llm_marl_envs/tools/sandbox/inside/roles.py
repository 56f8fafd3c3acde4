"""The three things a job may be: a program, a program that serves its tests, and the tests.

Exit codes: 0 it ended by itself, 1 an uncaught exception, 86 out of memory; SystemExit's own code otherwise.
"""

from __future__ import annotations

import ast
import atexit
import builtins
import contextlib
import io
import os
import sys
import traceback
import types

from strict import make_strict
from wire import Link, Program, ProgramError, Tests

OUT_OF_MEMORY = 86
_HERE = os.path.dirname(__file__)


def play(role: str, source: str, taken: tuple[str, ...], link: Link | None) -> int:
    """Play a role with a text; the exit code. Tests and the program that serves them have a link."""
    if link is None:
        return run_program(source)
    return serve_program(source, link) if role == "served" else run_tests(source, taken, link)


def run_program(source: str) -> int:
    """Run a text as `__main__` and return the exit code that Python would end with."""
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    builtins.open = io.open = _open
    code = _guarded(lambda: exec(compile(source, "program.py", "exec", dont_inherit=True), module.__dict__))
    code = _guarded(_wind_up) or code
    return _guarded(lambda: (sys.stdout.flush(), sys.stderr.flush())) or code


_STREAMS = {f"{place}{i}": i for place in ("/dev/fd/", "/proc/self/fd/") for i in range(3)}
_STREAMS |= {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_opens = io.open


def _open(file, *options, **named):
    """`open`, for which a program's streams have the names that they have elsewhere: there is no /proc here."""
    name = file.__fspath__() if hasattr(file, "__fspath__") else file
    if isinstance(name, str) and name in _STREAMS:
        return _opens(_STREAMS[name], *options, **(named | {"closefd": False}))
    return _opens(file, *options, **named)


def _wind_up() -> None:
    if threading := sys.modules.get("threading"):
        threading._shutdown()  # waits for the program's threads
    atexit._run_exitfuncs()


def serve_program(source: str, link: Link) -> int:
    """Define what a text defines, then serve its tests until they end."""
    module = types.ModuleType("program")
    sys.modules["program"] = module

    def serve() -> None:
        broken = None
        try:
            exec(compile(source, "program.py", "exec", dont_inherit=True), module.__dict__)
        except BaseException as bad:
            broken = f"the program raises {type(bad).__name__} when it is loaded: {str(bad)[:300]}"
        program = Program(link, module.__dict__)
        program.link.send(["loaded", broken])
        program.serve()

    return _guarded(serve)


def run_tests(source: str, taken: tuple[str, ...], link: Link) -> int:
    """Run the tests' text. Names that it reads and nobody defines are the program's, and so are those in `taken`."""
    ours = {name: value for name, value in vars(builtins).items() if name not in taken}  # what is missing is no builtin
    names: dict[str, object] = {"__name__": "tests", "__builtins__": ours}

    def examine() -> None:
        tree = ast.parse(source, "tests.py")
        tests = Tests(link)
        try:
            outcome, broken = tests.link.receive()
        except (OSError, EOFError, ValueError, TypeError):
            outcome, broken = "ended", "the program ended while it was loaded"
        if outcome != "loaded" or broken is not None:
            raise ProgramError(broken)
        read, bound = _names(tree)
        for name in sorted(read - bound | set(taken)):
            if name in sys.stdlib_module_names and name not in taken:
                names[name] = __import__(name)
                continue
            with contextlib.suppress(KeyError):  # a NameError where it is used, if it ever is
                names[name] = tests.ask("get", name)
        for name in sorted(
            read & bound - set(dir(builtins)) - set(names)
        ):  # a local name may be the program's elsewhere
            with contextlib.suppress(KeyError):
                names[name] = tests.ask("get", name)
        if "numpy" in source:
            with contextlib.suppress(ImportError):
                make_strict(__import__("numpy.testing"))
        exec(compile(tree, "tests.py", "exec", dont_inherit=True), names)

    return _guarded(examine) or _guarded(lambda: (sys.stdout.flush(), sys.stderr.flush()))


def _names(tree: ast.AST) -> tuple[set[str], set[str]]:
    """The names that a text reads, and those that it binds somewhere, or that are built in."""
    read, bound = set(), set(dir(builtins)) | {"__name__", "__builtins__"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            bound.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            bound.update((alias.asname or alias.name).partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            bound.add(node.name)
    return read, bound


def _guarded(act) -> int:
    """Do something that may end in any way, and turn that into an exit code."""
    try:
        act()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return (end.code or 0) & 0xFF
        _say(str(end.code))
        return 1
    except MemoryError:
        return OUT_OF_MEMORY
    except EOFError as end:
        if act.__name__ == "serve":  # the tests have ended
            return 0
        _report(end)
        return 1
    except BaseException as bad:
        _report(bad)
        return 1
    return 0


def _report(bad: BaseException) -> None:
    try:
        frames = traceback.TracebackException(type(bad), bad, bad.__traceback__, limit=-20, compact=True)
        frames.stack = traceback.StackSummary.from_list(
            [f for f in frames.stack if os.path.dirname(f.filename) != _HERE]
        )
        _say("".join(frames.format())[-4000:])
    except BaseException:
        _say(type(bad).__name__)


def _say(text: str) -> None:
    try:
        sys.stdout.flush()
        os.write(2, text.encode("utf-8", "backslashreplace"))
    except BaseException:
        pass
