"""OpenAI-style message logs: messages with roles and tool calls, of one agent or, by their names, of several.

One conversation is a list of messages, `{"messages": [...]}`, or one message a line; a file with several `{"messages": ...}` lines
holds several. Agents are told apart by `name` (or `agent`, `sender`), and all hear what is said. Items of the Responses API
(`function_call`, `function_call_output`) are read, too. A call of a tool named `transfer_to_x` hands over to x.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llm_marl_envs.orchestration_schema import View
from llm_marl_envs.transcripts.records import UNREADABLE, Source, Step, count, parsed, seconds_of, text_of, view_of

HANDOFF = "transfer_to_"
ROLES = ("system", "developer", "user", "assistant", "tool", "function", "ai", "human", "model")
ITEMS = ("message", "function_call", "function_call_output", "reasoning")


def is_record(record: Any) -> bool:
    if not isinstance(record, dict) or "payload" in record or "sessionId" in record:
        return False
    whole = record.get("messages", record.get("input"))
    return record.get("role") in ROLES or isinstance(whole, list) or record.get("type") in ITEMS[1:3]


def is_part(source: Source) -> bool:
    return False


def read(source: Source) -> Iterator[View]:
    wholes = [r for r in source.records if isinstance(r, dict) and isinstance(r.get("messages", r.get("input")), list)]
    loose = [r for r in source.records if not any(r is whole for whole in wholes)] if wholes else source.records
    conversations = [_messages(whole) for whole in wholes]
    if not wholes and loose and all(isinstance(r, list) for r in loose):
        conversations, loose = loose, []
    if not wholes and loose:
        conversations, loose = [loose], []
    for number, messages in enumerate(conversations):
        whole = wholes[number] if wholes else {}
        name = whole.get("id") or (f"{source.path.stem}/{number}" if len(conversations) > 1 else source.path.stem)
        steps, skipped = _steps(messages)
        lost = skipped + (source.skipped + len(loose) if number == 0 else 0)
        if view := view_of(steps, id=str(name), system="openai", layout="openai", skipped=lost):
            yield view


def _messages(whole: dict[str, Any]) -> list[Any]:
    """The messages of a record: of a dialogue, or of a request with its response."""
    messages = list(whole.get("messages", whole.get("input", ())))
    response: Any = whole.get("response", whole)
    if isinstance(response, dict):
        for choice in response.get("choices") or ():
            if isinstance(choice, dict) and isinstance(choice.get("message"), dict):
                messages.append(choice["message"] | {"usage": response.get("usage")})
        output: Any = response.get("output")
        messages += output if isinstance(output, list) else []
    return messages


def _steps(messages: list[Any]) -> tuple[list[Step], int]:
    steps: list[Step] = []
    skipped = 0
    names = tuple(dict.fromkeys(_name(m) for m in messages if isinstance(m, dict) and _speaks(m)))
    speaker, callers = names[0] if names else "assistant", {}
    for message in messages:
        try:
            if _speaks(message):
                speaker = _name(message)
            new = list(_steps_of(message, speaker, names, callers))
        except UNREADABLE:
            skipped += 1
            continue
        if not new and message.get("role") not in ("system", "developer") and message.get("type") != "reasoning":
            skipped += 1
        steps += new
    return steps, skipped


def _steps_of(m: Any, speaker: str, names: tuple[str, ...], callers: dict[str, str]) -> Iterator[Step]:
    role, kind = m.get("role"), m.get("type")
    time = next(
        (t for n in ("timestamp", "created_at", "created", "time") if (t := seconds_of(m.get(n))) is not None), None
    )
    if kind == "function_call":
        key = str(m.get("call_id", m.get("id", "")))
        callers[key] = speaker
        yield Step("call", speaker, time=time, tool=str(m["name"]), args=parsed(m.get("arguments")), key=key)
    elif kind == "function_call_output" or role in ("tool", "function"):
        key = str(m.get("call_id", m.get("tool_call_id", m.get("name", ""))))
        text = text_of(m.get("output", m.get("content")))
        yield Step("result", callers.get(key, speaker), text, time, str(m.get("name") or ""), key=key)
    elif role in ("user", "human") and not _speaks(m):
        yield Step("human", names[0] if names else "assistant", text_of(m["content"]), time)
    elif _speaks(m):
        usage = m.get("usage")
        tokens = count(usage, "prompt_tokens", "input_tokens"), count(usage, "completion_tokens", "output_tokens")
        text = text_of(m.get("content"))
        calls: list[Any] = list(m.get("tool_calls") or ())
        if m.get("function_call"):
            calls.append({"id": m["function_call"].get("name"), "function": m["function_call"]})
        if text or not calls:
            yield Step("say", speaker, text, time, tokens=tokens, heard_by=names)
            tokens = 0, 0
        for call in calls:
            function = call.get("function", call)
            tool, key = str(function["name"]), str(call.get("id", ""))
            callers[key] = speaker
            heard = (tool.removeprefix(HANDOFF),) if tool.startswith(HANDOFF) else ()
            yield Step(
                "call", speaker, "", time, tool, parsed(function.get("arguments", function.get("input"))), key,
                tokens=tokens, heard_by=heard,
            )  # fmt: skip
            tokens = 0, 0


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
    return next(
        (m[name] for name in ("name", "agent", "sender") if isinstance(m.get(name), str) and m[name]), "assistant"
    )
