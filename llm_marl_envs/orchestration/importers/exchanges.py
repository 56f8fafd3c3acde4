"""Requests to a model with its responses as conversations.

A log of an API has one record per request, and each request repeats the conversation so far. Records are joined where a request
continues with one of the replies of an earlier one: that reply was chosen, and the others (n > 1) are its alternatives.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from llm_marl_envs.orchestration.importers.records import UNREADABLE, Skipped, lines_of, parsed, text_of
from llm_marl_envs.orchestration.importers.streams import is_delta, whole_responses

LISTS = ("messages", "input", "conversations", "conversation", "traj", "trajectory", "history", "chat_history")
REQUESTS = ("request", "body", "kwargs", "params", "input", "inputs", "data")
RESPONSES = ("response", "completion", "output", "outputs", "result", "body")
ALTERNATIVES = "\0alternatives"  # a name that no log has: the replies that were not chosen


def is_whole(record: Any) -> bool:
    """Whether a record holds a conversation, or a response."""
    return isinstance(record, dict) and (_request(record) is not None or bool(_response(record)))


def in_line(records: list[Any]) -> list[Any] | None:
    """The messages of one conversation whose records are messages, or responses where a message would stand; None if records
    are whole conversations or exchanges."""
    if (records and all(map(is_whole, records))) or any(
        isinstance(r, dict) and _request(r) is not None for r in records
    ):
        return None
    messages: list[Any] = []
    for record in records:
        talk = Talk({}, messages, _response(record) if isinstance(record, dict) else [])
        if not talk.replies:
            messages.append(record)
        talk.choose(0)
    return messages


@dataclass(slots=True)
class Talk:
    """A conversation as it grows: its messages, and the replies to its last request."""

    record: dict[str, Any]  # the first one
    messages: list[Any] = field(default_factory=list)
    replies: list[Any] = field(default_factory=list)

    def choose(self, number: int) -> None:
        """Go on with one of the replies."""
        if self.replies:
            others = [reply for i, reply in enumerate(self.replies) if i != number]
            self.messages.append(self.replies[number] | ({ALTERNATIVES: others} if others else {}))
            self.replies = []


def conversations(records: list[Any], skipped: Skipped) -> Iterator[tuple[dict[str, Any], list[Any]]]:
    """(first record, messages) of each conversation in records that hold conversations or exchanges, in order."""
    talks: list[Talk] = []
    waiting: dict[bytes, tuple[Talk, int]] = {}  # a conversation up to a reply -> whose, and which reply
    for record in records:
        try:
            messages, rest = _messages(record), _rest(record, skipped)
        except UNREADABLE:
            skipped.note("ill-typed record")
            continue
        states = list(_states(messages))
        replies = _response(record)
        if not replies and rest:
            messages, states = messages + rest, list(_states(messages + rest))
        talk = Talk(record)
        for length in range(len(states), 0, -1):
            known = waiting.get(states[length - 1])
            if known is not None and known[0].replies and (replies or length < len(states)):
                talk, number = known
                talk.choose(number)
                messages = messages[length:]
                break
        else:
            talks.append(talk)
        talk.messages += messages
        if replies and (last := _ends_with(talk.messages, replies)) is not None:
            talk.messages.pop()  # the request that was logged has its own reply
            talk.replies = replies
            talk.choose(last)
            continue
        talk.replies = replies
        for i in reversed(range(len(replies))):
            for state in _states([replies[i]], states[-1] if states else b""):
                waiting[state] = talk, i
    for talk in talks:
        talk.choose(0)
        yield talk.record, talk.messages


def _ends_with(messages: list[Any], replies: list[Any]) -> int | None:
    if not messages or len(messages) < 2:
        return None
    (last,) = _states([messages[-1]])
    return next((i for i, reply in enumerate(replies) if list(_states([reply])) == [last]), None)


def _states(messages: list[Any], before: bytes = b"") -> Iterator[bytes]:
    """A digest of the conversation after each message: of who says and calls what, and not of what else its record has."""
    for message in messages:
        try:
            said = json.dumps(_said(message), sort_keys=True).encode()
        except UNREADABLE:
            said = b"unreadable"  # it is counted when the conversation is read
        before = blake2b(before + said, digest_size=16).digest()
        yield before


def _said(message: Any) -> Any:
    if not isinstance(message, dict) or "role" not in message:
        return message
    content = message.get("content")
    calls = [[c.get("id"), c.get("function", c)] for c in message.get("tool_calls") or () if isinstance(c, dict)]
    said = [message["role"], message.get("name"), text_of(content) if _is_text(content) else content, calls]
    return [*said, message.get("function_call"), message.get("refusal"), message.get("tool_call_id")]


def _is_text(content: Any) -> bool:
    parts = content if isinstance(content, list) else [content]
    return all(
        p is None or isinstance(p, str) or (isinstance(p, dict) and isinstance(p.get("text"), str)) for p in parts
    )


def _list_of(record: dict[str, Any]) -> list[Any] | None:
    return next((record[name] for name in LISTS if isinstance(record.get(name), list)), None)


def _request(record: dict[str, Any]) -> dict[str, Any] | None:
    """The part of a record that has the messages: itself, or a request in it."""
    for part in (record, *(parsed(record[name]) for name in REQUESTS if isinstance(record.get(name), (dict, str)))):
        if isinstance(part, dict) and (
            _list_of(part) is not None or ("choices" in record and isinstance(part.get("prompt"), str))
        ):
            return part
        if (
            isinstance(part, dict)
            and isinstance(part.get("input"), str)
            and ("output" in record or "response" in record)
        ):
            return part
    return None


def _messages(record: dict[str, Any]) -> list[Any]:
    """The messages of a record's request, with what stands beside them: Anthropic's `system`, the Responses API's `instructions`."""
    request = _request(record)
    if request is None:
        return []
    beside = [request.get("system"), request.get("instructions")]
    told = [
        {"role": "system", "content": content} for content in beside if isinstance(content, (str, list)) and content
    ]
    messages = _list_of(request)
    if messages is None:
        messages = [{"role": "user", "content": request["prompt"] if "prompt" in request else request["input"]}]
    return told + messages


def _bodies(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Where a record may have its response."""
    for name in RESPONSES:
        part = record.get(name)
        if isinstance(part, str) and part.lstrip().startswith(("data:", "event:")):
            part = [parsed(line) for line in lines_of(part)]
        if isinstance(part, list) and any(map(is_delta, part)):  # a recorded stream
            part = next(iter(whole_responses(part, Skipped())), None)
            part = part.get("response", part) if isinstance(part, dict) else None
        part = parsed(part) if isinstance(part, str) else part
        if isinstance(part, dict):
            body = part.get("body")
            yield body if isinstance(body, dict) else part
    yield record


def _response(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The replies of a record's response: chat choices, or one Anthropic message."""
    for body in _bodies(record):
        if isinstance(body.get("choices"), list):
            order = [c for c in body["choices"] if isinstance(c, dict)]
            if all(isinstance(c.get("index"), int) for c in order):
                order.sort(key=lambda c: c["index"])
            if replies := [reply for choice in order if (reply := _reply(choice))]:
                shared = {name: body[name] for name in ("usage",) if body.get(name) is not None}
                return [reply | shared for reply in replies]
        if (
            body.get("role") == "assistant"
            and "content" in body
            and (body is not record or body.get("type") == "message")
        ):
            return [body]
    return []


def _reply(choice: dict[str, Any]) -> dict[str, Any] | None:
    message = choice.get("message")
    if not isinstance(message, dict) and isinstance(choice.get("text"), str):
        message = {"role": "assistant", "content": choice["text"]}  # of the completions without chat
    if not isinstance(message, dict):
        return None
    return {"role": "assistant"} | message | {"stop_reason": choice.get("finish_reason")}


def _rest(record: dict[str, Any], skipped: Skipped) -> list[Any]:
    """Items of a response of the Responses API, which follow the request's; its usage goes with the last one."""
    for body in _bodies(record):
        output = body.get("output")
        if isinstance(output, list) and output:
            usage = body.get("usage")
            items = list(output)
            spoken = [i for i, item in enumerate(items) if isinstance(item, dict) and item.get("type") != "reasoning"]
            if isinstance(usage, dict) and spoken:
                items[spoken[-1]] = items[spoken[-1]] | {"usage": usage}
            return items
        for choice in body.get("choices") or () if isinstance(body.get("choices"), list) else ():
            if not isinstance(choice, dict) or _reply(choice) is None:
                skipped.note("choice without a message")
    return []
