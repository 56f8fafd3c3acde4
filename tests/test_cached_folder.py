"""A folder that can be made again is right or made anew, whoever else is at it; and where such folders are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from llm_marl_envs import files
from llm_marl_envs.files import cache_folder, cached_folder


def listed(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_where_the_cache_is(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "llm-marl-envs"
    monkeypatch.setenv("HOME", "/home/ann")
    for told in ("relative/is/ignored", ""):
        monkeypatch.setenv("XDG_CACHE_HOME", told)
        if sys.platform == "linux":
            assert cache_folder() == Path("/home/ann/.cache/llm-marl-envs")


@pytest.mark.parametrize("home", [RuntimeError("could not determine the home directory"), Path("~/.cache")])
def test_nobody_has_a_cache_without_a_home(home, monkeypatch):
    """platformdirs raises, or, in older versions, gives the unexpanded path."""

    def homeless(*args, **kwargs):
        if isinstance(home, Exception):
            raise home
        return home

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(files, "user_cache_path", homeless)
    assert cache_folder() is None
    from llm_marl_envs.tools.sandbox import wasm

    assert wasm.interpreter() is None


@pytest.fixture
def built() -> list[Path]:
    return []


def make(built: list[Path], path: Path) -> Path:
    def build(folder: Path) -> None:
        built.append(folder)
        (folder / "deep").mkdir()
        (folder / "a.txt").write_text("a" * 1_000)
        (folder / "deep" / "b.txt").write_text("b")

    return cached_folder(path, build)


def test_a_folder_is_made_once(tmp_path, built):
    path = make(built, tmp_path / "cache" / "x")
    assert path == tmp_path / "cache" / "x"
    assert make(built, path) == path
    assert len(built) == 1
    assert listed(path.parent) == ["x"]
    assert make(built, tmp_path / "cache" / "x.y") != path, "another name, although it begins like the first"
    assert len(built) == 2


def damage(what: str, folder: Path) -> None:
    target = folder / "a.txt"
    match what:
        case "altered":
            target.write_text("b" + "a" * 999)
        case "altered, with the same time":
            before = target.stat()
            target.write_text("b" + "a" * 999)
            os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
        case "torn":
            target.write_text("a" * 500)
        case "gone":
            (folder / "deep" / "b.txt").unlink()
        case "one too many":
            (folder / "deep" / "c.txt").write_text("")
        case "no manifest":
            (folder / files.MANIFEST).unlink()
        case "an empty manifest":
            (folder / files.MANIFEST).write_text("{}")
        case "an unreadable manifest":
            (folder / files.MANIFEST).write_text("[" * 100_000)
        case "a file in its place":
            shutil.rmtree(folder)
            folder.write_text("a file")


@pytest.mark.parametrize(
    "what",
    [
        "altered",
        "altered, with the same time",
        "torn",
        "gone",
        "one too many",
        "no manifest",
        "an empty manifest",
        "an unreadable manifest",
        "a file in its place",
    ],
)
def test_a_damaged_folder_is_made_anew_beside_it(tmp_path, built, what):
    first = make(built, tmp_path / "x")
    damage(what, first)
    second = make(built, tmp_path / "x")
    assert len(built) == 2
    assert second != first, "another process may just have found the first one whole and be reading it"
    assert (second / "a.txt").read_text() == "a" * 1_000
    assert not first.exists()
    damage(what, second)
    third = make(built, tmp_path / "x")
    assert third not in (first, second)
    assert make(built, tmp_path / "x") == third
    assert len(built) == 3


def test_large_files_are_hashed_again_only_if_they_were_touched(tmp_path, built, monkeypatch):
    monkeypatch.setattr(files, "HASH_EACH_TIME", 100)
    hashed, digest = [], files.digest_of
    monkeypatch.setattr(files, "digest_of", lambda path: hashed.append(path.name) or digest(path))
    path = make(built, tmp_path / "x")
    hashed.clear()
    make(built, path)
    assert hashed == ["b.txt"]
    os.utime(path / "a.txt", (1, 1))
    assert make(built, path) == path
    assert sorted(hashed) == ["a.txt", "b.txt", "b.txt"]
    for what in ("altered", "torn"):
        damage(what, path)
        path = make(built, tmp_path / "x")
    assert len(built) == 3


def test_a_build_that_fails_leaves_nothing(tmp_path):
    def build(folder: Path) -> None:
        (folder / "a.txt").write_text("half")
        raise ValueError("a wrong line")

    with pytest.raises(ValueError, match="a wrong line"):
        cached_folder(tmp_path / "x", build)
    assert listed(tmp_path) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"Not a directory|exists"):
        cached_folder(tmp_path / "file" / "x", build)


RACER = """
import sys, time
from pathlib import Path
from llm_marl_envs.files import cached_folder

def build(folder):
    for i in range(20):
        (folder / f"{i}.txt").write_text(str(i) * 500)

for turn in range(40):
    path = cached_folder(Path(sys.argv[1], f"x{turn}"), build)
    for again in range(3):
        assert all((path / f"{i}.txt").read_text() == str(i) * 500 for i in range(20))
        time.sleep(0.002)
"""


def test_processes_that_find_a_damaged_folder_at_once(tmp_path):
    """Each makes it anew; none takes away what another has found whole."""
    for turn in range(0, 40, 2):
        (tmp_path / f"x{turn}").mkdir()
        (tmp_path / f"x{turn}" / files.MANIFEST).write_text('{"0.txt": 1}')
    runs = [subprocess.Popen([sys.executable, "-c", RACER, tmp_path]) for _ in range(4)]
    assert [run.wait(120) for run in runs] == [0, 0, 0, 0]
    assert listed(tmp_path) == sorted(f"x{turn}" if turn % 2 else f"x{turn}.2" for turn in range(40))
