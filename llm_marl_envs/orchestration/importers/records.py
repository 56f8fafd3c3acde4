"""The common part of the transcript readers: records from files, steps of agents, and the orchestration data made from them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

from llm_marl_envs.errors import TranscriptError
from llm_marl_envs.graph import Costs, EdgeType, EventType, Graph, GraphEvent
from llm_marl_envs.orchestration.metrics import metrics_of
from llm_marl_envs.orchestration.schema import View, view_of

USER = "user"
UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError, OverflowError)


@dataclass(slots=True)
class TranscriptFile:
    """A transcript file: its JSON records, and the number of lines that are not JSON."""

    path: Path
    records: list[Any]
    skipped: int = 0


def read_source(path: Path) -> TranscriptFile:
    """The records of a JSON or JSON-lines file. Lines that are not JSON, including a torn last line, are counted. Raises
    TranscriptError if the file cannot be read or contains no JSON at all."""
    try:
        text = path.read_text("utf-8-sig", errors="replace")
    except OSError as bad:
        raise TranscriptError(
            f"cannot read {path}: {bad.strerror or bad}. Expected a transcript file or a folder."
        ) from None
    try:
        whole = json.loads(text)
        return TranscriptFile(path, whole if isinstance(whole, list) else [whole])
    except (ValueError, RecursionError):
        pass
    source = TranscriptFile(path, [])
    for line in text.split("\n"):  # not splitlines(): JSON may hold U+2028, U+2029 and U+0085
        if line.strip():
            try:
                source.records.append(json.loads(line))
            except (ValueError, RecursionError):
                source.skipped += 1
    if not source.records:
        raise TranscriptError(f"{path} contains no JSON: expected one JSON value, or one object per line")
    return source


@dataclass(slots=True)
class Step:
    """One action of an agent. say: its words. human: a person's words to it. call and result: of a tool, paired by `key`. spawn:
    it starts the agent `to`, and `text` is the task. done: the agent `to` returns its result to it.
    """

    kind: Literal["say", "human", "call", "result", "spawn", "done"]
    agent: str
    text: str = ""
    time: float | None = None  # seconds; the end of the step
    tool: str = ""
    args: Any = None
    key: str = ""
    to: str = ""
    tokens: tuple[int, int] = (0, 0)  # read and written
    heard_by: tuple[str, ...] = field(default=())  # agents of the same conversation
    place: int = 0  # in the log, for logs without times


def imported(steps: Iterable[Step], *, id: str, system: str, layout: str, skipped: int = 0) -> View | None:
    """The orchestration data of an episode; None if nothing happened in it.

    Steps are taken in the order of their times, or in file order if there are none. A step begins when the last step that its
    agent waited for ended, so a model's reply lasts from the end of its prompt to its own end.
    """
    steps = list(steps)
    if not steps:
        return None
    graph = _Episode(_timed(steps)).graph(steps)
    topology = "centralized" if any(step.kind == "spawn" for step in steps) else "unknown"
    view = view_of(graph, trace_id="", task_id=id, system=system, topology=topology)
    asked = next((step.text for step in steps if step.kind == "human"), "")
    view["events"][0] |= {"imported": True, "layout": layout} | ({"question": asked} if asked else {})
    view["trace_id"] = blake2b(json.dumps([layout, id, view["events"]]).encode(), digest_size=8).hexdigest()
    view["metrics"] = metrics_of(graph) | {"records_skipped": float(skipped)}
    return view


def _timed(steps: list[Step]) -> list[Step]:
    """The steps by time, if there are times: a step without one gets the time of the step before it."""
    latest = next((step.time for step in steps if step.time is not None), None)
    if latest is None:
        return sorted(steps, key=lambda step: step.place)
    for step in steps:
        latest = step.time = latest if step.time is None else step.time
    return sorted(steps, key=lambda step: step.time or 0.0)


class _Episode:
    """Events and edges as they grow; places are indices into `events`."""

    def __init__(self, steps: list[Step]):
        self.events: list[GraphEvent] = []
        self.edges: dict[tuple[int, int], EdgeType] = {}
        self.ends: list[float] = []
        self.timed = steps[0].time is not None
        self.zero = steps[0].time or 0.0
        self.latest: dict[str, int] = {}
        self.inbox: dict[str, list[tuple[int, EdgeType]]] = {}  # agent -> what its next step comes from, and how
        self.calls: dict[tuple[str, str], int] = {}
        for step in steps:
            getattr(self, f"_{step.kind}")(step)

    def add(self, kind: EventType, agent: str, step: Step, *, lasts: bool = False) -> int:
        """An event of `agent`, after what waits in its inbox."""
        place = len(self.events)
        now = (step.time or 0.0) - self.zero if self.timed else float(place)
        causes = self.inbox.pop(agent, [])
        if not causes and agent in self.latest:
            causes.append((self.latest[agent], "causal"))
        begins = max((self.ends[source] for source, _ in causes), default=now) if lasts and self.timed else now
        begins = min(begins, now)
        event = GraphEvent(
            place, kind, agent, begins, now - begins,
            tool=step.tool, args=step.args or None, text=step.text or None,
            prompt_tokens=step.tokens[0], reply_tokens=step.tokens[1],
        )  # fmt: skip
        self.events.append(event)
        self.ends.append(now)
        for source, how in causes:
            self.edges[source, place] = how
        self.latest[agent] = place
        return place

    def _say(self, step: Step) -> None:
        place = self.add("message", step.agent, step, lasts=True)
        self._tell(place, step)

    def _human(self, step: Step) -> None:
        if step.agent in self.latest:  # a person speaks after the agent's last event
            self.inbox[USER] = [(self.latest[step.agent], "causal")]
        place = self.add("human_intervention" if self.events else "message", USER, step)
        self.events[place].to = step.agent
        self.inbox.setdefault(step.agent, []).append((place, "message"))

    def _tell(self, place: int, step: Step) -> None:
        for agent in step.heard_by:
            if agent != step.agent:
                self.inbox.setdefault(agent, []).append((place, "message"))

    def _call(self, step: Step) -> None:
        before = self.latest.get(step.agent)
        place = self.add("tool_call", step.agent, step, lasts=any(step.tokens))
        if before is not None and (before, place) in self.edges and self.events[before].type != "tool_result":
            self.edges[before, place] = "tool_dependency"
        self.calls[step.agent, step.key] = place

    def _result(self, step: Step) -> None:
        call = self.calls.pop((step.agent, step.key), None)
        if call is None:
            place = self.add("tool_result", step.agent, step)
        else:
            step.tool = step.tool or self.events[call].tool
            waiting = self.inbox.pop(step.agent, None)
            self.inbox[step.agent] = [(call, "tool_dependency")]
            place = self.add("tool_result", step.agent, step)
            if waiting:
                self.inbox[step.agent] = waiting
            if self.timed:  # from when the model began to write the call to when the tool was done
                self.events[call].seconds = max(0.0, self.ends[place] - self.events[call].t)
        self.inbox.setdefault(step.agent, []).append((place, "tool_dependency"))

    def _spawn(self, step: Step) -> None:
        before = self.latest.get(step.agent)
        place = self.add("spawn", step.agent, step)
        self.events[place].origin, self.events[place].to = step.agent, step.to
        if before is not None and (before, place) in self.edges:
            self.edges[before, place] = "spawn"
        self.inbox.setdefault(step.to, []).append((place, "causal"))

    def _done(self, step: Step) -> None:
        """The agent's last message is its result; if the agent has no log, the result is added as its message."""
        last = self.latest.get(step.to)
        if last is None or self.events[last].type != "message":
            last = self.add("return", step.to, step, lasts=True)
        self.events[last].type = "return"
        self.events[last].to = step.agent
        self.inbox.setdefault(step.agent, []).append((last, "return"))
        place = len(self.events)
        end = max(self.ends[last], (step.time or 0.0) - self.zero) if self.timed else float(place)
        self.events.append(GraphEvent(place, "despawn", step.agent, end, origin=step.agent, to=step.to))
        self.ends.append(end)
        self.edges[last, place] = "causal"

    def graph(self, steps: Sequence[Step]) -> Graph:
        costs = Costs(
            tokens=sum(event.tokens for event in self.events),
            calls=sum(step.kind == "say" or any(step.tokens) for step in steps),
            tool_calls=sum(event.type == "tool_call" for event in self.events),
            messages=sum(event.type == "message" for event in self.events),
            wall_s=max(event.t + event.seconds for event in self.events) if self.timed else 0.0,
        )
        return Graph.of(self.events, self.edges, costs)


def seconds_of(value: Any) -> float | None:
    """A time stamp (ISO 8601, or seconds or milliseconds since 1970) in seconds; None if it is not a time stamp."""
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value).timestamp()
        except (ValueError, OverflowError):
            return None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 1e14:
        return value / 1000 if value > 1e11 else float(value)
    return None


def text_of(content: Any) -> str:
    """The text of a message's content: a string, or the text parts of a list; other parts are named in brackets."""
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        return "" if content is None else json.dumps(content)
    parts = []
    for part in content:
        if isinstance(part, str):
            parts.append(part)
        elif isinstance(part, dict):
            inside = part.get("text", part.get("content", part.get("refusal")))
            parts.append(text_of(inside) if inside is not None else f"[{part.get('type', 'part')}]")
    return "\n".join(part for part in parts if part)


def count(usage: Any, *names: str) -> int:
    """The sum of the named counts of a usage record; missing ones count 0."""
    if not isinstance(usage, dict):
        return 0
    found = (usage.get(name) for name in names)
    return sum(int(n) for n in found if isinstance(n, (int, float)) and not isinstance(n, bool) and 0 <= n < 1e15)


def parsed(text: Any) -> Any:
    """A tool's arguments: JSON in a string is parsed."""
    if isinstance(text, str):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return {"text": text}
    return text
