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
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WHEELS = ROOT / "build" / "wheels"
OWN = ROOT / "build" / "gpu"
LARGEST = 64 * 2**20

# What a machine with torch and transformers may lack, with all that these need in turn, except what transformers needs too.
# Pure Python but for psutil.
CARRIED = (
    *("gymnasium", "Farama-Notifications", "cloudpickle", "pettingzoo", "typing_extensions"),
    *("tyro", "docstring_parser", "typeguard", "rich", "markdown-it-py", "mdurl", "Pygments"),
    *("pytest", "pytest-timeout", "pluggy", "iniconfig", "packaging"),
    *("peft", "accelerate", "psutil"),
)
# glibc 2.17 and 2.28: pip takes a platform literally, and wheels are named by the oldest glibc that they run on.
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux2010_x86_64")
CHECKED = ("pytest", "pytest-timeout")  # of the dev extra


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


def requirements() -> list[str]:
    """What the checks import, as pyproject.toml says it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    tests = [r for r in extras["dev"] if re.split(r"[<>=!~\[; ]", r)[0] in CHECKED]
    return [*project["dependencies"], *extras["train"], *tests]


def python() -> Path:
    """.venv's Python if there is one; else one in build/gpu that sees this Python's packages and is given what they lack.

    It is not made with --system-site-packages: where this Python is itself in a virtual environment, that would show the
    system's packages instead of its own. The torch that is there stays: a constraint forbids any other.
    """
    ready = ROOT / ".venv" / "bin" / "python"
    if ready.exists():
        return ready
    missing = [name for name in ("torch", "transformers", "pip") if importlib.util.find_spec(name) is None]
    if missing:
        raise SystemExit(
            f"{sys.executable} has no {', '.join(missing)}, and there is no .venv. Make one with `make .venv/.dev` (needs the "
            f"network), or name a Python that has them: make gpu PYTHON=/path/to/python3"
        )
    made = OWN / "bin" / "python"
    done = OWN / ".ready"
    if done.exists() and done.stat().st_mtime > (ROOT / "pyproject.toml").stat().st_mtime:
        return made
    venv.EnvBuilder(clear=True, symlinks=True, with_pip=False).create(OWN)
    seen = [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
    (own_packages,) = OWN.glob("lib/python3.*/site-packages")
    (own_packages / "below.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in seen))
    kept = OWN / "constraints.txt"
    kept.write_text("".join(f"{name}=={version(name)}\n" for name in ("torch", "transformers")))
    source = ["--no-index", f"--find-links={WHEELS}"] if WHEELS.is_dir() else []
    pip = [str(made), "-m", "pip", "install", "--quiet", "--no-compile", *source, f"--constraint={kept}"]
    if subprocess.run([*pip, *requirements()], stdout=sys.stderr).returncode:
        raise SystemExit(
            "cannot install what is missing. Without a network, run `make gpu-wheels` on a machine that has one and bring "
            "build/wheels along; it must be made for this Python: make gpu-wheels GPU_PYTHON="
            f"{sys.version_info.major}.{sys.version_info.minor}"
        )
    done.touch()
    return made


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["download", wanted]:
            download(wanted)
        case ["python"]:
            print(python())
        case _:
            raise SystemExit(__doc__)
