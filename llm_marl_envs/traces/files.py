"""Files of traces: JSON lines, plain or gzipped, that survive killed writers and full disks."""

from __future__ import annotations

import gzip
import io
import warnings
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from llm_marl_envs.errors import TraceError, WriteFailed
from llm_marl_envs.files import write_lines
from llm_marl_envs.traces.trace import Trace


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
    torn, chunks = False, []
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        try:
            while chunk := file.read1(1 << 20):  # read() would lose what stands before a torn end
                chunks.append(chunk)
        except (EOFError, zlib.error, gzip.BadGzipFile) as bad:
            if isinstance(bad, OSError) and not chunks:
                raise  # not gzipped at all, so not a torn trace file, so not repaired
            torn = True
    *lines, rest = b"".join(chunks).split(b"\n")
    return lines, torn or bool(rest.strip())


def read_traces(path: str | Path) -> Iterator[Trace]:
    """The traces of a file, plain or gzipped. A torn last line is skipped with a TornTrace warning.

    Raises TraceError, naming the line, if the file is missing, not UTF-8, or any other line is not a trace.
    """
    path = Path(path)
    try:
        lines, torn = _whole_lines(path)
    except OSError as bad:
        raise TraceError(
            f"cannot read {path}: {bad.strerror or bad}. Expected a file written by TraceWriter."
        ) from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield Trace.from_json(line.decode("utf-8"))
        except UnicodeDecodeError as bad:
            raise TraceError(f"{path} line {number} is not UTF-8 ({bad.reason} at byte {bad.start})") from None
        except TraceError as bad:
            raise TraceError(f"{path} line {number}: {bad}") from None
    if torn:
        warnings.warn(f"{path}: the last line is incomplete; that one episode is lost", TornTrace, stacklevel=2)
