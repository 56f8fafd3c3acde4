"""Codex sessions: `rollout-*.jsonl` files of records with a type and a payload; older ones without the payload.

A sub-agent has its own file, whose `session_meta` names its parent thread; the parent's `spawn_agent` call returns its thread
id or its path. Sub-agents are looked for in the files of the same folder. A text sent to a sub-agent later is a message to it. A
forked thread's file begins with the records of its parent. The output of `codex exec --json` is read, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_marl_envs.errors import TranscriptError
from llm_marl_envs.orchestration.importers.codex_thread import STREAMED, Thread
from llm_marl_envs.orchestration.importers.records import Names, Together, TranscriptFile, name_of, parsed, read_source
from llm_marl_envs.orchestration.importers.steps import Step, imported
from llm_marl_envs.orchestration.schema import View

TYPES = ("session_meta", "response_item", "event_msg", "turn_context", "compacted")


def is_record(record: Any) -> bool:
    if not isinstance(record, dict):
        return False
    if record.get("type") in TYPES and isinstance(record.get("payload"), dict):
        return True
    if record.get("type") in STREAMED:
        return True
    return "record_type" in record or {"id", "timestamp", "instructions"} <= record.keys()  # older files


def is_part(source: TranscriptFile, together: Together) -> bool:
    """Whether a file is a sub-agent's, with its parent's file in the same folder."""
    parent = _meta(source).parent
    return parent is not None and any(meta.id == parent for _, meta in _beside(source.path, together))


def read(source: TranscriptFile, together: Together) -> Iterator[View]:
    steps: list[Step] = []
    skipped, meta = source.skipped, _meta(source)
    id = meta.id or source.path.stem
    names, seen = Names(id), {source.path}
    origin = _origin(source, together) if meta.parent is None else []
    todo: list[tuple[str, TranscriptFile, bool, list[Any]]] = [(id, source, meta.forked is not None, origin)]
    while todo:
        thread, part, forked, inherited = todo.pop(0)
        log = Thread(part, names, thread, steps, inherited, skipped, top=part is source, forked=forked)
        source.repeated += log.repeated if part is source else 0
        for path, child in _beside(part.path, together):
            if child.parent != thread or child.id is None or path in seen:
                continue
            seen.add(path)
            known = next((names[alias] for alias in child.aliases if alias in names), None)
            if known is not None:
                names.setdefault(child.id, known)
            names.meet(child.id, child.role)
            try:
                more = read_source(path)
            except TranscriptError:
                skipped.note("file of a sub-agent")
                continue
            together.parts.add(path.resolve())
            skipped.update(more.skipped)
            todo.append((child.id, more, child.forked is not None, part.records))
    view = imported(steps, id=id, system="codex", layout="codex", skipped=skipped, repeated=source.repeated)
    if view:
        yield view


def _origin(source: TranscriptFile, together: Together) -> list[Any]:
    """The records of the thread that this one was forked from, if they are read, too: its file repeats them."""
    origin = _meta(source).forked
    for path in sorted(together.files - {source.path}) if origin else ():
        try:
            if _meta_of(path).id == origin:
                return read_source(path).records
        except TranscriptError:
            continue
    return []


def _beside(path: Path, together: Together) -> list[tuple[Path, _Meta]]:
    """The other files of a file's folder."""
    folder = path.parent
    if folder not in together.beside:
        together.beside[folder] = [(p, _meta_of(p)) for p in sorted(folder.glob("*.jsonl")) if p.is_file()]
    return [(p, meta) for p, meta in together.beside[folder] if p != path]


@dataclass(frozen=True, slots=True)
class _Meta:
    """What a file says of its thread: its id, its parent's if it is a sub-agent's, what it was forked from, its role, other names."""

    id: str | None = None
    parent: str | None = None
    forked: str | None = None
    role: str = "agent"
    aliases: tuple[str, ...] = ()


def _meta_of(path: Path) -> _Meta:
    try:
        with path.open("rb") as file:
            first = file.readline(1_000_000)
    except OSError:
        return _Meta()
    return _meta(TranscriptFile(path, [parsed(first.decode("utf-8", "replace"))]))


def _meta(source: TranscriptFile) -> _Meta:
    for record in source.records[:5]:
        meta: Any = record.get("payload") if isinstance(record, dict) and record.get("type") == "session_meta" else None
        if not isinstance(meta, dict):
            continue
        spawn: Any = meta
        for name in ("source", "subagent", "thread_spawn"):
            spawn = spawn.get(name) if isinstance(spawn, dict) else None
        spawn = spawn if isinstance(spawn, dict) else {}
        return _Meta(
            name_of(meta.get("id")),
            name_of(meta.get("parent_thread_id") or spawn.get("parent_thread_id")),
            name_of(meta.get("forked_from_id") or spawn.get("forked_from_id")),
            str(spawn.get("agent_role") or meta.get("agent_role") or "agent"),
            tuple(filter(None, (name_of(spawn.get(name)) for name in ("agent_path", "spawn_call_id")))),
        )
    first = source.records[0] if source.records else None
    if not isinstance(first, dict):
        return _Meta()
    return _Meta(name_of(first.get("thread_id") if first.get("type") == "thread.started" else first.get("id") if "instructions" in first else None))  # fmt: skip
