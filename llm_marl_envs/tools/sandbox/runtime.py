"""What a Python interpreter needs of the file system: the sandbox's root holds this and nothing else."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from llm_marl_envs.errors import MissingExtra

INSIDE = Path(__file__).with_name("inside")
WORK = "/sandbox/work"  # the work folder's name in the sandbox
CODE = "/sandbox/code"  # where INSIDE is in the sandbox
SITE = "/sandbox/site"  # where numpy is in the sandbox
# Set for the interpreter's start only (the server clears its environment): string hashes, and with them the order of sets,
# are the same in every run; the loader binds at once what every fork would bind again; numpy starts no threads.
ENVIRONMENT = {"PYTHONHASHSEED": "0", "LD_BIND_NOW": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}

_PROBE = """
import importlib, json, os, sys
for module in sys.stdin.read().split():
    try:
        importlib.import_module(module)
    except BaseException:
        pass
files = {line.split(None, 5)[-1].strip() for line in open("/proc/self/maps") if len(line.split(None, 5)) == 6}
print(json.dumps(sorted(f for f in files if f.startswith("/"))))
"""


@dataclass(frozen=True, slots=True)
class Runtime:
    """An interpreter's files. `binds` are (path here, path in the sandbox), to be bound read-only."""

    executable: str
    binds: tuple[tuple[str, str], ...]
    links: tuple[tuple[str, str], ...]  # (what a symbolic link says, where it is)
    hidden: tuple[str, ...]  # folders in the sandbox that are to be empty

    def command(self, control: int, confine: bool, numpy: bool) -> list[str]:
        """The command that starts the fork server in the sandbox, talking on the descriptor `control`."""
        flags = ("-S", "-s", "-B", "-X", "utf8")
        server = (f"{CODE}/server.py", str(control), WORK, str(int(confine)), *([SITE] if numpy else []))
        return [self.executable, *flags, *server]


@functools.cache
def runtime(numpy: bool) -> Runtime:
    """The interpreter we run on, with the shared libraries that its standard library loads, and numpy if asked for.

    Library by library, although binding all of /usr or of its library folders would save the probe: programs would see what
    is installed there (shells and programs with root's rights, other packages, /usr/local, os-release), and the escapes
    that look for such files find them.
    """
    executable = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    bases = {"base": sys.base_prefix, "installed_base": sys.base_prefix}
    bases |= {"platbase": sys.base_exec_prefix, "installed_platbase": sys.base_exec_prefix}
    standard = [sysconfig.get_path(name, vars=bases) for name in ("stdlib", "platstdlib")]
    library = [os.path.realpath(p) for p in dict.fromkeys(standard)]
    packages = _packages(numpy)
    modules = [
        p.name.partition(".")[0] for p in Path(library[0], "lib-dynload").glob("*.so") if "tkinter" not in p.name
    ]
    environment = ENVIRONMENT | {"PYTHONPATH": os.path.dirname(packages[0]) if packages else ""}
    probe = subprocess.run(
        [executable, "-s", "-B", "-c", _PROBE],
        input=" ".join([*modules, "ctypes", "ssl", "sqlite3", *(["numpy"] if numpy else [])]),
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    mapped = [path for path in json.loads(probe.stdout) if ".so" in os.path.basename(path)]
    inside = (*library, *packages)
    shared = [path for path in mapped if not any(path.startswith(folder + "/") for folder in inside)]
    binds = [(path, path) for path in (executable, *library)]
    binds += _names(shared)
    binds.append((str(INSIDE), CODE))
    binds += [(path, f"{SITE}/{os.path.basename(path)}") for path in packages]
    tops = [top for top in ("/bin", "/lib", "/lib32", "/lib64") if os.path.islink(top)]
    hidden = [
        p for folder in library for p in (f"{folder}/site-packages", f"{folder}/dist-packages") if os.path.isdir(p)
    ]
    return Runtime(executable, tuple(dict.fromkeys(binds)), tuple((os.readlink(t), t) for t in tops), tuple(hidden))


def _packages(numpy: bool) -> tuple[str, ...]:
    if not numpy:
        return ()
    spec = find_spec("numpy")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra("programs that use numpy", "all")
    folder = os.path.realpath(spec.submodule_search_locations[0])
    beside = f"{folder}.libs"
    return (folder, beside) if os.path.isdir(beside) else (folder,)


def _names(libraries: list[str]) -> list[tuple[str, str]]:
    """Shared libraries under all of their names, as binds: libz.so.1.2.13 is asked for as libz.so.1, and a program asks for
    its loader in /lib64 or /lib, where that may be a link."""
    files = {which: path for path in libraries if (which := _identity(path))}
    folders = {os.path.dirname(path) for path in libraries}
    folders |= {os.path.realpath(top) for top in ("/lib", "/lib64") if os.path.isdir(top)}
    here = (f"{folder}/{name}" for folder in sorted(folders) for name in sorted(os.listdir(folder)) if ".so" in name)
    return [(files[which], path) for path in here if (which := _identity(path)) in files]


def _identity(path: str) -> tuple[int, int] | None:
    """Which file it is, whatever it is called; None for a link that leads nowhere."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
