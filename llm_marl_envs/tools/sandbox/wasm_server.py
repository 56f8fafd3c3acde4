"""The fork server of the WebAssembly variant: each job is a fork in which a CPython for WASI runs.

The interpreter in there has no system calls but the few that WASI gives it: its own streams, the folder with our modules
and the folder with its own text, both read-only. So this server needs no container.

    python wasm_server.py SOCKET_FD STAGE PYTHON_WASM
"""

from __future__ import annotations

import contextlib
import functools
import os
import resource
import socket
import sys
from pathlib import Path
from typing import Any

import wasmtime

INSIDE = Path(__file__).with_name("inside")
sys.path.insert(0, str(INSIDE))

from importlib import import_module  # noqa: E402

server = import_module("server")  # of the other side, where modules have bare names


def _live(engine: Any, module: Any, stage: str, part: dict[str, Any], fds: list[int]) -> None:
    code = 1
    try:
        folder = Path(stage, str(os.getpid()))
        folder.mkdir()
        source, stdin, stdout, stderr, *link = fds
        (folder / "source").write_bytes(os.pread(source, os.fstat(source).st_size, 0))
        for number, fd in enumerate((*link, *link, stderr) if link else (stdin, stdout, stderr)):
            os.dup2(fd, number)
        os.closerange(3, 1 << 20)  # the other end of the link above all
        resource.setrlimit(resource.RLIMIT_CPU, (int(part["cpu_s"]) + 2, int(part["cpu_s"]) + 2))
        resource.setrlimit(resource.RLIMIT_FSIZE, (part["file_bytes"], part["file_bytes"]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        code = _run(engine, module, folder, part)
    finally:
        os._exit(code)


def _run(engine: Any, module: Any, folder: Path, part: dict[str, Any]) -> int:
    wasi = wasmtime.WasiConfig()
    boot = "import sys; sys.path.insert(0, '/code'); import wasm_job"
    wasi.argv = ["python", "-S", "-B", "-c", boot, part["role"], *part["taken"]]
    wasi.env = [("PYTHONHASHSEED", "0")]
    wasi.preopen_dir(str(INSIDE), "/code", fs_mutable=False)
    wasi.preopen_dir(str(folder), "/job", fs_mutable=False)
    wasi.inherit_stdin()
    wasi.inherit_stdout()
    wasi.inherit_stderr()
    store = wasmtime.Store(engine)
    store.set_wasi(wasi)
    store.set_limits(memory_size=part["memory"])
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    try:
        linker.instantiate(store, module).exports(store)["_start"](store)  # type: ignore[operator]
    except wasmtime.ExitTrap as end:
        return end.code & 0xFF
    except (wasmtime.Trap, wasmtime.WasmtimeError) as trap:
        os.write(2, str(trap)[-500:].encode())
        return 1
    return 0


def main() -> None:
    control, stage, path = sys.argv[1:]
    settings = wasmtime.Config()
    with contextlib.suppress(wasmtime.WasmtimeError):  # who has no home has no place for a cache
        settings.cache = True  # compiling takes seconds, the machine code is kept
    settings.memory_init_cow = False  # which needs a file larger than a job may write
    engine = wasmtime.Engine(settings)
    module = wasmtime.Module.from_file(engine, path)
    live = functools.partial(_live, engine, module, stage)
    server.serve(socket.socket(fileno=int(control)), stage, lambda: None, live)


main()
