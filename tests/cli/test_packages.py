"""Commands and methods of several packages: announced by entry points, and a foreign package in the place of one of ours."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from places import ROOT

RUN = "from llm_marl_envs.cli.main import main; main()"
METHOD = '''
"""A method of somebody else's."""
from dataclasses import dataclass
from baselines.methods.shared import Shared

@dataclass(frozen=True)
class Patient(Shared):
    """Learns slowly but surely."""
    patience: int = 3
'''


def announce(folder: Path, name: str, points: dict[str, dict[str, str]]) -> None:
    """A distribution's metadata as an installer writes them."""
    info = folder / f"{name.replace('-', '_')}-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0\n")
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in found.items()) for group, found in points.items()]
    (info / "entry_points.txt").write_text("\n".join(lines))


@pytest.fixture
def ours(tmp_path) -> Path:
    """Our own distribution as pyproject.toml describes it now, whatever is installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    announce(tmp_path / "ours", project["name"], project["entry-points"])
    return tmp_path / "ours"


@pytest.fixture
def theirs(tmp_path) -> Path:
    folder = tmp_path / "theirs"
    (folder / "their_methods").mkdir(parents=True)
    (folder / "their_methods" / "__init__.py").write_text("")
    (folder / "their_methods" / "patient.py").write_text(METHOD)
    announce(folder, "x", {"llm_marl.methods": {"theirs": "their_methods"}})
    return folder


def python(code: str, *argv: object, path: tuple[Path, ...]) -> tuple[int, str]:
    """Exit code and output, with line breaks folded."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), "COLUMNS": "300"}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, argv)], env=env, capture_output=True, text=True, cwd=path[0], check=False
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def test_methods_of_another_distribution_are_found_by_name(ours, theirs):
    path = (ours, theirs, ROOT)
    code, text = python(RUN, "envs", path=path)
    assert code == 0
    for part in ("patient", "Learns slowly but surely.", "shared", "isolated"):
        assert part in text
    code, text = python(RUN, "envs", "patient", path=path)
    assert code == 0
    assert "patience" in text
    knobs = (
        "from baselines.args import TrainArgs, sort_knobs; from baselines.methods import make_method\n"
        "print(make_method('patient', patience=5))\n"
        "print(TrainArgs(method='patient', set=('patience=7', 'rounds=2', 'digits=3')).knobs())\n"
        "make_method('patent')"
    )
    code, text = python(knobs, path=path)
    assert "patience=5" in text
    assert "({'digits': 3}, {'rounds': 2}, {'patience': 7})" in text
    assert "no method 'patent'. Did you mean 'patient'" in text
    assert "shared" in text.partition("Known:")[2]


def test_without_it_only_ours_are_there(ours):
    code, text = python(RUN, "envs", "patient", path=(ours, ROOT))
    assert code == 2
    assert "no task, workflow, method or environment 'patient'" in text
    assert "shared" in text


def test_a_name_that_two_packages_have_is_asked_back(ours, theirs):
    (theirs / "their_methods" / "shared.py").write_text(METHOD.replace("class Patient(Shared)", "class Shared(Shared)"))
    path = (ours, theirs, ROOT)
    code, text = python("from baselines.methods import make_method; make_method('shared')", path=path)
    assert code == 1
    full = "baselines.methods.shared:Shared or their_methods.shared:Shared"
    assert f"there is more than one method 'shared'; say which: {full}" in text
    code, text = python(
        "from baselines.methods import make_method; print(make_method('their_methods.shared:Shared').patience)",
        path=path,
    )
    assert (code, text) == (0, "3")


@pytest.mark.parametrize("fault", ["raise RuntimeError('of theirs')", None])
def test_a_package_of_methods_that_does_not_load_is_left_out(ours, theirs, fault):
    init = theirs / "their_methods" / "__init__.py"
    if fault is None:
        (theirs / "their_methods" / "patient.py").unlink()
        init.unlink()
        init.parent.rmdir()
    else:
        init.write_text(fault)
    code, text = python(RUN, "envs", path=(ours, theirs, ROOT))
    assert code == 0
    assert "warning: their_methods (llm_marl.methods of x) is left out: " in text
    assert ("of theirs" in text) == (fault is not None)
    assert "isolated" in text


# A package of the same name as one of ours.


@pytest.fixture
def foreign(tmp_path) -> Path:
    """Another `baselines`, such as OpenAI's."""
    folder = tmp_path / "foreign"
    for module in ("baselines/__init__.py", "baselines/common/__init__.py", "baselines/run.py"):
        (folder / module).parent.mkdir(parents=True, exist_ok=True)
        (folder / module).write_text("import tensorflow_of_old" if module.endswith("run.py") else "")
    return folder


@pytest.mark.parametrize("argv", [("train", "--steps", "3"), ("study",)])
def test_a_foreign_package_in_the_place_of_ours_is_said(ours, foreign, argv):
    code, text = python(RUN, *argv, path=(ours, foreign, ROOT))
    assert code == 2
    assert "Traceback" not in text
    for part in (
        f"error: '{argv[0]}' needs the package 'baselines' of llm-marl-envs, which lies in {ROOT / 'baselines'}",
        f"finds another one first, in {foreign / 'baselines'}. Uninstall that one or take it off PYTHONPATH",
    ):
        assert part in text


def test_a_mere_folder_of_that_name_does_no_harm(ours, tmp_path):
    """Python prefers any package to a folder without `__init__`."""
    (tmp_path / "results" / "baselines").mkdir(parents=True)
    code, text = python(RUN, "train", "--help", path=(ours, tmp_path / "results", ROOT))
    assert code == 0, text


def test_the_other_commands_go_on(ours, foreign):
    path = (ours, foreign, ROOT)
    code, text = python(RUN, "--help", path=path)
    assert code == 0
    assert "Not here, for reasons that they tell when run: evaluate, study, train." in text
    assert "Replay and re-grade traces" in text
    code, text = python(RUN, "envs", path=path)
    assert code == 0
    assert "warning: baselines.methods (llm_marl.methods of llm-marl-envs) is left out: " in text
    assert "eval_opt" in text
    code, text = python(RUN, "play", "arithmetic/solo-v1", "--random", path=path)
    assert code == 0
    assert "status: finished" in text


def test_a_foreign_leaderboard_and_a_foreign_module(ours, tmp_path):
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "leaderboard.py").write_text("")
    code, text = python(RUN, "score", "x", path=(ours, tmp_path / "foreign", ROOT))
    assert code == 2
    assert "'score' needs the package 'leaderboard' of llm-marl-envs" in text
    assert "leaderboard.py" in text


def test_a_package_that_was_installed_over_ours_is_said(ours, tmp_path):
    """Two distributions in one folder: the later one has replaced a module of ours."""
    site = tmp_path / "site"
    for package in ("llm_marl_envs", "leaderboard"):
        (site / package).parent.mkdir(exist_ok=True)
        (site / package).symlink_to(ROOT / package)
    (site / "baselines").mkdir()
    for module in ("__init__", "cli"):
        (site / "baselines" / f"{module}.py").write_text("")
    check = (
        "from importlib.metadata import entry_points; from llm_marl_envs import catalog; from pathlib import Path\n"
        "catalog.__file__ = str(Path.cwd() / 'llm_marl_envs' / 'catalog.py')\n" + RUN
    )
    (ours / "llm_marl_envs-0.dist-info").rename(site / "llm_marl_envs-0.dist-info")
    announce(site, "baselines", {})
    (site / "baselines-0.dist-info" / "top_level.txt").write_text("baselines\n")
    code, text = python(check, "train", path=(site, ROOT))
    assert code == 2
    assert "baselines installed a package 'baselines' over that of llm-marl-envs. Uninstall both" in text


def test_a_command_of_somebody_elses_that_does_not_load(ours, tmp_path):
    theirs = tmp_path / "theirs"
    announce(theirs, "their-commands", {"llm_marl.commands": {"dance": "their_commands:dance"}})
    (theirs / "their_commands.py").write_text("import a_package_that_is_not_there")
    path = (ours, theirs, ROOT)
    code, text = python(RUN, "dance", path=path)
    assert code == 2
    assert "'dance' of their-commands cannot be loaded: ModuleNotFoundError: No module named 'a_package_that_is" in text
    (theirs / "their_commands.py").write_text(
        "def dance(steps: int = 3) -> None:\n    'Dance.'\n    print(steps * 'la')"
    )
    assert python(RUN, "dance", "--steps", "2", path=path) == (0, "lala")


def test_a_bug_of_ours_keeps_its_traceback(ours):
    code = "import baselines.cli; del baselines.cli.train\n" + RUN
    status, text = python(code, "envs", path=(ours, ROOT))
    assert status == 1
    assert "AttributeError" in text
