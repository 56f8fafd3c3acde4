"""Start a command as an ordinary user although we are root, with files it needs that only root can reach.

As root, limits on the number of processes do not hold, so the sandbox runs as another; and an interpreter under /root is
closed to it. So: in a mount namespace of our own, bind each file to a place that is open, drop root for good, start the
command. The mounts are gone when the last process in the namespace is. The user is UID and this process's own number, so
no two have the same; NOBODY where a container maps no such users.

    python launch.py STAGE UID NOBODY N (SOURCE NAME)*N COMMAND...
"""

from __future__ import annotations

import ctypes
import os
import sys

NEW_MOUNTS, BIND, PRIVATE, RECURSIVE = 0x00020000, 4096, 1 << 18, 16384


def main() -> None:
    stage, uid, nobody, count, *rest = sys.argv[1:]
    files, command = rest[: 2 * int(count)], rest[2 * int(count) :]
    libc = ctypes.CDLL(None, use_errno=True)

    def mount(source: str, target: str, kind: str | None, flags: int) -> None:
        result = libc.mount(
            source.encode(), target.encode(), kind.encode() if kind else None, ctypes.c_ulong(flags), None
        )
        if result:
            raise OSError(ctypes.get_errno(), f"mounting {source} on {target}")

    if libc.unshare(NEW_MOUNTS):
        raise OSError(ctypes.get_errno(), "no mount namespace")
    mount("none", "/", None, PRIVATE | RECURSIVE)
    mount("stage", stage, "tmpfs", 0)
    for source, name in zip(files[::2], files[1::2], strict=True):
        target = os.path.join(stage, name)
        if os.path.isdir(source):
            os.mkdir(target)
        else:
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
        mount(source, target, None, BIND)
    os.mkdir(os.path.join(stage, "root"), 0o755)  # where the container builds its own
    os.chmod(stage, 0o755)
    os.chdir("/")
    os.setgroups([])
    try:
        become(int(uid) + os.getpid())
    except OSError:
        become(int(nobody))
    os.execv(command[0], command)


def become(uid: int) -> None:
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


main()
