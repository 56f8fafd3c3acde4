"""No sandbox at all: forks of a bare interpreter with time and memory limits. For programs that you wrote yourself."""

from __future__ import annotations

import os
import subprocess

from llm_marl_envs.tools.sandbox.runtime import ENVIRONMENT, INSIDE, SITE, runtime


def missing() -> str | None:
    return None


def start(control: int, numpy: bool, files_mb: int, stage: str, prefix: list[str]) -> subprocess.Popen[bytes]:
    python = runtime(numpy)
    sites = list(dict.fromkeys(os.path.dirname(source) for source, inside in python.binds if inside.startswith(SITE)))
    command = [
        *prefix,
        python.executable,
        "-S",
        "-s",
        "-B",
        "-X",
        "utf8",
        str(INSIDE / "server.py"),
        str(control),
        stage,
        "0",
        *sites,
    ]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=(control,),
        env=ENVIRONMENT,
        cwd=stage,
        start_new_session=True,
    )
