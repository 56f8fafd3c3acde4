"""The fork server inside one hardened bubblewrap.

Own user, pid, network, ipc, uts, cgroup and mount namespaces; no capabilities and no further user namespaces; a read-only
root of exactly the files that Python needs, /dev/null, and a small tmpfs to work in; no /proc; an empty environment, for
bubblewrap itself too, since what it was started with would show in there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from llm_marl_envs.tools.sandbox.runtime import ENVIRONMENT, INSIDE, WORK, runtime

NOBODY = 65534
INSTALL = "install bubblewrap (Debian and Ubuntu: apt-get install bubblewrap; Fedora: dnf install bubblewrap)"


def missing() -> str | None:
    """Why this variant cannot even be tried here, and what to do; None if it can."""
    if not sys.platform.startswith("linux"):
        return "bubblewrap needs Linux"
    return None if shutil.which("bwrap") else f"bwrap is not there: {INSTALL}"


def start(control: int, numpy: bool, files_mb: int, stage: str) -> subprocess.Popen[bytes]:
    """Start a server that talks on the descriptor `control`; `stage` is an empty folder for mounts that only it sees."""
    bwrap = shutil.which("bwrap")
    assert bwrap is not None
    python = runtime(numpy)
    as_root = os.geteuid() == 0
    staged = {source: f"{stage}/{i}" for i, source in enumerate(dict.fromkeys(s for s, _ in python.binds))} if as_root else {}
    arguments = [bwrap, "--unshare-all", "--unshare-user", "--disable-userns", "--uid", str(NOBODY), "--gid", str(NOBODY)]
    arguments += ["--cap-drop", "ALL", "--hostname", "sandbox", "--clearenv"]
    for said, where in python.links:
        arguments += ["--symlink", said, where]
    for source, inside in python.binds:
        arguments += ["--ro-bind", staged.get(source, source), inside]
    for folder in python.hidden:
        arguments += ["--tmpfs", folder, "--remount-ro", folder]
    arguments += ["--dev-bind", "/dev/null", "/dev/null"]
    arguments += ["--perms", "0755", "--size", str(files_mb << 20), "--tmpfs", WORK, "--remount-ro", "/", "--chdir", "/"]
    for name, value in ENVIRONMENT.items():
        arguments += ["--setenv", name, value]
    arguments += python.command(control, True, numpy)
    if as_root:
        pairs = [part for source, where in staged.items() for part in (source, os.path.basename(where))]
        launch = [sys.executable, "-I", "-S", "-B", str(INSIDE / "launch.py")]
        arguments = [*launch, stage, str(NOBODY), str(len(staged)), *pairs, *arguments]
    return subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=(control,),
        env={},
        cwd="/",
        start_new_session=True,
    )
