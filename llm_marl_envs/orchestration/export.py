"""A trace in the public orchestration-trace schema (survey of RL for LLM teams, arXiv 2605.02801): events and what led to what.

The schema leaves extra fields on events to us; ours are `wave`, `seconds`, `prompt`, `text`, `prompt_tokens`, `reply_tokens`,
`args`, `choices`, `claims` and `malformed`, on the first event `question` and, of a fork, `parent`, and on the last one
`status`, `why` and `answer`. Events of agents that `meta["people"]` names are `human`.

Time runs in waves: the calls of a wave begin together, when the slowest one of the wave before has ended. Where no call was
timed, each counts as one second, so that `t` counts waves, and the costs say that nothing was measured.

Causes are of two kinds. What the protocol waits for is exact: every event of a wave hangs on the slowest of the wave before, a
spawned agent's first call on its spawn, a tool on who called it. Who read whom is inferred: an edge says that an earlier text,
or a line of it, stands in a later prompt of another agent.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

from llm_marl_envs.catalog import find_class
from llm_marl_envs.errors import TraceError, UnknownName
from llm_marl_envs.orchestration.metrics import metrics_of
from llm_marl_envs.orchestration.schema import View, in_order
from llm_marl_envs.protocol import Ask, Claim, Malformed, Spawn, UseTool
from llm_marl_envs.rewards import leads, orchestration, tool_use
from llm_marl_envs.traces.json import is_text

if TYPE_CHECKING:
    from llm_marl_envs.outcome import Outcome
    from llm_marl_envs.task import Score
    from llm_marl_envs.traces.trace import Trace

_TYPE_OF = {"decision": "orchestrator_decision"}  # the other kinds of Ask are called the same there
SHORT = 8  # a text of fewer characters counts as read only if no prompt had it before


def to_orchestration(trace: Trace, outcome: Outcome | None = None, *, texts: bool = True) -> View:
    """The episode in the public schema, as JSON data. Raises TraceError for an episode in which nothing happened.

    outcome: its grades go into the claims and the reward channels: `team`, the mean of each kind of claim, and by the rules of
    `rewards` at their defaults `tool` (what using tools was worth) and `orchestration` (the bonus for how the work was organised);
    without it there is the claimed team score only. texts: False leaves prompts, replies and arguments out; `content_ref` keeps a digest
    of each text.
    """
    record = _Record(trace)
    grades = iter(outcome.claims if outcome else ())
    for call, reply, wave in trace.events:
        if wave != record.wave:
            record.begin(wave)
        match call:
            case Ask():
                record.ask(call, reply)
            case UseTool():
                record.use(call, reply)
            case Claim():
                _, score = next(grades, (call, None))
                record.claim(call, score)
            case Malformed():
                record.belongs(call.agent)["malformed"] = call.expected
            case _:
                record.move(call)
    record.begin(record.wave + 1)
    if not record.events:
        why = trace.why or "nothing was asked"
        raise TraceError(f"trace {trace.id} has no events ({why}): there is nothing to export")
    view = record.finished()
    first, last = view["events"][0], record.last_call or view["events"][-1]
    first["question"] = trace.question.text
    if parent := trace.parent:
        first["parent"] = {"trace_id": parent[0], "turn": parent[1]}
    last["status"], last["answer"] = trace.status and str(trace.status), trace.answer
    if trace.why:
        last["why"] = trace.why
    view["rewards"] = _channels(trace, outcome)
    view["metrics"] = metrics_of(view)
    if not texts:
        for event in view["events"]:
            for name in ("prompt", "text", "args", "question", "answer"):
                event.pop(name, None)
            for claim in event.get("claims", ()):
                for name in ("text", "about", "read"):
                    claim.pop(name, None)
    return view


class Said(NamedTuple):
    """A text that others may read: where it stands, whose it is, the whole if it may be quoted, and its parts."""

    place: int
    agent: str
    whole: str
    parts: frozenset[str]


def _parts(text: str) -> frozenset[str]:
    """The lines of a text, and what follows a colon in them, if they are not short."""
    found = [text]
    if "\n" in text or ": " in text:
        for line in text.splitlines():
            found += [line.strip(), line.partition(": ")[2].strip()]
    return frozenset(part for part in found if len(part) >= SHORT)


class _Record:
    """Events and edges as they grow. Places are indices into `events`."""

    def __init__(self, trace: Trace):
        self.trace = trace
        seats = trace.meta.get("people") if isinstance(trace.meta, dict) else None
        self.people = frozenset(filter(is_text, seats)) if isinstance(seats, list) else frozenset[str]()
        self.timed = any(event.reply is not None and event.reply.seconds for event in trace.events)
        self.events: list[dict[str, Any]] = []
        self.edges: dict[tuple[int, int], str] = {}
        self.latest: dict[str, int] = {}  # agent -> its latest event before the present wave
        self.acting: dict[str, int] = {}  # agent -> its latest event in it
        self.spawned: dict[str, int] = {}  # agent -> its spawn, until it acts
        self.wave, self.start = 0, 0.0
        self.gate: int | None = None  # the event that the present wave waited for
        self.slowest: tuple[float, int] | None = (
            None  # of the present wave: how long its slowest call lasts, where it ends
        )
        self.prompts: list[str] = []
        self.said: list[Said] = []  # what may be read later
        self.saying: list[Said] = []  # said in the present wave: nobody in it can read that
        self.last_call: dict[str, Any] = {}
        self.tokens = self.calls = self.tools = 0
        self.work = 0.0

    def add(self, kind: str, agent: str, t: float, text: str | None) -> int:
        place = len(self.events)
        event: dict[str, Any] = {"id": f"e{place}", "t": t, "type": kind, "agent": agent, "wave": self.wave}
        if role := agent.rpartition("_")[0]:
            event["role"] = role
        if agent in self.people:
            event["human"] = True
        if text is not None:
            event["text"] = text
            event["content_ref"] = (
                f"blake2b:{blake2b(text.encode('utf-8', 'surrogatepass'), digest_size=8).hexdigest()}"
            )
        self.events.append(event)
        return place

    def ask(self, call: Ask, reply: Any) -> None:
        text, prompt_tokens, reply_tokens, seconds = reply
        place = self.add(_TYPE_OF.get(call.kind, call.kind), call.agent, self.start, text)
        event = self.events[place]
        event["from"] = call.agent
        event["prompt"] = call.prompt
        if call.choices:
            event["choices"] = list(call.choices)
        if prompt_tokens or reply_tokens:
            event["prompt_tokens"], event["reply_tokens"] = prompt_tokens, reply_tokens
            self.tokens += prompt_tokens + reply_tokens
        self.calls += 1
        self.take(place, place, call.agent, seconds)
        shown, aggregates = _parts(call.prompt), call.kind == "aggregate"
        for source, agent, whole, parts in self.said:
            tool = self.events[source]["type"] == "tool_result"
            if (agent != call.agent or tool) and (not shown.isdisjoint(parts) or (whole and whole in call.prompt)):
                self.edges[source, place] = self.flow(source, aggregates)
        self.prompts.append(call.prompt)
        if not call.choices:
            self.saying.append(self.readable(place, call.agent, text, shown))

    def use(self, call: UseTool, reply: Any) -> None:
        text, _, _, seconds = reply
        place = self.add("tool_call", call.agent, self.start, None)
        self.events[place]["tool"] = call.tool
        self.events[place]["args"] = dict(call.args)
        if call.agent in self.latest:
            self.edges[self.latest[call.agent], place] = "tool_dependency"
        result = self.add("tool_result", call.agent, self.start + self.lasting(seconds), text)
        self.events[result]["tool"] = call.tool
        self.events[result]["trusted"] = False
        self.edges[place, result] = "tool_dependency"
        self.tools += 1
        self.take(place, result, call.agent, seconds)
        self.saying.append(self.readable(result, call.agent, text))

    def take(self, place: int, end: int, agent: str, seconds: float) -> None:
        """A call from event `place` to event `end`: it hangs on the wave before, and lasts."""
        lasting = self.lasting(seconds)
        if seconds:
            self.events[place]["seconds"] = seconds
            self.work += seconds
        if (born := self.spawned.pop(agent, None)) is not None:
            self.edges[born, place] = "causal"
        if self.gate is not None:
            self.edges.setdefault((self.gate, place), "causal")
        if self.slowest is None or lasting > self.slowest[0]:
            self.slowest = (lasting, end)
        self.acting[agent] = end
        self.last_call = self.events[end]

    def belongs(self, agent: str) -> dict[str, Any]:
        """The event that a note about `agent` belongs to: its latest one."""
        return self.events[self.latest[agent]] if agent in self.latest else self.last_call

    def claim(self, note: Claim, score: Score | None) -> None:
        claim: dict[str, Any] = {"kind": note.kind, "text": note.text}
        if note.about:
            claim["about"] = note.about
        if score is not None:
            claim["grade"], claim["read"] = score.value, score.read  # not why: reasons name the right answer
        self.belongs(note.agent).setdefault("claims", []).append(claim)

    def move(self, note: Any) -> None:
        """A spawn or a stop, which takes no time."""
        spawns = type(note) is Spawn
        place = self.add("spawn" if spawns else "despawn", note.by, self.start, None)
        self.events[place]["from"], self.events[place]["to"] = note.by, note.agent
        if note.by in self.latest:
            self.edges[self.latest[note.by], place] = "spawn" if spawns else "causal"
        elif self.gate is not None:
            self.edges[self.gate, place] = "causal"
        if spawns:
            self.spawned[note.agent] = place

    def begin(self, wave: int) -> None:
        """The next wave begins when the slowest call of this one has ended."""
        self.wave = wave
        if self.slowest:
            lasting, self.gate = self.slowest
            self.start += lasting
            self.slowest = None
            self.said += self.saying
            self.saying = []
            self.latest |= self.acting
            self.acting = {}

    def lasting(self, seconds: float) -> float:
        return seconds if self.timed else 1.0

    def readable(self, place: int, agent: str, text: str, known: frozenset[str] = frozenset()) -> Said:
        """What of a text, found in a later prompt, shows that it was read: its lines that its author was not shown, or what
        follows a colon in them. Texts of one or two lines may also be quoted inside a line."""
        whole, question = text.strip(), self.trace.question.text
        if len(whole) < SHORT:
            new = whole and whole not in question and not any(whole in prompt for prompt in self.prompts)
            return Said(place, agent, whole if new else "", frozenset())
        parts = frozenset(part for part in _parts(whole) - known if part not in question)
        return Said(place, agent, whole if whole.count("\n") < 2 and whole not in question else "", parts)

    def flow(self, source: int, aggregates: bool) -> str:
        kind = self.events[source]["type"]
        if kind == "tool_result":
            return "tool_dependency"
        return "aggregate" if aggregates else "return" if kind == "return" else "message"

    def finished(self) -> View:
        self._name_readers()
        events, edges = in_order(self.events, self.edges)
        wall = self.start if self.timed else 0.0
        messages = sum(event["type"] == "message" for event in self.events)
        return {
            "trace_id": self.trace.id,
            "task_id": self.trace.question.id,
            "system": self.trace.env_id,
            "topology": topology_of(self.trace.spec.workflow),
            "events": events,
            "edges": edges,
            "rewards": {},
            "costs": {
                "tokens": self.tokens, "wall_clock_s": wall, "tool_calls": self.tools, "messages": messages,
                "calls": self.calls, "work_s": self.work,
            },
            "metrics": {},
        }  # fmt: skip

    def _name_readers(self) -> None:
        """`to`, where exactly one other agent read a text."""
        readers: dict[int, set[str]] = {}
        for (source, target), kind in self.edges.items():
            if kind in ("message", "return", "aggregate"):
                readers.setdefault(source, set()).add(self.events[target]["agent"])
        for source, names in readers.items():
            if len(names) == 1:
                self.events[source]["to"] = names.pop()


def _channels(trace: Trace, outcome: Outcome | None) -> dict[str, float]:
    if outcome is None:
        return {} if trace.score is None or not isfinite(trace.score) else {"team": trace.score}
    channels = {"team": outcome.team.value}
    for kind in ("answer", "verdict", "evidence"):
        if grades := [score.value for claim, score in outcome.claims if claim.kind == kind]:
            channels[kind] = sum(grades) / len(grades)
    if any(type(event.call) is UseTool for event in trace.events):
        channels["tool"] = sum(tool_use()(outcome).values())
    paid = orchestration()(outcome)
    if bonus := [paid[agent] - outcome.team.value for agent in outcome.agents if agent in leads(outcome)]:
        channels["orchestration"] = bonus[0]  # the same for all who decide or aggregate
    return channels


@lru_cache(maxsize=256)
def topology_of(workflow: str) -> str:
    """The schema's topology of a workflow, which says so itself in `topology`. Modules that a trace names are not loaded."""
    try:
        if ":" in workflow:
            return "unknown"
        return getattr(find_class("llm_marl_envs.workflows", workflow), "topology", "unknown")
    except UnknownName:
        return "unknown"
