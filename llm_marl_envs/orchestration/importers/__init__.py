"""Transcripts of other systems as orchestration data: OpenAI-style message logs, Claude Code and Codex sessions.

What is imported can be shown and measured like our own, but not replayed: no workflow produced it. Its first event says
`imported`. Records that are not understood are skipped and counted in the metric `records_skipped`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llm_marl_envs.errors import TranscriptError, UnknownName
from llm_marl_envs.orchestration.importers import claude_code, codex, openai
from llm_marl_envs.orchestration.importers.records import TranscriptFile, read_source
from llm_marl_envs.orchestration.schema import View

LAYOUTS: dict[str, Any] = {"claude_code": claude_code, "codex": codex, "openai": openai}


def read_transcript(path: str | Path, layout: str = "auto") -> Iterator[View]:
    """The episodes of a transcript file, or of all transcripts under a folder. If a layout keeps logs of sub-agents in separate
    files, they are found and added to the session that spawned them.

    Raises TranscriptError for a file that cannot be read or in which nothing was understood (in a folder, it is left out with a
    warning, unless there is no other), and UnknownName for an unknown layout.
    """
    if layout != "auto" and layout not in LAYOUTS:
        raise UnknownName("transcript layout", layout, ["auto", *LAYOUTS])
    path = Path(path)
    if not path.is_dir():
        yield from _read(path, layout)
        return
    understood, why = 0, ""
    for file in sorted(p for p in path.rglob("*.json*") if p.suffix in (".json", ".jsonl") and p.is_file()):
        if file.name.endswith(".meta.json"):
            continue
        try:
            for view in _read(file, layout, alone=False):
                understood += 1
                yield view
        except TranscriptError as bad:
            why = why or str(bad)
            warnings.warn(f"left out: {bad}", stacklevel=2)
    if not understood:
        raise TranscriptError(f"no transcripts under {path}: {why or 'expected files named *.jsonl or *.json'}")


def _read(file: Path, layout: str, *, alone: bool = True) -> Iterator[View]:
    """The episodes of one file; if it is read as part of a folder, sub-agents' files come with the session that spawned them."""
    source = read_source(file)
    layout = layout if layout != "auto" else sniff(source)
    reader = LAYOUTS[layout]
    if not alone and reader.is_part(source):
        return
    views: list[View] = list(reader.read(source))
    if not views:
        many = len(source.records)
        raise TranscriptError(
            f"nothing in {file} was understood: none of its {many} records has the layout {layout}. {_EXPECTED}"
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
