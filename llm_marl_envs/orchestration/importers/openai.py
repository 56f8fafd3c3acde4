"""OpenAI-style message logs: messages with roles and tool calls, of one agent or of several with names.

One conversation is a list of messages, `{"messages": [...]}`, or one message per line; a file with several `{"messages": ...}` lines
holds several. Agents are distinguished by `name` (or `agent`, `sender`), and all read every message. Items of the Responses API
(`function_call`, `function_call_output`) are read, too, and so are the messages of ShareGPT (`from`, `value`), LangChain (`type`) and
AutoGen (`source`). A call of a tool named `transfer_to_x` hands over to x.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llm_marl_envs.orchestration.importers.records import (
    UNREADABLE,
    Step,
    TranscriptFile,
    count,
    imported,
    parsed,
    seconds_of,
    text_of,
)
from llm_marl_envs.orchestration.schema import View

HANDOFF = "transfer_to_"
ROLES = ("system", "developer", "user", "assistant", "tool", "function", "ai", "human", "model")
ITEMS = ("function_call", "function_call_output")
LISTS = ("messages", "input", "conversations", "conversation", "traj", "trajectory", "history", "chat_history")
ROLE_OF = {"human": "user", "HumanMessage": "user", "gpt": "assistant", "ai": "assistant", "AIMessage": "assistant"}
ROLE_OF |= {"tool": "tool", "ToolMessage": "tool", "observation": "tool", "function_response": "tool"}
ROLE_OF |= {
    "user": "user",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "system": "system",
    "SystemMessage": "system",
}


def is_record(record: Any) -> bool:
    if not isinstance(record, dict) or "payload" in record or "sessionId" in record:
        return False
    return _list_of(record) is not None or any(m.get("role") in ROLES or m.get("type") in ITEMS for m in _plain(record))


def is_part(source: TranscriptFile) -> bool:
    return False


def read(source: TranscriptFile) -> Iterator[View]:
    wholes = [r for r in source.records if isinstance(r, dict) and _list_of(r) is not None]
    loose = [r for r in source.records if not any(r is whole for whole in wholes)] if wholes else source.records
    conversations = [_messages(whole) for whole in wholes]
    if not wholes and loose and all(isinstance(r, list) for r in loose):
        conversations, loose = loose, []
    if not wholes and loose:
        conversations, loose = [loose], []
    for number, messages in enumerate(conversations):
        whole = wholes[number] if wholes else {}
        name = whole.get("id") or (f"{source.path.stem}/{number}" if len(conversations) > 1 else source.path.stem)
        steps, skipped = _steps([m for message in messages for m in _plain(message)])
        lost = skipped + (source.skipped + len(loose) if number == 0 else 0)
        if view := imported(steps, id=str(name), system="openai", layout="openai", skipped=lost):
            yield view


def _list_of(record: dict[str, Any]) -> list[Any] | None:
    """The messages of a record that holds a whole conversation; None if it does not."""
    return next((record[name] for name in LISTS if isinstance(record.get(name), list)), None)


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
        return [{"role": "tool", "tool_call_id": part.get("call_id"), "content": part.get("content")} for part in parts]
    return [made | {"role": "user" if name == "user" else "assistant"}]


def _messages(whole: dict[str, Any]) -> list[Any]:
    """The messages of a record: of a dialogue, or of a request with its response."""
    messages = list(_list_of(whole) or ())
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
        usage = m.get("usage") or m.get("usage_metadata")
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
            arguments = next((function[name] for name in ("arguments", "args", "input") if name in function), None)
            callers[key] = speaker
            heard = (tool.removeprefix(HANDOFF),) if tool.startswith(HANDOFF) else ()
            yield Step(
                "call", speaker, "", time, tool, parsed(arguments), key,
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
