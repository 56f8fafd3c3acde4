"""Builds an environment for each set of libraries, runs the examples in it, and writes docs/conformance.md.

    python conformance/run.py [example ...] [--seeds 0 1 2] [--jobs 2] [--python PATH]

Without names: all. Rows that are not named stay as they were. `--python` uses an interpreter that has the libraries already. A row that fails
says so in the table, the others go on, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import venv
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO

from rows import PLACES, ROWS, Place, Row, examples_page, page, verdict

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "conformance" / "results.json"
PAGE = ROOT / "docs" / "conformance.md"
FIGURE = re.compile(r"(-?\d+\.\d+) -> (-?\d+\.\d+)\s*$", re.MULTILINE)
SAID = re.compile(r"^ok: (.+)$", re.MULTILINE)
LONGEST = 3600  # seconds on the wall of one run of an example


class Failed(Exception):
    """An example, its tests or its environment that did not work: what it said last."""


def interpreter(name: str, place: Place) -> str:
    """The Python of an environment with its libraries, which is built if it is not there yet or what belongs in it has changed."""
    folder = ROOT / "build" / "conformance" / name
    found, done = folder / "bin" / "python", folder / ".done"
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    if not place.pinned:
        pins = [pin for pin in pins if pin.startswith("torch==")]
    wanted = json.dumps([place.extras, place.installs, pins, (ROOT / "pyproject.toml").read_text()])
    if not done.exists() or done.read_text() != wanted:
        print(f"{name}: building its environment", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        constraints = folder / "constraints.txt"
        constraints.write_text("\n".join(pins))
        pip = [str(found), "-m", "pip", "install", "--quiet", "--constraint", str(constraints)]
        project = f"{ROOT}[{place.extras}]" if place.extras else str(ROOT)
        built = subprocess.run(
            [*pip, "pytest>=9", *place.installs, "--editable", project], capture_output=True, text=True
        )
        if built.returncode:
            sys.stderr.write(built.stderr[-3000:])
            raise Failed(f"its environment could not be built: {last_line(built.stderr)}")
        done.write_text(wanted)
    return str(found)


def run(python: str, *command: str, folder: Path) -> tuple[str, float]:
    """What a command says, and its CPU seconds. What it leaves running is killed."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "baselines"), os.environ.get("PYTHONPATH", "")])
    settled = {
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONWARNINGS": "ignore",
        "PYTHONHASHSEED": "0",
    }  # the order of sets, too
    env = os.environ | settled | {"PYTHONPATH": path}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = subprocess.Popen(
            [python, *command], cwd=folder, env=env, stdout=out, stderr=err, start_new_session=True
        )
        late = threading.Timer(LONGEST, os.killpg, (started.pid, signal.SIGKILL))
        late.start()
        try:
            _, status, used = os.wait4(started.pid, 0)
        finally:
            in_time = late.is_alive()
            late.cancel()
            with suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)
        started.returncode = os.waitstatus_to_exitcode(status)
        said, complained = (_text(file) for file in (out, err))
    if not in_time:
        raise Failed(f"nothing after {LONGEST} s")
    if started.returncode:
        sys.stderr.write(said[-1000:] + complained[-3000:])
        raise Failed(last_line(complained) or last_line(said))
    return said, used.ru_utime + used.ru_stime


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1][:200]


def trained(row: Row, python: str, seed: int) -> tuple[float, float, float]:
    """The figure before and after training, and CPU seconds."""
    said, cpu = run(python, row.example, "--seed", str(seed), folder=ROOT / "examples")
    if not (found := FIGURE.search(said)):
        raise Failed(f"no line `return 0.1 -> 0.9` at the end, but: {last_line(said)}")
    return float(found[1]), float(found[2]), round(cpu, 1)


def checked(row: Row, python: str) -> str:
    """What an example that does not train says it has checked."""
    said, _ = run(python, row.example, folder=ROOT / "examples")
    if not (found := SAID.search(said)):
        raise Failed(f"no line `ok: ...` at the end, but: {last_line(said)}")
    return found[1]


def versions(python: str, names: tuple[str, ...]) -> dict[str, str]:
    said, _ = run(
        python, "-c", f"import importlib.metadata as m; print(*[m.version(n) for n in {names!r}])", folder=ROOT
    )
    return dict(zip(names, said.split(), strict=True))


def filled(row: Row, seeds: list[int], python: str) -> dict:
    """A row's results."""
    results: dict = {"date": datetime.date.today().isoformat(), "versions": versions(python, row.shows)}
    if row.tests:
        # without the settings of the project's own tests, whose plugins and warnings are not those of this environment
        plain = ("-q", "-c", os.devnull, "--rootdir=.", "--import-mode=importlib", "-p", "no:cacheprovider")
        said, _ = run(python, "-m", "pytest", *plain, f"conformance/tests/{row.tests}", folder=ROOT)
        if "skipped" in last_line(said):
            raise Failed(f"{row.tests}: {last_line(said)}")
    if not row.figure:
        return results | {"checked": checked(row, python)}
    results["runs"] = []
    for seed in seeds:
        began = time.perf_counter()
        before, after, cpu = trained(row, python, seed)
        results["runs"].append([before, after, cpu])
        print(f"{row.name} seed {seed}: {before:.3f} -> {after:.3f}, {time.perf_counter() - began:.0f} s", flush=True)
    return results


def write(results: dict[str, dict]) -> None:
    """The pages of the results."""
    PAGE.write_text(page(results))
    (PAGE.parent / "examples.md").write_text(examples_page(ROOT / "examples"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="example")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--python")
    parser.add_argument("--jobs", type=int, default=2, help="environments at the same time")
    args = parser.parse_args()
    known = [row.name for row in ROWS]
    if unknown := set(args.names) - set(known):
        parser.error(f"no example {min(unknown)!r}; known: {', '.join(known)}")
    results = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    chosen = [row for row in ROWS if not args.names or row.name in args.names]
    writing = threading.Lock()

    def fill(place: str) -> None:
        python, unbuilt = args.python or "", None
        try:
            python = python or interpreter(place, PLACES[place])
        except Failed as e:
            unbuilt = e
        for row in chosen:
            if row.place != place:
                continue
            try:
                if unbuilt:
                    raise unbuilt
                found = filled(row, args.seeds, python)
            except Failed as e:
                found = {"date": datetime.date.today().isoformat(), "failed": str(e)}
            print(f"{row.name}: {verdict(row, found)}", flush=True)
            with writing:
                results[row.name] = found
                RECORD.write_text(json.dumps({n: results[n] for n in known if n in results}, indent=1) + "\n")
                write(results)

    with ThreadPoolExecutor(args.jobs) as pool:  # places in turn, a place's rows one after the other
        list(pool.map(fill, dict.fromkeys(row.place for row in chosen)))
    bad = [row.name for row in chosen if not row.as_expected(results[row.name])]
    print(f"{len(chosen)} examples run, {len(chosen) - len(bad)} as expected; {PAGE.relative_to(ROOT)} written")
    if bad:
        print(f"not as expected: {', '.join(bad)}")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
