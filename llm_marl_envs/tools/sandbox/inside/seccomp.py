"""Which system calls a job may make: what computing, threads and files in the work folder need, and nothing else.

A classic BPF program, loaded by ctypes without any library. Whatever is not listed fails with EPERM, so a program meets an
exception that it can report rather than a sudden death: no sockets (but `socketpair`), no new processes, no exec, no
signals to others, no mounts, namespaces, ptrace, keys, bpf, io_uring or shared memory.

A limit on address space does not count what the kernel holds for a program. So nothing passes that multiplies it: the 64
descriptors are all that a process has, however many threads it starts; descriptors do not travel in messages; nothing pins
pages that a file has let go (sendfile, splice); maps lie close together, so that they share page tables; locks are not made.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

# Inclusive ranges of system call numbers. In words: read/write and their vectors, open, close, stat, directory entries,
# links, renames, permissions, truncation and times of files; mmap, mprotect, brk; futex and the thread bookkeeping; clocks,
# timers and sleep; own signal handlers; select, poll, epoll, eventfd, pipe; own ids; getrandom; exit and wait. What passes only
# with certain arguments is in _RULES.
_X86_64 = (
    (0, 8), (10, 15), (17, 24), (26, 28), (32, 39), (48, 48), (60, 61), (63, 63), (74, 91), (95, 100), (102, 102),
    (104, 104), (107, 108), (110, 111), (115, 115), (118, 118), (120, 121), (124, 124), (127, 128), (130, 132),
    (137, 138), (140, 140), (143, 143), (145, 147), (149, 150), (158, 158), (186, 186), (201, 202), (204, 204),
    (213, 213), (217, 219), (221, 226), (228, 233), (235, 235), (247, 247), (257, 258), (261, 271), (273, 274),
    (277, 277), (280, 281), (283, 287), (289, 293), (295, 296), (309, 309), (316, 316), (318, 318), (324, 324),
    (326, 326), (332, 332), (334, 334), (439, 439),
)  # fmt: skip
_AARCH64 = (
    (17, 17), (19, 24), (34, 38), (43, 50), (52, 53), (56, 57), (59, 59), (61, 70), (72, 74), (78, 80), (82, 88),
    (93, 96), (98, 103), (107, 111), (113, 115), (120, 121), (123, 126), (128, 128), (132, 137), (139, 139),
    (141, 141), (148, 148), (150, 150), (153, 153), (155, 156), (158, 158), (160, 160), (163, 163), (165, 166),
    (168, 169), (172, 179), (210, 210), (214, 215), (223, 223), (226, 229), (232, 233),
    (260, 260), (276, 276), (278, 278), (283, 283), (285, 285), (291, 291), (293, 293), (439, 439),
)  # fmt: skip
_NAMES = ("clone", "clone3", "prlimit", "ioctl", "fcntl", "flock", "close_range", "socketpair", "sendto", "recvfrom",
    "recvmsg", "mmap", "mremap")  # fmt: skip
# machine -> (audit architecture, allowed, the numbers of _NAMES)
_MACHINES = {
    "x86_64": (0xC000003E, _X86_64, (56, 435, 302, 16, 72, 73, 436, 53, 44, 45, 47, 9, 25)),
    "aarch64": (0xC00000B7, _AARCH64, (220, 435, 261, 29, 25, 32, 436, 199, 206, 207, 212, 222, 216)),
}
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _AND, _EQUAL, _GREATER_EQUAL, _GREATER, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x25, 0x06
_NUMBER, _ARCHITECTURE = 0, 4  # offsets in struct seccomp_data
_X32 = 0x40000000  # the x86-64 calls again, under other numbers
_SET_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 38, 22, 2
_ALL = 0xFFFFFFFF

# A thread shares its process's memory, folder, descriptors and signal handlers, or it is none. Beside that C libraries ask
# for: System V semaphores, a place for thread-locals, its number told to parent and child and cleared at its end, detached.
_THREAD = 0x00000100 | 0x00000200 | 0x00000400 | 0x00000800 | 0x00010000
_THREAD_WISHES = 0x00040000 | 0x00080000 | 0x00100000 | 0x00200000 | 0x01000000 | 0x00400000
# Peek, truncate, do not wait, wait for all, no signal, close on exec: and no urgent bytes, the kernel's least tried path.
_TALK = 0x00000002 | 0x00000020 | 0x00000040 | 0x00000100 | 0x00004000 | 0x40000000
_NON_BLOCKING = 0x5421  # FIONBIO
_DUP_CLOEXEC, _LOCKS = 1030, (6, 7)
_UNIX = 1
_CLOSE_ON_EXEC = 4
_MAY_MOVE = 1  # but not to where the caller says
_WINDOW = 16  # times 4 GB: how far apart maps at chosen places may lie


def _low(argument: int) -> int:
    """Where the low half of an argument is in struct seccomp_data."""
    return 16 + 8 * argument


def _rules() -> dict[str, tuple]:
    """By name: checks (offset, mask, ranges, errno). An argument that, masked, lies in none of the ranges is answered with the
    errno (0: as if it were done); a call that passes all checks is made."""
    here = (
        ctypes.cast(ctypes.CDLL(None).mmap, ctypes.c_void_p).value or 0
    ) >> 32  # the loader's maps; a fork's are the same
    anything_but_locks = ((0, _LOCKS[0] - 1), (_LOCKS[1] + 1, _ALL))
    talk = _ALL & ~_TALK, ((0, 0),), errno.EPERM
    return {
        "clone": ((_low(0), _ALL & ~_THREAD_WISHES, ((_THREAD, _THREAD),), errno.EPERM),),
        # it passes its flags in memory, where a filter cannot look: as if it were not there, libc falls back to clone
        "clone3": ((_low(0), 0, (), errno.ENOSYS),),
        "prlimit": ((_low(0), _ALL, ((0, 0),), errno.EPERM),),  # of oneself
        # asyncio makes its pipes non-blocking; nothing else, and nothing is a terminal
        "ioctl": ((_low(1), _ALL, ((_NON_BLOCKING, _NON_BLOCKING),), errno.ENOTTY),),
        # duplicating and flags; no owner to have signals sent to, no larger pipes, no leases. A job is alone with its files, so a
        # lock needs no making (sqlite3 asks for them), and nobody outside ever waits for one on a file that is his, too.
        "fcntl": (
            (_low(1), _ALL, anything_but_locks, 0),
            (_low(1), _ALL, ((0, _LOCKS[0] - 1), (_DUP_CLOEXEC, _DUP_CLOEXEC)), errno.EPERM),
        ),
        "flock": ((_low(0), 0, (), 0),),
        "close_range": ((_low(2), _ALL & ~_CLOSE_ON_EXEC, ((0, 0),), errno.EPERM),),  # a thread's own descriptors, else
        "socketpair": ((_low(0), _ALL, ((_UNIX, _UNIX),), errno.EPERM),),
        "sendto": (
            (_low(3), *talk),
            *((_low(4) + half, _ALL, ((0, 0),), errno.EPERM) for half in (0, 4)),
        ),  # to its peer
        "recvfrom": ((_low(3), *talk),),
        "recvmsg": ((_low(2), *talk),),
        "mmap": ((_low(0) + 4, _ALL, ((0, 0), (max(0, here - _WINDOW), here + 1)), errno.EPERM),),
        "mremap": ((_low(3), _ALL & ~_MAY_MOVE, ((0, 0),), errno.EPERM),),
    }


def supported() -> bool:
    return sys.platform == "linux" and os.uname().machine in _MACHINES


def program() -> bytes:
    """The filter for this machine, as an array of struct sock_filter (code u16, jump if true u8, if false u8, value u32)."""
    architecture, allowed, numbers = _MACHINES[os.uname().machine]
    lines: list[tuple[int, int, int, int]] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_GREATER_EQUAL, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL),
    ]
    rules = _rules()
    for name, number in zip(_NAMES, numbers, strict=True):
        checks = [line for check in rules[name] for line in _check(*check)] + [(_RETURN, 0, 0, _ALLOW)]
        lines += [(_EQUAL, 0, len(checks), number), *checks]
    for first, last in allowed:
        lines += [(_GREATER_EQUAL, 0, 2, first), (_GREATER, 1, 0, last), (_RETURN, 0, 0, _ALLOW)]
    lines.append((_RETURN, 0, 0, _ERRNO | errno.EPERM))
    return b"".join(struct.pack("HBBI", *line) for line in lines)


def _check(
    offset: int, mask: int, ranges: tuple[tuple[int, int], ...], otherwise: int
) -> list[tuple[int, int, int, int]]:
    """Lines that go on behind themselves if the argument is in a range, and answer with an errno if it is in none."""
    lines = [(_LOAD, 0, 0, offset), (_AND, 0, 0, mask)]
    for i, (first, last) in enumerate(ranges):
        rest = 2 * (len(ranges) - i - 1) + 1
        lines += [(_GREATER_EQUAL, 0, 1, first), (_GREATER, 0, rest, last)]
    return [*lines, (_RETURN, 0, 0, _ERRNO | otherwise)]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def loader():
    """A function that puts the filter on the calling process, for good. Made before the fork, since making it is slow."""
    code = program()
    packed = _Program(len(code) // 8, code)
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    address = ctypes.c_ulong(ctypes.addressof(packed))
    zero, one, filter_mode = ctypes.c_ulong(0), ctypes.c_ulong(1), ctypes.c_ulong(_FILTER)

    def load(kept=packed) -> None:
        if prctl(_SET_NO_NEW_PRIVS, one, zero, zero, zero) or prctl(_SET_SECCOMP, filter_mode, address, zero, zero):
            raise OSError(ctypes.get_errno(), "the seccomp filter was refused")

    return load
