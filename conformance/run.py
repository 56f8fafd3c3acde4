"""Builds an environment for each library, runs its example with three seeds, and writes docs/conformance.md.

    python conformance/run.py [name ...] [--seeds 0 1 2] [--python PATH]

Without names: all. Rows of libraries that are not named stay as they were. `--python` uses an interpreter that has the libraries already.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
import time
import venv
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "conformance" / "results.json"
PAGE = ROOT / "docs" / "conformance.md"
FIGURE = re.compile(r"(-?\d+\.\d+) -> (-?\d+\.\d+)\s*$", re.MULTILINE)
CHANCE = {"return": 0.2, "held-out accuracy": 0.0}  # of a policy that acts at random


@dataclass(frozen=True)
class Library:
    """One row. installs: beside this project. shows: the distributions whose versions are in the table."""

    name: str
    example: str
    does: str
    installs: tuple[str, ...]
    shows: tuple[str, ...]
    figure: str = "return"


LIBRARIES = (
    Library("sb3", "sb3_ppo.py", "its `check_env`; PPO on one role, the other played by a partner", ("stable-baselines3>=2.9,<3",), ("stable-baselines3", "gymnasium")),
    Library("torchrl", "torchrl_mappo.py", "its `check_env_specs`; clipped PPO on both roles of a team, waves", ("torchrl>=0.14,<0.15",), ("torchrl", "tensordict", "pettingzoo")),
    Library("trl", "trl_grpo.py", "GRPOTrainer on a team through `rollout_func`, the tiny model", ("trl>=1.10,<2",), ("trl", "transformers"), "held-out accuracy"),
)  # fmt: skip
BY_DESIGN = (
    ("Stable-Baselines3, SuperSuit, RLlib: texts as observations or actions", "their policies and wrappers know arrays only: use `numeric`"),
    ("`aec_to_parallel` on the AEC view", "agents of one wave act one after the other there: use `make_parallel`"),
    ("one row of TRL for a whole episode", "asks with `fresh=True` are new conversations; a row is one of them"),
)  # fmt: skip


def prepared(library: Library, python: str | None) -> str:
    """An interpreter that has the library: the one given, or that of an environment built for it."""
    if python:
        return python
    folder = ROOT / "build" / "conformance" / library.name
    found = folder / "bin" / "python"
    if not (folder / ".done").exists():
        venv.create(folder, with_pip=True, clear=True)
        pip = [str(found), "-m", "pip", "install", "--quiet", "--constraint", str(ROOT / "constraints.txt")]
        subprocess.run([*pip, "--editable", f"{ROOT}[train,data]", *library.installs], check=True)
        (folder / ".done").touch()
    return str(found)


def played(library: Library, python: str, seed: int) -> tuple[float, float, float]:
    """The figure before and after, and CPU seconds."""
    env = os.environ | {
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    began = os.times()
    run = subprocess.run(
        [python, library.example, "--seed", str(seed)], cwd=ROOT / "examples", env=env, capture_output=True, text=True
    )
    ended = os.times()
    found = FIGURE.search(run.stdout)
    if run.returncode or not found:
        raise SystemExit(f"{library.example} --seed {seed} failed:\n{run.stdout[-1000:]}\n{run.stderr[-3000:]}")
    cpu = ended.children_user + ended.children_system - began.children_user - began.children_system
    return float(found[1]), float(found[2]), cpu


def versions(library: Library, python: str) -> dict[str, str]:
    code = f"import importlib.metadata as m; print(*[m.version(n) for n in {library.shows!r}])"
    said = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    return dict(zip(library.shows, said, strict=True))


def page(rows: dict[str, dict]) -> str:
    lines = [
        "# Conformance",
        "",
        "Written by `make conformance`, which builds an environment for each library, runs its example with three seeds and fills in the table. "
        "Learns: the mean gain over the seeds is above twice its standard error, and the end above a random policy's. CPU seconds are those "
        "of the machine that ran it, per seed. What the examples play: [examples/sums.py](../examples/sums.py).",
        "",
        "| library | versions | what was run | before -> after, by seed | learns | CPU s | date |",
        "|---|---|---|---|---|---|---|",
    ]
    for library in LIBRARIES:
        row = rows.get(library.name)
        if row is None:
            lines.append(
                f"| {library.name} | | {library.does} ([example](../examples/{library.example})) | not run yet | | | |"
            )
            continue
        said = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
        runs = "; ".join(f"{a:.2f} -> {b:.2f}" for a, b, _ in row["runs"])
        lines.append(
            f"| {library.name} | {said} | {library.does} ([example](../examples/{library.example})) | {library.figure} {runs} | "
            f"{'yes' if learns(library, row['runs']) else 'no'} | {fmean(cpu for *_, cpu in row['runs']):.0f} | {row['date']} |"
        )
    lines += [
        "",
        "Fails by design:",
        "",
        "| what | why |",
        "|---|---|",
        *(f"| {what} | {why} |" for what, why in BY_DESIGN),
    ]
    return "\n".join(lines) + "\n"


def learns(library: Library, runs: list[list[float]]) -> bool:
    gains = [after - before for before, after, _ in runs]
    error = stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else 0.0
    return fmean(gains) > 2 * error and min(after for _, after, _ in runs) > CHANCE[library.figure]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--python")
    args = parser.parse_args()
    if unknown := set(args.names) - {library.name for library in LIBRARIES}:
        parser.error(f"no library {min(unknown)!r}; known: {', '.join(library.name for library in LIBRARIES)}")
    rows = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    for library in LIBRARIES:
        if args.names and library.name not in args.names:
            continue
        python = prepared(library, args.python)
        runs = []
        for seed in args.seeds:
            began = time.perf_counter()
            runs.append(played(library, python, seed))
            print(
                f"{library.name} seed {seed}: {runs[-1][0]:.3f} -> {runs[-1][1]:.3f}, {time.perf_counter() - began:.0f} s",
                flush=True,
            )
        rows[library.name] = {
            "versions": versions(library, python),
            "runs": runs,
            "date": datetime.date.today().isoformat(),
        }
        RECORD.write_text(json.dumps(rows, indent=1) + "\n")
        PAGE.write_text(page(rows))
    if not args.names:
        print(
            f"{len(rows)} libraries in {PAGE.relative_to(ROOT)}; all learn: {all(learns(lib, rows[lib.name]['runs']) for lib in LIBRARIES)}"
        )
    sys.exit(0)
