"""Memory, disk, descriptors and output by the gigabyte."""

from __future__ import annotations

from llm_marl_envs.tools.sandbox.escapes import SHORT, STOPPED, Escape, JobLimits

_STARVED = ("memory", "error", "signal", "output", *STOPPED)
_TIGHT = JobLimits(cpu_s=3.0, wall_s=8.0, memory_mb=128, output_kb=64)


def _memory(name: str, program: str, ends: tuple[str, ...] = (), slow: bool = False) -> Escape:
    return Escape("memory", name, program, ends=ends, limits=_TIGHT, dangerous=True, slow=slow)


def _flood(name: str, program: str, ends: tuple[str, ...] = ("output", *STOPPED), tests: str = "") -> Escape:
    return Escape("output", name, program, tests=tests, ends=ends, limits=SHORT)


ESCAPES = (
    _memory("one big array", 'x = bytearray(1 << 30)\nx[::4096] = b"x" * (1 << 18)\nescaped("a gigabyte")', ("memory",)),
    _memory("many small arrays", """
kept = []
while True:
    kept.append(bytearray(1 << 20))
    if len(kept) > 512:
        escaped("512 MB")
        break
""", ("memory",)),
    _memory("maps that nobody counts", """
import mmap
kept = []
try:
    for flags in (mmap.MAP_PRIVATE, mmap.MAP_SHARED):
        for _ in range(256):
            area = mmap.mmap(-1, 4 << 20, flags | mmap.MAP_ANONYMOUS)
            area[::4096] = b"x" * 1024
            kept.append(area)
except (OSError, MemoryError, ValueError):
    pass
if len(kept) > 128:
    escaped(f"{4 * len(kept)} MB of maps")
"""),
    _memory("files in memory", """
kept = []
try:
    for i in range(20):
        fd = os.memfd_create("x")
        kept.append(fd)
        for _ in range(64):
            os.write(fd, bytes(1 << 20))
except (OSError, MemoryError):
    pass
if kept:
    escaped(f"{len(kept)} files in memory")
"""),
    _memory("shared memory", """
from multiprocessing import shared_memory
attempt("POSIX shared memory", lambda: shared_memory.SharedMemory(create=True, size=1 << 20))
attempt("a file in /dev/shm", lambda: open("/dev/shm/planted", "w").close())
attempt("System V shared memory", lambda: syscall("shmget", 0, 1 << 20, 0o1600))
attempt("a System V queue", lambda: syscall("msgget", 0, 0o1600))
attempt("System V semaphores", lambda: syscall("semget", 0, 1, 0o1600))
attempt("a POSIX queue", lambda: syscall("mq_open", b"planted", 0o102, 0o600, None))
"""),
    _memory("a string that doubles", 's = "x"\nwhile len(s) < 1 << 32:\n    s += s\nescaped("4 GB of text")', ("memory",)),
    _memory("a number that doubles", 'n = 2\nwhile n.bit_length() < 1 << 34:\n    n = n << n.bit_length()\nescaped("2 GB of number")', _STARVED),
    _memory("a shift", 'n = 1 << (8 << 30)\nescaped("a gigabyte of number")', ("memory", "error")),
    _memory("endless recursion", "sys.setrecursionlimit(10**9)\ndef f(n):\n    return f(n + 1) + 1\nf(0)", ("error", "signal", "memory", "cpu"), slow=True),  # whichever limit it meets first
    _memory("recursion in C", """
import gc
gc.disable()
sys.setrecursionlimit(10**9)
x = ()
for _ in range(500_000):
    x = (x,)
hash(x)
""", ("error", "signal", "memory")),  # hash: what repr does costs the square of the depth, seconds before the stack ends
    _memory("the compiler's stack", """
for text in ("(" * 100_000, "-" * 1_000_000 + "1", "[" * 90 + "x" + "]" * 90, "a." * 200_000 + "b", "lambda: " * 50_000 + "0"):
    try:
        compile(text, "x", "eval")
    except BaseException as bad:
        print(type(bad).__name__)
""", ("ok", "error", "signal", "memory", *STOPPED)),
    _memory("stacks of threads", """
import threading
threading.stack_size(512 << 20)
attempt("a stack of 512 MB", lambda: threading.Thread(target=int).start())
"""),
    _memory("the C library's memory", """
import ctypes
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
kept = 0
for _ in range(64):
    block = libc.malloc(ctypes.c_size_t(16 << 20))
    if not block:
        break
    ctypes.memset(block, 1, 16 << 20)
    kept += 16
if kept >= 512:
    escaped(f"{kept} MB")
"""),
    _memory("limits of one's own raised", """
import resource
for name in ("RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_NPROC", "RLIMIT_NOFILE", "RLIMIT_FSIZE", "RLIMIT_CORE", "RLIMIT_MEMLOCK"):
    limit = getattr(resource, name)
    hard = resource.getrlimit(limit)[1]
    if hard == resource.RLIM_INFINITY:
        escaped(f"{name} is unlimited")
    attempt(f"{name} raised", resource.setrlimit, limit, (hard + 1, hard + 1))
    attempt(f"{name} lifted", resource.setrlimit, limit, (-1, -1))
"""),
    _memory("tests that are fed gigabytes", """
def answer(x):
    return ["x" * 1000] * 60_000
""", ()),
    _memory("something small that unpacks big", """
import zlib
bomb = zlib.compress(bytes(16 << 20), 1)
kept = []
for _ in range(256):
    kept.append(zlib.decompress(bomb))
escaped("4 GB")
""", ("memory",)),
    Escape("disk", "fill the work folder", """
total = 0
try:
    for i in range(64):
        with open(f"f{i}", "wb") as file:
            for _ in range(15):
                total += file.write(bytes(1 << 20))
except OSError:
    pass
if total > 64 << 20:
    escaped(f"{total >> 20} MB on disk")
""", limits=_TIGHT, dangerous=True),
    Escape("disk", "files without names", """
kept, total = [], 0
try:
    for i in range(40):
        fd = os.open("f", os.O_CREAT | os.O_RDWR)
        os.unlink("f")
        kept.append(fd)
        for _ in range(15):
            total += os.write(fd, bytes(1 << 20))
except OSError:
    pass
if total > 64 << 20:
    escaped(f"{total >> 20} MB in files without names")
""", limits=_TIGHT, dangerous=True),
    Escape("disk", "a terabyte of nothing", """
with open("sparse", "wb") as file:
    attempt("truncated to a terabyte", lambda: file.truncate(1 << 40))
    attempt("wrote beyond a terabyte", lambda: (file.seek(1 << 40), file.write(b"x"), file.flush()))
    attempt("allocated a gigabyte", lambda: os.posix_fallocate(file.fileno(), 0, 1 << 30))
for fd in (0, 1, 2):
    attempt(f"grew stream {fd} to a gigabyte", lambda: os.ftruncate(fd, 1 << 30))
    attempt(f"allocated a gigabyte in stream {fd}", lambda: os.posix_fallocate(fd, 0, 1 << 30))
""", dangerous=True),
    Escape("disk", "links and folders without end", """
made = 0
try:
    for i in range(200_000):
        os.symlink("x" * 4000, f"l{i}")
        made += 1
except OSError:
    pass
if made == 200_000:
    escaped("800 MB of links")
""", dangerous=True),
    Escape("descriptors", "descriptors that are not ours", """
import stat
for fd in range(3, 65_536):
    try:
        found = os.fstat(fd)
    except OSError:
        continue
    escaped(f"descriptor {fd} is open, mode {found.st_mode:o}")
"""),
    Escape("descriptors", "a thousand copies", """
made = []
try:
    while len(made) < 20_000:
        made.append(os.dup(1))
except OSError:
    pass
if len(made) > 4096:
    escaped(f"{len(made)} descriptors")
kept = []
try:
    while True:
        kept.append(os.pipe())
except OSError:
    pass
"""),
    Escape("descriptors", "descriptors sent by socket", """
import array, socket
left, right = socket.socketpair()
right.settimeout(0.5)
attempt("sent a descriptor", lambda: socket.send_fds(left, [b"x"], [0, 1, 2]))
attempt("received a descriptor", lambda: bool(socket.recv_fds(right, 1, 3)[1]))
for fd in range(3, 32):
    try:
        line = socket.socket(fileno=os.dup(fd))
    except OSError:
        continue
    if fd not in (left.fileno(), right.fileno()):
        attempt(f"sent through {fd}", lambda: socket.send_fds(line, [b"x"], [0]))
""", ends=("ok", "wall", "error")),
    Escape("descriptors", "descriptors of a program under test", """
def answer():
    found = []
    for fd in range(4, 65_536):
        try:
            os.fstat(fd)
        except OSError:
            continue
        found.append(fd)
    return found
""", tests="got = answer()\nprint('ESCAPED: open', got) if got else None", ends=("ok",)),
    _flood("without end", 'while True:\n    print("x" * 1000)'),
    _flood("without a line's end", 'while True:\n    sys.stdout.write("x" * 1000)'),
    _flood("to standard error", 'while True:\n    print("x" * 1000, file=sys.stderr)', ("error", "output", *STOPPED)),
    _flood("to both, binary", 'while True:\n    os.write(1, bytes(range(256)) * 64)\n    os.write(2, b"\\xff" * 4096)', ("error", "output", *STOPPED)),
    _flood("half letters and control codes", """
print("\\ud800\\udfff" * 100, "\\x1b[2J\\x1b]0;title\\x07", "\\u202e", "\\0" * 100)
sys.stdout.buffer.write(b"\\xed\\xa0\\x80\\xff\\xfe" * 100)
raise ValueError("\\ud800" * 100_000)
""", ("error",)),
    _flood("by many threads", """
import threading
def write():
    while True:
        os.write(1, b"x" * 10_000)
for _ in range(20):
    threading.Thread(target=write).start()
"""),
    _flood("at the end of the world", """
os.lseek(1, 1 << 40, os.SEEK_SET)
attempt("wrote far away", lambda: os.write(1, b"x"))
os.ftruncate(1, 10 << 20)
""", ("output", "error")),
    _flood("from a program under test", """
def answer():
    while True:
        os.write(1, b"x" * 10_000)
        os.write(2, b"x" * 10_000)
""", ("failed", "error", "output", "signal", *STOPPED), tests="assert answer() == 41"),
    _flood("an exception as long as a book", "raise ValueError('x' * (8 << 20))", ("error", "memory")),
)  # fmt: skip
