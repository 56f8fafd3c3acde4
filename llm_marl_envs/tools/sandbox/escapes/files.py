"""The file system: what may be read, what may be written, and what outlives a job."""

from __future__ import annotations

from llm_marl_envs.tools.sandbox.escapes import SMALL, Escape

_OUTSIDE = ("/", "/tmp", "/var/tmp", "/usr", "/etc", "/dev", "/dev/shm", "/run", "/sandbox", "/sandbox/code", "/home")

ESCAPES = (
    Escape("files", "read a file of the host's by its path", """
attempt("read the host's file", lambda: print(open("@FOLDER@/secret.txt").read()))
attempt("saw the host's folder", os.listdir, "@FOLDER@")
"""),
    Escape("files", "open the machine's accounts and passwords", """
for path in ("/etc/passwd", "/etc/shadow", "/etc/group", "/etc/hosts", "/etc/resolv.conf", "/etc/machine-id"):
    attempt(path, lambda: open(path).close())
"""),
    Escape("files", "find any file that is not Python's", """
import sysconfig
mine = {os.path.realpath(p) for p in (sys.base_prefix, sys.prefix, sys.base_exec_prefix, sysconfig.get_path("stdlib"))}
mine = {m for m in mine if m not in ("/", "/usr")} | {"/sandbox", sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
strange = 0
for folder, folders, names in os.walk("/"):
    for name in names:
        path = os.path.join(folder, name)
        python = any(path.startswith(m + "/") for m in mine) or ".so" in name or path in (sys.executable, os.path.realpath(sys.executable))
        if not python and path != "/dev/null" and not os.path.islink(path):
            escaped(path)
            strange += 1
    if strange > 5:
        break
"""),
    Escape("files", "list home and project folders", """
for path in ("/home", "/work", "/srv", "/mnt", "/media", "/opt", "/boot", "/var", "/proc", "/sys", "/run", "/tmp"):
    try:
        entries = os.listdir(path)
    except OSError:
        continue
    inside = [os.path.join(path, e) for e in entries]
    if any(not sys.base_prefix.startswith(e) and not e.startswith("/sandbox") for e in inside):
        escaped(f"{path} holds {entries[:3]}")
"""),
    Escape("files", "climb out with .. and folder descriptors", """
fd = os.open(".", os.O_RDONLY)
up = "/".join([".."] * 40)
attempt("by ..", lambda: open(up + "@FOLDER@/secret.txt").close())
attempt("by a folder's descriptor", lambda: os.open(up + "@FOLDER@/secret.txt", os.O_RDONLY, dir_fd=fd))
for number in range(3, 256):
    attempt(f"by the open folder {number}", lambda: (number != fd) and (os.fchdir(number), open("../" * 40 + "@FOLDER@/secret.txt"))[1])
"""),
    Escape("files", "follow a symbolic link out", """
os.symlink("@FOLDER@", "out")
os.symlink("/etc/passwd", "accounts")
attempt("read through a link", lambda: print(open("out/secret.txt").read()))
attempt("wrote through a link", lambda: open("out/planted", "w").close())
attempt("read the accounts through a link", lambda: open("accounts").close())
"""),
    Escape("files", "leave links for whoever cleans up", """
os.symlink("@FOLDER@", "folder")
os.mkdir("deep")
os.symlink("@FOLDER@", "deep/folder")
os.symlink("@FOLDER@/host.txt", "file")
os.symlink("..", "deep/up")
os.symlink("self", "self")
"""),
    Escape("files", "hard link a file into the work folder", """
for source in ("@FOLDER@/secret.txt", "/etc/passwd"):
    attempt(f"a hard link to {source}", os.link, source, "copy" + source.replace("/", "_"))
"""),
    Escape("files", "write to the host's files", """
def change(path):
    with open(path, "a") as file:
        file.write("changed")
attempt("appended", change, "@FOLDER@/host.txt")
attempt("created", change, "@FOLDER@/planted")
attempt("removed", os.unlink, "@FOLDER@/host.txt")
attempt("renamed", os.rename, "@FOLDER@/secret.txt", "@FOLDER@/other.txt")
attempt("changed permissions", os.chmod, "@FOLDER@/secret.txt", 0o777)
attempt("truncated", os.truncate, "@FOLDER@/secret.txt", 0)
attempt("changed times", os.utime, "@FOLDER@", (0, 0))
"""),
    Escape("files", "write outside the work folder", f"""
for folder in {_OUTSIDE!r} + (sys.prefix, os.path.dirname(os.__file__)):
    path = os.path.join(folder, "planted-by-a-program")
    attempt(f"a file in {{folder}}", lambda: os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)))
    attempt(f"a folder in {{folder}}", os.mkdir, path + "-folder")
    attempt(f"the mode of {{folder}}", os.chmod, folder, 0o777)
""", dangerous=True),
    Escape("files", "spoil the interpreter's own files", """
import site
victims = [os.__file__, sys.executable, os.path.dirname(os.__file__), "/sandbox/code/server.py", "/sandbox/code"]
for path in victims:
    attempt(f"unlinked {path}", os.unlink, path)
    attempt(f"opened {path} for writing", lambda: open(path, "a").close())
    attempt(f"renamed {path}", os.rename, path, path + "x")
    attempt(f"permissions of {path}", os.chmod, path, 0o777)
    attempt(f"a bytecode cache beside {path}", os.mkdir, os.path.join(os.path.dirname(path), "__pycache__x"))
""", dangerous=True),
    Escape("files", "replace or spoil /dev/null", """
attempt("unlinked", os.unlink, "/dev/null")
attempt("permissions", os.chmod, "/dev/null", 0o000)
attempt("renamed", os.rename, "/dev/null", "/dev/nil")
attempt("a device beside it", lambda: open("/dev/other", "w").close())
""", dangerous=True),
    Escape("files", "open devices", """
import glob
harmless = {"null", "zero", "full", "random", "urandom"}
for name in ("mem", "kmem", "port", "kmsg", "sda", "vda", "nvme0n1", "loop0", "loop-control", "fuse", "kvm", "net/tun",
             "ptmx", "tty", "console", "mapper/control", "vhost-net", "uinput", "dri/card0"):
    attempt(f"/dev/{name}", lambda: os.close(os.open(f"/dev/{name}", os.O_RDONLY | os.O_NONBLOCK)))
for path in glob.glob("/dev/*"):
    if os.path.basename(path) not in harmless:
        escaped(f"{path} is there")
"""),
    Escape("files", "make device nodes", """
import stat
for name, kind, device in (("disk", stat.S_IFBLK, os.makedev(8, 0)), ("memory", stat.S_IFCHR, os.makedev(1, 1)),
                           ("null", stat.S_IFCHR, os.makedev(1, 3)), ("pipe", stat.S_IFIFO, 0)):
    attempt(f"a device node {name}", os.mknod, name, kind | 0o666, device)
    attempt(f"a device node {name} by system call", lambda: syscall("mknodat", -100, name.encode() + b"2", kind | 0o666, device))
"""),
    Escape("files", "change the root and climb out of it", """
os.makedirs("jail", exist_ok=True)
attempt("chroot", os.chroot, "jail")
attempt("chroot by system call", lambda: syscall("chroot", b"jail"))
attempt("pivot_root", lambda: syscall("pivot_root", b".", b"jail"))
""", dangerous=True),
    Escape("files", "open files by handle", """
import ctypes, struct
reached("open_by_handle_at", -100, struct.pack("IiQ", 8, 1, 2), 0)
reached("openat2", -100, b"@FOLDER@/secret.txt", struct.pack("QQQ", 0, 0, 0), 24)
"""),
    Escape("files", "10,000 folders one in another", """
for _ in range(10_000):
    os.mkdir("d")
    os.chdir("d")
open("bottom", "w").write("x")
""", ends=("ok", "error", "cpu", "wall", "output"), dangerous=True),
    Escape("files", "100,000 files", """
for i in range(100_000):
    open(f"f{i}", "w").close()
escaped("100,000 files in the work folder")
""", ends=("error", "cpu", "wall", "output"), dangerous=True),
    Escape("files", "files left for the next job", """
print(os.listdir("."), os.getcwd())
if os.listdir("."):
    escaped("an earlier job's files are there")
""", before="""
open("message", "w").write("@SECRET@")
open(".hidden", "w").write("@SECRET@")
os.makedirs("a/b/c")
open("a/b/c/message", "w").write("@SECRET@")
open(b"\\xff\\xfe odd \\n name", "w").write("@SECRET@")
os.chmod("a/b/c", 0)
os.chmod("a", 0o500)
""", ends=("ok",)),
    Escape("files", "a work folder closed to the next job", """
try:
    open("mine", "w").write("1")
except OSError as bad:
    escaped(f"an earlier job keeps this one from writing: {bad}")
""", before="os.chmod('.', 0o555)", ends=("ok",)),
    Escape("files", "a work folder that cannot be entered", "print(os.listdir('.'))", before="os.chmod('.', 0)", ends=("ok",)),
    Escape("files", "a note in the work folder's times and mode", """
found = os.stat(".")
if 1_234_567 in (int(found.st_mtime), int(found.st_atime)) or found.st_mode & 0o7022:
    escaped(f"an earlier job's note: {found}")
""", before="os.chmod('.', 0o7777); os.utime('.', (1_234_567, 1_234_567))", ends=("ok",)),
    Escape("files", "a work folder removed or moved", """
for act in (lambda: os.rmdir(os.getcwd()), lambda: os.rename(os.getcwd(), "/sandbox/elsewhere"), lambda: os.symlink("/", "../x")):
    attempt("changed the folder above the work folder", act)
""", dangerous=True),
    Escape("files", "a script and a library in the place Python would look", """
print(sys.path)
import importlib
for module in ("sitecustomize", "usercustomize", "planted"):
    try:
        importlib.import_module(module)
    except ImportError:
        continue
    if "sandbox/work" in (getattr(sys.modules[module], "__file__", "") or ""):
        escaped(f"an earlier job's {module} was imported")
""", before="""
for module in ("sitecustomize", "usercustomize", "planted", "random", "collections"):
    open(f"{module}.py", "w").write("print('ESCAPED: imported')")
""", ends=("ok",), limits=SMALL),
)  # fmt: skip
