"""What happened in an episode as a graph: typed events, what led to what, and what it cost.

Sessions and the logs of other systems become the same `Graph`; figures are computed from it and exports are written from it.

In a session, time runs in waves: the calls of a wave begin together, when the slowest call of the wave before has ended. If no
call was timed, each counts as one second, so that `t` counts waves. Causes are of two kinds. What the protocol waits for is
exact: every event of a wave depends on the slowest of the wave before, a spawned agent's first call on its spawn, a tool on the
agent that called it. Who read whom is inferred: an edge says that an earlier text, or a line of it, occurs in a later prompt of
another agent.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal, NamedTuple

from llm_marl_envs.protocol import Ask, Claim, Malformed, Spawn, Stop, UseTool
from llm_marl_envs.quotes import SHORT, Said, Sayings, Shown, parts_of
from llm_marl_envs.session import Event, Reply
from llm_marl_envs.task import Question, Score

EventType = Literal[
    "orchestrator_decision", "spawn", "despawn", "message", "tool_call", "tool_result", "return", "aggregate",
    "human_intervention", "safety_event",
]  # fmt: skip
EdgeType = Literal["temporal", "causal", "spawn", "message", "tool_dependency", "return", "aggregate", "safety_flow"]
_TYPE_OF: dict[str, EventType] = {
    "message": "message",
    "decision": "orchestrator_decision",
    "return": "return",
    "aggregate": "aggregate",
}
CALLS = frozenset(_TYPE_OF.values())  # the events in which an agent speaks


@dataclass(slots=True)
class GraphEvent:
    """Something that happened at `t`, and lasted `seconds` if it was timed. `number` is its place in the record.

    `claims` are those made about this event, each with its grade if it was graded; `malformed` says what was expected if the
    reply could not be read.
    """

    number: int
    type: EventType
    agent: str
    t: float
    seconds: float = 0.0
    wave: int | None = None
    origin: str = ""  # the sender
    to: str = ""  # the receiver, if it is one agent
    tool: str = ""
    args: Any = None
    worked: float | None = None
    prompt: str | None = None
    text: str | None = None
    choices: tuple[str, ...] = ()
    prompt_tokens: int = 0
    reply_tokens: int = 0
    alternatives: tuple[str, ...] = ()  # of an imported reply: what else was sampled in its place
    refused: bool = False
    outside: bool = False  # of an imported log: said by a person or a system prompt, not by one of the agents
    human: bool = False
    malformed: str = ""
    claims: list[tuple[Claim, Score | None]] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.reply_tokens


class Edge(NamedTuple):
    """One event led to another; both are named by their numbers. `temporal` says only what was recorded after what."""

    source: int
    target: int
    type: EdgeType


@dataclass(frozen=True, slots=True)
class Costs:
    """What an episode cost: agents' tokens and calls, uses of tools, messages, wall-clock seconds, and seconds of work in total."""

    tokens: int
    calls: int
    tool_calls: int
    messages: int
    wall_s: float
    work_s: float | None = None  # None: not known


@dataclass(frozen=True, slots=True)
class Graph:
    """Events in the order of time, edges from earlier to later ones, and costs. `answer` is the team's.

    axis: what `t` of the events counts: seconds or waves of a session, or, in a log without times, calls, which say nothing about
    what took how long or ran at the same time.
    """

    events: tuple[GraphEvent, ...]
    edges: tuple[Edge, ...]
    costs: Costs
    answer: str | None = None
    axis: Literal["time", "calls"] = "time"

    @classmethod
    def of(
        cls,
        events: Sequence[GraphEvent],
        edges: Mapping[tuple[int, int], EdgeType],
        costs: Costs,
        answer: str | None = None,
        axis: Literal["time", "calls"] = "time",
    ) -> Graph:
        """From a record: events by their times, and a `temporal` edge to each event that nothing else led to."""
        ordered = sorted(events, key=lambda event: event.t)
        caused = {target for _, target in edges}
        after = [
            Edge(before.number, event.number, "temporal")
            for before, event in pairwise(ordered)
            if event.number not in caused
        ]
        known = [Edge(source, target, kind) for (source, target), kind in edges.items()]
        return cls(tuple(ordered), (*known, *after), costs, answer, axis)


def graph_of(
    events: Iterable[Event],
    question: Question,
    *,
    answer: str | None = None,
    people: frozenset[str] = frozenset(),
    grades: Iterable[tuple[Claim, Score]] = (),
) -> Graph:
    """The graph of a session's or a trace's events.

    people: agents that were played by people. grades: those of the claims, in order (`Outcome.claims`).
    """
    events = list(events)
    builder = _Builder(question, people, any(event.reply is not None and event.reply.seconds for event in events))
    graded = iter(grades)
    for call, reply, wave in events:
        if wave != builder.wave:
            builder.begin(wave)
        match call:
            case Ask():
                assert reply is not None
                builder.ask(call, reply)
            case UseTool():
                assert reply is not None
                builder.use(call, reply)
            case Claim():
                _, score = next(graded, (call, None))
                if (event := builder.latest_event(call.agent)) is not None:
                    event.claims.append((call, score))
            case Malformed():
                if (event := builder.latest_event(call.agent)) is not None:
                    event.malformed = call.expected
            case Spawn() | Stop():
                builder.move(call)
    builder.begin(builder.wave + 1)
    return builder.graph(answer)


class _Builder:
    """Events and edges of a session as they grow."""

    def __init__(self, question: Question, people: frozenset[str], timed: bool):
        self.question, self.people, self.timed = question.text, people, timed
        self.events: list[GraphEvent] = []
        self.edges: dict[tuple[int, int], EdgeType] = {}
        self.latest: dict[str, int] = {}  # agent -> its latest event before the present wave
        self.acting: dict[str, int] = {}  # agent -> its latest event in it
        self.spawned: dict[str, int] = {}  # agent -> its spawn, until it acts
        self.wave, self.start = 0, 0.0
        self.gate: int | None = None  # the event that the present wave waited for
        self.slowest: tuple[float, int] | None = None  # of the present wave: how long its slowest call lasts, its end
        self.shown = Shown()
        self.said = Sayings()  # what may be read later
        self.saying: list[Said] = []  # said in the present wave: no agent of this wave can read it
        self.last: GraphEvent | None = None  # the latest call's

    def add(self, kind: EventType, agent: str, t: float, **more: Any) -> GraphEvent:
        human = agent in self.people
        event = GraphEvent(len(self.events), kind, agent, t, wave=self.wave, human=human, **more)
        self.events.append(event)
        return event

    def ask(self, call: Ask, reply: Reply) -> None:
        event = self.add(
            _TYPE_OF[call.kind], call.agent, self.start,
            origin=call.agent, prompt=call.prompt, text=reply.text, choices=call.choices,
            prompt_tokens=reply.prompt_tokens, reply_tokens=reply.reply_tokens,
        )  # fmt: skip
        self.take(event, event, reply.seconds)
        shown, aggregates = parts_of(call.prompt), call.kind == "aggregate"
        for number, agent in self.said.held_by(call.prompt, shown):
            if agent != call.agent or self.events[number].type == "tool_result":
                self.edges[number, event.number] = self.flow(number, aggregates)
        self.shown.add(call.prompt)
        if not call.choices:
            self.saying.append(self.readable(event, reply.text, shown))

    def use(self, call: UseTool, reply: Reply) -> None:
        event = self.add("tool_call", call.agent, self.start, tool=call.tool, args=dict(call.args))
        if call.agent in self.latest:
            self.edges[self.latest[call.agent], event.number] = "tool_dependency"
        end = self.start + self.lasting(reply.seconds)
        result = self.add("tool_result", call.agent, end, tool=call.tool, text=reply.text, worked=reply.worked)
        self.edges[event.number, result.number] = "tool_dependency"
        self.take(event, result, reply.seconds)
        self.saying.append(self.readable(result, reply.text))

    def take(self, event: GraphEvent, end: GraphEvent, seconds: float) -> None:
        """Add a call that begins with `event` and ends with `end`: it depends on the wave before and lasts `seconds`."""
        event.seconds = seconds
        if (born := self.spawned.pop(event.agent, None)) is not None:
            self.edges[born, event.number] = "causal"
        if self.gate is not None:
            self.edges.setdefault((self.gate, event.number), "causal")
        lasting = self.lasting(seconds)
        if self.slowest is None or lasting > self.slowest[0]:
            self.slowest = (lasting, end.number)
        self.acting[event.agent] = end.number
        self.last = end

    def latest_event(self, agent: str) -> GraphEvent | None:
        """The event that a note about `agent` belongs to."""
        return self.events[self.latest[agent]] if agent in self.latest else self.last

    def move(self, note: Spawn | Stop) -> None:
        """Add a spawn or a stop, which takes no time."""
        spawns = isinstance(note, Spawn)
        event = self.add("spawn" if spawns else "despawn", note.by, self.start, origin=note.by, to=note.agent)
        if note.by in self.latest:
            self.edges[self.latest[note.by], event.number] = "spawn" if spawns else "causal"
        elif self.gate is not None:
            self.edges[self.gate, event.number] = "causal"
        if spawns:
            self.spawned[note.agent] = event.number

    def begin(self, wave: int) -> None:
        """The next wave begins when the slowest call of this one has ended."""
        self.wave = wave
        if self.slowest:
            lasting, self.gate = self.slowest
            self.start += lasting
            self.slowest = None
            for said in self.saying:
                self.said.add(said)
            self.saying = []
            self.latest |= self.acting
            self.acting = {}

    def lasting(self, seconds: float) -> float:
        return seconds if self.timed else 1.0

    def readable(self, event: GraphEvent, text: str, known: Container[str] = ()) -> Said:
        """The parts of a text that, if a later prompt contains them, show that it was read: its lines that its author was not shown,
        or what follows a colon in them. Texts of one or two lines may also be quoted inside a line."""
        whole, agent, number = text.strip(), event.agent, event.number
        if len(whole) < SHORT:
            new = whole and whole not in self.question and whole not in self.shown
            return Said(number, agent, whole if new else "", frozenset())
        parts = frozenset(part for part in parts_of(whole) if part not in known and part not in self.question)
        quotable = whole.count("\n") < 2 and whole not in self.question
        return Said(number, agent, whole if quotable else "", parts)

    def flow(self, source: int, aggregates: bool) -> EdgeType:
        kind = self.events[source].type
        if kind == "tool_result":
            return "tool_dependency"
        return "aggregate" if aggregates else "return" if kind == "return" else "message"

    def graph(self, answer: str | None) -> Graph:
        self._name_readers()
        calls = [event for event in self.events if event.type in CALLS]
        costs = Costs(
            tokens=sum(event.tokens for event in calls),
            calls=len(calls),
            tool_calls=sum(event.type == "tool_call" for event in self.events),
            messages=sum(event.type == "message" for event in calls),
            wall_s=self.start if self.timed else 0.0,
            work_s=sum(event.seconds for event in self.events),
        )
        return Graph.of(self.events, self.edges, costs, answer)

    def _name_readers(self) -> None:
        """Set `to` for events whose text exactly one other agent read."""
        readers: dict[int, set[str]] = {}
        for (source, target), kind in self.edges.items():
            if kind in ("message", "return", "aggregate"):
                readers.setdefault(source, set()).add(self.events[target].agent)
        for source, names in readers.items():
            if len(names) == 1:
                self.events[source].to = names.pop()
