"""Files on disk: written whole or not at all, a folder for what can be made again, and no leftovers of killed processes.

What is written lies aside first, in the same folder, under a name that tells which process on which machine it belongs to;
a rename puts it into place. So a reader never sees half a file, processes that write the same file do not mix, and what a
killed process left can be told from the work of a living one: `sweep` removes it when the place is next used.
"""

from __future__ import annotations

import errno
import functools
import gzip
import json
import os
import platform
import re
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import BinaryIO

from platformdirs import user_cache_path

from llm_marl_envs.errors import LLMMarlError, WriteFailed

NAME = "llm-marl-envs"  # of the cache folder
MANIFEST = "manifest.json"
HASH_EACH_TIME = 64 << 20  # bytes; a larger file of a cached folder is hashed only if its time of change is another
ABANDONED = 86_400  # seconds after which what lies aside is taken to be left behind
ASIDE = re.compile(r"\..+\.([0-9a-f]{8})-([0-9]{1,9})-[0-9a-f]{8}\.aside", re.DOTALL)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# How libraries that are not written in Python tell of a failed write: torch.save, safetensors.
OF_LIBRARIES = re.compile(r"os error (?:5|27|28|30|116|122)\b|file write failed|failed writing|unexpected pos \d")


@contextmanager
def atomic_write(path: str | Path, remedy: str = "") -> Iterator[BinaryIO]:
    """A file to write bytes to, which takes the place of `path` when the block ends without an error.

    Folders on the way are made. A link stays a link, and a device or pipe is written to as it is. remedy: what to do about
    a failure, where the caller knows better. Raises WriteFailed, with the path, the reason and what to do, where `path`
    cannot be written or the disk is full; other errors of the block pass. Either way what was there before is untouched.
    """
    path = Path(path)
    with _told(path, remedy) as block:
        if path.exists() and not path.is_file() and not path.is_dir():
            with open(path, "wb") as file, block(path):
                yield file
            return
        final = Path(os.path.realpath(path))
        if final.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        final.parent.mkdir(parents=True, exist_ok=True)
        sweep(final.parent)
        aside = _aside(final)
        try:
            with open(aside, "xb") as file:
                with block(aside):
                    yield file
                file.flush()
                os.fsync(file.fileno())
            with suppress(OSError):
                shutil.copymode(final, aside)
            os.replace(aside, final)
        finally:
            _remove(aside)


def write_lines(path: Path, lines: Iterable[bytes], remedy: str = "") -> int:
    """`atomic_write` of lines, gzipped if the name ends in .gz; returns how many."""
    count = 0
    with (
        atomic_write(path, remedy) as plain,
        gzip.open(plain, "wb", compresslevel=5) if path.suffix == ".gz" else nullcontext(plain) as file,
    ):
        for line in lines:
            file.write(line + b"\n")
            count += 1
    return count


@contextmanager
def atomic_folder(folder: Path, remedy: str = "") -> Iterator[Path]:
    """An empty folder to fill, which takes the place of `folder` when the block ends without an error; as `atomic_write`."""
    with _told(folder, remedy) as block:
        folder.parent.mkdir(parents=True, exist_ok=True)
        sweep(folder.parent)
        aside, before = _aside(folder), _aside(folder)
        try:
            aside.mkdir()
            with block(aside):
                yield aside
            for file in aside.rglob("*"):
                if file.is_file():
                    with open(file, "rb+") as written:
                        os.fsync(written.fileno())
            with suppress(FileNotFoundError):
                os.rename(folder, before)
            os.rename(aside, folder)
        finally:
            _remove(aside)
            _remove(before)


def write_failed(path: str | Path, bad: BaseException, remedy: str = "") -> WriteFailed:
    """The error that says which path could not be written, why, and what to do."""
    reason, number = (bad.strerror or bad, bad.errno) if isinstance(bad, OSError) else (bad, errno.ENOSPC)
    place = "choose another place" if number in FULL else "Choose another place, one that you may write to"
    advice = remedy or (f"Free some space, or {place}." if number in FULL else f"{place}.")
    return WriteFailed(f"cannot write {path}: {reason}. {advice}")


@contextmanager
def _told(path: Path, remedy: str) -> Iterator[Callable[[Path], AbstractContextManager[None]]]:
    """Within it what goes wrong with writing is a WriteFailed. It gives a context for the caller's block, whose errors are
    the caller's, unless they tell of the file or folder that the block fills."""
    others: list[Exception] = []

    @contextmanager
    def block(filled: Path) -> Iterator[None]:
        try:
            yield
        except Exception as bad:
            if not _tells_of(filled, bad):
                others.append(bad)
            raise

    try:
        yield block
    except BrokenPipeError:
        raise  # the reader of a pipe has gone: the command line ends quietly then
    except Exception as bad:
        if bad in others:
            raise
        raise write_failed(path, bad, remedy) from bad


def _tells_of(filled: Path, bad: Exception) -> bool:
    """Whether an error says that a file or folder could not be filled; on an open file it names none."""
    if isinstance(bad, LLMMarlError):
        return False
    if not isinstance(bad, OSError):
        return OF_LIBRARIES.search(str(bad)) is not None
    if bad.filename is None:
        return bad.errno in (*FULL, errno.EIO, errno.EROFS, errno.ESTALE)
    return isinstance(bad.filename, str) and Path(bad.filename).is_relative_to(filled)


def sweep(folder: Path) -> None:
    """Remove what lies aside in a folder and belongs to no process any more: its process is gone, or it is a day old."""
    with suppress(OSError):
        for name in os.listdir(folder):
            if (match := ASIDE.fullmatch(name)) and _is_abandoned(folder / name, match[1], int(match[2])):
                _remove(folder / name)


def _is_abandoned(path: Path, machine: str, process: int) -> bool:
    if machine == _machine() and sys.platform != "win32":  # where signal 0 would end the process
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        except OSError:
            pass  # it is there, and somebody else's
    try:
        return time.time() - path.lstat().st_mtime > ABANDONED
    except OSError:
        return False


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name[:40]}.{_machine()}-{os.getpid()}-{secrets.token_hex(4)}.aside")


@functools.cache
def _machine() -> str:
    """Where a process id means anything: the machine, and the container if there is one."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return blake2b(f"{platform.node()} {space}".encode(), digest_size=4).hexdigest()


def _remove(path: Path) -> None:
    with suppress(OSError):
        if stat.S_ISDIR(path.lstat().st_mode):
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def cache_folder() -> Path | None:
    """Where to keep what can be made again: XDG_CACHE_HOME if it is set, else where the platform wants caches to be. None if
    there is no home folder: then go on without a cache."""
    told = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(told):
        return Path(told, NAME)
    try:
        folder = user_cache_path(NAME, appauthor=False, opinion=False)
    except RuntimeError:
        return None
    return folder if folder.is_absolute() else None


def cached_folder(folder: Path, build: Callable[[Path], object]) -> Path:
    """A folder that `build(an empty folder)` fills once, for all processes; returns where it is.

    A manifest holds its files' digests, which are compared at each call, so a folder that is torn or altered is made anew. The
    new one is a further edition under a name of its own (`folder.2`): a process may be reading the older one, and whoever
    found an edition whole can rely on its path. Processes that build at once end up with the same edition.

    Raises OSError where nothing can be written there; then go on without a cache.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    sweep(folder.parent)
    if whole := _whole_edition(folder):
        return whole
    aside = _aside(folder)
    try:
        aside.mkdir()
        try:
            build(aside)
        except Exception as bad:
            if isinstance(bad, OSError) or not _tells_of(aside, bad):
                raise
            raise write_failed(folder, bad) from bad
        manifest = json.dumps({name: _noted(aside / name) for name in _names(aside)})
        (aside / MANIFEST).write_text(manifest, encoding="utf-8")
        while True:
            before = _editions(folder)
            if whole := _whole_edition(folder):
                return whole  # another process was quicker
            number = max(before, default=0) + 1
            final = folder if number == 1 else folder.with_name(f"{folder.name}.{number}")
            try:
                os.rename(aside, final)
            except OSError:
                if not os.path.lexists(final):
                    raise
                continue
            for broken in before.values():
                _remove(broken)
            return final
    finally:
        _remove(aside)


def _editions(folder: Path) -> dict[int, Path]:
    """What is there of a cached folder, by number; no number is ever used for two."""
    numbered = re.compile(rf"{re.escape(folder.name)}(?:\.([0-9]+))?")
    matches = (match for name in os.listdir(folder.parent) if (match := numbered.fullmatch(name)))
    return {int(match[1] or 1): folder.with_name(match[0]) for match in matches}


def _whole_edition(folder: Path) -> Path | None:
    return next((path for _, path in sorted(_editions(folder).items(), reverse=True) if _is_whole(path)), None)


def _is_whole(folder: Path) -> bool:
    """Whether a folder holds what its manifest says, and nothing else."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        if not manifest or manifest.keys() | {MANIFEST} != set(_names(folder)):
            return False
        return all(_is_as_noted(folder / name, noted) for name, noted in manifest.items())
    except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError):
        return False


def _names(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if not file.is_dir())


def _noted(path: Path) -> dict[str, int | str]:
    found = path.stat()
    return {"size": found.st_size, "changed": found.st_mtime_ns, "digest": digest_of(path)}


def _is_as_noted(path: Path, noted: dict[str, int | str]) -> bool:
    found = path.stat()
    if found.st_size != noted["size"]:
        return False
    if found.st_size > HASH_EACH_TIME and found.st_mtime_ns == noted["changed"]:
        return True  # hashing gigabytes takes longer than loading them
    return digest_of(path) == noted["digest"]


def digest_of(path: Path) -> str:
    """A hash of a file's content."""
    with open(path, "rb") as file:
        return file_digest(file, lambda: blake2b(digest_size=16)).hexdigest()
