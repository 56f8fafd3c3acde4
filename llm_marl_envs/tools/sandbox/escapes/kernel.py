"""Nested namespaces, other processes' memory, and the kernel's wider doors."""

from __future__ import annotations

from llm_marl_envs.tools.sandbox.escapes import Escape


def _open(name: str, program: str, dangerous: bool = False) -> Escape:
    return Escape("kernel", name, program, dangerous=dangerous)


ESCAPES = (
    Escape("namespaces", "a user namespace of one's own", """
attempt("unshare(user)", lambda: syscall("unshare", 0x10000000))
attempt("mapped root", lambda: open("/proc/self/uid_map", "w").write("0 0 1"))
if os.getuid() == 0:
    escaped("root in a namespace")
""", dangerous=True),
    Escape("namespaces", "every other namespace", """
for flag in (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x20000000, 0x40000000, 0x00000080, 0x7E020000):
    attempt(f"unshare({flag:#x})", lambda: syscall("unshare", flag))
""", dangerous=True),
    Escape("namespaces", "a process in new namespaces", """
for flags in (0x10000000, 0x10000000 | 0x20000000 | 0x00020000, 0x7E020000):
    pid = syscall("clone", flags | 17, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    if pid > 0:
        escaped(f"clone({flags:#x})")
    pid = syscall("clone3", flags.to_bytes(8, "little") + bytes(24) + (17).to_bytes(8, "little") + bytes(48), 88)
    if pid == 0:
        os._exit(0)
    if pid > 0:
        escaped(f"clone3({flags:#x})")
"""),
    Escape("namespaces", "a thread that is more than a thread", """
# CLONE_THREAD is what threads need; with namespaces beside it the kernel must refuse, and does before a thread starts
for flags in (0x10000000, 0x20000000, 0x00020000, 0x40000000):
    got = syscall("clone", flags | 0x00010000 | 0x00000800 | 0x00000100, 0, 0, 0, 0)
    if got == 0:
        syscall("exit")
    if got > 0:
        escaped(f"a thread in new namespaces {flags:#x}")
""", dangerous=True),
    Escape("namespaces", "enter another's namespaces", """
for pid in (1, os.getppid()):
    for name in ("mnt", "net", "pid", "user", "ipc"):
        attempt(f"opened {pid}'s {name}", lambda: os.close(os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY)))
fd = syscall("pidfd_open", os.getppid(), 0)
attempt("setns", lambda: syscall("setns", fd if fd >= 0 else 0, 0x00020000))
reached("setns", 0, 0)
""", dangerous=True),
    Escape("namespaces", "mounts", """
os.mkdir("m")
for source, kind, flags in ((b"none", b"tmpfs", 0), (b"/", None, 4096), (b"proc", b"proc", 0), (b"overlay", b"overlay", 0), (b"none", None, 1 << 18)):
    attempt(f"mounted {kind}", lambda: syscall("mount", source, b"m", kind, flags, None))
attempt("made the root writable", lambda: syscall("mount", b"none", b"/", None, 32 | 4096, None))
for target in (b"/dev/null", b"/sandbox/code", b"/"):
    attempt(f"unmounted {target}", lambda: syscall("umount", target, 2))
""", dangerous=True),
    Escape("namespaces", "mounts by the newer calls", """
reached("open_tree", -100, b"/", 1)
reached("fsopen", b"tmpfs", 0)
reached("fspick", -100, b"/", 0)
reached("fsmount", 0, 0, 0)
reached("move_mount", -100, b"/", -100, b"/sandbox", 0)
reached("mount_setattr", -100, b"/", 0, bytes(32), 32)
""", dangerous=True),
    Escape("ptrace", "trace the parent or oneself", """
parent = os.getppid()
attempt("PTRACE_TRACEME", lambda: syscall("ptrace", 0, 0, 0, 0))
attempt("PTRACE_SEIZE", lambda: syscall("ptrace", 0x4206, parent, 0, 0))
"""),
    Escape("ptrace", "read and write another's memory", """
import ctypes, struct
room = ctypes.create_string_buffer(4096)
mine = struct.pack("QQ", ctypes.addressof(room), 16)
theirs = struct.pack("QQ", id(None), 16)
for pid in [os.getppid(), *range(1, 30)]:
    if pid == os.getpid():
        continue
    for name in ("process_vm_readv", "process_vm_writev"):
        if name == "process_vm_writev" and pid != os.getppid():
            continue
        attempt(f"{name} of {pid}", lambda: syscall(name, pid, mine, 1, theirs, 1, 0))
""", dangerous=True),
    Escape("ptrace", "compare and advise another process", """
reached("kcmp", os.getppid(), os.getpid(), 0, 0, 0)
reached("process_madvise", 0, b"", 0, 0, 0)
reached("process_mrelease", 0, 0)
reached("move_pages", os.getppid(), 0, None, None, None, 0)
reached("migrate_pages", os.getppid(), 0, None, None)
"""),
    Escape("ptrace", "the memory of the process that tests", """
def answer():
    import ctypes, struct
    found = []
    room = ctypes.create_string_buffer(16)
    for pid in range(max(1, os.getpid() - 20), os.getpid() + 20):
        sent = struct.pack("QQ", ctypes.addressof(room), 16), 1, struct.pack("QQ", id(None), 16), 1, 0
        if pid != os.getpid() and syscall("process_vm_readv", pid, *sent) > 0:
            found.append(pid)
        if os.path.exists(f"/proc/{pid}/mem"):
            found.append(f"/proc/{pid}/mem")
    return found
""", tests="got = answer()\nprint('ESCAPED: the memory of', got) if got else None", ends=("ok",), dangerous=True),
    _open("programs in the kernel", "reached('bpf', 0, bytes(128), 128)\nreached('bpf', 5, bytes(128), 128)"),
    _open("io_uring", "reached('io_uring_setup', 1, bytes(120))"),
    _open("keys", "reached('keyctl', 0, -3, 0)\nreached('add_key', b'user', b'planted', b'x', 1, -3)"),
    _open("performance events", "reached('perf_event_open', bytes(120), 0, -1, -1, 0)"),
    _open("faults in user space", "reached('userfaultfd', 1)"),
    _open("a terminal's input", """
import fcntl
for fd in (0, 1, 2):
    attempt(f"TIOCSTI on {fd}", fcntl.ioctl, fd, 0x5412, b"x")
    attempt(f"TIOCLINUX on {fd}", fcntl.ioctl, fd, 0x541C, b"\\x03")
    attempt(f"TIOCSCTTY on {fd}", fcntl.ioctl, fd, 0x540E, 0)
attempt("the terminal", lambda: os.open("/dev/tty", os.O_RDWR))
"""),
    _open("restart the machine", "reached('reboot', 0, 0, 0, 0)", True),
    _open("swap and accounting", "reached('swapon', b'x', 0)\nreached('acct', b'x')\nreached('quotactl', 0, b'x', 0, None)", True),
    _open("load code into the kernel", """
reached("init_module", b"x", 1, b"")
reached("finit_module", 0, b"", 0)
reached("kexec_load", 0, 0, None, 0)
reached("kexec_file_load", -1, -1, 0, None, 0)
""", True),
    _open("set the clock", """
reached("settimeofday", None, bytes(8))
reached("clock_settime", 0, None)
""", True),
    _open("name the machine", "reached('sethostname', b'planted', 7)\nreached('setdomainname', b'planted', 7)", True),
    _open("ports, tables and personalities", """
reached("iopl", 3)
reached("ioperm", 0x70, 2, 1)
reached("modify_ldt", 0, None, 0)
reached("personality", 0x0040000)
reached("syslog", 10, None, 0)
""", True),
    _open("watch the file system", "reached('fanotify_init', 0, 0)\nreached('name_to_handle_at', -100, b'/', bytes(8), bytes(4), 0)"),
    _open("a filter of one's own", "reached('seccomp', 1, 0, None)\nreached('seccomp', 2, 0, None)\nreached('landlock_create', None, 0, 1)"),
    _open("memory policies and splices", "reached('mbind', 0, 0, 0, None, 0, 0)\nreached('vmsplice', 1, None, 0, 0)"),
    _open("every number there is", """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
# with arguments that no call accepts: what is refused by the filter is refused before they are looked at
known = set(ARM.values()) if os.uname().machine == "aarch64" else set(X86.values())
for number in range(449, 1024):
    ctypes.set_errno(0)
    if libc.syscall(ctypes.c_long(number), *[ctypes.c_long(-1)] * 6) >= 0 or ctypes.get_errno() not in (1, 38):
        escaped(f"the system call {number} is open")
""", True),
)  # fmt: skip
