"""Files of traces: JSON lines, plain or gzipped, that survive killed writers and full disks."""

from __future__ import annotations

import gzip
import io
import stat
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from llm_marl_envs.errors import TraceError, WriteFailed
from llm_marl_envs.files import write_lines
from llm_marl_envs.traces.trace import Trace

LONGEST_LINE = 256 << 20  # bytes of one trace


class TornTrace(UserWarning):
    """A trace file's last line was cut off (a killed writer); that one episode is lost."""


class TraceWriter:
    """Appends traces to a file, one JSON line each; gzipped if the name ends in .gz. Use it in a `with` block.

    Raises WriteFailed when the disk is full or the place is not writable; the traces written before are safe. Appending
    to a file whose last line was torn first drops that line.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.written = 0
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._mend()
            self._file = self._open()
        except WriteFailed:
            raise
        except OSError as bad:
            raise self._failed(bad) from bad

    def write(self, trace: Trace) -> None:
        line = trace.to_json().encode() + b"\n"
        try:
            self._file.write(line)
            self._file.flush()
        except OSError as bad:
            raise self._failed(bad) from bad
        self.written += 1

    def close(self) -> None:
        try:
            self._file.close()
        except OSError as bad:
            raise self._failed(bad) from bad

    def __enter__(self) -> TraceWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _open(self) -> io.BufferedIOBase | gzip.GzipFile:
        if self.path.suffix == ".gz":
            return gzip.open(self.path, "ab", compresslevel=5)
        return open(self.path, "ab")

    def _mend(self) -> None:
        if not self.path.exists() or not self.path.stat().st_size:
            return
        lines, torn = _whole_lines(self.path)
        if torn:
            write_lines(self.path, lines)

    def _failed(self, bad: OSError) -> WriteFailed:
        return WriteFailed(
            f"cannot write {self.path}: {bad.strerror or bad}. {self.written} traces were written before and are safe; "
            f"free some space or choose another place, then run again."
        )


def write_traces(path: Path, traces: Iterable[Trace], remedy: str = "") -> Path:
    """Write a whole file of traces, in place of an older one. Raises WriteFailed, and then the older one stays."""
    write_lines(path, (trace.to_json().encode() for trace in traces), remedy)
    return path


def _whole_lines(path: Path) -> tuple[list[bytes], bool]:
    """All complete lines of a plain or gzipped file, and whether something incomplete follows them."""
    found = [line for line in _lines(path) if line is not None]
    torn = bool(found) and not found[-1].endswith(b"\n")
    return [line.rstrip(b"\n") for line in found[: len(found) - torn]], torn


def _lines(path: Path, longest: int | None = None) -> Iterator[bytes | None]:
    """The lines of a plain or gzipped file with their ends, in bounded memory: of a line longer than `longest`, None. What follows
    the last line end, or is left before a torn end of the gzipped data, comes last, without one; blank lines may be left out."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        rest, skipping, some = b"", False, False
        while True:
            try:
                chunk = file.read1(1 << 20)  # read() would lose what stands before a torn end
            except (EOFError, zlib.error, gzip.BadGzipFile) as bad:
                if isinstance(bad, OSError) and not some:
                    raise  # not gzipped at all, so not a torn trace file, so not repaired
                yield rest or b"\x00"  # torn, even where it was torn between two lines
                return
            if not chunk:
                if rest.strip() and not skipping:
                    yield rest
                return
            some = True
            if not rest and not chunk.strip(b"\n"):
                continue
            *lines, last = chunk.split(b"\n")
            for line in lines:
                if not skipping:
                    yield rest + line + b"\n"
                rest, skipping = b"", False
            rest = b"" if skipping else rest + last
            if longest is not None and len(rest) > longest:
                rest, skipping = b"", True
                yield None


def read_traces(path: str | Path, bad: Callable[[TraceError], None] | None = None) -> Iterator[Trace]:
    """The traces of a file, plain or gzipped, in bounded memory. A torn last line is skipped with a TornTrace warning.

    Raises TraceError, naming the line, if the file is missing or no regular file, and if a line is not a trace. With `bad`, which gets the error instead, one bad line costs one line: the others are read.
    """
    path = Path(path)
    report = bad or _raised
    try:
        if not (stat.S_ISREG(mode := path.stat().st_mode) or stat.S_ISDIR(mode)):
            raise TraceError(f"{path} is no regular file. Expected a file written by TraceWriter.")
        for number, line in enumerate(_lines(path, LONGEST_LINE), 1):
            if line is None:
                report(TraceError(f"{path} line {number}: longer than {LONGEST_LINE} bytes"))
            elif not line.endswith(b"\n"):
                text = f"{path}: the last line is incomplete; that one episode is lost"
                warnings.warn(text, TornTrace, stacklevel=2)
            elif line.strip() and (trace := _trace(path, number, line, report)) is not None:
                yield trace
    except OSError as error:
        raise TraceError(
            f"cannot read {path}: {error.strerror or error}. Expected a file written by TraceWriter."
        ) from None


def _trace(path: Path, number: int, line: bytes, report: Callable[[TraceError], None]) -> Trace | None:
    try:
        return Trace.from_json(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        report(TraceError(f"{path} line {number} is not UTF-8 ({error.reason} at byte {error.start})"))
    except TraceError as error:
        report(TraceError(f"{path} line {number}: {error}"))
    return None


def _raised(error: TraceError) -> None:
    raise error from None
