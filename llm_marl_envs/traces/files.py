"""Files of traces: JSON lines, plain or gzipped, that survive killed writers and full disks."""

from __future__ import annotations

import gzip
import io
import re
import stat
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from llm_marl_envs.errors import TraceError, WriteFailed
from llm_marl_envs.files import write_lines
from llm_marl_envs.traces.trace import Trace

READ_MB = 400  # megabytes that reading one line may take
COPIES = 3  # of a line, while it is read: its bytes, the text, and the texts in it
VALUE = 64  # bytes that a value may take for each of its own
SHORT = 1 << 20  # bytes of a line that is not looked at more closely
CHUNK = 1 << 17  # bytes that are read at once
IDLE = 640 << 20  # bytes of blank lines and of lines that are too long: what a file may have of them
_TEXTS = re.compile(rb'"[^"]*"?')


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
    found = [line for line in read_lines(path) if line is not None]
    torn = bool(found) and not found[-1].endswith(b"\n")
    return [line.rstrip(b"\n") for line in found[: len(found) - torn]], torn


def read_lines(path: Path, longest: int | None = None) -> Iterator[bytes | None]:
    """The lines of a plain or gzipped file with their ends, in bounded memory: of a line longer than `longest`, None. What follows
    the last line end, or is left before a torn end of the gzipped data, comes last, without one; blank lines may be left out.

    Raises TraceError for what is no regular file, and for one that has more than IDLE bytes of nothing.
    """
    if not (stat.S_ISREG(mode := path.stat().st_mode) or stat.S_ISDIR(mode)):
        raise TraceError(f"{path} is no regular file. Expected a file written by TraceWriter.")
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        rest: list[bytes] = []  # of a line, which may come in many pieces
        size, idle, skipping, some = 0, 0, False, False
        while True:
            try:
                chunk = file.read1(CHUNK)  # read() would lose what stands before a torn end
            except (EOFError, zlib.error, gzip.BadGzipFile) as bad:
                if isinstance(bad, OSError) and not some:
                    raise  # not gzipped at all, so not a torn trace file, so not repaired
                yield b"".join(rest) or b"\x00"  # torn, even where it was torn between two lines
                return
            if not chunk:
                if (last := b"".join(rest)).strip() and not skipping:
                    yield last
                return
            some = True
            if (b"\n" not in chunk) if skipping else (not rest and chunk.isspace()):
                idle += len(chunk)
                if idle > IDLE:
                    raise TraceError(f"{path} has more than {IDLE >> 20} MB that are no traces: the rest is not read")
                continue
            lines = chunk.split(b"\n")
            last, chunk = lines.pop(), b""
            for line in lines:
                if not skipping:
                    rest += (line, b"\n")
                    whole = b"".join(rest)
                    rest.clear()
                    yield whole
                rest, size, skipping = [], 0, False
            if last and not skipping:
                rest.append(last)
                size += len(last)
            if longest is not None and size > longest:
                rest, size, skipping = [], 0, True
                yield None


def read_traces(
    path: str | Path, bad: Callable[[TraceError], None] | None = None, memory_mb: int = READ_MB
) -> Iterator[Trace]:
    """The traces of a file, plain or gzipped, in bounded memory. A torn last line is skipped with a TornTrace warning.

    Raises TraceError, naming the line, if the file is missing or no regular file, and if a line is not a trace, or would take more
    than `memory_mb` megabytes to read. With `bad`, which gets the error instead, one bad line costs one line: the others are read.
    """
    path = Path(path)
    report, most = bad or _raised, memory_mb << 20
    try:
        for number, line in enumerate(read_lines(path, most // COPIES), 1):
            if line is None:
                report(
                    TraceError(f"{path} line {number}: longer than {most // COPIES} bytes (--memory-mb allows more)")
                )
            elif (takes := size_read(line, most)) > most:
                why = f"to read it takes about {takes >> 20} MB, more than {memory_mb} MB (--memory-mb allows more)"
                report(TraceError(f"{path} line {number}: {why}"))
            elif not line.endswith(b"\n"):
                text = f"{path}: the last line is incomplete; that one episode is lost"
                warnings.warn(text, TornTrace, stacklevel=2)
            elif line.strip() and (trace := _trace(path, number, line, report)) is not None:
                yield trace
    except OSError as error:
        raise TraceError(
            f"cannot read {path}: {error.strerror or error}. Expected a file written by TraceWriter."
        ) from None


def size_read(line: bytes, most: int) -> int:
    """About how many bytes of memory the reading of a line of JSON takes: COPIES of it, more where its texts may have characters of
    four bytes, and VALUE for each text and for each byte outside texts. Beyond `most`, less may be returned."""
    if len(line) <= SHORT:
        return VALUE * len(line)
    bare = line.replace(b"\\\\", b"").replace(b'\\"', b"")
    size = len(line) * (COPIES ** (1 if line.isascii() else 2) + (COPIES if b"\\u" in line else 0))
    size += VALUE * (bare.count(b'"') // 2)
    return size if size > most else size + VALUE * len(_TEXTS.sub(b"", bare))


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
