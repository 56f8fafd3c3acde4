"""Events as JSON and back, and what each field of a trace must be: a trace is untrusted data until it has been read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, get_args

from llm_marl_envs.errors import TraceError
from llm_marl_envs.protocol import NOTES, Ask, AskKind, Call, Claim, ClaimKind, Malformed, Note, Spawn, Stop, UseTool
from llm_marl_envs.session import Event, Reply, Status

VERSION = 2  # of a trace's line
EVENT_TYPES: dict[str, type] = {t.__name__: t for t in (Ask, UseTool, Spawn, Stop, Claim, Malformed)}
# Fields with these defaults are left out of an event's JSON.
_DEFAULTS: dict[type, dict[str, Any]] = {
    Ask: {"system": "", "fresh": True, "choices": (), "infoset": (), "kind": "message"},
    UseTool: {"args": {}},
    Claim: {"kind": "answer", "about": ""},
}
_FIELDS = {
    kind: tuple((name, _DEFAULTS.get(kind, {}).get(name, ...)) for name in kind.__dataclass_fields__)
    for kind in EVENT_TYPES.values()
}


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def is_whole(value: Any) -> bool:
    return type(value) is int and abs(value) < 1 << 64


def is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e300 and isfinite(value)


def _is_amount(value: Any) -> bool:
    return is_number(value) and value >= 0


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(is_text, value))


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _or_none(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or check(value)


def _is_plain(value: Any) -> bool:
    return (
        value is None
        or isinstance(value, (str, bool, int, float))
        or (isinstance(value, list) and all(map(_is_plain, value)))
    )


Rules = Mapping[str, tuple[Callable[[Any], bool], str]]
_TEXT = (is_text, "a text")
_EVENT: Rules = {
    **dict.fromkeys(("agent", "prompt", "system", "tool", "by", "text", "about", "expected", "reply", "digest"), _TEXT),
    "wave": (lambda value: is_whole(value) and value >= 0, "a whole number from 0"),
    "fresh": (lambda value: isinstance(value, bool), "true or false"),
    "choices": (_is_texts, "a list of texts"),
    "infoset": (lambda value: isinstance(value, list) and _is_plain(value), "a list of texts and numbers"),
    "args": (_is_object, "an object"),
    "tokens": (
        lambda value: isinstance(value, list) and len(value) == 2 and all(is_whole(n) and n >= 0 for n in value),
        "two whole numbers from 0",
    ),
    "seconds": (_is_amount, "a number from 0"),
    "worked": (lambda value: is_number(value) and 0 <= value <= 1, "a number from 0 to 1"),
}  # fmt: skip
_KINDS = {Ask: get_args(AskKind), Claim: get_args(ClaimKind)}
QUESTION: Rules = dict.fromkeys(("id", "text", "domain", "answer_format"), _TEXT) | {
    "materials": (_is_texts, "a list of texts")
}
LIMITS: Rules = dict.fromkeys(("calls", "turns", "tokens"), (_or_none(is_whole), "a whole number or null")) | {
    "seconds": (_or_none(_is_amount), "a number from 0 or null")
}
TRACE: Rules = {
    **dict.fromkeys(("env", "split", "why", "digest"), _TEXT),
    **dict.fromkeys(("task_knobs", "workflow_knobs", "question", "limits", "meta"), (_is_object, "an object")),
    "seed": (is_whole, "a whole number"),
    "events": (lambda value: isinstance(value, list) and all(map(_is_object, value)), "a list of objects"),
    "status": (lambda value: value is None or value in set(Status), "null or one of " + ", ".join(Status)),
    "answer": (_or_none(is_text), "a text or null"),
    "score": (lambda value: value is None or type(value) in (int, float), "a number or null"),
}


def check_fields(data: Mapping[str, Any], rules: Rules, what: str) -> None:
    """Raises TraceError for the first field that is not what its rule says."""
    for name, value in data.items():
        if name in rules and not rules[name][0](value):
            raise TraceError(f"{what}: {name} must be {rules[name][1]}, got {value!r:.80}")


def event_to_json(event: Event, version: int = VERSION) -> dict[str, Any]:
    """An event as in a line of this version, or of an older one, which has fewer fields."""
    call, reply, wave = event
    out: dict[str, Any] = {"event": type(call).__name__, "wave": wave}
    for name, default in _FIELDS[type(call)]:
        value = getattr(call, name)
        if value != default:
            out[name] = dict(value) if name == "args" else value
    if reply is not None:
        out["reply"] = reply.text
        if reply.prompt_tokens or reply.reply_tokens:
            out["tokens"] = (reply.prompt_tokens, reply.reply_tokens)
        if reply.seconds:
            out["seconds"] = reply.seconds
        if type(call) is UseTool and version > 1:
            out["worked"] = reply.worked
    return out


def event_from_json(data: dict[str, Any], number: int) -> Event:
    """Raises TraceError, ValueError, KeyError or TypeError for data that is not an event."""
    data = dict(data)
    check_fields(data, _EVENT, f"event {number}")
    cls, wave = EVENT_TYPES[data.pop("event")], data.pop("wave")
    if "kind" in data and data["kind"] not in _KINDS.get(cls, ()):
        raise TraceError(
            f"event {number}: kind must be one of {', '.join(_KINDS.get(cls, ()))}, got {data['kind']!r:.80}"
        )
    tokens, seconds, text = data.pop("tokens", (0, 0)), data.pop("seconds", 0.0), data.pop("reply", None)
    worked = data.pop("worked") if cls is UseTool else 1.0
    call: Call | Note = cls(**{k: v if k == "args" else _frozen(v) for k, v in data.items()})
    if type(call) in NOTES:
        return Event(call, None, wave)
    if text is None:
        raise TraceError(f"event {number}: a {cls.__name__} without a reply")
    return Event(call, Reply(text, tokens[0], tokens[1], seconds, worked), wave)


def differ(one: Event, other: Event) -> bool:
    """Whether two events differ as JSON, which has no tuples: a tool's arguments come back as lists."""
    return one != other and canonical(event_to_json(one)) != canonical(event_to_json(other))


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, list) else value


_CANONICAL = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), check_circular=False
)  # made once: half of the time


def canonical(data: Mapping[str, Any]) -> bytes:
    return _CANONICAL.encode(data).encode()
