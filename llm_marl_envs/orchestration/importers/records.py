"""What the transcript readers share: records from files, what was not understood, and texts, times and tokens in records."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any

from llm_marl_envs.errors import TranscriptError

UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError, OverflowError)
KINDS = 40  # kinds of what is not understood that are told apart; the rest are counted together
READ = ("prompt_tokens", "input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
WRITTEN = ("completion_tokens", "output_tokens")


class Skipped(Counter[str]):
    """What was not understood: how many of each kind."""

    def note(self, what: str, kind: object = "", times: int = 1) -> None:
        """One more of a kind, for example `record telemetry`. `kind` comes from the file and may be anything."""
        name = f"{what} {kind if isinstance(kind, str) else type(kind).__name__}".strip()[:60]
        self[name if name in self or len(self) < KINDS else "other kinds"] += times


class Names(dict[str, str]):
    """The agents of a session: id -> name."""

    def __init__(self, main: str) -> None:
        super().__init__({main: "main"})
        self.roles: Counter[str] = Counter()

    def meet(self, agent: str, role: str) -> str:
        """An agent's name: the one it has, or a new one made of its role."""
        if agent not in self:
            role = re.sub(r"[^A-Za-z0-9-]+", "-", role)[:40].strip("-") or "agent"
            self[agent] = f"{role}_{self.roles[role]}"
            self.roles[role] += 1
        return self[agent]


@dataclass(slots=True)
class Together:
    """What files that are read together share, so that nothing is counted twice, or looked for twice.

    files: all of them. seen: digests of records, and the file that has them first. parts: files that were read with a session.
    beside: what the files of a folder say of themselves.
    """

    files: frozenset[Path] = frozenset()
    seen: dict[bytes, Path] = field(default_factory=dict)
    parts: set[Path] = field(default_factory=set)
    beside: dict[Path, Any] = field(default_factory=dict)


@dataclass(slots=True)
class TranscriptFile:
    """A transcript file: its JSON records, what of it is no JSON, and how many records another file had before."""

    path: Path
    records: list[Any]
    skipped: Skipped = field(default_factory=Skipped)
    repeated: int = 0


def read_source(path: Path) -> TranscriptFile:
    """The records of a JSON or JSON-lines file, or of a recorded event stream (`data: {...}`). Lines that are not JSON, including
    a torn last line, are counted. Raises TranscriptError if the file cannot be read or contains no JSON at all."""
    try:
        if path.exists() and not path.is_file():  # a pipe or a device may never end
            raise TranscriptError(f"cannot read {path}: not a regular file. Expected a transcript file or a folder.")
        text = path.read_text("utf-8-sig", errors="replace")
    except OSError as bad:
        raise TranscriptError(
            f"cannot read {path}: {bad.strerror or bad}. Expected a transcript file or a folder."
        ) from None
    try:
        whole = load(text)
        return TranscriptFile(path, whole if isinstance(whole, list) else [whole])
    except (ValueError, RecursionError):
        pass
    source = TranscriptFile(path, [])
    for line in lines_of(text):
        try:
            source.records.append(load(line))
        except (ValueError, RecursionError):
            source.skipped.note("line that is not JSON")
    if not source.records:
        raise TranscriptError(f"{path} contains no JSON: expected one JSON value, or one object per line")
    return source


def lines_of(text: str) -> Iterator[str]:
    """The lines that should be JSON; of an event stream, what follows `data:`."""
    lines = [line.strip() for line in text.split("\n")]  # not splitlines(): JSON may hold U+2028, U+2029 and U+0085
    stream = any(line.startswith("data:") for line in lines)
    for line in lines:
        if stream and line.startswith(("event:", "id:", "retry:", ":")):
            continue
        line = line.removeprefix("data:").strip() if stream else line
        if line and line != "[DONE]":
            yield line


def load(text: str) -> Any:
    """JSON, in which NaN and the infinities are texts, for no JSON may hold them. Raises ValueError or RecursionError."""
    return json.loads(text, parse_constant=str, parse_float=_finite)


def _finite(digits: str) -> float | str:
    number = float(digits)
    return number if isfinite(number) else digits


def seconds_of(value: Any) -> float | None:
    """A time stamp (ISO 8601, UTC if it names no zone, or seconds or milliseconds since 1970) in seconds; None if it is not one."""
    if isinstance(value, str):
        try:
            time = datetime.fromisoformat(value)
            return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 1e14:
        return value / 1000 if value > 1e11 else float(value)
    return None


def text_of(content: Any) -> str:
    """The text of a message's content: a string, or the text parts of a list; other parts are named in brackets."""
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        return "" if content is None else json.dumps(content)
    parts = []
    for part in content:
        if isinstance(part, str):
            parts.append(part)
        elif isinstance(part, dict):
            inside = next((part[name] for name in ("text", "content", "refusal") if part.get(name) is not None), None)
            parts.append(text_of(inside) if inside is not None else f"[{part.get('type', 'part')}]")
    return "\n".join(part for part in parts if part)


def tokens_of(usage: Any, skipped: Skipped) -> tuple[int, int]:
    """Tokens read and written of one reply. Anthropic reports what its cache read and wrote beside `input_tokens`, so it is added;
    OpenAI's `cached_tokens` and `reasoning_tokens` are parts of the other counts, so they are not."""
    if usage is None:
        return 0, 0
    if not isinstance(usage, dict) or any(
        not _is_count(n) for name, n in usage.items() if name in READ + WRITTEN and n is not None
    ):
        skipped.note("ill-typed field usage")
    read, cached = count(usage, *READ[:2]), count(usage, *READ[2:])
    if count(usage, READ[0]) and count(usage, READ[1]):  # two names of one number
        read = count(usage, READ[0])
    written = count(usage, WRITTEN[0]) or count(usage, WRITTEN[1])
    return read + cached, written


def count(usage: Any, *names: str) -> int:
    """The sum of the named counts of a usage record; missing and impossible ones count 0."""
    if not isinstance(usage, dict):
        return 0
    return sum(int(usage[name]) for name in names if _is_count(usage.get(name)))


def _is_count(n: Any) -> bool:
    return isinstance(n, (int, float)) and not isinstance(n, bool) and 0 <= n < 1e15


def parsed(text: Any) -> Any:
    """A tool's arguments: JSON in a string is parsed."""
    if isinstance(text, str):
        try:
            return load(text)
        except (ValueError, RecursionError):
            return {"text": text}
    return text


def name_of(value: Any) -> str | None:
    """A text that is not empty, or None."""
    return value if isinstance(value, str) and value else None
