"""New processes, fork bombs, threads by the thousand, and other programs."""

from __future__ import annotations

from llm_marl_envs.tools.sandbox.escapes import SHORT, STOPPED, Escape

ESCAPES = (
    Escape("processes", "fork", """
def fork():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
attempt("forked", fork)
attempt("forked with a terminal", lambda: __import__("pty").fork()[0] or os._exit(0))
"""),
    Escape("processes", "fork, vfork, clone and clone3 by system call", """
for name, arguments in (("fork", ()), ("clone", (17, 0, 0, 0, 0)), ("clone", (0x100 | 17, 0, 0, 0, 0)),
                        ("clone3", (bytes(32) + (17).to_bytes(8, "little") + bytes(48), 88))):
    pid = syscall(name, *arguments)
    if pid == 0:
        os._exit(0)
    if pid > 0:
        escaped(f"a process by {name}")
"""),
    Escape("processes", "subprocess and its relatives", """
import subprocess
attempt("subprocess", lambda: subprocess.run(["/bin/true"], timeout=5))
attempt("subprocess with a shell", lambda: subprocess.run("true", shell=True, timeout=5))
attempt("this interpreter again", lambda: subprocess.run([sys.executable, "-c", "pass"], timeout=5))
attempt("os.system", lambda: os.system("true") == 0)
attempt("popen", lambda: "1" in os.popen("echo 1").read())
attempt("posix_spawn", os.posix_spawn, sys.executable, [sys.executable, "-c", "pass"], {})
"""),
    Escape("processes", "multiprocessing", """
import multiprocessing
def start(method):
    process = multiprocessing.get_context(method).Process(target=print, args=("ESCAPED: in a child",))
    process.start()
    process.join(5)
    return process.exitcode == 0
for method in ("fork", "spawn", "forkserver"):
    attempt(f"multiprocessing by {method}", start, method)
"""),
    Escape("processes", "a pool of processes", """
from concurrent.futures import ProcessPoolExecutor
def use():
    with ProcessPoolExecutor(2) as pool:
        return pool.submit(os.getpid).result(timeout=3)
attempt("a pool", use)
""", ends=("ok", "error", "wall", "cpu", "signal")),
    Escape("processes", "a daemon by double fork", """
import time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        try:
            open("@FOLDER@/planted", "w").close()
        except OSError:
            pass
        time.sleep(2)
    os._exit(0)
os.wait()
escaped("a daemon was left behind")
"""),
    Escape("processes", "leave the process group or the session", """
attempt("a session of its own", os.setsid)
attempt("a process group of its parent's", lambda: os.setpgid(0, os.getpgid(os.getppid())))
attempt("a group of its own", lambda: os.setpgid(os.getppid(), 0))
"""),
    Escape("processes", "a fork bomb", """
made = 0
while True:
    try:
        if os.fork() >= 0:
            made += 1
            if made == 50:
                escaped("50 processes")
    except OSError:
        break
""", ends=("ok", "error", "signal", *STOPPED), dangerous=True),
    Escape("processes", "a fork bomb that will not give up", """
while True:
    try:
        os.fork()
    except OSError:
        pass
""", ends=("signal", *STOPPED), limits=SHORT, dangerous=True, slow=True),
    Escape("processes", "threads by the thousand", """
import threading, time
threading.stack_size(32 << 10)
stop = threading.Event()
made = 0
try:
    for _ in range(5000):
        threading.Thread(target=stop.wait, daemon=True).start()
        made += 1
except BaseException:
    pass
stop.set()
if made >= 1000:
    escaped(f"{made} threads")
""", dangerous=True),
    Escape("processes", "threads that outlive the program", """
import threading, time, _thread
threading.stack_size(64 << 10)
def stay():
    while True:
        time.sleep(0.01)
        try:
            open("still-here", "w").close()
        except OSError:
            pass
for _ in range(20):
    threading.Thread(target=stay, daemon=True).start()
_thread.start_new_thread(stay, ())
""", ends=("ok",)),
    Escape("processes", "threads that make threads", """
import threading
def more():
    while True:
        try:
            threading.Thread(target=more).start()
        except BaseException:
            pass
more()
""", ends=("signal", "memory", "error", *STOPPED), limits=SHORT, dangerous=True, slow=True),
    Escape("exec", "shells and programs with rights", """
for path in ("/bin/sh", "/bin/bash", "/usr/bin/env", "/bin/su", "/usr/bin/su", "/usr/bin/sudo", "/bin/mount", "/usr/bin/mount",
             "/bin/umount", "/usr/bin/passwd", "/bin/ping", "/usr/bin/newuidmap", "/usr/bin/bwrap", "/bin/busybox"):
    if os.path.exists(path):
        escaped(f"{path} is there")
    attempt(f"execv {path}", os.execv, path, [path, "-c", "echo ESCAPED: a shell; exit 0"])
"""),
    Escape("exec", "this interpreter anew", """
code = "print('ESCAPED: a new interpreter')"
attempt("execv", os.execv, sys.executable, [sys.executable, "-c", code])
attempt("execve", os.execve, os.path.realpath(sys.executable), ["python", "-c", code], {"A": "1"})
"""),
    Escape("exec", "this interpreter by its descriptor", """
import ctypes
code = "print('ESCAPED: by a descriptor')"
fd = os.open(os.path.realpath(sys.executable), os.O_RDONLY)
attempt("fexecve", os.execve, fd, ["python", "-c", code], {})
reached("execveat", fd, b"", None, None, 0x1000)
"""),
    Escape("exec", "a program in memory", """
def run(fd):
    os.write(fd, open(os.path.realpath(sys.executable), "rb").read())
    os.execve(fd, ["python", "-c", "print('ESCAPED: from memory')"], {})
attempt("a file in memory", lambda: os.close(os.memfd_create("x")))
attempt("ran a file in memory", lambda: run(os.memfd_create("x")))
attempt("a secret file in memory", lambda: syscall("memfd_secret", 0))
"""),
    Escape("exec", "a program in the work folder", """
with open("script", "w") as file:
    file.write("#!" + sys.executable + "\\nprint('ESCAPED: a script')\\n")
os.chmod("script", 0o4755)
attempt("a script", os.execv, "./script", ["script"])
import shutil
attempt("a copy of the interpreter", lambda: (shutil.copy(os.path.realpath(sys.executable), "copy"), os.chmod("copy", 0o4755),
        os.execv("./copy", ["python", "-c", "print('ESCAPED: a copy')"])))
"""),
    Escape("exec", "become somebody else", """
for name, arguments in (("setuid", (0,)), ("setgid", (0,)), ("setresuid", (0, 0, 0)), ("setgroups", ([0],)), ("seteuid", (0,))):
    attempt(name, getattr(os, name), *arguments)
attempt("setuid by system call", lambda: syscall("setuid", 0))
reached("prctl", 38, 0, 0, 0, 0)
"""),
    Escape("exec", "32-bit system calls", """
import ctypes, mmap
if os.uname().machine == "x86_64":
    # mov eax, 20 (getpid of the 32-bit table); int 0x80; ret
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(b"\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3")
    call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    if call() == os.getpid():
        escaped("the 32-bit table of system calls is open")
"""),
    Escape("exec", "x32 system calls", """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
if os.uname().machine == "x86_64" and libc.syscall(ctypes.c_long(0x40000000 + 57)) >= 0:
    escaped("the x32 table of system calls is open")
"""),
)  # fmt: skip
