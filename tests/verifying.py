"""Verify files in processes of their own, and measure them: CPU seconds and memory, with all worker processes.

python verifying.py     one request per input line, one answer per output line; each in a fork of this warm process
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any, NamedTuple


class Found(NamedTuple):
    """What the verification of a file came to, and what it took."""

    values: list[float]  # of the traces that were verified
    complaints: list[str]
    refused: str  # why the file was not read, or not to its end
    crash: str  # a traceback, or how the process was ended
    jobs_s: float  # CPU seconds of sandboxed programs, which some sandboxes do not hand on to who waits for them
    cpu_s: float  # of all processes that were waited for
    mb: float
    wall_s: float


class Measurer:
    """A warm process that forks for each file."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            (sys.executable, __file__), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, path: Path, data_dir: str, *, tools: bool = False, **budget: Any) -> Found:
        assert self.process.stdin
        assert self.process.stdout
        request = {"path": str(path), "data_dir": data_dir, "tools": tools, "budget": budget}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return Found(*json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def check(path: Path, data_dir: str, tools: bool, budget: dict[str, Any]) -> dict[str, Any]:
    """As `trace check` does."""
    from llm_marl_envs.cli.trace import examine
    from llm_marl_envs.errors import TraceError
    from llm_marl_envs.tools.sandbox.server import Server
    from llm_marl_envs.traces.verify import Budget, Verifier

    took, play = [], Server.play

    def counted(server: Server, *args: Any) -> Any:
        result = play(server, *args)
        took.append(server.took_s)
        return result

    Server.play = counted  # type: ignore[method-assign]
    try:
        found = examine((path,), Verifier(data_dir, tools=tools, budget=Budget(**budget)))
    except TraceError as bad:
        return {"refused": str(bad)[:300]}
    return {"values": found.scores, "complaints": [text[:300] for text in found.wrong], "jobs_s": sum(took)}


def serve() -> None:
    import llm_marl_envs.cli.trace  # noqa: F401  it is warm when it is forked
    from llm_marl_envs.spec import make_task, make_workflow

    assert len(make_task("arithmetic").problems("test"))
    assert make_workflow("solo")

    warnings.simplefilter("ignore")
    for line in sys.stdin:
        request = json.loads(line)
        source, target = os.pipe()
        began = time.monotonic()
        if (pid := os.fork()) == 0:
            os.close(source)
            os.setpgid(0, 0)
            resource.setrlimit(resource.RLIMIT_CPU, (15, 15))
            resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
            try:
                found = check(Path(request["path"]), request["data_dir"], request["tools"], request["budget"])
            except BaseException:
                found = {"crash": traceback.format_exc()[-1500:]}
            with os.fdopen(target, "w") as out:
                json.dump(found, out)
            import atexit

            atexit._run_exitfuncs()  # ends and awaits its workers, so that they are measured
            os._exit(0)
        os.close(target)
        signal.signal(signal.SIGALRM, lambda *_: os.killpg(pid, signal.SIGKILL))
        signal.alarm(90)
        with os.fdopen(source) as file:
            text = file.read()
        _, status, usage = os.wait4(pid, 0)
        signal.alarm(0)
        found = {"values": [], "complaints": [], "refused": "", "crash": "", "jobs_s": 0.0}
        found |= json.loads(text) if text else {"crash": f"ended with {os.waitstatus_to_exitcode(status)}"}
        took = usage.ru_utime + usage.ru_stime
        answer = Found(**found, cpu_s=took, mb=usage.ru_maxrss / 1024, wall_s=time.monotonic() - began)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve()
