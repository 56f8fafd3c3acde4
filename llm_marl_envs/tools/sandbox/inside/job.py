"""What a forked job does: take its limits, put on the filter, run a program or its tests, and end.

Exit codes: 0 it ended by itself, 1 an uncaught exception, 86 out of memory; SystemExit's own code otherwise.
"""

from __future__ import annotations

import ast
import atexit
import builtins
import contextlib
import gc
import io
import os
import resource
import signal
import sys
import threading
import traceback
import types
import warnings

from wire import Program, ProgramError, Tests

OUT_OF_MEMORY = 86
_HERE = os.path.dirname(__file__)
_LINK = 3  # the descriptor that joins a program and its tests


def take_limits(cpu_s: float, memory: int, file_bytes: int, processes: int) -> None:
    """Hard limits of this process: CPU seconds, bytes of address space, bytes of a file, threads of this user."""
    cpu = int(cpu_s + 0.999) + 1  # the kernel's own count runs ahead on a busy machine; the server's exact one decides
    wanted = {
        resource.RLIMIT_CPU: cpu,
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_FSIZE: file_bytes,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_NPROC: processes,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    for limit, value in wanted.items():
        _, hard = resource.getrlimit(limit)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (value, value))


def take_descriptors(given: list[int], link: int | None) -> str:
    """Read the source; then have nothing open but the standard streams and the link."""
    source, *streams = given
    size = os.fstat(source).st_size
    text = os.pread(source, size, 0).decode("utf-8", "surrogatepass")
    kept = streams if link is None else [*streams, link]
    high = [os.dup2(fd, 200 + i, inheritable=False) for i, fd in enumerate(kept)]  # out of the way first
    for number, fd in enumerate(high):
        os.dup2(fd, number)
    os.closerange(len(kept), 1 << 20)
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), "utf-8", "surrogateescape")
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)), "utf-8", "backslashreplace")
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(2, "w", closefd=False)), "utf-8", "backslashreplace", write_through=True
    )
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    return text


def clean_interpreter() -> None:
    """Leave a program nothing of the server's but warm modules."""
    for name in ("server", "job", "wire", "seccomp", "__main__"):
        sys.modules.pop(name, None)
    sys.path[:] = [p for p in sys.path if p != os.path.dirname(__file__)]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    warnings.simplefilter("ignore")
    sys.argv = ["program.py"]
    builtins.exit = builtins.quit = sys.exit  # as in an interpreter with `site`
    gc.unfreeze()


def run_program(source: str) -> int:
    """Run a text as `__main__` and return the exit code that Python would end with."""
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    code = _guarded(lambda: exec(compile(source, "program.py", "exec", dont_inherit=True), module.__dict__))
    code = _guarded(lambda: (threading._shutdown(), atexit._run_exitfuncs())) or code  # type: ignore[attr-defined]
    return _guarded(lambda: (sys.stdout.flush(), sys.stderr.flush())) or code


def serve_program(source: str) -> int:
    """Define what a text defines, then serve its tests until they end."""
    module = types.ModuleType("program")
    sys.modules["program"] = module

    def serve() -> None:
        broken = None
        try:
            exec(compile(source, "program.py", "exec", dont_inherit=True), module.__dict__)
        except BaseException as bad:
            broken = f"the program raises {type(bad).__name__} when it is loaded: {str(bad)[:300]}"
        program = Program(_LINK, module.__dict__)
        program.link.send(["loaded", broken])
        program.serve()

    return _guarded(serve)


def run_tests(source: str, taken: tuple[str, ...]) -> int:
    """Run the tests' text. Names that it reads and nobody defines are the program's, and so are those in `taken`."""
    ours = {name: value for name, value in vars(builtins).items() if name not in taken}  # what is missing is no builtin
    names: dict[str, object] = {"__name__": "tests", "__builtins__": ours}

    def examine() -> None:
        tree = ast.parse(source, "tests.py")
        tests = Tests(_LINK)
        try:
            outcome, broken = tests.link.receive()
        except (OSError, EOFError, ValueError, TypeError):
            outcome, broken = "ended", "the program ended while it was loaded"
        if outcome != "loaded" or broken is not None:
            raise ProgramError(broken)
        for name in sorted(_free_names(tree) | set(taken)):
            if name in sys.stdlib_module_names and name not in taken:
                names[name] = __import__(name)
                continue
            with contextlib.suppress(KeyError):  # a NameError where it is used, if it ever is
                names[name] = tests.ask("get", name)
        exec(compile(tree, "tests.py", "exec", dont_inherit=True), names)

    return _guarded(examine) or _guarded(lambda: (sys.stdout.flush(), sys.stderr.flush()))


def _free_names(tree: ast.AST) -> set[str]:
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
    return read - bound


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
