"""Codex sessions: `rollout-*.jsonl` files of records with a type and a payload; older ones without the payload.

A sub-agent has its own file, whose `session_meta` names its parent thread; the parent's `spawn_agent` call returns its thread
id. Sub-agents are looked for in the files of the same folder. A text sent to a sub-agent later is a message to it. The output
of `codex exec --json` is read, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llm_marl_envs.errors import TranscriptError
from llm_marl_envs.orchestration.importers.codex_usage import Meter
from llm_marl_envs.orchestration.importers.harness import split_words
from llm_marl_envs.orchestration.importers.records import (
    UNREADABLE,
    Skipped,
    Together,
    TranscriptFile,
    name_of,
    parsed,
    read_source,
    seconds_of,
    text_of,
)
from llm_marl_envs.orchestration.importers.steps import Step, imported
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
SILENT = ("turn_context", "world_state")
SILENT_ITEMS = ("reasoning", "ghost_snapshot", "compaction", "compaction_summary", "context_compaction")
# Events repeat what the items say.
EVENTS = (
    "user_message", "agent_message", "agent_message_delta", "agent_message_content_delta", "agent_reasoning", "agent_reasoning_delta",
    "agent_reasoning_raw_content", "agent_reasoning_raw_content_delta", "agent_reasoning_section_break", "reasoning_content_delta",
    "reasoning_raw_content_delta", "token_count", "task_started", "task_complete", "turn_started", "turn_complete", "turn_aborted",
    "turn_diff", "context_compacted", "entered_review_mode", "exited_review_mode", "thread_rolled_back", "undo_started",
    "undo_completed", "exec_command_begin", "exec_command_end", "exec_command_output_delta", "exec_approval_request",
    "apply_patch_approval_request", "patch_apply_begin", "patch_apply_end", "mcp_tool_call_begin", "mcp_tool_call_end",
    "mcp_startup_update", "mcp_startup_complete", "web_search_begin", "web_search_end", "view_image_tool_call", "plan_update",
    "image_generation_begin", "image_generation_end", "item_started", "item_completed", "session_configured", "thread_name_updated",
    "background_event", "stream_error", "error", "warning", "deprecation_notice", "shutdown_complete", "terminal_interaction",
    "collab_agent_spawn_begin", "collab_agent_spawn_end", "collab_agent_interaction_begin", "collab_agent_interaction_end",
    "collab_waiting_begin", "collab_waiting_end", "collab_close_begin", "collab_close_end", "collab_resume_begin",
    "collab_resume_end", "raw_response_item", "model_reroute", "skills_update_available", "request_user_input",
    "dynamic_tool_call_request", "dynamic_tool_call_response", "elicitation_request", "hook_started", "hook_completed", "thread_settings",
)  # fmt: skip
CALLS = (
    "function_call", "custom_tool_call", "local_shell_call", "web_search_call", "tool_search_call", "image_generation_call",
)  # fmt: skip
ITEMS = {
    "command_execution": ("command", "aggregated_output"), "mcp_tool_call": ("arguments", "result"),
    "file_change": ("changes", "status"), "web_search": ("query", "status"),
}  # fmt: skip
SILENT_STREAMED = ("reasoning", "todo_list", "error")
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


def read(source: TranscriptFile, together: Together) -> Iterator[View]:
    steps: list[Step] = []
    skipped = source.skipped
    id, parent, _ = _meta(source)
    id = id or source.path.stem
    names, seen = {id: MAIN}, {source.path}
    fork = _forked_from(source, together) if parent is None else []
    todo: list[tuple[str, TranscriptFile, list[Any]]] = [(id, source, fork)]
    while todo:
        thread, part, inherited = todo.pop(0)
        log = _Thread(part, names, thread, steps, inherited, skipped, top=part is source)
        source.repeated += log.repeated if part is source else 0
        for path in _beside(part.path):
            child, parent, role = _meta_of(path)
            if parent == thread and child and path not in seen:
                seen.add(path)
                names.setdefault(child, _name(role, names))
                try:
                    more = read_source(path)
                except TranscriptError:
                    skipped.note("file of a sub-agent")
                    continue
                together.parts.add(path.resolve())
                skipped.update(more.skipped)
                todo.append((child, more, part.records))
    view = imported(steps, id=id, system="codex", layout="codex", skipped=skipped, repeated=source.repeated)
    if view:
        yield view


def _forked_from(source: TranscriptFile, together: Together) -> list[Any]:
    """The records of the thread that this one was forked from, if they are read, too: its file repeats them."""
    origin = next((o for r in source.records[:5] if (o := _forked(r))), None)
    if origin is None:
        return []
    for path in sorted(together.files - {source.path}):
        try:
            if _meta_of(path)[0] == origin:
                return read_source(path).records
        except TranscriptError:
            continue
    return []


def _forked(record: Any) -> str | None:
    payload = record.get("payload") if isinstance(record, dict) and record.get("type") == "session_meta" else None
    return name_of(payload.get("forked_from_id")) if isinstance(payload, dict) else None


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
            return name_of(meta.get("id")), name_of(parent), str(role)
    first = source.records[0] if source.records else None
    if isinstance(first, dict) and first.get("type") == "thread.started":
        return name_of(first.get("thread_id")), None, ""
    return (name_of(first.get("id")) if isinstance(first, dict) and "instructions" in first else None), None, ""


def _name(role: str, names: dict[str, str]) -> str:
    role = "".join(c if c.isalnum() or c == "-" else "-" for c in role)[:40] or "agent"
    return f"{role}_{sum(name.rpartition('_')[0] == role for name in names.values())}"


class _Thread:
    """One file's records as steps."""

    def __init__(
        self,
        source: TranscriptFile,
        names: dict[str, str],
        thread: str,
        steps: list[Step],
        inherited: list[Any],
        skipped: Skipped,
        *,
        top: bool,
    ):
        self.names, self.me, self.top = names, names[thread], top
        self.calls: dict[str, tuple[str, Any]] = {}
        self.waits: dict[str, str] = {}  # call id of a spawn -> the text it was given
        self.skipped = skipped
        self.given = False
        self.finished: set[str] = set()
        metas = sum(isinstance(r, dict) and r.get("type") == "session_meta" for r in source.records)
        forked = metas > 1 or any(map(_forked, source.records[:5]))
        meter, owed, mine = Meter(skipped, forked), (0, 0), []
        self.repeated = copied = _copied(source.records, inherited)
        for place, record in enumerate(source.records):
            tokens = meter.read(record)
            if 0 < place <= copied:
                continue
            try:
                new = list(self._read(record))
            except UNREADABLE:
                skipped.note("ill-typed record", record.get("type") if isinstance(record, dict) else record)
                continue
            for step in new:
                step.log, step.place = thread, len(steps) + len(mine)
            mine += new
            owed = owed[0] + tokens[0], owed[1] + tokens[1]
            counted = next((step for step in reversed(mine) if step.kind in ("say", "call")), None)
            if any(owed) and counted is not None:  # a count comes after what it counts
                counted.tokens = counted.tokens[0] + owed[0], counted.tokens[1] + owed[1]
                owed = 0, 0
        if any(owed):
            skipped.note("usage of a thread without words")
        steps += mine

    def _read(self, record: Any) -> Iterator[Step]:
        kind, item, time = record.get("type"), record.get("payload"), seconds_of(record.get("timestamp"))
        if time is None and record.get("timestamp") is not None:
            self.skipped.note("ill-typed field timestamp")
        if kind in STREAMED:
            yield from self._streamed(kind, record.get("item"))
            return
        if not isinstance(item, dict):
            kind, item = "response_item", record
        if kind == "event_msg" and item.get("type") not in EVENTS:
            self.skipped.note("event", item.get("type"))
        if kind in SILENT or kind == "event_msg" or "record_type" in record:
            return
        if kind in ("session_meta", "compacted") or (item is record and "instructions" in item):
            told = next(
                (item[name] for name in ("base_instructions", "instructions", "message") if item.get(name)), None
            )
            yield Step("told", self.me, text_of(told), time)
            return
        if kind != "response_item":
            self.skipped.note("record", kind)
            return
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
        elif what not in SILENT_ITEMS:
            self.skipped.note("item", what)

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
        elif what not in SILENT_STREAMED:
            self.skipped.note("item", what)

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
        content, role = item.get("content"), item.get("role")
        if role == "assistant":
            refused = isinstance(content, list) and any(
                isinstance(p, dict) and p.get("type") == "refusal" for p in content
            )
            yield Step("say", self.me, text_of(content), time, refused=refused)
        elif role in ("developer", "system"):
            yield Step("told", self.me, text_of(content), time)
        elif role == "user":
            for part in content if isinstance(content, list) else [content]:
                words, added = split_words(text_of(part))
                if "<subagent_notification>" in added:
                    yield from self._ended(added, time)
                if added:
                    yield Step("told", self.me, added, time)
                if words and (self.top or self.given):
                    yield Step("human", self.me, words, time)
                self.given = self.given or bool(
                    words
                )  # a sub-agent's first message is its task, which its spawn already has
        else:
            self.skipped.note("message of role", role)

    def _ended(self, notice: str, time: float | None) -> Iterator[Step]:
        """What a notice of a sub-agent's end says, in JSON."""
        told = parsed(notice[notice.find(">") + 1 : notice.rfind("</")])
        if not isinstance(told, dict):
            return
        child, status = str(told.get("agent_id") or told.get("thread_id") or told.get("agent_path")), told.get("status")
        if child in self.names and child not in self.finished and status != "running":
            self.finished.add(child)
            result = next(iter(status.values()), "") if isinstance(status, dict) else status
            yield Step("done", self.me, text_of(result), time, to=self.names[child])

    def _output(self, item: dict[str, Any], key: str, time: float | None) -> Iterator[Step]:
        tool, args = self.calls.get(key, ("", None))
        output = item.get("output")
        text = text_of(output.get("content", output) if isinstance(output, dict) else output)
        worked = 0.0 if isinstance(output, dict) and output.get("success") is False else None
        if tool == "spawn_agent":
            told = parsed(text)
            child = name_of(told.get("agent_id") or told.get("thread_id")) if isinstance(told, dict) else None
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
            yield Step("result", self.me, text, time, tool, key=key, worked=worked)


def _copied(records: list[Any], inherited: list[Any]) -> int:
    """How many records after the first a forked thread's file repeats of its parent's: all up to the first that is its own."""
    its = {_digest(r) for r in inherited if isinstance(r, dict)}
    copied = 0
    for i, record in enumerate(records[1:] if its else (), 1):
        kind = record.get("type") if isinstance(record, dict) else None
        if _digest(record) in its:
            copied = i
        elif kind not in ("session_meta", "turn_context"):
            break
    return copied


def _digest(record: Any) -> str:
    try:
        return json.dumps(record.get("payload") if isinstance(record, dict) else record, sort_keys=True)
    except UNREADABLE:
        return ""
