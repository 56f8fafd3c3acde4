"""Transcripts of other systems as orchestration data: OpenAI-style message logs, Claude Code and Codex sessions.

What is imported can be shown and measured like our own, but not replayed: no workflow produced it. Its first event says
`imported`. What is not understood is counted: by kind in the first event's `skipped`, in total in the metric `records_skipped`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from llm_marl_envs.errors import TranscriptError, UnknownName
from llm_marl_envs.orchestration.importers import claude_code, codex, openai
from llm_marl_envs.orchestration.importers.records import Together, TranscriptFile, read_source, seconds_of
from llm_marl_envs.orchestration.schema import View

LAYOUTS: dict[str, Any] = {"claude_code": claude_code, "codex": codex, "openai": openai}
TAIL = 100_000  # bytes at the end of a file in which its last time is looked for
_TIME = re.compile(rb'"timestamp": ?"([^"]{10,40})"')


def read_transcript(path: str | Path, layout: str = "auto") -> Iterator[View]:
    """The episodes of a transcript file, or of all transcripts under a folder: `read_transcripts` of one path."""
    return read_transcripts([path], layout)


def read_transcripts(paths: Iterable[str | Path], layout: str = "auto") -> Iterator[View]:
    """The episodes of transcript files, and of all transcripts under folders. If a layout keeps logs of sub-agents in separate
    files, they are found and added to the session that spawned them. What a resumed session's file repeats of another of these
    files is read once.

    Raises TranscriptError for a file that cannot be read or in which nothing was understood (in a folder, it is left out with a
    warning, unless there is no other), and UnknownName for an unknown layout.
    """
    if layout != "auto" and layout not in LAYOUTS:
        raise UnknownName("transcript layout", layout, ["auto", *LAYOUTS])
    given = [Path(path) for path in paths]
    found = {path: _transcripts_under(path) for path in given if path.is_dir()}
    named = {path for path in given if path not in found}
    files = list(dict.fromkeys(file for path in given for file in found.get(path, [path])))
    folders_of: dict[Path, list[Path]] = {}
    for folder, under in found.items():
        for file in under:
            folders_of.setdefault(file, []).append(folder)
    together = Together(frozenset(files))
    understood, why = dict.fromkeys(found, 0), dict.fromkeys(found, "")
    queue = [(file, len(files) == 1) for file in files]
    for file, alone in queue:  # it grows: a sub-agent's file that no session claims is read by itself, after all others
        folders = folders_of.get(file, [])
        try:
            if file.resolve() in together.parts:
                continue
            source = read_source(file)
            reader = LAYOUTS[layout if layout != "auto" else sniff(source)]
            if not alone and reader.is_part(source, together):
                queue.append((file, True))
                continue
            for view in _views(source, reader, together):
                for folder in folders:
                    understood[folder] += 1
                yield view
        except TranscriptError as bad:
            if file in named:
                raise
            for folder in folders:
                why[folder] = why[folder] or str(bad)
            warnings.warn(f"left out: {bad}", stacklevel=2)
    for folder, count in understood.items():
        if not count:
            raise TranscriptError(
                f"no transcripts under {folder}: {why[folder] or 'expected files named *.jsonl or *.json'}"
            )


def _transcripts_under(folder: Path) -> list[Path]:
    """Of two sessions that share records, the one that ended first has them, so it comes first."""
    files = (path for path in folder.rglob("*.json*") if path.suffix in (".json", ".jsonl") and path.is_file())
    return sorted((path for path in files if not path.name.endswith(".meta.json")), key=_last_time)


def _last_time(path: Path) -> tuple[float, str]:
    """The last time in a file, and its name."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL))
            times = [seconds_of(stamp.decode("ascii", "replace")) or 0.0 for stamp in _TIME.findall(file.read(TAIL))]
    except (OSError, ValueError):
        times = []
    return max(times, default=0.0), str(path)


def _views(source: TranscriptFile, reader: Any, together: Together) -> Iterator[View]:
    views: list[View] = list(reader.read(source, together))
    if not views and source.repeated:
        warnings.warn(f"left out: {source.path} only repeats records of other files", stacklevel=3)
    elif not views:
        what = ", ".join(f"{number} x {kind}" for kind, number in source.skipped.most_common(5))
        raise TranscriptError(
            f"nothing in {source.path} was understood: none of its {len(source.records)} records has the layout "
            f"{reader.__name__.rpartition('.')[2]}{f' ({what})' if what else ''}. {_EXPECTED}"
        )
    yield from views


def sniff(source: TranscriptFile) -> str:
    """The layout of a transcript, from its first records; message logs are tried last. Raises TranscriptError if they have no
    known layout."""
    scores = {name: sum(map(reader.is_record, source.records[:50])) for name, reader in LAYOUTS.items()}
    best = max(scores, key=lambda name: (name != "openai" and scores[name] > 0, scores[name]))
    if not scores[best]:
        raise TranscriptError(f"{source.path} is not a transcript of a known layout. {_EXPECTED}")
    return best


_EXPECTED = (
    "Expected messages with role and content (openai), records with sessionId and message (claude_code), or records with "
    "type and payload (codex), as JSON or JSON lines; say which with --layout."
)
