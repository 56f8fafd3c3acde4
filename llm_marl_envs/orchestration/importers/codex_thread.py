"""One thread of a Codex session as steps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from llm_marl_envs.orchestration.importers.codex_usage import Meter
from llm_marl_envs.orchestration.importers.harness import split_words
from llm_marl_envs.orchestration.importers.records import (
    UNREADABLE,
    Names,
    Skipped,
    TranscriptFile,
    name_of,
    parsed,
    seconds_of,
    text_of,
)
from llm_marl_envs.orchestration.importers.steps import Step

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
SENDING = ("send_input", "send_message", "followup_task")
OUTPUTS = ("function_call_output", "custom_tool_call_output", "tool_search_output")


class Thread:
    """One file's records as steps."""

    def __init__(
        self,
        source: TranscriptFile,
        names: Names,
        thread: str,
        steps: list[Step],
        inherited: list[Any],
        skipped: Skipped,
        *,
        top: bool,
        forked: bool,
    ):
        self.names, self.me, self.top = names, names[thread], top
        self.calls: dict[str, tuple[str, Any]] = {}
        self.waits: dict[str, str] = {}  # call id of a spawn -> the text it was given
        self.skipped = skipped
        self.given = False
        self.finished: set[str] = set()
        forked = forked or sum(isinstance(r, dict) and r.get("type") == "session_meta" for r in source.records) > 1
        self.repeated = copied = _copied(source.records, inherited) if forked else 0
        self.spoken = {role for r in source.records if (role := _speaker(r))}
        meter, owed, mine = Meter(skipped, forked), (0, 0), []
        counted: Step | None = None  # the last step that may have tokens
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
            counted = next((step for step in reversed(new) if step.kind in ("say", "call")), counted)
            if any(owed) and counted is not None:  # a count comes after what it counts
                counted.tokens = counted.tokens[0] + owed[0], counted.tokens[1] + owed[1]
                owed = 0, 0
        if self.waits:
            skipped.note("spawn_agent without an answer", times=len(self.waits))
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
        if kind == "event_msg":
            yield from self._event(item, time)
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
            elif tool in SENDING and (to := self._named(args)):
                yield Step("say", self.me, text_of(args.get("message")), time, heard_by=(to,))
            elif tool != "close_agent" or not self._named(args):
                yield Step("call", self.me, "", time, tool, args, key)
        elif what in OUTPUTS:
            yield from self._output(item, key, time)
        elif what not in SILENT_ITEMS:
            self.skipped.note("item", what)

    def _named(self, args: Any) -> str | None:
        """The sub-agent that a call of a tool is about."""
        named = (args.get(name) for name in ("id", "target", "agent_id")) if isinstance(args, dict) else ()
        return next((self.names[name] for name in named if isinstance(name, str) and name in self.names), None)

    def _event(self, item: dict[str, Any], time: float | None) -> Iterator[Step]:
        """Events repeat what the items say; in a file that has no items of a speaker, they are what there is."""
        role = {"user_message": "user", "agent_message": "assistant"}.get(str(item.get("type")))
        if role and role not in self.spoken:
            yield from self._message({"role": role, "content": item.get("message")}, time)
        elif item.get("type") not in EVENTS:
            self.skipped.note("event", item.get("type"))

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
                yield Step("spawn", self.me, text_of(item.get("prompt")), to=self.names.meet(id, "agent"))
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
            ids = ("agent_id", "thread_id", "agent_path", "task_name")
            child = (
                next((id for name in ids if (id := name_of(told.get(name)))), None) if isinstance(told, dict) else None
            )
            child = child or key
            role = str(args.get("agent_type") or "agent") if isinstance(args, dict) else "agent"
            yield Step("spawn", self.me, self.waits.get(key, ""), time, to=self.names.meet(child, role))
            self.waits.pop(key, None)
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
            if tool != "close_agent" or not self._named(args):
                yield Step("result", self.me, text, time, tool, key=key)
        elif tool not in SENDING or not self._named(args):
            yield Step("result", self.me, text, time, tool, key=key, worked=worked)


def _speaker(record: Any) -> str | None:
    """Whose words an item has; what a program says in a person's place is nobody's."""
    item = record.get("payload", record) if isinstance(record, dict) and record.get("type") != "event_msg" else None
    if not isinstance(item, dict) or item.get("type") != "message":
        return None
    try:
        words = item.get("role") == "assistant" or any(
            split_words(text_of([part]))[0] for part in item.get("content") or ()
        )
    except UNREADABLE:
        return None
    return name_of(item.get("role")) if words else None


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
