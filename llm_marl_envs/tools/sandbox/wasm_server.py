"""The fork server of the WebAssembly variant: each job is a fork in which a CPython for WASI runs.

The interpreter in there has no system calls but the few that WASI gives it: its own streams, the folder with our modules
and the folder with its own text, both read-only. Should it find a hole in wasmtime, it meets Landlock (where the kernel has
it), our filter of system calls, and, if root started us, a user who is nobody.

    python wasm_server.py PYTHON_WASM MACHINE_CODE
    python wasm_server.py SOCKET_FD STAGE MACHINE_CODE [UID NOBODY]
"""

from __future__ import annotations

import functools
import os
import resource
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import wasmtime

INSIDE = Path(__file__).with_name("inside")
sys.path.insert(0, str(INSIDE))

from importlib import import_module  # noqa: E402

server, landlock, seccomp = map(import_module, ("server", "landlock", "seccomp"))  # of the other side: bare names


def _live(
    engine: Any, module: Any, stage: str, load_filter: Callable[[], None], part: dict[str, Any], fds: list[int]
) -> None:
    code = 1
    try:
        folder = Path(stage, "jobs", str(os.getpid()))
        folder.mkdir()
        source, stdin, stdout, stderr, *link = fds
        (folder / "source").write_bytes(os.pread(source, os.fstat(source).st_size, 0))
        for number, fd in enumerate((*link, *link, stderr) if link else (stdin, stdout, stderr)):
            os.dup2(fd, number)
        os.closerange(3, 1 << 20)  # the other end of the link above all
        resource.setrlimit(resource.RLIMIT_CPU, (int(part["cpu_s"]) + 2, int(part["cpu_s"]) + 2))
        resource.setrlimit(resource.RLIMIT_FSIZE, (part["file_bytes"], part["file_bytes"]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if landlock.version():
            landlock.confine((str(folder), f"{stage}/code"), ())
        load_filter()
        code = _run(engine, module, f"{stage}/code", folder, part)
    finally:
        os._exit(code)


def _run(engine: Any, module: Any, code: str, folder: Path, part: dict[str, Any]) -> int:
    wasi = wasmtime.WasiConfig()
    boot = "import sys; sys.path.insert(0, '/code'); import wasm_job"
    wasi.argv = ["python", "-S", "-B", "-c", boot, part["role"], *part["taken"]]
    wasi.env = [("PYTHONHASHSEED", "0")]
    wasi.preopen_dir(code, "/code", fs_mutable=False)
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


def _engine() -> Any:
    settings = wasmtime.Config()
    settings.memory_init_cow = False  # which needs a file larger than a job may write
    return wasmtime.Engine(settings)


def _serve(control: str, stage: str, path: str, *users: str) -> None:
    engine = _engine()
    module = wasmtime.Module.deserialize_file(engine, path)
    shutil.copytree(INSIDE, Path(stage, "code"), ignore=shutil.ignore_patterns("__pycache__"))
    jobs = Path(stage, "jobs")
    jobs.mkdir()
    if users:
        os.chmod(Path(stage, "code"), 0o755)
        _become(jobs, *map(int, users))
    live = functools.partial(_live, engine, module, stage, seccomp.loader() if seccomp.supported() else lambda: None)
    server.serve(socket.socket(fileno=int(control)), str(jobs), lambda: None, live)


def _become(jobs: Path, base: int, nobody: int) -> None:
    """Another user for good, and the owner of the jobs' folder: one of our own, or nobody where there is none such."""
    for uid in (base + os.getpid(), nobody):
        try:
            os.setgroups([])
            os.chown(jobs, uid, uid)
            os.setresgid(uid, uid, uid)
            return os.setresuid(uid, uid, uid)
        except OSError:
            continue
    raise PermissionError("this server may not become another user")


def main() -> None:
    if len(sys.argv) == 3:
        path, made = map(Path, sys.argv[1:])
        made.write_bytes(wasmtime.Module.from_file(_engine(), str(path)).serialize())
    else:
        _serve(*sys.argv[1:])


main()
