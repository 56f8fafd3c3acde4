"""Which system calls a job may make: what computing, threads and files in the work folder need, and nothing else.

A classic BPF program, loaded by ctypes without any library. Whatever is not listed fails with EPERM, so a program meets an
exception that it can report rather than a sudden death: no sockets (but `socketpair`), no new processes, no exec, no
signals to others, no mounts, namespaces, ptrace, keys, bpf, io_uring or shared memory.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

# Inclusive ranges of system call numbers. In words: read/write and their vectors, open, close, stat, directory entries,
# links, renames, permissions, truncation and times of files; mmap, mprotect, brk; futex and the thread bookkeeping; clocks,
# timers and sleep; own signal handlers; select, poll, epoll, eventfd, pipe, socketpair; own ids; getrandom; exit and wait.
_X86_64 = (
    (0, 15), (17, 28), (32, 40), (44, 45), (47, 48), (53, 53), (60, 61), (63, 63), (73, 91), (95, 100), (102, 102),
    (104, 104), (107, 108), (110, 111), (115, 115), (118, 118), (120, 121), (124, 124), (127, 128), (130, 132),
    (137, 138), (140, 140), (143, 143), (145, 147), (149, 150), (158, 158), (186, 186), (201, 202), (204, 204),
    (213, 213), (217, 219), (221, 226), (228, 233), (235, 235), (247, 247), (257, 258), (261, 271), (273, 274),
    (277, 277), (280, 281), (283, 287), (289, 293), (295, 296), (309, 309), (316, 316), (318, 318), (324, 324),
    (326, 326), (332, 332), (334, 334), (436, 436), (439, 439),
)  # fmt: skip
_AARCH64 = (
    (17, 17), (19, 24), (32, 32), (34, 38), (43, 50), (52, 53), (56, 57), (59, 59), (61, 74), (78, 80), (82, 88),
    (93, 96), (98, 103), (107, 111), (113, 115), (120, 121), (123, 126), (128, 128), (132, 137), (139, 139),
    (141, 141), (148, 148), (150, 150), (153, 153), (155, 156), (158, 158), (160, 160), (163, 163), (165, 166),
    (168, 169), (172, 179), (199, 199), (206, 207), (210, 210), (212, 212), (214, 216), (222, 223), (226, 229), (232, 233),
    (260, 260), (276, 276), (278, 278), (283, 283), (285, 285), (291, 291), (293, 293), (436, 436), (439, 439),
)  # fmt: skip
# machine -> (audit architecture, allowed, clone, clone3, prlimit64, ioctl, fcntl)
_MACHINES = {
    "x86_64": (0xC000003E, _X86_64, 56, 435, 302, 16, 72),
    "aarch64": (0xC00000B7, _AARCH64, 220, 435, 261, 29, 25),
}
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _EQUAL, _GREATER_EQUAL, _GREATER, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x25, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data; an argument's low half comes first
_CLONE_THREAD = 0x00010000
_NON_BLOCKING = 0x5421  # FIONBIO
_FCNTL_LAST, _DUP_CLOEXEC = 7, 1030  # duplicating, flags and locks; not the ones that have signals sent to an owner
_X32 = 0x40000000  # the x86-64 calls again, under other numbers
_SET_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 38, 22, 2


def supported() -> bool:
    return sys.platform == "linux" and os.uname().machine in _MACHINES


def program() -> bytes:
    """The filter for this machine, as an array of struct sock_filter (code u16, jump if true u8, if false u8, value u32)."""
    architecture, allowed, clone, clone3, prlimit, ioctl, fcntl = _MACHINES[os.uname().machine]
    lines: list[tuple[int, int, int, int]] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_GREATER_EQUAL, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL),
        # clone3 passes its flags in memory, where a filter cannot look: as if it were not there, libc falls back to clone
        (_EQUAL, 0, 1, clone3),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
        (_EQUAL, 0, 4, ioctl),  # asyncio makes its pipes non-blocking; nothing else, and nothing is a terminal
        (_LOAD, 0, 0, _ARGUMENT + 8),
        (_EQUAL, 0, 1, _NON_BLOCKING),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ERRNO | errno.ENOTTY),
        (_EQUAL, 0, 4, clone),  # threads, but no processes
        (_LOAD, 0, 0, _ARGUMENT),
        (_ANY_BIT, 0, 1, _CLONE_THREAD),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ERRNO | errno.EPERM),
        (_EQUAL, 0, 5, fcntl),
        (_LOAD, 0, 0, _ARGUMENT + 8),
        (_EQUAL, 1, 0, _DUP_CLOEXEC),
        (_GREATER, 1, 0, _FCNTL_LAST),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ERRNO | errno.EPERM),
        (_EQUAL, 0, 4, prlimit),  # of oneself
        (_LOAD, 0, 0, _ARGUMENT),
        (_EQUAL, 0, 1, 0),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ERRNO | errno.EPERM),
    ]
    for first, last in allowed:
        lines += [(_GREATER_EQUAL, 0, 2, first), (_GREATER, 1, 0, last), (_RETURN, 0, 0, _ALLOW)]
    lines.append((_RETURN, 0, 0, _ERRNO | errno.EPERM))
    return b"".join(struct.pack("HBBI", *line) for line in lines)


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
