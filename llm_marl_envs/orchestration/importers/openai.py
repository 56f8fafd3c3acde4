"""OpenAI-style message logs: messages with roles and tool calls, of one agent or of several with names.

One conversation is a list of messages, `{"messages": [...]}`, or one message per line; a file with several `{"messages": ...}` lines
holds several. Agents are distinguished by `name` (or `agent`, `sender`), and all read every message. Requests with their responses
are read, too, of chat completions, the Responses API and Anthropic's messages (`tool_use`, `tool_result`), and their event streams,
and so are the messages of ShareGPT (`from`, `value`), LangChain (`type`) and AutoGen (`source`). A call of a tool named
`transfer_to_x` hands over to x.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from llm_marl_envs.orchestration.importers.exchanges import ALTERNATIVES, conversations, in_line, is_whole
from llm_marl_envs.orchestration.importers.records import (
    UNREADABLE,
    Skipped,
    Together,
    TranscriptFile,
    parsed,
    seconds_of,
    text_of,
    tokens_of,
)
from llm_marl_envs.orchestration.importers.steps import SYSTEM, USER, Step, imported
from llm_marl_envs.orchestration.importers.streams import is_delta, whole_responses
from llm_marl_envs.orchestration.schema import View

HANDOFF = "transfer_to_"
ROLES = ("system", "developer", "user", "assistant", "tool", "function", "ai", "human", "model")
ITEMS = ("function_call", "function_call_output")
ROLE_OF = {"human": "user", "HumanMessage": "user", "gpt": "assistant", "ai": "assistant", "AIMessage": "assistant"}
ROLE_OF |= {"tool": "tool", "ToolMessage": "tool", "observation": "tool", "function_response": "tool"}
ROLE_OF |= {
    "user": "user",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "system": "system",
    "SystemMessage": "system",
}
TEXTS = ("text", "input_text", "output_text", "summary_text", "refusal", None)
UNSEEN = (
    "image", "image_url", "input_image", "output_image", "input_audio", "output_audio", "audio", "file", "input_file", "document",
    "video", "video_url", "container_upload",
)  # fmt: skip  # parts that are named and not shown
SILENT = ("thinking", "redacted_thinking", "reasoning", "compaction", "item_reference")
REFUSED = ("refusal", "content_filter")


def is_record(record: Any) -> bool:
    if not isinstance(record, dict) or "payload" in record or "sessionId" in record:
        return False
    if is_whole(record) or is_delta(record):
        return True
    return any(
        m.get("role") in ROLES or m.get("type") in ITEMS for m in _plain(record) if isinstance(m.get("role", ""), str)
    )


def is_part(source: TranscriptFile, together: Together) -> bool:
    return False


def read(source: TranscriptFile, together: Together) -> Iterator[View]:
    skipped = source.skipped
    records = whole_responses(source.records, skipped)
    talks: list[tuple[dict[str, Any], list[Any]]]
    if (messages := in_line(records)) is not None:
        lists = messages and all(isinstance(record, list) for record in messages)
        talks = [({}, talk) for talk in (messages if lists else [messages])]
    else:
        talks = list(conversations([record for record in records if is_whole(record)], skipped))
        for record in records:
            if not is_whole(record):
                skipped.note("record", record.get("type") if isinstance(record, dict) else record)
    for number, (whole, messages) in enumerate(talks):
        name = whole.get("id") or (f"{source.path.stem}/{number}" if len(talks) > 1 else source.path.stem)
        mine = skipped if number == 0 else Skipped()  # what belongs to no conversation goes with the first
        steps = _steps([m for message in messages for m in _plain(message)], mine)
        if view := imported(steps, id=str(name)[:200], system="openai", layout="openai", skipped=mine):
            yield view


def _plain(message: Any) -> list[Any]:
    """A message as others write it (ShareGPT's from and value, LangChain's types, AutoGen's source), with a role."""
    if not isinstance(message, dict) or "role" in message:
        return [message]
    if isinstance(message.get("kwargs"), dict):
        made = message["kwargs"]
        kind = message["id"][-1] if isinstance(message.get("id"), list) and message["id"] else made.get("type")
    elif "from" in message and "value" in message:
        made, kind = {**message, "content": message["value"]}, message["from"]
    elif isinstance(message.get("source"), str) and "content" in message:
        return _from_autogen(message)
    else:
        made, kind = message, message.get("type")
    role = ROLE_OF.get(kind) if isinstance(kind, str) else None
    return [{**made, "role": role} if role and "content" in made else message]


def _from_autogen(message: dict[str, Any]) -> list[Any]:
    name, content = message["source"], message["content"]
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    made = {**message, "name": name, "usage": message.get("models_usage")}
    if any("arguments" in part for part in parts):
        return [made | {"role": "assistant", "content": "", "tool_calls": parts}]
    if any("call_id" in part for part in parts):
        return [
            {"role": "tool", "tool_call_id": part.get("call_id"), "content": part.get("content"), "is_error": part.get("is_error")}
            for part in parts
        ]  # fmt: skip
    return [made | {"role": "user" if name == "user" else "assistant"}]


def _steps(messages: list[Any], skipped: Skipped) -> list[Step]:
    names = tuple(dict.fromkeys(_name(m) for m in messages if isinstance(m, dict) and _speaks(m))) or ("assistant",)
    talk = _Talk(names, skipped)
    steps: list[Step] = []
    for place, message in enumerate(messages):
        before = skipped.total()
        try:
            new = list(talk.read(message))
        except UNREADABLE:
            skipped.note("ill-typed message")
            continue
        if not new and skipped.total() == before and message.get("type") not in SILENT:
            skipped.note("message", message.get("role", message.get("type")))
        for step in new:
            step.place = place
        steps += new
    return steps


class _Talk:
    """Reads the messages of one conversation in order."""

    def __init__(self, names: tuple[str, ...], skipped: Skipped):
        self.names, self.skipped = names, skipped
        self.speaker = names[0]
        self.callers: dict[str, str] = {}  # call id -> who called
        self.time: float | None = None

    def read(self, m: Any) -> Iterator[Step]:
        if not isinstance(m, dict):
            self.skipped.note("message", m)
            return
        stamps = [m[name] for name in ("timestamp", "created_at", "created", "time") if m.get(name) is not None]
        self.time = next((t for stamp in stamps if (t := seconds_of(stamp)) is not None), None)
        if stamps and self.time is None:
            self.skipped.note("ill-typed field timestamp")
        role, kind = m.get("role"), m.get("type")
        if _speaks(m):
            self.speaker = _name(m)
        if role in ("system", "developer"):
            text = text_of(m.get("content"))
            yield from (Step("told", name, text, self.time) for name in self.names)
        elif role in ("tool", "function"):
            yield self._result(m)
        elif _speaks(m):
            yield from self._said(m)
        elif role in ("user", "human"):
            yield from self._parts(m["content"], None)
        elif isinstance(kind, str) and kind.endswith("_output"):
            yield self._result(m)
        elif isinstance(kind, str) and kind.endswith("_call"):
            yield self._call(m, (0, 0) if m.get("usage") is None else tokens_of(m["usage"], self.skipped))
            if m.get("output") is not None or m.get("outputs") is not None:  # a tool of the server's own
                yield self._result(m)

    def _said(self, m: dict[str, Any]) -> Iterator[Step]:
        """An agent's message: its words and refusal, and its calls. The first step has the tokens and the alternatives."""
        refusal = m.get("refusal") if isinstance(m.get("refusal"), str) else None
        content = m.get("content")
        steps = list(self._parts(content, self.speaker))
        if refusal:
            steps.append(Step("say", self.speaker, refusal, self.time, heard_by=self.names, refused=True))
        calls = m.get("tool_calls") or []
        if not isinstance(calls, list):
            self.skipped.note("ill-typed field tool_calls")
            calls = []
        if m.get("function_call"):
            calls = [*calls, m["function_call"]]
        for call in calls:
            try:
                steps.append(self._call(call, (0, 0)))
            except UNREADABLE:
                self.skipped.note("ill-typed call")
        if not steps:
            steps = [Step("say", self.speaker, "", self.time, heard_by=self.names)]
        steps[0].tokens = tokens_of(m.get("usage") or m.get("usage_metadata"), self.skipped)
        steps[0].alternatives = tuple(map(_alternative, m.get(ALTERNATIVES, ())))
        for step in steps:
            step.refused = step.refused or (step.kind == "say" and m.get("stop_reason") in REFUSED)
        yield from steps

    def _parts(self, content: Any, speaker: str | None) -> Iterator[Step]:
        """Content as steps: texts that stand together are one; calls and results are steps of their own."""
        texts: list[str] = []
        refused = False

        def spoken() -> Iterator[Step]:
            text = "\n".join(filter(None, texts))
            if text or (speaker is None and texts):
                kind, agent = ("say", speaker) if speaker else ("human", self.names[0])
                yield Step(kind, agent, text, self.time, heard_by=self.names if speaker else (), refused=refused)
            texts.clear()

        for part in content if isinstance(content, list) else [content]:
            kind = part.get("type") if isinstance(part, dict) else None
            try:
                if not isinstance(part, dict) or kind in TEXTS:
                    if part is not None and not isinstance(part, (str, dict)):
                        self.skipped.note("part", part)
                    texts.append(text_of([part] if isinstance(part, dict) else part))
                    refused = refused or kind == "refusal"
                elif str(kind).endswith(("tool_use", "tool-call")):
                    yield from spoken()
                    yield self._call(part, (0, 0))
                elif str(kind).endswith(("tool_result", "tool-result")):
                    yield from spoken()
                    yield self._result(part)
                elif kind not in SILENT:
                    texts.append(text_of([part]))
                    if kind not in UNSEEN:
                        self.skipped.note("part", kind)
            except UNREADABLE:
                self.skipped.note("ill-typed part", kind)
        yield from spoken()

    def _call(self, call: dict[str, Any], tokens: tuple[int, int]) -> Step:
        """A call of a tool: of `tool_calls`, a `tool_use` part, or an item `function_call` or the like."""
        function = call.get("function", call)
        kind = call.get("type")
        name = (
            function.get("name")
            or function.get("toolName")
            or (kind.removesuffix("_call") if isinstance(kind, str) else None)
        )
        if not isinstance(name, str):
            raise TypeError("a call without a tool's name")
        given = next((function[n] for n in ("arguments", "args", "input", "action", "code") if n in function), None)
        key = str(call.get("call_id") or call.get("id") or call.get("toolCallId") or (name if function is call else ""))
        self.callers[key] = self.speaker
        heard = (name.removeprefix(HANDOFF),) if name.startswith(HANDOFF) else ()
        return Step("call", self.speaker, "", self.time, name, parsed(given), key, tokens=tokens, heard_by=heard)

    def _result(self, m: dict[str, Any]) -> Step:
        names = ("call_id", "tool_call_id", "tool_use_id", "toolCallId", "id", "name")
        key = next((str(m[name]) for name in names if m.get(name)), "")
        said = next((m[name] for name in ("output", "outputs", "content", "result") if m.get(name) is not None), None)
        failed = m.get("is_error") is True or m.get("status") in ("error", "failed", "incomplete")
        tool = m.get("name") if isinstance(m.get("name"), str) else ""
        return Step(
            "result", self.callers.get(key, self.speaker), text_of(said), self.time, tool or "", key=key, worked=0.0 if failed else None
        )  # fmt: skip


def _alternative(reply: dict[str, Any]) -> str:
    """A reply that was not chosen as one text: its words, and its calls as JSON."""
    try:
        calls = [call.get("function", call) for call in reply.get("tool_calls") or () if isinstance(call, dict)]
        text = text_of(reply.get("content")) or text_of(reply.get("refusal"))
        return "\n".join(filter(None, [text, *(json.dumps(call) for call in calls)]))
    except UNREADABLE:
        return "[unreadable]"


def _speaks(m: Any) -> bool:
    """Whether a message is an agent's: an assistant's, or, as in group chats, a named user's."""
    if not isinstance(m, dict):
        return False
    named = any(
        isinstance(m.get(name), str) and m[name].casefold() not in ("user", "human", "")
        for name in ("name", "agent", "sender")
    )
    return m.get("role") in ("assistant", "ai", "model") or (m.get("role") == "user" and named)


def _name(m: dict[str, Any]) -> str:
    names = (m[name] for name in ("name", "agent", "sender") if isinstance(m.get(name), str))
    return next((name for name in names if name and name not in (USER, SYSTEM)), "assistant")
