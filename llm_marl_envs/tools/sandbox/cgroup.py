"""A cgroup (version 2) for each server, where one can be made: the kernel itself then counts what it holds for a job.

One more layer, which needs the administrator's leave: root, or a cgroup that was delegated to us. Where there is none, the
filter of system calls and the limits of each process hold alone.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from llm_marl_envs.tools.sandbox import places

PROC = Path("/proc/self")
CONTROLLERS = frozenset({"memory", "pids"})
_SPARE = 64 << 20  # bytes that a server itself may take
_OTHERS = 16  # processes beside those of a job: the server, its blanks, what started it
_JOIN = 'echo 0 > "$0" && exec "$@"'  # a shell that moves itself, and then is the command


def home() -> tuple[Path | None, str]:
    """The cgroup in which ours can be made; or None and why not."""
    try:
        mount, root = _mount()
        (path,) = [line[3:] for line in (PROC / "cgroup").read_text().splitlines() if line.startswith("0::")]
        own = mount / Path(path).relative_to(root)
    except (OSError, ValueError):
        return None, "no cgroups of version 2 are to be seen"
    reason = f"{own} is not to be seen here"
    # in our own cgroup, or beside it: one that has processes may not hand its controllers on to others in it
    for place in (own, own.parent) if own != mount else (own,):
        if ".." in place.parts or not place.is_dir():
            continue
        if lacking := CONTROLLERS - _words(place / "cgroup.controllers"):
            reason = f"{place} does not control {' and '.join(sorted(lacking))}"
        elif not (os.access(place, os.W_OK) and os.access(place / "cgroup.procs", os.W_OK)):
            reason = f"{place} may not be written to"
        elif not _hands_on(place, own):
            reason = f"{place} has processes of its own and hands no control on"
        else:
            return place, ""
    return None, reason


def _mount() -> tuple[Path, str]:
    """Where cgroups of version 2 are mounted, and which of them is the uppermost there."""
    for line in (PROC / "mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            _, _, _, root, at, *_ = before.split()
            return Path(at), root
    raise FileNotFoundError("cgroup2")


def _words(path: Path) -> frozenset[str]:
    try:
        return frozenset(path.read_text().split())
    except OSError:
        return frozenset()


def _hands_on(place: Path, own: Path) -> bool:
    """Whether cgroups in `place` have the controllers. Ours may be told to; above it we change nothing."""
    if place == own and not _words(place / "cgroup.subtree_control") >= CONTROLLERS:
        with contextlib.suppress(OSError):
            (place / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in sorted(CONTROLLERS)))
    return _words(place / "cgroup.subtree_control") >= CONTROLLERS


class Cgroup:
    """One server's cgroup. Raises OSError if it cannot be made after all."""

    def __init__(self, parent: Path, processes: int):
        folder, self._lock = places.take(str(parent))
        self.folder, self._limit, self._killed = Path(folder), 0, 0
        self._write("pids.max", str(processes + _OTHERS))
        with contextlib.suppress(OSError):  # where there is no swap
            self._write("memory.swap.max", "0")

    def join(self) -> list[str]:
        """What a command begins with that is to run in here, with whatever it starts."""
        return ["/bin/sh", "-c", _JOIN, str(self.folder / "cgroup.procs")]

    def limit(self, memory: int) -> None:
        """Bytes that the next job may use."""
        if memory != self._limit:
            self._write("memory.max", str(memory + _SPARE))
            self._limit = memory

    def starved(self) -> bool:
        """Whether the kernel has ended a process in here for want of memory since this was asked last."""
        counts = dict(line.split() for line in (self.folder / "memory.events").read_text().splitlines())
        before, self._killed = self._killed, int(counts.get("oom_kill", 0))
        return self._killed > before

    def close(self) -> None:
        """End whatever is in here still, and remove it."""
        with contextlib.suppress(OSError):  # before Linux 5.14
            self._write("cgroup.kill", "1")
        places.give_back(str(self.folder), self._lock)

    def _write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)
