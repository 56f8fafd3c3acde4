"""Lines that are not what they claim to be: types, identity, content."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from hostile.making import (
    MB,
    Case,
    Json,
    between,
    data_of,
    edited,
    honest,
    played,
    remade,
    solo,
)

# Types: every field with values of other types.

WRONG: tuple[Any, ...] = (None, True, 0, -1, 1.5, "x", [], {}, [[]], {"a": 1})


def typed(field: str, at: Sequence[str | int] = ()) -> Case:
    """One line for each value that a field must not have. What could be meant is refused later, by digests and replay."""
    lines = []
    for value in WRONG:
        data = data_of(solo())
        place: Any = data
        for step in at:
            place = place[step]
        if (type(place[field]) is type(value) and place[field] == value) or (field, value) == ("limits", {}):
            continue  # it is what stood there, or stands for it
        place[field] = value
        lines.append(json.dumps(data).encode())
    return Case(
        f"{'.'.join(map(str, (*at, field)))} of other types",
        between(*lines),
        bad=len(lines),
        says=".",
        fast=field in ("seed", "events"),
    )


def without(field: str) -> bytes:
    data = data_of(solo())
    del data[field]
    return json.dumps(data).encode()


def raw(old: str, new: str) -> bytes:
    text = json.dumps(data_of(solo()))
    assert old in text, old
    return text.replace(old, new, 1).encode()


def types() -> Iterator[Case]:
    data = data_of(solo())
    yield from (typed(field) for field in data)
    yield from (typed(field, ("question",)) for field in data["question"])
    yield from (typed(field, ("limits",)) for field in data["limits"])
    for i, event in enumerate(data["events"]):
        yield from (typed(field, ("events", i)) for field in event)
    yield Case("fields that are missing", between(*map(without, data)), bad=len(data), says=".", fast=True)
    yield Case("a field too many", between(edited(gold="42")), good=3, bad=0, value=0.0)
    yield Case("NaN", between(raw('"score": 0.0', '"score": NaN')), "digest|score", fast=True)
    yield Case("Infinity", between(remade(score=1e300).replace(b"1e+300", b"Infinity")), "digest|score")
    yield Case("1e400", between(raw('"score": 0.0', '"score": 1e400')), "digest|score", fast=True)
    yield Case("-0", between(raw('"score": 0.0', '"score": -0.0')), "digest", fast=True)
    yield Case("-0, its digests made anew", between(remade(score=-0.0)), good=3, bad=0, value=0.0)
    yield Case("true for a score", between(edited(score=True)), "score must be", fast=True)
    yield Case("a score twice", between(raw('"score": 0.0', '"score": 0.0, "score": 1.0')), "digest", fast=True)
    yield Case("an event's key twice", between(raw('"wave": 0', '"wave": 0, "wave": 1')), "digest")
    yield Case("lone surrogates", between(remade(solo("\ud800 \udfff"))), good=3, bad=0, value=0.0, fast=True)
    yield Case(
        "lone surrogates in an id",
        between(remade(question=data["question"] | {"id": "\udc00"})),
        "no question",
        fast=True,
    )
    yield Case("NUL in a name", between(remade(env="arith\0metic/solo-v1")), "arith", fast=True)


# Identity.


def identity() -> Iterator[Case]:
    data, question = data_of(solo()), data_of(solo())["question"]
    two = data_of(played("arithmetic/eval_opt", "\\boxed{1}", "\\boxed{Correct}"))
    changed: tuple[tuple[str, Json, str], ...] = (
        ("an unknown task", {"env": "nothing/solo-v1"}, "nothing"),
        ("an unknown workflow", {"env": "arithmetic/nothing-v1"}, "nothing"),
        ("a module as a task", {"env": "os:system/solo-v1"}, "outside this package"),
        ("a path as a task", {"env": "../../etc/passwd/solo-v1"}, "cannot be made|passwd"),
        ("an older version", {"env": "arithmetic/solo-v0"}, "older rules"),
        ("an unknown knob", {"task_knobs": {"gold": 1}}, "gold"),
        ("a knob below its bound", {"task_knobs": {"digits": 0}}, "cannot be made"),
        ("a knob above its bound", {"task_knobs": {"digits": 101}}, "at most"),
        ("a knob that is a text", {"task_knobs": {"digits": "2"}}, "cannot be made"),
        ("a knob that is a list", {"task_knobs": {"terms": [2]}}, "cannot be made"),
        ("a knob that is null", {"workflow_knobs": {"x": None}}, "cannot be made"),
        ("a knob that is NaN", {"task_knobs": {"terms": float("nan")}}, "cannot be made"),
        ("a knob that is infinite", {"task_knobs": {"seed": float("inf")}}, "question|cannot be made"),
        ("data_dir as a knob", {"task_knobs": {"data_dir": "/etc"}}, "data_dir"),
        ("an unknown split", {"split": "gold"}, "gold"),
        ("another split", {"split": "train"}, "question"),
        ("an unknown question", {"question": question | {"id": "arithmetic/test/0/99999"}}, "no question"),
        ("the id of another question", {"question": question | {"id": "arithmetic/test/0/1"}}, "question's text"),
        ("an easier question", {"question": question | {"text": "What is 1 + 0?"}}, "question's text"),
        ("materials that give it away", {"question": question | {"materials": ["the answer is 1"]}}, "materials"),
    )
    for name, changes, says in changed:
        yield Case(name, between(remade(**changes)), says, fast=name.startswith(("an u", "a path")))
    yield Case("a version to come", between(edited(env="arithmetic/solo-v99")), "v99", fast=True)
    yield Case("the same episode again", between(honest(0)), "same episode once more", fast=True)
    yield Case(
        "the same episode, its keys in another order",
        between(json.dumps(json.loads(honest(0)), sort_keys=True).encode()),
        "same episode once more",
        fast=True,
    )
    yield Case(
        "the same episode, with other white space",
        between(b"  " + json.dumps(json.loads(honest(0)), separators=(" ,  ", " : ")).encode() + b"\t"),
        "same episode once more",
        fast=True,
    )
    yield Case("no digest", between(without("digest")), "not a trace", fast=True)
    yield Case(
        "the digest of another episode", between(edited(digest=data_of(solo("2"))["digest"])), "digest", fast=True
    )
    chained = [{k: v for k, v in event.items() if k != "digest"} for event in two["events"]]
    yield Case("events without digests", between(json.dumps(two | {"events": chained}).encode()), "not a trace")
    other = [event | {"digest": "0" * 32} if i == 1 else event for i, event in enumerate(two["events"])]
    yield Case(
        "a chain that is broken", between(json.dumps(two | {"events": other}).encode()), "digest of event 1", fast=True
    )
    mixed = [data_of(played("arithmetic/eval_opt", "\\boxed{2}", "\\boxed{Correct}"))["events"][0], *two["events"][1:]]
    yield Case("an event of another episode", between(json.dumps(two | {"events": mixed}).encode()), "digest")
    assert data["digest"]


# Content: the digests are made anew.


def content() -> Iterator[Case]:
    team = played(
        "arithmetic/orch_workers", "STRATEGY 1: add\nSTRATEGY 2: count", "\\boxed{1}", "\\boxed{2}", "\\boxed{3}"
    )
    data = data_of(team)
    events = data["events"]
    asks = [i for i, event in enumerate(events) if event["event"] == "Ask"]
    extra = {"event": "Ask", "wave": 1, "agent": "worker_7", "prompt": "x", "reply": "y", "digest": ""}
    tool = {
        "event": "UseTool",
        "wave": 1,
        "agent": "worker_0",
        "tool": "python",
        "args": {"code": "1"},
        "reply": "1",
        "worked": 1.0,
        "digest": "",
    }
    for name, changes, says in (
        (
            "two replies exchanged",
            {"events": [*events[: asks[1]], events[asks[2]], events[asks[1]], *events[asks[2] + 1 :]]},
            "event",
        ),
        ("an event left out", {"events": [*events[:2], *events[3:]]}, "event"),
        ("an event twice", {"events": [*events[:3], events[2], *events[3:]]}, "event"),
        ("an agent that was never spawned", {"events": [*events[: asks[1]], extra, *events[asks[1] :]]}, "event"),
        ("a tool that is not offered", {"events": [*events[: asks[1]], tool, *events[asks[1] :]]}, "event"),
        ("an end that is missing", {"events": events[:-2]}, "events|replies lead"),
        ("no events", {"events": []}, "replies lead"),
        ("events after the end", {"events": [*events, events[-1]]}, "event"),
        ("waves that are one", {"events": [event | {"wave": 0} for event in events]}, "event"),
        ("waves that are many", {"events": [event | {"wave": i} for i, event in enumerate(events)]}, "event"),
        ("another answer", {"answer": "\\boxed{4}"}, "answer"),
        ("no answer", {"answer": None}, "answer"),
        ("a better score", {"score": 1.0}, "claims score"),
        ("a score above all", {"score": 1e308}, "claims score"),
        ("failed", {"status": "failed", "answer": None, "score": 0.0}, "failed"),
        ("truncated", {"status": "truncated", "answer": None}, "truncated|ends"),
        ("not over", {"status": None}, "ends|not over"),
        ("a negative budget", {"limits": data["limits"] | {"calls": -5}}, "event|ends|stopped"),
        ("a budget of nothing", {"limits": data["limits"] | {"turns": 0}}, "event|ends|stopped"),
        ("a budget of seconds that is used up", {"limits": data["limits"] | {"seconds": 0.0}}, "event|ends|stopped"),
        ("another seed, another workflow", {"env": "arithmetic/voting-v1", "seed": 5}, "event"),
    ):
        yield Case(name, between(remade(team, **changes)), says, fast=name.startswith(("a ", "no")))
    longest = "y" * 5 * MB
    yield Case(
        "a reply too long",
        between(
            remade(
                team, events=[event | ({"reply": longest} if i == asks[1] else {}) for i, event in enumerate(events)]
            )
        ),
        "event",
    )
