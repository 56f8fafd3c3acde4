"""Codex sessions: `rollout-*.jsonl` files of records with a type and a payload; older ones without the payload.

A sub-agent has its own file, whose `session_meta` names its parent thread; the parent's `spawn_agent` call returns its thread
id. Sub-agents are looked for in the files of the same folder. A text sent to a sub-agent later is a message to it. The output
of `codex exec --json` is read, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llm_marl_envs.errors import TranscriptError
from llm_marl_envs.orchestration.importers.records import (
    UNREADABLE,
    Step,
    TranscriptFile,
    count,
    imported,
    parsed,
    read_source,
    seconds_of,
    text_of,
)
from llm_marl_envs.orchestration.schema import View

MAIN = "main"
TYPES = ("session_meta", "response_item", "event_msg", "turn_context", "compacted")
STREAMED = (
    "thread.started",
    "turn.started",
    "turn.completed",
    "turn.failed",
    "item.started",
    "item.updated",
    "item.completed",
)
SILENT = ("session_meta", "turn_context", "compacted", "world_state")
CALLS = ("function_call", "custom_tool_call", "local_shell_call", "web_search_call", "tool_search_call")
ITEMS = {
    "command_execution": ("command", "aggregated_output"), "mcp_tool_call": ("arguments", "result"),
    "file_change": ("changes", "status"), "web_search": ("query", "status"),
}  # fmt: skip
OUTPUTS = ("function_call_output", "custom_tool_call_output", "tool_search_output")


def is_record(record: Any) -> bool:
    if not isinstance(record, dict):
        return False
    if record.get("type") in TYPES and isinstance(record.get("payload"), dict):
        return True
    if record.get("type") in STREAMED:
        return True
    return "record_type" in record or {"id", "timestamp", "instructions"} <= record.keys()  # older files


def is_part(source: TranscriptFile) -> bool:
    """Whether a file is a sub-agent's, with its parent's file in the same folder."""
    parent = _meta(source)[1]
    return parent is not None and any(_meta_of(path)[0] == parent for path in _beside(source.path))


def read(source: TranscriptFile) -> Iterator[View]:
    steps: list[Step] = []
    lost = source.skipped
    id = _meta(source)[0] or source.path.stem
    names, seen = {id: MAIN}, {source.path}
    todo: list[tuple[str, TranscriptFile, list[Any] | None]] = [(id, source, None)]
    while todo:
        thread, part, inherited = todo.pop(0)
        log = _Thread(part, names, names[thread], steps, inherited)
        lost += log.skipped
        for path in _beside(part.path):
            child, parent, role = _meta_of(path)
            if parent == thread and child and path not in seen:
                seen.add(path)
                names.setdefault(child, _name(role, names))
                try:
                    todo.append((child, read_source(path), part.records))
                except TranscriptError:
                    lost += 1
    if view := imported(steps, id=id, system="codex", layout="codex", skipped=lost):
        yield view


def _beside(path: Path) -> list[Path]:
    return [p for p in sorted(path.parent.glob("*.jsonl")) if p != path]


def _meta_of(path: Path) -> tuple[str | None, str | None, str]:
    try:
        with path.open("rb") as file:
            first = file.readline(1_000_000)
    except OSError:
        return None, None, ""
    record = parsed(first.decode("utf-8", "replace"))
    return _meta(TranscriptFile(path, [record]))


def _meta(source: TranscriptFile) -> tuple[str | None, str | None, str]:
    """A file's thread id, its parent's if it is a sub-agent's, and its role."""
    for record in source.records[:5]:
        if (
            isinstance(record, dict)
            and record.get("type") == "session_meta"
            and isinstance(record.get("payload"), dict)
        ):
            meta: dict[str, Any] = record["payload"]
            spawn: Any = meta
            for name in ("source", "subagent", "thread_spawn"):
                spawn = spawn.get(name) if isinstance(spawn, dict) else None
            spawn = spawn if isinstance(spawn, dict) else {}
            parent = meta.get("parent_thread_id") or spawn.get("parent_thread_id")
            role = spawn.get("agent_role") or meta.get("agent_role") or "agent"
            return _text(meta.get("id")), _text(parent), str(role)
    first = source.records[0] if source.records else None
    if isinstance(first, dict) and first.get("type") == "thread.started":
        return _text(first.get("thread_id")), None, ""
    return (_text(first.get("id")) if isinstance(first, dict) and "instructions" in first else None), None, ""


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _name(role: str, names: dict[str, str]) -> str:
    role = "".join(c if c.isalnum() or c == "-" else "-" for c in role)[:40] or "agent"
    return f"{role}_{sum(name.rpartition('_')[0] == role for name in names.values())}"


class _Thread:
    """One file's records as steps."""

    def __init__(
        self, source: TranscriptFile, names: dict[str, str], me: str, steps: list[Step], inherited: list[Any] | None
    ):
        self.names, self.me, self.top = names, me, inherited is None
        self.calls: dict[str, tuple[str, Any]] = {}
        self.waits: dict[str, str] = {}  # call id of a spawn -> the text it was given
        self.skipped = 0 if self.top else source.skipped
        self.told = False
        self.finished: set[str] = set()
        mine: list[Step] = []
        for record in _own(source.records, inherited or []):
            try:
                new = list(self._read(record))
            except UNREADABLE:
                self.skipped += 1
                continue
            mine += new
            if tokens := _usage(record):  # a count comes after what it counts
                counted = next((step for step in reversed(mine) if step.kind in ("say", "call")), None)
                if counted is not None and not any(counted.tokens):
                    counted.tokens = tokens
        steps += mine

    def _read(self, record: Any) -> Iterator[Step]:
        kind, item, time = record.get("type"), record.get("payload"), seconds_of(record.get("timestamp"))
        if kind in STREAMED:
            yield from self._streamed(kind, record.get("item"))
            return
        if not isinstance(item, dict):
            kind, item = "response_item", record
        if kind in SILENT or kind == "event_msg" or "record_type" in record:
            return  # events repeat what the items say
        what, key = item.get("type"), str(item.get("call_id") or item.get("id") or "")
        if what == "message":
            yield from self._message(item, time)
        elif what in CALLS:
            tool = str(item.get("name") or what.removesuffix("_call"))
            args = parsed(item.get("arguments", item.get("input", item.get("action"))))
            self.calls[key] = (tool, args)
            if tool == "spawn_agent":
                self.waits[key] = text_of(args.get("message") or args.get("items")) if isinstance(args, dict) else ""
            elif tool == "send_input" and isinstance(args, dict) and str(args.get("id")) in self.names:
                to = self.names[str(args["id"])]
                yield Step("say", self.me, text_of(args.get("message")), time, heard_by=(to,))
            elif tool != "close_agent":
                yield Step("call", self.me, "", time, tool, args, key)
        elif what in OUTPUTS:
            yield from self._output(item, key, time)
        elif what not in ("reasoning", "ghost_snapshot", "compaction", None) or (
            what is None and "instructions" not in item
        ):
            self.skipped += 1

    def _streamed(self, kind: str, item: Any) -> Iterator[Step]:
        """An item of `codex exec --json`, when it is complete."""
        if kind != "item.completed":
            return
        what, key = item["type"], str(item.get("id") or "")
        if what == "agent_message":
            yield Step("say", self.me, text_of(item.get("text")))
        elif what == "collab_tool_call":
            yield from self._collaboration(item)
        elif what in ITEMS:
            field, said = ITEMS[what]
            tool = ".".join(str(item[name]) for name in ("server", "tool") if name in item) or what
            yield Step("call", self.me, tool=tool, args={field: item.get(field)}, key=key)
            yield Step("result", self.me, text_of(item.get(said, item.get("status"))), tool=tool, key=key)
        elif what not in ("reasoning", "todo_list", "error"):
            self.skipped += 1

    def _collaboration(self, item: dict[str, Any]) -> Iterator[Step]:
        states = item.get("agents_states")
        for id in item.get("receiver_thread_ids") or ():
            if item.get("tool") == "spawn_agent":
                self.names.setdefault(id, _name("agent", self.names))
                yield Step("spawn", self.me, text_of(item.get("prompt")), to=self.names[id])
            told: Any = states.get(id) if isinstance(states, dict) else None
            state: dict[str, Any] = told if isinstance(told, dict) else {}
            if (
                state.get("status") in ("completed", "errored", "shutdown")
                and id in self.names
                and id not in self.finished
            ):
                self.finished.add(id)
                yield Step("done", self.me, text_of(state.get("message")), to=self.names[id])

    def _message(self, item: dict[str, Any], time: float | None) -> Iterator[Step]:
        text, role = text_of(item.get("content")), item.get("role")
        if role == "assistant":
            yield Step("say", self.me, text, time)
        elif role == "user" and not text.lstrip().startswith(
            ("<environment_context", "<user_instructions", "# AGENTS.md")
        ):
            if self.top or self.told:
                yield Step("human", self.me, text, time)
            self.told = True  # a sub-agent's first message is its task, which its spawn already has

    def _output(self, item: dict[str, Any], key: str, time: float | None) -> Iterator[Step]:
        tool, args = self.calls.get(key, ("", None))
        output = item.get("output")
        text = text_of(output.get("content", output) if isinstance(output, dict) else output)
        if tool == "spawn_agent":
            told = parsed(text)
            child = _text(told.get("agent_id") or told.get("thread_id")) if isinstance(told, dict) else None
            child = child or key
            role = str(args.get("agent_type") or "agent") if isinstance(args, dict) else "agent"
            self.names.setdefault(child, _name(role, self.names))
            yield Step("spawn", self.me, self.waits.get(key, ""), time, to=self.names[child])
        elif tool in ("wait", "wait_agent", "close_agent"):
            told = parsed(text)
            status: Any = told.get("status", told) if isinstance(told, dict) else {}
            ended = {i: s for i, s in status.items() if s != "running"} if isinstance(status, dict) else {}
            if tool == "close_agent" and isinstance(args, dict):
                ended = {str(args.get("id")): text}
            for id, result in ended.items():
                if id in self.names and id not in self.finished:
                    self.finished.add(id)
                    result = result.get("completed", result) if isinstance(result, dict) else result
                    yield Step("done", self.me, text_of(result), time, to=self.names[id])
            if tool != "close_agent":
                yield Step("result", self.me, text, time, tool, key=key)
        elif tool != "send_input":
            yield Step("result", self.me, text, time, tool, key=key)


def _own(records: list[Any], inherited: list[Any]) -> list[Any]:
    """A forked thread's file repeats its parent's records under a second `session_meta`; these are the parent's."""
    metas = sum(isinstance(r, dict) and r.get("type") == "session_meta" for r in records)
    if metas < 2:
        return records
    its = [r.get("payload") for r in inherited if isinstance(r, dict)]
    return [r for r in records if not (isinstance(r, dict) and r.get("payload") in its)]


def _usage(record: Any) -> tuple[int, int] | None:
    payload = record.get("payload") if isinstance(record, dict) else None
    if isinstance(record, dict) and record.get("type") == "turn.completed":
        return count(record.get("usage"), "input_tokens"), count(record.get("usage"), "output_tokens")
    if not isinstance(payload, dict) or payload.get("type") != "token_count":
        return None
    info = payload.get("info")
    last = info.get("last_token_usage") if isinstance(info, dict) else None
    return (count(last, "input_tokens"), count(last, "output_tokens")) if isinstance(last, dict) else None
