"""WebAssembly's second layer, and its start."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

import pytest

from llm_marl_envs.tools.sandbox import Sandbox, runtime, server, variants, wasm

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(variants()["wasm"] is not None, reason=f"no WebAssembly here: {variants()}"),
]

HOLE = """
def _run(engine, module, code, folder, part):
    import ctypes, signal
    for name, act in {
        "read": lambda: open("/etc/passwd").read(), "list": lambda: os.listdir("/"), "write": lambda: open("/tmp/x", "w").close(),
        "connect": lambda: socket.socket(), "fork": lambda: os.fork() or os._exit(0), "kill": lambda: os.kill(os.getppid(), 0),
        "become root": lambda: os.setuid(0), "exec": lambda: os.execv("/bin/true", ["true"]),
    }.items():
        try:
            act()
            os.write(1, f"{name}\\n".encode())
        except OSError:
            pass
    return 0
"""


def test_a_hole_in_webassembly_leads_nowhere(tmp_path, monkeypatch):
    """The planted hole: what runs in the job is not the interpreter but attempts on the host."""
    text = wasm.SERVER.read_text()
    shutil.copytree(runtime.INSIDE, tmp_path / "inside")
    monkeypatch.setattr(wasm, "SERVER", tmp_path / "wasm_server.py")

    def gets_through(text: str) -> list[str]:
        before, end = text.rsplit("\n\nmain()", 1)
        wasm.SERVER.write_text(f"{before}\n{HOLE}\nmain(){end}")
        with Sandbox("wasm", workers=1) as box:
            return box.run("").stdout.split("\n")[:-1]

    assert gets_through(text) == []
    assert "        load_filter()\n" in text
    assert "read" in gets_through(
        text.replace("        load_filter()\n", "").replace("if landlock.version():", "if False:")
    )


def test_webassembly_starts_on_a_busy_machine_although_nothing_is_compiled(tmp_path, monkeypatch):
    (tmp_path / "llm-marl-envs").mkdir()
    interpreter = wasm.interpreter()
    assert interpreter is not None
    shutil.copy(interpreter, tmp_path / "llm-marl-envs")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * (os.cpu_count() or 1))]
    seconds = []
    try:
        for _ in range(2):  # compiled, then not
            began = time.monotonic()
            with Sandbox("wasm", workers=1) as box:
                assert box.run("print(6 * 7)").stdout == "42\n"
            seconds.append(time.monotonic() - began)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert len(list((tmp_path / "llm-marl-envs").glob("*.cwasm"))) == 1
    assert seconds[1] < min(seconds[0], server.START_S)
