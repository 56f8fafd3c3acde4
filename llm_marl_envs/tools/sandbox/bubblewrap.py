"""The fork server inside one hardened bubblewrap.

Own user, pid, network, ipc, uts, cgroup and mount namespaces; no capabilities and no further user namespaces; a read-only
root of exactly the files that Python needs, /dev/null, and a small tmpfs to work in; no /proc; an empty environment, for
bubblewrap itself too, since what it was started with would show in there.
"""

from __future__ import annotations

import shutil
import subprocess
import sys

from llm_marl_envs.tools.sandbox.launch import NOBODY, as_nobody
from llm_marl_envs.tools.sandbox.runtime import ENVIRONMENT, WORK, runtime

INSTALL = "install bubblewrap (Debian and Ubuntu: apt-get install bubblewrap; Fedora: dnf install bubblewrap)"


def missing() -> str | None:
    """Why this variant cannot even be tried here, and what to do; None if it can."""
    if not sys.platform.startswith("linux"):
        return "bubblewrap needs Linux"
    return None if shutil.which("bwrap") else f"bwrap is not there: {INSTALL}"


def start(control: int, numpy: bool, files_mb: int, stage: str, prefix: list[str]) -> subprocess.Popen[bytes]:
    """Start a server that talks on the descriptor `control`; `stage` is an empty folder for mounts that only it sees; the
    command begins with `prefix`."""
    bwrap = shutil.which("bwrap")
    assert bwrap is not None
    python = runtime(numpy)

    def command(place: dict[str, str]) -> list[str]:
        nobody = str(NOBODY)
        arguments = [bwrap, "--unshare-all", "--unshare-user", "--disable-userns", "--uid", nobody, "--gid", nobody]
        arguments += ["--cap-drop", "ALL", "--hostname", "sandbox", "--clearenv"]
        for said, where in python.links:
            arguments += ["--symlink", said, where]
        for source, inside in python.binds:
            arguments += ["--ro-bind", place.get(source, source), inside]
        for folder in python.hidden:
            arguments += ["--tmpfs", folder, "--remount-ro", folder]
        arguments += ["--dev-bind", "/dev/null", "/dev/null"]
        arguments += [
            "--perms",
            "0755",
            "--size",
            str(files_mb << 20),
            "--tmpfs",
            WORK,
            "--remount-ro",
            "/",
            "--chdir",
            "/",
        ]
        for name, value in ENVIRONMENT.items():
            arguments += ["--setenv", name, value]
        return arguments + python.command(control, True, numpy)

    return as_nobody(command, python, control, stage, prefix)
