"""Start a container's command with an empty environment; as root, become a user that nobody is first (see inside/launch.py)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

from llm_marl_envs.tools.sandbox.runtime import INSIDE, Runtime

NOBODY = 65534
# As root each server has a user id of its own, this and its process id: what the kernel counts by user (processes, timers,
# queued signals, pipes, watches) is then counted by server. Above what systemd gives to containers, below 2**31.
USERS = 1_879_048_192


def as_nobody(
    command: Callable[[dict[str, str]], list[str]], python: Runtime, control: int, stage: str, prefix: list[str]
) -> subprocess.Popen[bytes]:
    """Start `prefix` and `command(place)`; `place` says where a file of the runtime is to be found if not where it was."""
    if os.geteuid() != 0:
        arguments = command({})
    else:
        sources = tuple(dict.fromkeys(source for source, _ in python.binds))
        place = {source: f"{stage}/{i}" for i, source in enumerate(sources)}
        pairs = [part for source, where in place.items() for part in (source, os.path.basename(where))]
        launcher = [sys.executable, "-I", "-S", "-B", str(INSIDE / "launch.py")]
        arguments = [*launcher, stage, str(USERS), str(NOBODY), str(len(sources)), *pairs, *command(place)]
    return subprocess.Popen(
        [*prefix, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=(control,),
        env={},
        cwd="/",
        start_new_session=True,
    )
