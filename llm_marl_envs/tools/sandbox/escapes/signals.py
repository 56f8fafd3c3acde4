"""Signals to the server and to the host; and programs that will not end."""

from __future__ import annotations

from llm_marl_envs.tools.sandbox.escapes import SHORT, STOPPED, Escape

# A file's owner gets a signal when the file becomes ready: a signal that no kill() sends.
_BY_DESCRIPTOR = """
import fcntl, socket, time
for number in (9, 19, 15, 2):
    for target in (os.getppid(), 1, -os.getpgrp() if os.getpgrp() != os.getpid() else os.getppid()):
        left, right = socket.socketpair()
        try:
            fcntl.fcntl(left, 10, number)  # F_SETSIG
            fcntl.fcntl(left, fcntl.F_SETOWN, target)
            fcntl.fcntl(left, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
            os.write(right.fileno(), b"x")
        except OSError:
            continue
        escaped(f"signal {number} was sent to {target} by a descriptor")
time.sleep(0.1)
"""

ESCAPES = (
    Escape("signals", "kill the parent", """
import signal
for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGSTOP, signal.SIGSEGV):
    attempt(f"kill(parent, {number})", os.kill, os.getppid(), number)
"""),
    Escape("signals", "kill the first process", """
import signal
for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP):
    attempt(f"kill(1, {number})", os.kill, 1, number)
    attempt(f"kill(2, {number})", os.kill, 2, number)
""", dangerous=True),
    Escape("signals", "kill everybody", """
import signal
attempt("kill(-1)", os.kill, -1, signal.SIGKILL)
attempt("killpg(0)", os.killpg, os.getpgid(os.getppid()), signal.SIGKILL)
for pid in range(1, 300):
    if pid != os.getpid():
        attempt(f"kill({pid})", os.kill, pid, signal.SIGKILL)
""", dangerous=True),
    Escape("signals", "kill a process of the host", """
import signal
attempt("killed", os.kill, @VICTIM@, signal.SIGKILL)
"""),
    Escape("signals", "kill by other calls", """
parent, victim = os.getppid(), @VICTIM@
for target in (parent, victim):
    attempt(f"tgkill {target}", lambda: syscall("tgkill", target, target, 15))
    attempt(f"tkill {target}", lambda: syscall("tkill", target, 15))
    attempt(f"rt_sigqueueinfo {target}", lambda: syscall("rt_sigqueueinfo", target, 15, bytes([15, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255]) + bytes(116)))
    fd = syscall("pidfd_open", target, 0)
    if fd >= 0:
        escaped(f"a descriptor of process {target}")
        attempt("pidfd_send_signal", lambda: syscall("pidfd_send_signal", fd, 15, None, 0))
        attempt("pidfd_getfd", lambda: syscall("pidfd_getfd", fd, 0, 0))
"""),
    Escape("signals", "a signal by a descriptor's owner", _BY_DESCRIPTOR, dangerous=True),
    Escape("signals", "a signal by a descriptor's owner, the long way", """
import fcntl, socket, struct, time
left, right = socket.socketpair()
for kind in (0, 1, 2):
    try:
        fcntl.fcntl(left, 10, 9)
        fcntl.fcntl(left, 15, struct.pack("ii", kind, os.getppid()))  # F_SETOWN_EX
        fcntl.fcntl(left, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
        os.write(right.fileno(), b"x")
    except OSError:
        continue
    escaped(f"an owner of kind {kind}")
for request in (0x8901, 0x8902, 0x5410):  # FIOSETOWN, SIOCSPGRP, TIOCSPGRP
    attempt(f"ioctl {request:#x}", fcntl.ioctl, left, request, struct.pack("i", os.getppid()))
time.sleep(0.1)
"""),
    Escape("signals", "a folder's notices and a file's leases as signals", """
import fcntl, time
fd = os.open(".", os.O_RDONLY)
attempt("an owner of a folder", fcntl.fcntl, fd, fcntl.F_SETOWN, os.getppid())
attempt("notices of a folder", fcntl.fcntl, fd, 1026, 0x8000003F)
open("x", "w").close()
file = os.open("x", os.O_RDONLY)
attempt("a lease", fcntl.fcntl, file, 1024, fcntl.F_WRLCK)
time.sleep(0.05)
"""),
    Escape("signals", "a timer that signals another", """
import ctypes, struct
timer = ctypes.c_int()
# struct sigevent: value, signo, notify = SIGEV_THREAD_ID, thread
event = struct.pack("QiiI", 0, 9, 4, os.getppid()) + bytes(44)
number = 107 if os.uname().machine == "aarch64" else 222
if ctypes.CDLL(None).syscall(ctypes.c_long(number), ctypes.c_long(1), event, ctypes.byref(timer)) >= 0:
    escaped("a timer for another process's thread")
"""),
    Escape("signals", "tricks with the parent's death", """
for option, value in ((1, 9), (36, 1), (0x59616D61, os.getppid()), (4, 1), (15, b"server"), (8, 1), (28, 0)):
    attempt(f"prctl {option}", lambda: syscall("prctl", option, value, 0, 0, 0))
attempt("priority of the parent", os.setpriority, os.PRIO_PROCESS, os.getppid(), 19)
attempt("limits of the parent", lambda: __import__("resource").prlimit(os.getppid(), 7, (0, 0)))
attempt("processors of the parent", os.sched_setaffinity, os.getppid(), {0})
attempt("scheduling", os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(1))
"""),
    Escape("signals", "die by every signal", """
import signal
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
import ctypes
ctypes.string_at(1)
""", ends=("signal",)),
    Escape("timing", "a busy loop", "while True:\n    pass", ends=STOPPED, limits=SHORT, slow=True),
    Escape("timing", "a busy loop in C", "sum(range(10**14))", ends=STOPPED, limits=SHORT, slow=True),
    Escape("timing", "sleep for ever", "import time\nwhile True:\n    time.sleep(1000)", ends=("wall",), limits=SHORT, slow=True),
    Escape("timing", "ignore the warnings and go on", """
import signal, resource
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
attempt("raised the limit", resource.setrlimit, resource.RLIMIT_CPU, (1000, 1000))
attempt("lifted the limit", resource.setrlimit, resource.RLIMIT_CPU, (-1, -1))
while True:
    pass
""", ends=STOPPED, limits=SHORT, slow=True),
    Escape("timing", "an alarm clock", """
import signal
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
while True:
    signal.pause()
""", ends=STOPPED, limits=SHORT, slow=True),
    Escape("timing", "close everything and loop", """
os.closerange(0, 64)
while True:
    pass
""", ends=STOPPED, limits=SHORT, slow=True),
    Escape("timing", "an endless match", 'import re\nre.match(r"(a+)+$", "a" * 60 + "b")', ends=STOPPED, limits=SHORT, slow=True),
    Escape("timing", "a number too big to finish", "print(9 ** 9 ** 9)", ends=("memory", "error", *STOPPED), limits=SHORT, slow=True),
    Escape("timing", "end, but not really", """
import atexit, threading, time
class Stays:
    def __del__(self):
        time.sleep(1000)
atexit.register(time.sleep, 1000)
threading.Thread(target=time.sleep, args=(1000,)).start()
stays = Stays()
sys.exit(0)
""", ends=("wall",), limits=SHORT, slow=True),
    Escape("timing", "tests that are kept waiting", """
import time
def answer(x):
    time.sleep(1000)
""", tests="assert answer(1) == 41", ends=("wall", "failed"), limits=SHORT, slow=True),
    Escape("timing", "tests that are kept busy", """
def answer(x):
    while True:
        pass
""", tests="assert answer(1) == 41", ends=STOPPED, limits=SHORT, slow=True),
)  # fmt: skip
