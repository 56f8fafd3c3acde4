"""A container in plain Python, for machines without bubblewrap: namespaces, a root of our own, no capabilities, Landlock.

python container.py JSON     {"binds", "links", "hidden", "root", "work", "work_mb", "environment", "command"}
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import landlock

NOBODY = 65534
NEW_USER, NEW_MOUNTS, NEW_PIDS, NEW_NET, NEW_IPC, NEW_UTS, NEW_CGROUP = (
    0x10000000, 0x00020000, 0x20000000, 0x40000000, 0x08000000, 0x04000000, 0x02000000
)  # fmt: skip
READ_ONLY, NO_SUID, NO_DEVICES, NO_EXEC, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
DETACH = 2
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
DROP_FROM_BOUNDING, NO_NEW_PRIVS, DEATH_SIGNAL = 24, 38, 1

libc = ctypes.CDLL(None, use_errno=True)


def call(result: int, what: str) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), what)


def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    texts = (source.encode(), target.encode(), kind.encode() if kind else None)
    call(libc.mount(*texts, ctypes.c_ulong(flags), options.encode() if options else None), f"mounting {target}")


def enter_namespaces() -> None:
    uid, gid = os.getuid(), os.getgid()
    everything = NEW_USER | NEW_MOUNTS | NEW_PIDS | NEW_NET | NEW_IPC | NEW_UTS | NEW_CGROUP
    call(libc.unshare(everything), "user namespaces are not allowed here")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{NOBODY} {uid} 1"), ("gid_map", f"{NOBODY} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    with open("/proc/sys/user/max_user_namespaces", "w") as file:  # none inside this one
        file.write("0")
    socket.sethostname("sandbox")


def bind(source: str, target: str) -> None:
    """Bind read-only; a remount may not drop the flags that the source's mount has."""
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    mount(source, target, None, BIND)
    kept = os.statvfs(target).f_flag & (NO_EXEC | 1024 | 2048)  # noatime, nodiratime
    device = 0 if source == "/dev/null" else READ_ONLY | NO_DEVICES
    mount("none", target, None, REMOUNT | BIND | NO_SUID | device | kept)


def build_root(plan: dict) -> None:
    root = plan["root"]
    mount("none", "/", None, PRIVATE | RECURSIVE)
    os.makedirs(root, exist_ok=True)
    mount("root", root, "tmpfs", NO_SUID | NO_DEVICES, "size=1m,mode=0755")
    for said, where in plan["links"]:
        os.symlink(said, root + where)
    for source, inside in [*plan["binds"], ("/dev/null", "/dev/null")]:
        # a link such as /lib in there must lead to the root in there, not to ours
        bind(source, root + _resolved(inside, plan["links"]))
    for folder in plan["hidden"]:
        mount("hidden", root + folder, "tmpfs", NO_SUID | NO_DEVICES | READ_ONLY, "size=4k,mode=0555")
    os.makedirs(root + plan["work"])
    options = f"size={plan['work_mb']}m,nr_inodes=4096,mode=0755,uid={NOBODY},gid={NOBODY}"
    mount("work", root + plan["work"], "tmpfs", NO_SUID | NO_DEVICES | NO_EXEC, options)
    os.chdir(root)
    call(libc.syscall(PIVOT_ROOT[os.uname().machine], b".", b"."), "changing the root")
    call(libc.umount2(b".", DETACH), "leaving the old root")
    os.chdir("/")
    mount("none", "/", None, REMOUNT | BIND | READ_ONLY | NO_SUID | NO_DEVICES)


def _resolved(path: str, links: list) -> str:
    for said, where in links:
        if path.startswith(where + "/"):
            return os.path.join("/", said) + path[len(where) :]
    return path


def drop_capabilities() -> None:
    one, zero = ctypes.c_ulong(1), ctypes.c_ulong(0)
    for capability in range(64):
        libc.prctl(DROP_FROM_BOUNDING, ctypes.c_ulong(capability), zero, zero, zero)
    call(libc.prctl(NO_NEW_PRIVS, one, zero, zero, zero), "no_new_privs")
    header = struct.pack("Ii", 0x20080522, 0)  # version 3, this process
    call(libc.capset(header, bytes(24)), "dropping capabilities")


def main() -> None:
    plan = json.loads(sys.argv[1])
    enter_namespaces()
    child = os.fork()  # the first process in the new pid namespace; when it ends, all of them do
    if child:
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    libc.prctl(DEATH_SIGNAL, ctypes.c_ulong(9), *[ctypes.c_ulong(0)] * 3)
    build_root(plan)
    drop_capabilities()
    landlock.confine(("/",), (plan["work"], "/dev/null"))
    os.execve(plan["command"][0], plan["command"], plan["environment"])


main()
