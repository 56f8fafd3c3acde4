"""What a CPython for WebAssembly does first: find its role, then play it. Standard input and output are the link, if any."""

from __future__ import annotations

import builtins
import io
import os
import sys
import warnings

import roles
from wire import Link


def main() -> None:
    role, *taken = sys.argv[1:]
    with open("/job/source", "rb") as file:
        source = file.read().decode("utf-8", "surrogatepass")
    sys.path[:] = [p for p in sys.path if p != "/code"]
    for name in ("wasm_job", "roles", "strict", "wire"):
        sys.modules.pop(name, None)
    os.environ.clear()
    sys.argv = ["program.py"]
    warnings.simplefilter("ignore")
    builtins.exit = builtins.quit = sys.exit
    link = None
    if role == "program":
        streams = [io.FileIO(fd, mode, closefd=False) for fd, mode in ((0, "r"), (1, "w"), (2, "w"))]
        sys.stdin = io.TextIOWrapper(io.BufferedReader(streams[0]), "utf-8", "surrogateescape")
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(streams[1]), "utf-8", "backslashreplace")
        sys.stderr = io.TextIOWrapper(io.BufferedWriter(streams[2]), "utf-8", "backslashreplace", write_through=True)
    else:
        link = Link(0, 1)
        sys.stdin, sys.stdout = io.StringIO(), io.StringIO()
    os._exit(roles.play(role, source, tuple(taken), link))


main()
