"""Steps of agents, and the orchestration data made from them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal

from llm_marl_envs.graph import Costs, EdgeType, EventType, Graph, GraphEvent
from llm_marl_envs.orchestration.importers.records import Skipped
from llm_marl_envs.orchestration.metrics import metrics_of
from llm_marl_envs.orchestration.schema import View, view_of

USER, SYSTEM = "user", "system"
DEEP = 100  # levels of lists and objects in arguments


@dataclass(slots=True)
class Step:
    """One action of an agent. say: its words. human: a person's words to it. told: what the system tells it, which becomes the
    prompt of its next event. call and result: of a tool, paired by `key`. spawn: it starts the agent `to`, and `text` is the task.
    done: the agent `to` returns its result to it.
    """

    kind: Literal["say", "human", "told", "call", "result", "spawn", "done"]
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
    log: str = ""  # the conversation it stands in, whose order holds whatever its times say
    alternatives: tuple[str, ...] = ()  # what else was sampled in its place
    refused: bool = False
    worked: float | None = None  # of a result
    heard: bool = True  # of done: its agent is known to have read the result


def imported(
    steps: Iterable[Step], *, id: str, system: str, layout: str, skipped: Skipped, repeated: int = 0
) -> View | None:
    """The orchestration data of an episode; None if nothing happened in it.

    If every step has a time, steps are taken in the order of their times, and a step begins when the last step that its agent
    waited for ended, so a model's reply lasts from the end of its prompt to its own end. If a step has none, no seconds can be
    known: `t` then counts calls of agents and tools, the first event has `axis` "calls", and there is no figure in seconds and no
    speed-up.

    skipped: what was not understood, which goes into the first event by kind. repeated: records left out because they stand in
    another file, too.
    """
    steps = [step for step in steps if step.kind != "told" or step.text]
    for step in steps:
        step.args = _plain(step.args, skipped)
    if not steps:
        return None
    ordered, timed = _ordered(steps)
    graph = _Episode(ordered, timed).graph(ordered)
    topology = "centralized" if any(step.kind == "spawn" for step in steps) else "unknown"
    view = view_of(graph, trace_id="", task_id=id, system=system, topology=topology)
    asked = next((step.text for step in ordered if step.kind == "human"), "")
    about: dict[str, Any] = {"imported": True, "layout": layout} | ({"question": asked} if asked else {})
    about |= {} if timed else {"axis": "calls"}
    if not timed and (known := sum(step.time is not None for step in steps)):
        about["partly_timed"] = f"{known} of {len(steps)} steps have a time"
    about |= ({"skipped": dict(skipped)} if skipped else {}) | ({"repeated": repeated} if repeated else {})
    view["events"][0] |= about
    view["trace_id"] = blake2b(json.dumps([layout, id, view["events"]]).encode(), digest_size=8).hexdigest()
    view["metrics"] = metrics_of(graph) | {"records_skipped": float(skipped.total())}
    return view


def _plain(args: Any, skipped: Skipped) -> Any:
    """Arguments that can be written as JSON inside other JSON, wherever that is done: those nested more than DEEP are left out."""
    layer, depth = [args], 0
    while layer and depth <= DEEP:
        inner = [x for x in layer if isinstance(x, (dict, list))]
        layer = [value for x in inner for value in (x.values() if isinstance(x, dict) else x)]
        depth += 1
    if not layer:
        return args
    skipped.note("arguments nested too deeply")
    return {"text": "[nested too deeply]"}


def _ordered(steps: list[Step]) -> tuple[list[Step], bool]:
    """The steps in the order in which they happened, and whether they are timed: all have a time, and not all the same.

    The order inside a conversation is that of its log, so a time that goes backwards counts as the one before it. A step without
    a time stands where the one before it in its log does; a log without any, where the first step of all does.
    """
    first: dict[str, float] = {}
    for step in steps:
        if step.time is not None:
            first.setdefault(step.log, step.time)
    if not first:
        return sorted(steps, key=lambda step: step.place), False
    latest: dict[str, float] = {}
    begin = min(first.values())
    at: list[tuple[float, int]] = []
    for i, step in enumerate(steps):
        before = latest.get(step.log, first.get(step.log, begin) if step.time is None else step.time)
        latest[step.log] = max(before, step.time if step.time is not None else before)
        at.append((latest[step.log], i))
    timed = all(step.time is not None for step in steps) and min(at)[0] < max(at)[0]
    ordered = []
    for time, i in sorted(at):
        if timed:
            steps[i].time = time
        ordered.append(steps[i])
    return ordered, timed


class _Episode:
    """Events and edges as they grow; places are indices into `events`."""

    def __init__(self, steps: Sequence[Step], timed: bool):
        self.events: list[GraphEvent] = []
        self.edges: dict[tuple[int, int], EdgeType] = {}
        self.ends: list[float] = []
        self.timed = timed
        self.zero = steps[0].time or 0.0
        self.begun = 0  # calls of agents and tools so far: the axis of logs without times
        self.latest: dict[str, int] = {}
        self.inbox: dict[str, list[tuple[int, EdgeType]]] = {}  # agent -> what its next step comes from, and how
        self.told: dict[str, list[str]] = {}  # agent -> what the system told it since its last event
        self.causes: dict[int, list[tuple[int, EdgeType]]] = {}  # of tool calls
        self.open: dict[str, dict[str, list[int]]] = {}  # agent -> key -> its calls without a result
        self.waiting: set[int] = set()  # all of these
        for step in steps:
            getattr(self, f"_{step.kind}")(step)
        for agent, texts in list(self.told.items()):  # nobody spoke after it
            place = self.add("message", SYSTEM, Step("say", SYSTEM, "\n\n".join(texts), steps[-1].time))
            self.events[place].to = agent

    def now(self, step: Step) -> float:
        return (step.time or 0.0) - self.zero if self.timed else float(self.begun)

    def add(self, kind: EventType, agent: str, step: Step, *, lasts: bool = False) -> int:
        """An event of `agent`, after what waits in its inbox."""
        place = len(self.events)
        self.begun += kind == "tool_call" or (kind in ("message", "return") and agent not in (USER, SYSTEM))
        now = self.now(step)
        causes = self.inbox.pop(agent, [])
        if not causes and agent in self.latest:
            causes.append((self.latest[agent], "causal"))
        if kind == "tool_call":
            self.causes[place] = causes
        begins = max((self.ends[source] for source, _ in causes), default=now) if lasts and self.timed else now
        begins = min(begins, now)
        told = self.told.pop(agent, None) if kind != "tool_result" else None
        event = GraphEvent(
            place, kind, agent, begins, now - begins,
            tool=step.tool, args=step.args or None, text=step.text or None, prompt="\n\n".join(told) if told else None,
            prompt_tokens=step.tokens[0], reply_tokens=step.tokens[1], alternatives=step.alternatives, refused=step.refused,
            worked=step.worked, outside=agent in (USER, SYSTEM),
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

    def _told(self, step: Step) -> None:
        if step.text:
            self.told.setdefault(step.agent, []).append(step.text)

    def _tell(self, place: int, step: Step) -> None:
        for agent in step.heard_by:
            if agent != step.agent:
                self.inbox.setdefault(agent, []).append((place, "message"))

    def _call(self, step: Step) -> None:
        before = self.latest.get(step.agent)
        if before in self.waiting and step.agent not in self.inbox:  # one of several calls at once
            self.inbox[step.agent] = list(self.causes[before])
        place = self.add("tool_call", step.agent, step, lasts=any(step.tokens))
        if before is not None and (before, place) in self.edges and self.events[before].type != "tool_result":
            self.edges[before, place] = "tool_dependency"
        self.open.setdefault(step.agent, {}).setdefault(step.key, []).append(place)
        self.waiting.add(place)
        self._tell(place, step)

    def _result(self, step: Step) -> None:
        call = self._call_of(step)
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

    def _call_of(self, step: Step) -> int | None:
        """The oldest open call with the result's key; without a key, the agent's oldest open call."""
        waiting = self.open.get(step.agent, {})
        key = step.key if step.key or "" in waiting else next(iter(waiting), "")
        places = waiting.get(key)
        if not places:
            return None
        place = places.pop(0)
        self.waiting.discard(place)
        if not places:
            del waiting[key]
        return place

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
        if step.heard:
            self.inbox.setdefault(step.agent, []).append((last, "return"))
        place = len(self.events)
        end = max(self.ends[last], self.now(step))
        self.events.append(GraphEvent(place, "despawn", step.agent, end, origin=step.agent, to=step.to))
        self.ends.append(end)
        self.edges[last, place] = "causal"

    def graph(self, steps: Sequence[Step]) -> Graph:
        types = Counter(event.type for event in self.events)
        costs = Costs(
            tokens=sum(event.tokens for event in self.events),
            calls=sum(step.kind == "say" or any(step.tokens) for step in steps),
            tool_calls=types["tool_call"],
            messages=types["message"],
            wall_s=max(event.t + event.seconds for event in self.events) if self.timed else 0.0,
        )
        return Graph.of(self.events, self.edges, costs, axis="time" if self.timed else "calls")
