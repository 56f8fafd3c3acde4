"""Recorded event streams as whole responses: chunks of chat completions, and events of Anthropic's messages and of the Responses API."""

from __future__ import annotations

from typing import Any

from llm_marl_envs.orchestration.importers.records import UNREADABLE, Skipped, load

ANTHROPIC = (
    "message_start", "message_delta", "message_stop", "content_block_start", "content_block_delta", "content_block_stop", "ping",
)  # fmt: skip
ENDS = ("response.completed", "response.incomplete", "response.failed")
GROWS = ("text", "thinking", "signature", "partial_json")


def is_delta(record: Any) -> bool:
    """Whether a record is a piece of a stream."""
    if not isinstance(record, dict):
        return False
    kind = record.get("type")
    chunk = record.get("object") == "chat.completion.chunk" and isinstance(record.get("choices"), list)
    return chunk or kind in ANTHROPIC or (isinstance(kind, str) and kind.startswith("response."))


def whole_responses(records: list[Any], skipped: Skipped) -> list[Any]:
    """Records in which each stream's pieces are replaced by the response that they make, where the first of them stood."""
    made: list[Any] = []
    chunks: dict[str, dict[str, Any]] = {}  # id -> the response that its chunks make
    found: dict[Any, Any] = {}
    message: dict[str, Any] | None = None
    for record in records:
        if not is_delta(record):
            made.append(record)
            continue
        kind = record.get("type")
        try:
            if record.get("object") == "chat.completion.chunk":
                id = str(record.get("id"))
                if id not in chunks:
                    chunks[id] = {"id": record.get("id"), "choices": []}
                    made.append(chunks[id])
                _add_chunk(chunks[id], record, found)
            elif kind in ENDS:
                made.append({"input": [], "response": record["response"]})
            elif kind == "message_start":
                message = {"content": [], "stop_reason": None} | record["message"]
                made.append(message)
            elif kind in ANTHROPIC and kind not in ("ping", "message_stop"):
                if message is None:
                    raise KeyError("no message has begun")
                _add_event(message, record)
        except UNREADABLE:
            skipped.note("ill-typed piece of a stream", kind)
    return made


def _add_chunk(whole: dict[str, Any], chunk: dict[str, Any], found: dict[Any, Any]) -> None:
    """found: the choices and calls of all streams, by the response's id and their indices."""
    if chunk.get("usage"):
        whole["usage"] = chunk["usage"]
    for piece in chunk["choices"]:
        place = str(chunk.get("id")), piece.get("index", 0)
        if place not in found:
            found[place] = {"index": place[1], "message": {"role": "assistant", "content": None}}
            whole["choices"].append(found[place])
        choice, delta = found[place], piece.get("delta") or {}
        if piece.get("finish_reason"):
            choice["finish_reason"] = piece["finish_reason"]
        for name in ("content", "refusal"):
            if delta.get(name):
                choice["message"][name] = (choice["message"].get(name) or "") + delta[name]
        for part in delta.get("tool_calls") or ():
            inner = *place, part.get("index", 0)
            if inner not in found:
                found[inner] = {"id": part.get("id"), "function": {"name": "", "arguments": ""}}
                choice["message"].setdefault("tool_calls", []).append(found[inner])
            for name, text in (part.get("function") or {}).items():
                found[inner]["function"][name] = found[inner]["function"].get(name, "") + (text or "")


def _add_event(message: dict[str, Any], event: dict[str, Any]) -> None:
    blocks = message["content"]
    match event["type"]:
        case "content_block_start":
            blocks.append(dict(event["content_block"]))
        case "content_block_delta":
            delta, block = event["delta"], blocks[event["index"]]
            for name in GROWS:
                if isinstance(delta.get(name), str):
                    block[name] = block.get(name, "") + delta[name]
        case "content_block_stop":
            if "partial_json" in (block := blocks[event.get("index", -1)]):
                written = block.pop("partial_json")
                block["input"] = load(written) if written else {}
        case "message_delta":
            message["stop_reason"] = event["delta"].get("stop_reason")
            if isinstance(event.get("usage"), dict):  # totals, not what is new
                message["usage"] = (message.get("usage") or {}) | event["usage"]
