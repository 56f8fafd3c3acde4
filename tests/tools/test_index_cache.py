"""The cache of indexes is either right or rebuilt, even if other processes use it at the same time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from corpora import WORDS, corpus, write

from llm_marl_envs import files
from llm_marl_envs.tools import index
from llm_marl_envs.tools.index import Index, Passage, open_index


@pytest.fixture(autouse=True)
def no_index_is_remembered():
    index._open.cache_clear()
    yield
    index._open.cache_clear()


@pytest.fixture
def builds(monkeypatch) -> list[int]:
    """One entry for every index that is built."""
    done, build = [], index._build
    monkeypatch.setattr(index, "_build", lambda *a: done.append(1) or build(*a))
    return done


def reopen(path: Path, cache: Path | None) -> Index:
    index._open.cache_clear()
    return open_index(path, cache)


@pytest.mark.parametrize("name", ["corpus.jsonl", "corpus.jsonl.gz"])
def test_built_once(name, tmp_path, builds):
    passages = corpus()
    path, cache = write(tmp_path / name, passages), tmp_path / "cache"
    expected = Index.of(passages).search_batch(WORDS, 5)
    builds.clear()
    first = open_index(path, cache)
    assert open_index(path, cache) is first, "within a process, not even loaded again"
    loaded = reopen(path, cache)
    os.utime(path, ns=(1, 1))
    touched = reopen(path, cache)
    (tmp_path / "elsewhere").mkdir()
    moved = reopen(path.rename(tmp_path / "elsewhere" / name), cache)
    assert len(builds) == 1
    for found in (first, loaded, touched, moved):
        assert found.search_batch(WORDS, 5) == expected
    assert isinstance(loaded._passages.base, np.memmap)
    assert all(isinstance(loaded._bm25.scores[a].base, np.memmap) for a in ("data", "indices", "indptr"))


def test_another_content_is_another_index(tmp_path, builds):
    cache = tmp_path / "cache"
    path = write(tmp_path / "corpus.jsonl", [Passage("0", "Oslo", "city")])
    stat = path.stat()
    assert reopen(path, cache).search("Oslo")
    write(path, [Passage("0", "Rome", "city")])
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_size == stat.st_size
    assert reopen(path, cache).search("Oslo") == [], "told apart although size and time are the same"
    assert len(builds) == 2


def folder_of(cache: Path) -> Path:
    (folder,) = (cache / "search").iterdir()
    return folder


def damages() -> dict[str, object]:
    def truncate(path: Path) -> None:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    def flip(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[len(data) * 3 // 4] ^= 1
        path.write_bytes(data)

    return {"truncated": truncate, "empty": lambda p: p.write_bytes(b""), "flipped": flip, "gone": Path.unlink}


FILES = [
    "data.csc.index.npy",
    "indices.csc.index.npy",
    "indptr.csc.index.npy",
    "manifest.json",
    "offsets.npy",
    "params.index.json",
    "passages.jsonl",
    "vocab.index.json",
]


@pytest.mark.parametrize("damage", damages())
def test_a_damaged_cache_is_built_anew(damage, tmp_path, builds):
    path, cache = write(tmp_path / "corpus.jsonl", corpus(50)), tmp_path / "cache"
    expected = open_index(path, cache).search_batch(WORDS, 5)
    assert sorted(p.name for p in folder_of(cache).iterdir()) == FILES
    for i, name in enumerate(FILES, 1):
        damages()[damage](folder_of(cache) / name)
        assert reopen(path, cache).search_batch(WORDS, 5) == expected
        assert len(builds) == 1 + i, name
    reopen(path, cache)
    assert len(builds) == 1 + len(FILES)
    assert sorted(p.name for p in folder_of(cache).iterdir()) == FILES, "nothing is left behind"


KILLED = """
import os, sys
from pathlib import Path
from llm_marl_envs.tools import index
index.np.save = lambda *a, **k: os.kill(os.getpid(), 9)
index.open_index(sys.argv[1], Path(sys.argv[2]))
"""


@pytest.mark.parametrize("manifest", ["{}", "[]", "null", '{"passages.jsonl": 1}', '{"../../corpus.jsonl": ""}'])
def test_a_manifest_that_says_nothing(manifest, tmp_path, builds):
    path, cache = write(tmp_path / "corpus.jsonl", corpus(50)), tmp_path / "cache"
    expected = open_index(path, cache).search_batch(WORDS, 5)
    (folder_of(cache) / "manifest.json").write_text(manifest, encoding="utf-8")
    assert reopen(path, cache).search_batch(WORDS, 5) == expected
    assert len(builds) == 2


def test_a_file_in_place_of_the_folder(tmp_path, builds):
    path, cache = write(tmp_path / "corpus.jsonl", corpus(50)), tmp_path / "cache"
    open_index(path, cache)
    found = folder_of(cache)
    found.rename(tmp_path / "moved")
    found.write_text("a file", encoding="utf-8")
    assert reopen(path, cache).search("Oslo")
    assert folder_of(cache).is_dir()
    assert len(builds) == 2


def test_a_cache_that_cannot_be_written(tmp_path, builds):
    path = write(tmp_path / "corpus.jsonl", corpus(50))
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.warns(
        UserWarning, match=r"corpus\.jsonl cannot be cached \(.*Not a directory.*built in memory"
    ) as told:
        found = open_index(path, tmp_path / "file")
    assert open_index(path, tmp_path / "file") is found, "and it is not said again"
    assert len(told) == 1
    assert len(builds) == 1
    assert found.search_batch(WORDS, 5) == Index.of(corpus(50)).search_batch(WORDS, 5)


def test_a_disk_that_is_full(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    path = write(tmp_path / "corpus.jsonl", corpus(50))
    monkeypatch.setattr(index.np, "save", full)
    with pytest.warns(UserWarning, match="cannot be cached .*No space left"):
        assert open_index(path, tmp_path / "cache").search("Oslo")
    assert list((tmp_path / "cache" / "search").iterdir()) == []


def test_what_killed_builds_left_is_swept_away(tmp_path):
    path, cache = write(tmp_path / "corpus.jsonl", corpus(50)), tmp_path / "cache"
    cut = [sys.executable, "-c", KILLED, path, cache]
    assert subprocess.run(cut, env=os.environ, check=False).returncode == -signal.SIGKILL
    (left,) = (cache / "search").iterdir()
    assert (left / "passages.jsonl").stat().st_size > 0
    open_index(path, cache)
    assert not left.exists()
    assert sorted(p.name for p in folder_of(cache).iterdir()) == FILES


def test_no_home(tmp_path, monkeypatch):
    path = write(tmp_path / "corpus.jsonl", corpus(50))
    monkeypatch.setattr(index, "cache_folder", lambda: None)
    with pytest.warns(UserWarning, match="no home folder"):
        assert open_index(path).search("Oslo")


def test_a_large_files_digest_is_remembered_until_it_changes(tmp_path, monkeypatch, builds):
    hashed, digest = [], files.file_digest
    monkeypatch.setattr(
        files, "file_digest", lambda file, kind: hashed.append(Path(file.name).name) or digest(file, kind)
    )
    for module in (index, files):
        monkeypatch.setattr(module, "HASH_EACH_TIME", 1_000)
    path, cache = write(tmp_path / "corpus.jsonl", corpus(300)), tmp_path / "cache"
    open_index(path, cache)
    assert {"corpus.jsonl", "passages.jsonl"} <= set(hashed)
    hashed.clear()
    reopen(path, cache)
    reopen(path, cache)
    assert not {"corpus.jsonl", "passages.jsonl"} & set(hashed)
    os.utime(path, ns=(1, 1))
    reopen(path, cache)
    assert hashed.count("corpus.jsonl") == 1
    for memory in (cache / "digests").iterdir():
        memory.write_text("garbage", encoding="utf-8")
    reopen(path, cache)
    assert hashed.count("corpus.jsonl") == 2
    assert len(builds) == 1
    damages()["flipped"](folder_of(cache) / "passages.jsonl")
    reopen(path, cache)
    assert len(builds) == 2, "a large file that was changed is hashed again"


ELSEWHERE = """
import json, sys
from pathlib import Path
from llm_marl_envs.tools.index import open_index
found = open_index(sys.argv[1], Path(sys.argv[2]))
print(json.dumps(found.search_batch(sys.argv[3].split(), 5)))
"""


def test_two_processes_build_at_once_and_find_the_same(tmp_path):
    path, cache = write(tmp_path / "corpus.jsonl", corpus(2_000)), tmp_path / "cache"
    runs = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", ELSEWHERE, path, cache, " ".join(WORDS)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "4242")
    ]
    said = [run.communicate(timeout=60) for run in runs]
    assert [error for _, error in said] == ["", ""], "nothing is printed while building"
    here = json.loads(json.dumps(Index.of(corpus(2_000)).search_batch(WORDS, 5)))
    assert [json.loads(out) for out, _ in said] == [here, here]
    assert sorted(p.name for p in folder_of(cache).iterdir()) == FILES


def test_threads_build_at_once(tmp_path):
    path, cache = write(tmp_path / "corpus.jsonl", corpus(300)), tmp_path / "cache"
    expected, start, found = Index.of(corpus(300)).search_batch(WORDS), threading.Barrier(4), []

    def build() -> None:
        start.wait()
        found.append(open_index(path, cache).search_batch(WORDS))

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4
    assert sorted(p.name for p in folder_of(cache).iterdir()) == FILES


def test_building_is_silent_but_on_a_terminal(tmp_path, capfd, monkeypatch):
    path = write(tmp_path / "corpus.jsonl", corpus(50))
    open_index(path, tmp_path / "cache")
    reopen(path, tmp_path / "cache")
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    open_index(path, tmp_path / "another cache")
    out, err = capfd.readouterr()
    assert out == ""
    assert "indexing the corpus (once)" in err
    reopen(path, tmp_path / "another cache")
    assert capfd.readouterr() == ("", "")
