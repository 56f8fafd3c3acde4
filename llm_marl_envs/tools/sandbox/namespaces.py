"""The fork server in a container of our own making, for machines without bubblewrap: nothing but Python and the kernel.

As in `bubblewrap`, and Landlock on top. Needs user namespaces for ordinary users, Landlock (Linux 5.13) and seccomp.
"""

from __future__ import annotations

import json
import subprocess
import sys

from llm_marl_envs.tools.sandbox.inside import seccomp
from llm_marl_envs.tools.sandbox.launch import as_nobody
from llm_marl_envs.tools.sandbox.runtime import ENVIRONMENT, INSIDE, WORK, runtime

if sys.platform != "win32":  # where there is no C library to load at import; `missing` says so before it is used
    from llm_marl_envs.tools.sandbox.inside import landlock


def missing() -> str | None:
    """Why this variant cannot even be tried here, and what to do; None if it can."""
    if not seccomp.supported():
        return "it needs Linux on x86-64 or 64-bit ARM"
    if landlock.version() < 1:
        return "the kernel has no Landlock (Linux 5.13 with CONFIG_SECURITY_LANDLOCK); or install bubblewrap"
    return None


def start(control: int, numpy: bool, files_mb: int, stage: str, prefix: list[str]) -> subprocess.Popen[bytes]:
    """Start a server that talks on the descriptor `control`; `stage` is an empty folder for mounts that only it sees; the
    command begins with `prefix`."""
    python = runtime(numpy)

    def command(place: dict[str, str]) -> list[str]:
        plan = {
            "binds": [(place.get(source, source), inside) for source, inside in python.binds],
            "links": python.links,
            "hidden": python.hidden,
            "root": f"{stage}/root",
            "work": WORK,
            "work_mb": files_mb,
            "environment": ENVIRONMENT,
            "command": python.command(control, True, numpy),
        }
        inside = place.get(str(INSIDE), str(INSIDE))
        return [
            place.get(python.executable, python.executable),
            "-I",
            "-S",
            "-B",
            f"{inside}/container.py",
            json.dumps(plan),
        ]

    return as_nobody(command, python, control, stage, prefix)
