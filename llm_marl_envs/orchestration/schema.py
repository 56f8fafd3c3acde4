"""The public orchestration-trace schema (survey of RL for LLM teams, arXiv 2605.02801): its vocabulary, how a graph is written in
it, and its rules."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, get_args

from llm_marl_envs.graph import EdgeType, EventType, Graph, GraphEvent

View = dict[str, Any]
EVENT_TYPES: tuple[str, ...] = get_args(EventType)
EDGE_TYPES: tuple[str, ...] = get_args(EdgeType)
TOPOLOGIES = (
    "centralized", "planner_executor_critic", "debate", "swarm", "hierarchical", "harness", "mixed", "unknown",
)  # fmt: skip


def view_of(graph: Graph, *, trace_id: str, task_id: str, system: str, topology: str) -> View:
    """A graph as JSON data in the schema, without rewards and metrics."""
    costs = graph.costs
    written = {
        "tokens": costs.tokens, "wall_clock_s": costs.wall_s, "tool_calls": costs.tool_calls, "messages": costs.messages,
        "calls": costs.calls,
    }  # fmt: skip
    return {
        "trace_id": trace_id,
        "task_id": task_id,
        "system": system,
        "topology": topology,
        "events": [_written(event) for event in graph.events],
        "edges": [{"src": f"e{e.source}", "dst": f"e{e.target}", "type": e.type} for e in graph.edges],
        "rewards": {},
        "costs": written | ({} if costs.work_s is None else {"work_s": costs.work_s}),
        "metrics": {},
    }


_IF_TRUE = (
    ("from", "origin"), ("to", "to"), ("tool", "tool"), ("human", "human"), ("seconds", "seconds"), ("malformed", "malformed"),
    ("refused", "refused"),
)  # fmt: skip
_LISTS = ("choices", "alternatives")
_IF_GIVEN = ("args", "prompt", "text", "worked")


def _written(event: GraphEvent) -> dict[str, Any]:
    out: dict[str, Any] = {"id": f"e{event.number}", "t": event.t, "type": event.type, "agent": event.agent}
    if event.wave is not None:
        out["wave"] = event.wave
    if role := event.agent.rpartition("_")[0]:
        out["role"] = role
    for name, field in _IF_TRUE:
        if value := getattr(event, field):
            out[name] = value
    for name in _LISTS:
        if value := getattr(event, name):
            out[name] = list(value)
    for name in _IF_GIVEN:
        if (value := getattr(event, name)) is not None:
            out[name] = value
    if event.text is not None:
        digest = blake2b(event.text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
        out["content_ref"] = f"blake2b:{digest}"
    if event.type == "tool_result":
        out["trusted"] = False
    if event.tokens:
        out["prompt_tokens"], out["reply_tokens"] = event.prompt_tokens, event.reply_tokens
    if event.claims:
        out["claims"] = []
        for claim, score in event.claims:
            about = {"about": claim.about} if claim.about else {}
            # without the reason of the grade: it may contain the right answer
            grade = {} if score is None else {"grade": score.value, "read": score.read}
            out["claims"].append({"kind": claim.kind, "text": claim.text} | about | grade)
    return out


def check_view(view: Any) -> list[str]:
    """What is wrong with orchestration data, as sentences; empty if nothing. Checks the schema's own rules, and that ids are unique,
    edges lead from earlier to existing events, and every event except the first has a cause."""
    if not isinstance(view, dict):
        return [f"expected an object, got {type(view).__name__}"]
    allowed = {"trace_id", "task_id", "system", "topology", "events", "edges", "rewards", "costs", "metrics"}
    wrong = [f"unknown field {name!r}" for name in view if name not in allowed]
    for name, kind in (("trace_id", str), ("task_id", str), ("events", list), ("edges", list), ("rewards", dict), ("costs", dict)):  # fmt: skip
        if not isinstance(view.get(name), kind):
            wrong.append(f"{name} must be {kind.__name__}, got {view.get(name)!r:.80}")
    if wrong:
        return wrong
    if not isinstance(view.get("system", ""), str):
        wrong.append(f"system must be a string, got {view['system']!r:.80}")
    if "topology" in view and view["topology"] not in TOPOLOGIES:
        wrong.append(f"topology is one of {', '.join(TOPOLOGIES)}; got {view['topology']!r:.80}")
    wrong += _wrong_events(view["events"])
    if not wrong:
        wrong += _wrong_edges(view["edges"], [event["id"] for event in view["events"]])
    for name in ("tokens", "wall_clock_s"):
        if name not in view["costs"]:
            wrong.append(f"costs.{name} is missing")
    wrong += _wrong_numbers("costs", view["costs"], 0.0)
    wrong += _wrong_numbers("rewards", view["rewards"])
    wrong += _wrong_numbers("metrics", view.get("metrics", {}))
    return wrong


def _wrong_events(events: list[Any]) -> Iterable[str]:
    if not events:
        yield "events must hold at least one"
    ids: set[str] = set()
    for i, event in enumerate(events):
        if not isinstance(event, dict):
            yield f"event {i} must be an object, got {event!r:.80}"
            continue
        for name in ("id", "agent", "type"):
            if not isinstance(event.get(name), str):
                yield f"event {i}: {name} must be a string, got {event.get(name)!r:.80}"
        for name in ("role", "from", "to", "tool", "content_ref"):
            if not isinstance(event.get(name, ""), str):
                yield f"event {i}: {name} must be a string, got {event[name]!r:.80}"
        if not isinstance(event.get("trusted", True), bool):
            yield f"event {i}: trusted must be true or false, got {event['trusted']!r:.80}"
        if not _is_number(event.get("t")) or event["t"] < 0:
            yield f"event {i}: t must be a number from 0, got {event.get('t')!r:.80}"
        if isinstance(event.get("type"), str) and event["type"] not in EVENT_TYPES:
            yield f"event {i}: type is one of {', '.join(EVENT_TYPES)}; got {event['type']!r:.80}"
        if isinstance(event.get("id"), str):
            if event["id"] in ids:
                yield f"event {i}: the id {event['id']!r:.80} is used twice"
            ids.add(event["id"])


def _wrong_edges(edges: list[Any], ids: list[str]) -> Iterable[str]:
    known, caused = set(ids), set()
    for i, edge in enumerate(edges):
        if not isinstance(edge, dict) or set(edge) != {"src", "dst", "type"}:
            yield f"edge {i} must be an object with src, dst and type, got {edge!r:.120}"
            continue
        for end in ("src", "dst"):
            if not isinstance(edge[end], str) or edge[end] not in known:
                yield f"edge {i}: {end} {edge[end]!r:.80} is not an event"
        if edge["type"] not in EDGE_TYPES:
            yield f"edge {i}: type is one of {', '.join(EDGE_TYPES)}; got {edge['type']!r:.80}"
        caused.add(str(edge["dst"]))
    for id in ids[1:]:
        if id not in caused:
            yield f"event {id} has no cause: no edge leads to it"


def _wrong_numbers(name: str, numbers: Any, least: float | None = None) -> Iterable[str]:
    if not isinstance(numbers, dict):
        yield f"{name} must be an object, got {numbers!r:.80}"
        return
    for key, value in numbers.items():
        if not _is_number(value) or (least is not None and value < least):
            yield f"{name}.{key} must be a number{'' if least is None else ' from 0'}, got {value!r:.80}"


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and value == value
        and abs(value) != float("inf")
    )
