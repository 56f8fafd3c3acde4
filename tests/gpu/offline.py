"""Which Python runs `make gpu`, and how what it lacks gets there without a network. Needs nothing beyond the standard library.

python3 tests/gpu/offline.py download 3.12   fetch the wheels into build/wheels (where there is a network)
python3 tests/gpu/offline.py python          print the Python to use: .venv's, or else one on top of this Python's own torch
"""

from __future__ import annotations

import importlib.util
import re
import site
import subprocess
import sys
import tomllib
import venv
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WHEELS = ROOT / "build" / "wheels"
OWN = ROOT / "build" / "gpu"
LARGEST = 64 * 2**20

# What a machine with torch and transformers may lack, with all that these need in turn, except what transformers needs too.
# Pure Python but for psutil.
CARRIED = (
    *("gymnasium", "Farama-Notifications", "cloudpickle", "pettingzoo", "typing_extensions"),
    *("urllib3", "platformdirs"),
    *("tyro", "docstring_parser", "typeguard", "rich", "markdown-it-py", "mdurl", "Pygments"),
    *("pytest", "pytest-timeout", "pluggy", "iniconfig", "packaging"),
    *("peft", "accelerate", "psutil"),
)
# glibc 2.17 and 2.28: pip takes a platform literally, and wheels are named by the oldest glibc that they run on.
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux2010_x86_64")


def download(python: str, folder: Path = WHEELS) -> None:
    """Fetch CARRIED for Linux on x86-64 and `python`, at the versions of constraints.txt; refuse more than 64 MiB."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.whl"):
        old.unlink()
    platforms = [f"--platform={p}" for p in (*PLATFORMS, "any")]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    target = [f"--python-version={python}", "--implementation=cp", *platforms, f"--dest={folder}"]
    subprocess.run([*pip, *target, f"--constraint={ROOT / 'constraints.txt'}", *CARRIED], check=True)
    wheels = sorted(folder.glob("*.whl"))
    total = sum(wheel.stat().st_size for wheel in wheels)
    if total > LARGEST:
        raise SystemExit(f"{folder} holds {total / 2**20:.1f} MiB; expected at most 64. Shorten CARRIED in {__file__}.")
    print(f"{len(wheels)} wheels for Python {python} in {folder.relative_to(ROOT)}: {total / 2**20:.1f} MiB")


def floors() -> dict[str, str]:
    """Name -> the oldest version that will do: pyproject.toml's bound, or else, for what it does not name, the version carried."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    bounded = (*project["dependencies"], *extras["train"], *extras["dev"])
    named = dict(r.partition(",")[0].split(">=") for r in bounded if ">=" in r)
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)
    needed = {r.partition(">=")[0] for r in (*project["dependencies"], *extras["train"])} | set(CARRIED)
    return {name: named.get(name) or pinned[name] for name in sorted(needed)}


def lacking(floor: dict[str, str]) -> dict[str, str]:
    """Of these, name -> what this Python has instead: an older version, or nothing."""
    found = {}
    for name, oldest in floor.items():
        try:
            here = version(name)
        except PackageNotFoundError:
            here = ""
        if _numbers(here) < _numbers(oldest):
            found[name] = here or "nothing"
    return found


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text.partition("+")[0])]


def python() -> Path:
    """.venv's Python if there is one; else one in build/gpu that sees this Python's packages and is given what they lack.

    It is not made with --system-site-packages: where this Python is itself in a virtual environment, that would show the
    system's packages instead of its own. Nothing is resolved, so that no torch is ever fetched: the list is CARRIED.
    """
    ready = ROOT / ".venv" / "bin" / "python"
    if ready.exists():
        return ready
    floor = floors()
    missing = lacking(floor)
    alone = {name: here for name, here in missing.items() if name not in CARRIED}
    if alone or importlib.util.find_spec("pip") is None:
        wanted = ", ".join(f"{name}>={floor[name]} (it has {here})" for name, here in alone.items()) or "pip"
        raise SystemExit(
            f"{sys.executable} lacks {wanted}, and there is no .venv. Make one with `make .venv/.dev` (needs the network), or "
            "name a Python that has it: make gpu PYTHON=/path/to/python3"
        )
    made = OWN / "bin" / "python"
    if _up_to_date():
        return made
    venv.EnvBuilder(clear=True, symlinks=True, with_pip=False).create(OWN)
    seen = [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
    (own_packages,) = OWN.glob("lib/python3.*/site-packages")
    (own_packages / "below.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in seen))
    source = ["--no-index", f"--find-links={WHEELS}"] if WHEELS.is_dir() else []
    pip = [str(made), "-m", "pip", "install", "--quiet", "--no-deps", "--ignore-installed", *source]
    pins = f"--constraint={ROOT / 'constraints.txt'}"
    if missing and subprocess.run([*pip, pins, *missing], stdout=sys.stderr).returncode:
        raise SystemExit(
            f"cannot install {', '.join(missing)}. Without a network, run `make gpu-wheels` on a machine that has one and bring "
            f"build/wheels along; for this Python: make gpu-wheels GPU_PYTHON={sys.version_info.major}.{sys.version_info.minor}"
        )
    (OWN / ".ready").write_text(sys.executable)
    return made


def _up_to_date() -> bool:
    """Whether build/gpu was finished for this Python and the present requirements."""
    done = OWN / ".ready"
    return (
        done.exists()
        and done.read_text() == sys.executable
        and all(done.stat().st_mtime > (ROOT / n).stat().st_mtime for n in ("pyproject.toml", "constraints.txt"))
    )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["download", wanted]:
            download(wanted)
        case ["python"]:
            print(python())
        case _:
            raise SystemExit(__doc__)
