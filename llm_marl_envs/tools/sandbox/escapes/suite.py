"""Play hostile programs in a sandbox, and look from outside whether they were contained.

A program's own output is not trusted. While the suite runs, the host has files with a secret, sockets that listen, a
process and an environment variable; afterwards they must be untouched, the secret must be nowhere in what came out, and
the sandbox must do the next ordinary job right.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from llm_marl_envs.errors import ToolFailed
from llm_marl_envs.tools.sandbox import JobLimits, JobResult, Sandbox
from llm_marl_envs.tools.sandbox.escapes import PRELUDE, Escape, all_escapes

LATE_S = 20.0  # how much later than its wall limit a job may be answered on a busy machine
VARIABLE = "LLM_MARL_PLANTED"
HOST_TEXT = "the host's own text\n"
# What a sandbox must still do after each of them.
_ORDINARY = "print(sum(range(10)), input())"
_EXPECTED = "45 17\n"
_WITH_FILES = "import os\nopen('x', 'w').write('1')\nassert os.listdir('.') == ['x']\n"  # where there is a work folder
# What means nothing in WebAssembly: there is no work folder, thread, signal or ctypes; changing a mode says yes and does
# nothing; the interpreter's own files are a copy in the job's memory; its folders are descriptors.
_NOT_IN_WASM = frozenset(
    """write to the host's files|write outside the work folder|spoil the interpreter's own files|replace or spoil /dev/null
files left for the next job|a work folder closed to the next job|a work folder that cannot be entered
a note in the work folder's times and mode|a fork bomb that will not give up|threads that outlive the program
die by every signal|ignore the warnings and go on|an alarm clock|endless recursion|descriptors that are not ours|by many threads
the memory of the process that tests|records that are locked|a thread that is waited for without end|turns of a nanosecond
a deadlock of imports and locks|a storm of alarms|links in circles|names that nobody should print|pipes with a name""".replace(
        "\n", "|"
    ).split("|")
)


class Finding(NamedTuple):
    """The result of one hostile program. `detail` says how it was not contained."""

    escape: Escape
    contained: bool
    detail: str
    seconds: float


class Planted:
    """What hostile programs are after, on this machine. Texts may name it: @FOLDER@, @SECRET@, @PORT@, @UDP@, @SOCKET@,
    @ABSTRACT@, @VICTIM@, @HOSTNAME@."""

    def __enter__(self) -> Planted:
        self.secret = f"PLANTED-{secrets.token_hex(12)}"
        self.folder = Path(tempfile.mkdtemp(prefix="llm-marl-planted-"))
        os.chmod(self.folder, 0o777)
        self.socket_path = str(self.folder / "socket")
        self.abstract = f"llm-marl-{secrets.token_hex(6)}"
        self.sockets: dict[str, socket.socket] = {}
        self._listen("TCP port", socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))
        self._listen("UDP port", socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0))
        self._listen("unix socket", socket.AF_UNIX, socket.SOCK_STREAM, self.socket_path)
        self._listen("unix datagram socket", socket.AF_UNIX, socket.SOCK_DGRAM, f"{self.socket_path}-datagram")
        self._listen("abstract socket", socket.AF_UNIX, socket.SOCK_STREAM, f"\0{self.abstract}")
        self._listen("abstract datagram socket", socket.AF_UNIX, socket.SOCK_DGRAM, f"\0{self.abstract}-datagram")
        os.environ[VARIABLE] = self.secret
        self._start_victim()
        self._write_files()
        return self

    def _listen(self, name: str, family: int, kind: int, address: object) -> None:
        line = self.sockets[name] = socket.socket(family, kind)
        line.bind(address)  # type: ignore[arg-type]
        if kind == socket.SOCK_STREAM:
            line.listen()
        line.setblocking(False)
        if isinstance(address, str) and not address.startswith("\0"):
            os.chmod(address, 0o777)

    def _start_victim(self) -> None:
        self.victim = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(3600)"])

    def _write_files(self) -> None:
        for entry in self.folder.iterdir():
            if not entry.is_socket():
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        self.files = {"secret.txt": self.secret, "host.txt": HOST_TEXT}
        for name, text in self.files.items():
            (self.folder / name).write_text(text)
            os.chmod(self.folder / name, 0o666)
        self.looks = self._look()

    def _look(self) -> dict[str, object]:
        """Everything about the folder that a program could change."""
        found: dict[str, object] = {"": os.stat(self.folder).st_mtime_ns}
        for entry in sorted(self.folder.iterdir()):
            about = entry.lstat()
            text = entry.read_text() if entry.is_file() and not entry.is_symlink() else ""
            found[entry.name] = (about.st_mode, about.st_nlink, about.st_mtime_ns, text)
        return found

    def fill(self, text: str) -> str:
        port, udp = (self.sockets[name].getsockname()[1] for name in ("TCP port", "UDP port"))
        for name, value in {
            "FOLDER": self.folder, "SECRET": self.secret, "PORT": port, "UDP": udp, "SOCKET": self.socket_path,
            "ABSTRACT": self.abstract, "VICTIM": self.victim.pid, "HOSTNAME": socket.gethostname(),
        }.items():  # fmt: skip
            text = text.replace(f"@{name}@", str(value))
        return text

    def harm(self) -> list[str]:
        """What has happened to the host since the last look; then all is put right again."""
        found = []
        for name, line in self.sockets.items():
            heard = 0
            with contextlib.suppress(BlockingIOError):
                while True:
                    line.accept()[0].close() if line.type == socket.SOCK_STREAM else line.recv(100)
                    heard += 1
            if heard:
                found.append(f"the host's {name} was reached")
        if self.victim.poll() is not None:
            found.append("a process of the host was killed")
            self._start_victim()
        if self._look() != self.looks:
            found.append("the host's files were changed")
            self._write_files()
        return found

    def __exit__(self, *_: object) -> None:
        os.environ.pop(VARIABLE, None)
        self.victim.kill()
        self.victim.wait()
        for line in self.sockets.values():
            line.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def meant_for(variant: str, escapes: Iterable[Escape]) -> list[Escape]:
    """Those that mean something in a sandbox of this variant."""
    return [e for e in escapes if not (variant == "wasm" and e.name in _NOT_IN_WASM)]


def run_suite(
    box: Sandbox, escapes: Iterable[Escape] | None = None, report: Callable[[Finding], object] = lambda finding: None
) -> list[Finding]:
    """Play hostile programs (all of them unless told which) one after another, telling `report` of each.

    Best with a sandbox of its own that has done nothing yet: then its server is started with a secret in the environment.
    """
    findings = []
    with Planted() as planted:
        for escape in meant_for(box.variant, all_escapes() if escapes is None else escapes):
            began = time.monotonic()
            wrong = _faults(box, escape, planted)
            findings.append(Finding(escape, not wrong, "; ".join(wrong), time.monotonic() - began))
            report(findings[-1])
    return findings


def _faults(box: Sandbox, escape: Escape, planted: Planted) -> list[str]:
    """How a program was not contained."""
    program, tests = planted.fill(PRELUDE + escape.program), planted.fill(escape.tests)
    began = time.monotonic()
    try:
        if escape.before:
            box.run(planted.fill(PRELUDE + escape.before), planted.fill(escape.stdin), escape.limits)
        began = time.monotonic()
        run = (
            box.examine(program, tests, escape.limits)
            if tests
            else box.run(program, planted.fill(escape.stdin), escape.limits)
        )
    except ToolFailed as bad:
        return [f"the sandbox was lost: {bad}", *planted.harm()]
    late = time.monotonic() - began - escape.limits.wall - LATE_S
    return [
        *_told(run, escape, planted.secret),
        *([f"{late:.0f} s too late"] if late > 0 else []),
        *planted.harm(),
        *_after(box),
    ]


def _told(run: JobResult, escape: Escape, secret: str) -> list[str]:
    """What a program's outcome gives away."""
    said = f"{run.stdout}\n{run.stderr}"
    found = [line[:160] for line in said.split("\n") if line.startswith("ESCAPED")][:5]
    if secret in said:
        found.append("the secret came out")
    if escape.allowed and run.status not in escape.allowed:
        found.append(f"it ended as {run.status!r}, expected {' or '.join(escape.allowed)}: {run.stderr[-200:]}")
    if max(len(run.stdout), len(run.stderr)) > escape.limits.output_kb << 10:
        found.append(f"{len(said)} characters came out")
    return found


def _after(box: Sandbox) -> list[str]:
    """What is wrong with the sandbox now."""
    try:
        run = box.run(("" if box.variant == "wasm" else _WITH_FILES) + _ORDINARY, "17", JobLimits(cpu_s=5.0))
    except ToolFailed as bad:
        return [f"afterwards the sandbox does not work: {bad}"]
    return (
        []
        if (run.status, run.stdout) == ("ok", _EXPECTED)
        else [f"afterwards an ordinary job gives {run.status}: {(run.stdout + run.stderr)[:200]!r}"]
    )
