"""Files appear whole or not at all, leftovers of killed processes go away, and a cached folder is right or made anew."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from llm_marl_envs import files
from llm_marl_envs.errors import TraceError, WriteFailed
from llm_marl_envs.files import atomic_folder, atomic_write, cached_folder, sweep, write_lines


def put(path: Path, text: str, remedy: str = "") -> None:
    with atomic_write(path, remedy) as file:
        file.write(text.encode())


def fail_in(path: Path, bad: BaseException) -> None:
    with atomic_write(path) as file:
        file.write(b"new")
        raise bad


@contextmanager
def small_files(size: int) -> Iterator[None]:
    """The kernel refuses to let a file grow beyond so many bytes, as a quota would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def listed(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


# One file.


def test_a_file_appears_whole_at_the_end(tmp_path):
    path = tmp_path / "new" / "folder" / "a.txt"
    with atomic_write(path) as file:
        file.write(b"half")
        assert not path.exists()
        file.write(b" and half")
    assert path.read_bytes() == b"half and half"
    with atomic_write(path) as file:
        file.write(b"second")
        file.flush()
        assert path.read_bytes() == b"half and half", "a reader sees the old one until the new one is there"
    assert path.read_bytes() == b"second"
    assert listed(path.parent) == ["a.txt"]


def test_an_error_of_the_block_passes_and_leaves_what_was_there(tmp_path):
    put(tmp_path / "a.txt", "before")
    errors = (
        ValueError("mine"),
        KeyboardInterrupt(),
        TraceError("a line is wrong"),
        FileNotFoundError(errno.ENOENT, "no", "/elsewhere"),
        OSError(errno.EIO, "cannot read", "/elsewhere"),
        ConnectionResetError(errno.ECONNRESET, "a server"),
    )
    for bad in errors:
        with pytest.raises(type(bad)) as raised:
            fail_in(tmp_path / "a.txt", bad)
        assert raised.value is bad
        assert listed(tmp_path) == ["a.txt"]
        assert (tmp_path / "a.txt").read_text() == "before"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_a_failed_write_says_where_why_and_what_to_do(tmp_path, number, monkeypatch):
    put(tmp_path / "a.txt", "before")

    def fail(fd: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    for remedy in ("", "Buy a disk."):
        with pytest.raises(WriteFailed) as bad:
            put(tmp_path / "a.txt", "new", remedy)
        text = str(bad.value)
        assert text.startswith(f"cannot write {tmp_path / 'a.txt'}: {os.strerror(number)}. ")
        advice = "Free some space" if number in (errno.ENOSPC, errno.EDQUOT) else "Choose another place"
        assert (remedy or advice) in text
    assert listed(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "before"


def test_a_disk_that_takes_no_more(tmp_path):
    put(tmp_path / "a.txt", "before")
    for name in ("a.txt", "a.jsonl.gz"):
        with small_files(1_000), pytest.raises(WriteFailed, match=r"cannot write .*File too large\. Free some space"):
            write_lines(tmp_path / name, (os.urandom(1_000) for _ in range(100)))
    assert listed(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "before"


def test_places_that_take_no_file(tmp_path):
    put(tmp_path / "file", "x")
    for place in (tmp_path, tmp_path / "file" / "a.txt", tmp_path / ("long" * 100)):
        with pytest.raises(WriteFailed, match=r"cannot write .*Choose another place, one that you may write to") as bad:
            put(place, "text")
        assert str(place) in str(bad.value)
    assert listed(tmp_path) == ["file"]


def test_a_folder_without_permission():
    """Root may write anywhere, so root becomes nobody for it."""
    me = os.geteuid()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        if me == 0:
            os.seteuid(65534)
        try:
            with pytest.raises(WriteFailed, match="Permission denied"):
                put(folder / "a.txt", "text")
            assert list(folder.iterdir()) == []
        finally:
            os.seteuid(me)
            folder.chmod(0o700)


def test_links_and_permissions_stay(tmp_path):
    put(tmp_path / "real", "before")
    (tmp_path / "real").chmod(0o640)
    (tmp_path / "link").symlink_to("real")
    put(tmp_path / "link", "after")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "after"
    assert stat.S_IMODE((tmp_path / "real").stat().st_mode) == 0o640


def test_a_pipe_is_written_to_and_a_device_stays_one(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    put(tmp_path / "pipe", "through")
    reader.join(10)
    assert read == [b"through"]
    assert listed(tmp_path) == ["pipe"]
    before = os.stat(os.devnull)
    put(Path(os.devnull), "gone")
    after = os.stat(os.devnull)
    assert (before.st_ino, before.st_mode) == (after.st_ino, after.st_mode)
    assert stat.S_ISCHR(after.st_mode)
    if os.path.exists("/dev/full"):
        with pytest.raises(WriteFailed, match="cannot write /dev/full: No space left on device"):
            put(Path("/dev/full"), "text")


def test_long_and_odd_names(tmp_path):
    for name in ("ü" * 120, "line\nbreak", ".hidden", "a.aside", "space and 'quotes'"):
        put(tmp_path / name, name)
        assert (tmp_path / name).read_text() == name
    assert len(listed(tmp_path)) == 5


WRITER = """
import sys
from pathlib import Path
from llm_marl_envs.files import atomic_write
for i in range(50):
    with atomic_write(Path(sys.argv[1])) as file:
        file.write(sys.argv[2].encode() * 5_000)
"""


def test_many_processes_write_one_file(tmp_path):
    path = tmp_path / "a.txt"
    runs = [subprocess.Popen([sys.executable, "-c", WRITER, path, letter]) for letter in "abcd"]
    seen = set()
    while any(run.poll() is None for run in runs):
        if path.exists():
            seen.add(path.read_text())
    assert [run.returncode for run in runs] == [0, 0, 0, 0]
    assert seen <= {letter * 5_000 for letter in "abcd"}
    assert listed(tmp_path) == ["a.txt"]


# What is left behind.


KILLED = """
import os, sys
from pathlib import Path
from llm_marl_envs.files import atomic_folder, atomic_write
with atomic_write(Path(sys.argv[1], "a.txt")) as file, atomic_folder(Path(sys.argv[1], "folder")) as folder:
    (folder / "b.txt").write_text("b")
    os.kill(os.getpid(), 9)
"""


def test_what_a_killed_process_left_is_swept_when_the_place_is_used(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [name.rpartition(".")[2] for name in listed(tmp_path)] == ["aside", "aside"]
    put(tmp_path / "other.txt", "text")
    assert listed(tmp_path) == ["other.txt"]


def test_only_what_is_abandoned_is_swept(tmp_path, monkeypatch):
    with atomic_write(tmp_path / "mine.txt") as file:
        file.write(b"still")
        (mine,) = listed(tmp_path)
        gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
        names = {
            "of a process that is gone": mine.replace(f"-{os.getpid()}-", f"-{int(gone.stdout)}-"),
            "of another machine": f".a.txt.00000000-{int(gone.stdout)}-00000000.aside",
            "of another machine, old": ".a.txt.00000000-1-11111111.aside",
            "of a living process, old": f".a.txt.{files._machine()}-1-00000000.aside",
            "the user's own": ".mine.txt",
            "the user's own, old": ".old.aside",
        }
        for what, name in names.items():
            (tmp_path / name).write_text(what)
            if "old" in what:
                os.utime(tmp_path / name, (1, 1))
        sweep(tmp_path)
        left = {what for what, name in names.items() if (tmp_path / name).exists()}
        assert left == {"of another machine", "the user's own", "the user's own, old"}
        assert (tmp_path / mine).exists()
    assert (tmp_path / "mine.txt").read_text() == "still"
    sweep(tmp_path / "not there")


# A whole folder.


def test_a_folder_takes_the_place_of_another(tmp_path):
    target = tmp_path / "new" / "step-1"
    for text in ("first", "second"):
        with atomic_folder(target) as folder:
            (folder / "deep").mkdir()
            (folder / "deep" / "a.txt").write_text(text)
            assert not target.exists() or (target / "deep" / "a.txt").read_text() == "first"
        assert (target / "deep" / "a.txt").read_text() == text
        assert listed(target.parent) == ["step-1"]
    with pytest.raises(WriteFailed, match="File too large"), atomic_folder(target) as folder, small_files(100):
        (folder / "b.txt").write_bytes(bytes(1_000))
    with pytest.raises(WriteFailed, match="Permission denied"), atomic_folder(target) as folder:
        raise PermissionError(errno.EACCES, "Permission denied", str(folder / "c.txt"))
    with pytest.raises(PermissionError), atomic_folder(target):
        raise PermissionError(errno.EACCES, "Permission denied", "/elsewhere")
    assert (target / "deep" / "a.txt").read_text() == "second"
    assert listed(target.parent) == ["step-1"]


def test_libraries_that_say_a_full_disk_in_their_own_words(tmp_path):
    torch, safetensors = pytest.importorskip("torch"), pytest.importorskip("safetensors.torch")
    tensors = {"weights": torch.zeros(10_000)}
    for save in (torch.save, safetensors.save_file):
        with (
            pytest.raises(WriteFailed, match=r"cannot write .*Free some space"),
            atomic_folder(tmp_path / "x") as folder,
            small_files(1_000),
        ):
            save(tensors, folder / "weights")
        with pytest.raises(WriteFailed, match="Free some space"), small_files(1_000):
            cached_folder(tmp_path / "y", lambda folder, save=save: save(tensors, folder / "weights"))
    with pytest.raises(RuntimeError, match="shapes differ"), atomic_folder(tmp_path / "x"):
        raise RuntimeError("shapes differ")
    assert listed(tmp_path) == []
