"""Memory that the kernel holds for a program and that no limit on its address space counts.

Each says how much it holds (worked out, or what it wrote itself), so a figure is an escape and a refusal is none. What 64
descriptors can hold at most (14 MB in the buffers of sockets) is no escape. Few of them are for the quick runs.
"""

from __future__ import annotations

from llm_marl_envs.tools.sandbox.escapes import Escape, JobLimits

_LIMITS = JobLimits(cpu_s=3.0, wall_s=8.0, memory_mb=128, output_kb=64)

# Fill the buffers of as many sockets as there are descriptors; bytes.
_FILL = """
import ctypes, socket, struct, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def fill(kept):
    total = 0
    try:
        while True:
            for line in socket.socketpair():
                kept.append(line)
                line.setblocking(False)
                try:
                    while True:
                        total += line.send(bytes(1 << 16))
                except BlockingIOError:
                    pass
    except OSError:
        return total
"""
# Map pages wherever asked for.
_MAP = """
import ctypes, time
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = libc.mremap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mremap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p]
FAILED = ctypes.c_void_p(-1).value
"""


def _held(name: str, program: str, tests: str = "", slow: bool = True) -> Escape:
    ends = ("ok",) if tests else ()
    return Escape("kernel memory", name, program, tests, ends=ends, limits=_LIMITS, dangerous=True, slow=slow)


ESCAPES = (
    _held("threads that leave the common descriptors", _FILL + """
total, done, end = [], threading.Semaphore(0), threading.Event()
threading.stack_size(64 << 10)
def hold():
    kept = []
    if syscall("close_range", 4000, 4001, 2) == 0:  # CLOSE_RANGE_UNSHARE
        total.append(fill(kept))
    done.release()
    end.wait()
for _ in range(6):
    threading.Thread(target=hold, daemon=True).start()
    done.acquire()
if sum(total) > 32 << 20:
    escaped(f"{sum(total) >> 20} MB in sockets")
os._exit(0)
""", slow=False),
    _held("threads that never had them in common", _FILL + """
# a thread that only waits, started without CLONE_FILES: it keeps copies of what is open now
total, stacks = 0, []
for _ in range(6):
    kept = []
    got = fill(kept)
    stack = ctypes.create_string_buffer(1 << 16)
    stacks.append(stack)
    top = (ctypes.addressof(stack) + (1 << 16)) & ~15
    if libc.clone(libc.pause, ctypes.c_void_p(top), 0x100 | 0x200 | 0x800 | 0x10000, None) > 0:
        total += got
    for line in kept:
        line.close()
if total > 32 << 20:
    escaped(f"{total >> 20} MB in sockets")
os._exit(0)
"""),
    _held("sockets in all descriptors", _FILL + """
total = fill([])
if total > 32 << 20:
    escaped(f"{total >> 20} MB in sockets")
"""),
    _held("larger buffers", """
import socket, fcntl
left, right = socket.socketpair()
for option in (7, 8, 32, 33):  # SO_SNDBUF, SO_RCVBUF and their FORCE
    attempt(f"a buffer enlarged by {option}", left.setsockopt, socket.SOL_SOCKET, option, 1 << 30)
for fd in os.pipe():
    attempt("a larger pipe", fcntl.fcntl, fd, 1031, 1 << 20)
"""),
    _held("sockets of other families", """
import socket
for family in range(2, 64):
    for kind in (1, 2, 3, 4, 5):
        try:
            socket.socketpair(family, kind)
        except OSError as bad:
            if bad.errno in (1, 13):
                continue
        escaped(f"the kernel looked at a pair of family {family}")
        break
"""),
    _held("urgent bytes", """
import socket
left, right = socket.socketpair()
attempt("an urgent byte", left.send, b"x", socket.MSG_OOB)
for flag in (socket.MSG_OOB, 0x2000, 0x4000000, 0x20000000):  # error queue, zero copy, fast open
    for act in (lambda: right.recv(1, flag | socket.MSG_DONTWAIT), lambda: left.send(b"x", flag | socket.MSG_DONTWAIT)):
        try:
            act()
        except OSError as bad:
            if bad.errno == 1:
                continue
        escaped(f"the kernel looked at the flag {flag:#x}")
""", slow=False),
    _held("descriptors on their way", """
import array, socket
left, right = socket.socketpair()
for _ in range(100):
    try:
        left.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0] * 200))])
    except OSError:
        continue
    escaped("200 descriptors in a message")
reached("sendmmsg", left.fileno(), None, 0, 0)
"""),
    _held("pages that a file has let go", """
import socket, time
fd, kept, held, pages = os.open("f", os.O_CREAT | os.O_RDWR), [], 0, 64
try:
    while time.process_time() < 2:
        for line in socket.socketpair():
            kept.append(line)
            line.setblocking(False)
            try:
                while True:
                    os.ftruncate(fd, 0)
                    os.pwrite(fd, b"x" * 4096 * pages, 0)
                    for i in range(0, pages, 2):
                        held += 4096 * os.sendfile(line.fileno(), fd, 4096 * (i + 1) - 1, 2)  # two bytes pin two pages
            except BlockingIOError:
                pass
except OSError:
    pass
if held > 32 << 20:
    escaped(f"{held >> 20} MB of pages that are in no file")
"""),
    _held("splices", """
left, right = os.pipe()
fd = os.open(sys.executable, os.O_RDONLY)
reached("splice", fd, None, right, None, 4096, 0)
reached("tee", left, right, 4096, 0)
reached("vmsplice", right, None, 0, 0)
reached("sendfile", right, fd, None, 1)
"""),
    _held("page tables for pages far apart", _MAP + """
pages = 0
for place in range(1, 60_000):
    at = libc.mmap(place << 30, 4096, 3, 0x100022, -1, 0)
    if at == place << 30:
        ctypes.memset(at, 1, 1)
        pages += 1
if pages > 4096:
    escaped(f"{pages >> 7} MB of page tables")  # two of 4 kB for each
"""),
    _held("page tables for pages moved far apart", _MAP + """
pages = 0
for place in range(1, 30_000):
    at = libc.mmap(None, 4096, 3, 0x22, -1, 0)
    if at == FAILED:
        break
    ctypes.memset(at, 1, 1)
    if libc.mremap(at, 4096, 4096, 3, place << 30) == FAILED:
        libc.munmap(ctypes.c_void_p(at), 4096)
    else:
        pages += 1
if pages > 4096:
    escaped(f"{pages >> 7} MB of page tables")
"""),
    _held("POSIX timers", """
import ctypes, time
made, timer = 0, ctypes.c_int()
number = 107 if os.uname().machine == "aarch64" else 222
libc = ctypes.CDLL(None)
while made < 200_000 and time.process_time() < 2 and libc.syscall(ctypes.c_long(number), 1, None, ctypes.byref(timer)) == 0:
    made += 1
if made > 1000:
    escaped(f"{made} timers, {made * 380 >> 20} MB")
""", slow=False),
    _held("signals that wait", """
import ctypes, signal
signal.pthread_sigmask(signal.SIG_BLOCK, range(34, 64))
sent = 0
libc = ctypes.CDLL(None)
for _ in range(2000):
    sent += libc.sigqueue(os.getpid(), 40, None) == 0
if sent > 100:
    escaped(f"{sent} signals wait")
"""),
    _held("records that are locked", """
def answer():
    import fcntl
    global kept
    kept = open("f", "w")
    for i in range(200):
        fcntl.lockf(kept, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 2 * i)
    return True
""", tests="""
assert answer()
import fcntl, struct
got = fcntl.fcntl(open('/sandbox/work/f'), 5, struct.pack('hhqqi', 0, 0, 0, 0, 0))
if struct.unpack('hhqqi', got)[0] != 2:
    print('ESCAPED: the kernel keeps a lock')
""", slow=False),
    _held("leases and owners", """
import fcntl
fd = os.open("f", os.O_CREAT | os.O_RDWR)
for name, command, value in (("a lease", 1024, 1), ("a notice", 1026, 1), ("an owner", 8, os.getpid()), ("a signal", 10, 9),
                             ("a lock by the file", 37, bytes(32)), ("seals", 1033, 1), ("a hint", 1036, bytes(8))):
    attempt(name, fcntl.fcntl, fd, command, value)
"""),
    _held("watches on everything", """
import select
watches, lines = 0, [fd for _ in range(9) for fd in os.pipe()]
pollers = [select.epoll() for _ in range(18)]
for line in lines:
    for number in range(40, 64):  # one file under many numbers, which are free again at once
        os.dup2(line, number)
        for poller in pollers:
            poller.register(number, 1)
            watches += 1
        os.close(number)
if watches > 20_000:
    escaped(f"{watches} watches")
for name in ("inotify_init", "fanotify_init"):
    reached(name, 0, 0)
"""),
    _held("a thousand kernel objects", """
import select
kinds = {"epoll": select.epoll, "pipe": os.pipe, "eventfd": lambda: os.eventfd(0), "timerfd": lambda: os.timerfd_create(1)}
for name, make in kinds.items():
    made = []
    try:
        while len(made) < 1000:
            made.append(make())
    except (OSError, AttributeError):
        pass
    if len(made) == 1000:
        escaped(f"a thousand of {name}")
    os.closerange(3, 1100)
"""),
    _held("names and links by the hundred thousand", """
made = 0
try:
    open("f", "w").close()
    while made < 300_000:
        os.link("f", f"{made}" + "y" * 240)
        made += 1
except OSError:
    pass
if made > 50_000:
    escaped(f"{made} names, {made >> 11} MB")
"""),
    _held("the four files that a job is given", """
total = 0
for fd in (0, 1, 2, 3):
    try:
        for i in range(256):
            total += os.pwrite(fd, bytes(1 << 20), i << 20)
    except OSError:
        pass
if total > 64 << 20:
    os.ftruncate(1, 0)
    escaped(f"{total >> 20} MB in the streams")
"""),
)  # fmt: skip
