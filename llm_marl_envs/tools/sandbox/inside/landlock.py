"""Landlock by three raw system calls: what files this process and its children may touch, whatever else fails."""

from __future__ import annotations

import ctypes
import os
import struct

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same numbers on all machines
_VERSION = 1  # flag: tell the ABI version instead
_BENEATH = 1
_EXECUTE, _WRITE, _READ, _LIST = 1, 2, 4, 8
_REFER, _TRUNCATE, _DEVICE = 1 << 13, 1 << 14, 1 << 15
_EVERYTHING_V1 = (1 << 13) - 1  # execute to make_sym
_NO_NEW_PRIVS = 38

_libc = ctypes.CDLL(None, use_errno=True)


def version() -> int:
    """The kernel's Landlock ABI; 0 where there is none."""
    return max(0, _libc.syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION)))


def confine(readable: tuple[str, ...], writable: tuple[str, ...]) -> None:
    """From now on only these folders and files can be opened; no TCP either, and no signals or abstract sockets to others."""
    abi = version()
    handled = (
        _EVERYTHING_V1 | (_REFER if abi >= 2 else 0) | (_TRUNCATE if abi >= 3 else 0) | (_DEVICE if abi >= 5 else 0)
    )
    network, scoped = (3 if abi >= 4 else 0), (3 if abi >= 6 else 0)
    rules = struct.pack("QQQ", handled, network, scoped)[: 8 if abi < 4 else 16 if abi < 6 else 24]
    ruleset = _call(_CREATE, rules, ctypes.c_size_t(len(rules)), ctypes.c_uint32(0))
    for paths, wanted in ((readable, _EXECUTE | _READ | _LIST), (writable, handled & ~_EXECUTE)):
        for path in paths:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
            allowed = wanted if os.path.isdir(path) else wanted & (_READ | _WRITE | _TRUNCATE | _EXECUTE)
            _call(
                _ADD, ctypes.c_int(ruleset), ctypes.c_int(_BENEATH), struct.pack("=Qi", allowed, fd), ctypes.c_uint32(0)
            )
            os.close(fd)
    one, zero = ctypes.c_ulong(1), ctypes.c_ulong(0)
    if _libc.prctl(_NO_NEW_PRIVS, one, zero, zero, zero):
        raise OSError(ctypes.get_errno(), "no_new_privs")
    _call(_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    os.close(ruleset)


def _call(*arguments) -> int:
    result = _libc.syscall(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"Landlock's system call {arguments[0]} was refused")
    return result
