"""Folders that belong to a running process, and are swept when it was killed.

Who has such a folder holds a lock on it, which goes with the process, however it ends. So what is locked is never swept, not
even by a process of another container that knows this one by no number; and what is not locked is nobody's.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
import tempfile
import time

if sys.platform != "win32":
    import fcntl

NAME = "llm-marl-server-"  # not the name that earlier versions gave to folders without a lock


def take(parent: str) -> tuple[str, int]:
    """A new folder in `parent` and the lock on it, a descriptor; what killed processes left there is swept first."""
    sweep(parent)
    while True:
        folder = tempfile.mkdtemp(prefix=NAME, dir=parent)
        try:
            lock = _lock(folder, strict=False)
        except (BlockingIOError, FileNotFoundError):
            continue  # before it had its lock, another process swept it
        if os.path.exists(folder):
            os.chmod(folder, 0o755)
            return folder, lock
        os.close(lock)


def give_back(folder: str, lock: int) -> None:
    """Remove the folder, of a cgroup too, as soon as what ran in it has ended; then its lock."""
    deadline = time.monotonic() + 1.0
    while not _remove(folder) and time.monotonic() < deadline:
        time.sleep(0.005)
    os.close(lock)


def sweep(parent: str) -> None:
    """Remove the folders of processes that are gone."""
    for name in os.listdir(parent):
        if not name.startswith(NAME):
            continue
        folder = os.path.join(parent, name)
        with contextlib.suppress(OSError):  # it is another's, or just gone
            about = os.lstat(folder)
            if stat.S_ISDIR(about.st_mode) and about.st_uid == os.geteuid():
                lock = _lock(folder)
                _remove(folder)
                os.close(lock)


def _lock(folder: str, strict: bool = True) -> int:
    """A descriptor with the lock. Not `strict`: without one where the file system has none, and nothing is ever swept."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as bad:
        if strict or isinstance(bad, BlockingIOError):
            os.close(fd)
            raise
    return fd


def _remove(folder: str) -> bool:
    """Whether it is gone. A cgroup's files go with it, and only when no process is in it."""
    try:
        if os.path.exists(os.path.join(folder, "cgroup.procs")):
            os.rmdir(folder)
        else:
            shutil.rmtree(folder)
    except FileNotFoundError:
        return True
    except (OSError, RecursionError):  # a program without a sandbox may nest folders without end
        return False
    return True
