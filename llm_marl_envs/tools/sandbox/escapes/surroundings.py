"""What a program can learn about the machine, its launcher and its neighbours; and /proc."""

from __future__ import annotations

from llm_marl_envs.tools.sandbox.escapes import Escape

ESCAPES = (
    Escape("environment", "environment variables", """
if os.environ:
    escaped(f"variables {sorted(os.environ)[:5]}")
if "@SECRET@"[:12] in str(dict(os.environ)):
    escaped("the host's variables")
import ctypes
first = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), "environ")
if first and first[0]:
    escaped(f"the C library's variables begin with {first[0][:20]}")
"""),
    Escape("environment", "the launcher's variables in this process's own memory", """
for secret in hunt(8 << 20):
    escaped(secret)
"""),
    Escape("environment", "the host's paths in arguments", """
for text in (*sys.argv, *sys.orig_argv):
    if "llm-marl" in text or "@FOLDER@" in text:
        escaped(text)
"""),
    Escape("environment", "the machine's name", """
import platform, socket
for name in (platform.node(), os.uname().nodename, socket.gethostname()):
    if name == "@HOSTNAME@":
        escaped(name)
"""),
    Escape("environment", "who runs this", """
if 0 in (os.getuid(), os.geteuid(), os.getgid(), os.getegid()):
    escaped("the program runs as root")
if 0 in os.getgroups():
    escaped(f"groups {os.getgroups()}")
import pwd
attempt("the list of accounts", lambda: bool(pwd.getpwall()))
attempt("the terminal's name", lambda: os.ttyname(0))
attempt("who is logged in", os.getlogin)
"""),
    Escape("environment", "packages of the host's Python", """
import importlib.util
for name in ("llm_marl_envs", "pip", "setuptools", "pytest", "rich", "tyro", "torch"):
    if importlib.util.find_spec(name):
        escaped(f"{name} can be imported")
"""),
    Escape("environment", "modules of the server", """
for name in ("server", "job", "wire", "seccomp", "container", "landlock", "launch"):
    if name in sys.modules:
        escaped(f"sys.modules has {name}")
    attempt(f"imported {name}", __import__, name)
"""),
    Escape("/proc", "own memory and descriptors", """
for path in ("/proc/self/mem", "/proc/self/maps", "/proc/self/environ", "/proc/thread-self/mem", "/proc/self/root", "/proc/self/fd"):
    attempt(path, lambda: os.close(os.open(path, os.O_RDONLY)))
"""),
    Escape("/proc", "the host's files by a process's root", """
for pid in ("self", "1", os.getppid()):
    attempt(f"/proc/{pid}/root", lambda: print(open(f"/proc/{pid}/root/@FOLDER@/secret.txt").read()))
    attempt(f"/proc/{pid}/cwd", lambda: print(open(f"/proc/{pid}/cwd/../../../../@FOLDER@/secret.txt").read()))
"""),
    Escape("/proc", "other processes' environments", """
for pid in [1, os.getppid(), *(p for p in os.listdir("/proc") if p.isdigit())] if os.path.isdir("/proc") else [1]:
    try:
        text = open(f"/proc/{pid}/environ", "rb").read()
    except OSError:
        continue
    if b"PLAN" + b"TED-" in text:
        escaped(f"the environment of {pid}")
""", dangerous=True),
    Escape("/proc", "the parent's command line and memory", """
for name in ("cmdline", "environ", "maps", "mem", "status", "exe"):
    attempt(f"the parent's {name}", lambda: open(f"/proc/{os.getppid()}/{name}", "rb").read(1))
"""),
    Escape("/proc", "kernel settings", """
for path in ("/proc/sys/kernel/hostname", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/kcore",
             "/proc/kallsyms", "/proc/config.gz", "/proc/sys/vm/overcommit_memory", "/proc/mounts", "/proc/net/tcp"):
    attempt(path, lambda: os.close(os.open(path, os.O_RDONLY)))
"""),
    Escape("/proc", "press the magic key", """
attempt("sysrq", lambda: open("/proc/sysrq-trigger", "w").write("h"))
attempt("core pattern", lambda: open("/proc/sys/kernel/core_pattern", "w").write("|/bin/sh"))
attempt("drop caches", lambda: open("/proc/sys/vm/drop_caches", "w").write("1"))
attempt("more likely to survive", lambda: open("/proc/self/oom_score_adj", "w").write("-1000"))
""", dangerous=True),
    Escape("/proc", "/sys and control groups", """
for path in ("/sys", "/sys/fs/cgroup", "/sys/kernel", "/sys/class/net", "/sys/firmware", "/sys/fs/cgroup/cgroup.procs"):
    attempt(path, lambda: bool(os.listdir(path) if os.path.isdir(path) else open(path).read()))
"""),
    Escape("/proc", "mount another /proc", """
os.mkdir("p")
attempt("mounted proc", lambda: syscall("mount", b"proc", b"p", b"proc", 0, None))
attempt("mounted sysfs", lambda: syscall("mount", b"sysfs", b"p", b"sysfs", 0, None))
attempt("opened proc by fsopen", lambda: syscall("fsopen", b"proc", 0))
""", dangerous=True),
)  # fmt: skip
