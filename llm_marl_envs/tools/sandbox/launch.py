"""Start a container's command with an empty environment; as root, drop to `nobody` first (see inside/launch.py)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

from llm_marl_envs.tools.sandbox.runtime import INSIDE, Runtime

NOBODY = 65534


def as_nobody(
    command: Callable[[dict[str, str]], list[str]], python: Runtime, control: int, stage: str
) -> subprocess.Popen[bytes]:
    """Start `command(place)`; `place` says where a file of the runtime is to be found if not where it was."""
    if os.geteuid() != 0:
        arguments = command({})
    else:
        sources = tuple(dict.fromkeys(source for source, _ in python.binds))
        place = {source: f"{stage}/{i}" for i, source in enumerate(sources)}
        pairs = [part for source, where in place.items() for part in (source, os.path.basename(where))]
        launcher = [sys.executable, "-I", "-S", "-B", str(INSIDE / "launch.py")]
        arguments = [*launcher, stage, str(NOBODY), str(len(sources)), *pairs, *command(place)]
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
