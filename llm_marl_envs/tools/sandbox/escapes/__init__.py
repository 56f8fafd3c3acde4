"""Hostile programs, by category, and what it means that one of them is contained.

`suite.run_suite(box)` plays them all. A category's module is data: the texts of programs, each with the statuses it may
end with. What a program finds it says on standard output as a line that begins with ESCAPED.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass

from llm_marl_envs.tools.sandbox.jobs import JobLimits

MODULES = (
    "files",
    "surroundings",
    "network",
    "processes",
    "signals",
    "resources",
    "held",
    "kernel",
    "secrets",
    "verdicts",
    "results",
    "tricks",
    "talk",
)
SMALL = JobLimits(cpu_s=2.0, wall_s=4.0, memory_mb=128, output_kb=64)
SHORT = JobLimits(cpu_s=1.0, wall_s=1.5, memory_mb=128, output_kb=64)
# How a run may end that was stopped by a limit on time.
STOPPED = ("cpu", "wall")


@dataclass(frozen=True, slots=True)
class Escape:
    """One hostile program.

    With `tests` it is examined, and must then not be "ok" unless `ends` says so; otherwise it is run. `before` is a job
    played just before it in the same sandbox. `@NAME@` in these texts stands for what the suite has planted (see
    `suite.Planted`), and `PRELUDE` is put before `program` and `before`. `dangerous`: it would harm a machine without a
    sandbox. `slow`: for the long runs only, because it
    takes a second or more although it is contained, or is much like another.
    """

    category: str
    name: str
    program: str
    tests: str = ""
    stdin: str = ""
    before: str = ""
    ends: tuple[str, ...] = ()  # empty: any, but "ok" for tests
    limits: JobLimits = SMALL
    dangerous: bool = False
    slow: bool = False

    @property
    def allowed(self) -> tuple[str, ...]:
        """The statuses it may end with; empty for any."""
        faked = ("error", "failed", "signal", "cpu", "wall", "memory", "output")
        return self.ends or (faked if self.tests else ())


# What the modules of tricks make their programs with; all but one of a kind are for the long runs only.
TIGHT = JobLimits(cpu_s=2.0, wall_s=3.0, memory_mb=128, output_kb=64)
TESTS = "assert answer(20) == 41\nassert answer(1) == 3\nassert answer(-4) == -7"  # expected values are nowhere in the programs
ENDS = ("error", "memory", "signal", *STOPPED)
ANY = ("ok", "output", *ENDS)


def running(category: str, name: str, program: str, ends: tuple[str, ...] = ANY, slow: bool = True) -> Escape:
    """It is run."""
    return Escape(category, name, program, ends=ends, limits=TIGHT, slow=slow)


def fooling(category: str, name: str, program: str, tests: str = TESTS, slow: bool = True) -> Escape:
    """It is examined, and must not be "ok"."""
    return Escape(category, name, program, tests, limits=SHORT, slow=slow)


def all_escapes() -> tuple[Escape, ...]:
    """Every hostile program, in the order of the categories; within one, the most telling comes first."""
    found = (importlib.import_module(f"{__name__}.{module}").ESCAPES for module in MODULES)
    return tuple(escape for escapes in found for escape in escapes)


def one_of_each(escapes: Iterable[Escape]) -> list[Escape]:
    """A sample of a few seconds: the first program of each category, or the first that is not slow."""
    chosen: dict[str, Escape] = {}
    for escape in sorted(escapes, key=lambda e: e.slow):
        chosen.setdefault(escape.category, escape)
    return list(chosen.values())


# What hostile programs have in common: how to say that something worked, and system calls by name.
PRELUDE = '''
import os, sys


def escaped(what):
    os.write(1, f"ESCAPED: {what}\\n".encode("utf-8", "backslashreplace"))


def attempt(what, act, *arguments):
    """Say so if `act` gets through: it neither raises nor returns False or -1."""
    try:
        result = act(*arguments)
    except BaseException:
        return
    if result is not False and result != -1:
        escaped(what)


X86 = dict(mmap=9, shmget=29, shmat=30, dup=32, clone=56, fork=57, vfork=58, execve=59, kill=62, semget=64, msgget=68,
    chown=92, syslog=103, ptrace=101, setuid=105, personality=135, setpriority=141, modify_ldt=154, pivot_root=155,
    prctl=157, chroot=161, acct=163, settimeofday=164, mount=165, umount=166, swapon=167, reboot=169, sethostname=170,
    setdomainname=171, iopl=172, ioperm=173, init_module=175, quotactl=179, tkill=200, mq_open=240, kexec_load=246,
    add_key=248, keyctl=250, clock_settime=227, tgkill=234, mbind=237, inotify_init=294, rt_sigqueueinfo=129,
    migrate_pages=256, mknodat=259, unshare=272, vmsplice=278, move_pages=279, fanotify_init=300, perf_event_open=298,
    prlimit64=302, name_to_handle_at=303, open_by_handle_at=304, setns=308, process_vm_readv=310,
    process_vm_writev=311, kcmp=312, finit_module=313, seccomp=317, memfd_create=319, kexec_file_load=320, bpf=321,
    execveat=322, userfaultfd=323, pkey_alloc=330, pidfd_send_signal=424, io_uring_setup=425, open_tree=428,
    move_mount=429, fsopen=430, fsmount=432, fspick=433, pidfd_open=434, clone3=435, openat2=437, pidfd_getfd=438,
    process_madvise=440, mount_setattr=442, landlock_create=444, memfd_secret=447, process_mrelease=448, lsm_set=460,
    close_range=436, splice=275, tee=276, sendfile=40, sendmmsg=307)
ARM = dict(mmap=222, shmget=194, shmat=196, dup=23, clone=220, execve=221, kill=129, semget=190, msgget=186, syslog=116,
    ptrace=117, setuid=146, personality=92, setpriority=140, pivot_root=41, prctl=167, chroot=51, acct=89,
    settimeofday=170, mount=40, umount=39, swapon=224, reboot=142, sethostname=161, setdomainname=162, init_module=105,
    quotactl=60, tkill=130, mq_open=180, kexec_load=104, add_key=217, keyctl=219, clock_settime=112, tgkill=131,
    mbind=235, inotify_init=26, rt_sigqueueinfo=138, migrate_pages=238, mknodat=33, unshare=97, vmsplice=75,
    move_pages=239, fanotify_init=262, perf_event_open=241, prlimit64=261, name_to_handle_at=264,
    open_by_handle_at=265, setns=268, process_vm_readv=270, process_vm_writev=271, kcmp=272, finit_module=273,
    seccomp=277, memfd_create=279, kexec_file_load=294, bpf=280, execveat=281, userfaultfd=282, pkey_alloc=289,
    pidfd_send_signal=424, io_uring_setup=425, open_tree=428, move_mount=429, fsopen=430, fsmount=432, fspick=433,
    pidfd_open=434, clone3=435, openat2=437, pidfd_getfd=438, process_madvise=440, mount_setattr=442,
    landlock_create=444, memfd_secret=447, process_mrelease=448, lsm_set=460, close_range=436, splice=76, tee=77,
    sendfile=71, sendmmsg=269)


def syscall(name, *arguments):
    """The raw system call: its result, or -1 and errno in `syscall.errno`. -1 too where this machine has no such call."""
    import ctypes
    number = (ARM if os.uname().machine == "aarch64" else X86).get(name)
    if number is None:
        syscall.errno = 38
        return -1
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    sent = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = libc.syscall(ctypes.c_long(number), *sent)
    syscall.errno = ctypes.get_errno()
    return result


def reached(name, *arguments):
    """Say so if the kernel looked at the arguments of a system call at all, instead of refusing it."""
    try:
        result = syscall(name, *arguments)
    except BaseException:
        return
    if result >= 0 or syscall.errno not in (1, 13, 38):  # EPERM, EACCES, ENOSYS
        escaped(f"the system call {name} is open (errno {syscall.errno})")


def memory(addresses, reach=32 << 20, step=1 << 16):
    """The readable memory around some addresses, in chunks. A pipe finds out what is mapped: writing from a hole fails."""
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    libc.write.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
    libc.write.restype = ctypes.c_ssize_t
    reader, writer = os.pipe()
    seen = set()
    for address in addresses:
        for start in range(max(step, address - reach) & -step, address + reach, step):
            if start in seen:
                continue
            seen.add(start)
            at = start
            while at < start + step:
                got = libc.write(writer, at, start + step - at)
                if got <= 0:
                    at = (at & -4096) + 4096
                    continue
                yield os.read(reader, got)
                at += got
    os.close(reader), os.close(writer)


def hunt(reach=32 << 20):
    """What memory holds of the suite's secrets: each begins with a mark that is written nowhere in this program in one piece."""
    import ctypes, re
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = [ctypes.c_size_t]
    here = ctypes.c_long()
    # small objects, big objects, the C heap, the stack, C globals
    roots = [id(object()), id([0] * 100_000), libc.malloc(64), libc.malloc(1 << 20), ctypes.addressof(here)]
    roots += [ctypes.c_void_p.in_dll(libc, "environ").value or 0, id(sys), id(None)]
    mark = re.compile(b"PLAN" + b"TED-[0-9a-f]{24}")
    found = set()
    for chunk in memory([r for r in roots if r], reach):
        found.update(m.decode() for m in mark.findall(chunk))
    return sorted(found)
'''
