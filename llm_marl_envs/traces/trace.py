"""The record of an episode: one JSON line from which it can be replayed, graded again and audited.

A line holds the environment, the question (no gold), the seed, every event in order, the answer, and the claimed score. Each
event carries a digest of itself and the digest before it, so no event can be edited, moved or dropped on its own. Digests
and replay show that a trace is *self-consistent*, not that a model really said these texts: re-grade it, and to prove that
it is authentic, re-generate a sample of its turns under the policy it names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from llm_marl_envs.errors import LLMMarlError, OlderRules, ReplayMismatch, TraceError
from llm_marl_envs.outcome import Outcome
from llm_marl_envs.session import Event, Limits, Play, Session, Status
from llm_marl_envs.spec import VERSION as ENV_VERSION
from llm_marl_envs.spec import EnvSpec
from llm_marl_envs.task import Question
from llm_marl_envs.traces.json import (
    LIMITS,
    QUESTION,
    TRACE,
    VERSION,
    canonical,
    check_fields,
    differ,
    event_from_json,
    event_to_json,
)
from llm_marl_envs.traces.upgrade import upgraded


@dataclass(frozen=True, slots=True)
class Trace:
    """One episode as data. `meta` is free: entry, policy, step, sample, parent (trace id, turn) of a fork, ..."""

    spec: EnvSpec
    split: str
    question: Question
    seed: int
    limits: Limits
    events: tuple[Event, ...]
    status: Status | None  # None: not over yet
    why: str
    answer: str | None
    score: float | None
    meta: Mapping[str, Any] = field(default_factory=dict)
    digests: tuple[str, ...] = ()  # one per event and one for the ending, as read from a file; empty if made here
    version: int = VERSION  # of the line that it was read from; its digests cover what that version recorded

    @classmethod
    def of(
        cls,
        session: Session,
        spec: EnvSpec,
        outcome: Outcome | None,
        *,
        split: str = "",
        meta: Mapping[str, Any] | None = None,
        parent: tuple[str, int] | None = None,
    ) -> Trace:
        """The record of a session. parent: for a fork, the id of its parent's trace and the number of replies they share."""
        play = session.play
        return cls(
            spec,
            split,
            play.question,
            play.seed,
            play.limits,
            tuple(session.events),
            outcome.status if outcome else session.status,
            session.why or (outcome.team.why if outcome and outcome.status is Status.FAILED else ""),
            session.answer,
            outcome.team.value if outcome else None,
            (meta or {}) if parent is None else {**(meta or {}), "parent": list(parent)},
        )

    @property
    def id(self) -> str:
        """Identifies this episode: 16 hexadecimal digits of its last digest."""
        return str((self.digests or self.chain())[-1])[:16]

    @property
    def env_id(self) -> str:
        return self.spec.env_id

    @property
    def parent(self) -> tuple[str, int] | None:
        """For a fork: the id of its parent's trace and the number of replies they share."""
        match self.meta.get("parent"):
            case [str(id), int(turn)]:
                return id, turn
        return None

    def check_fork(self, parent: Trace) -> None:
        """Raises ReplayMismatch unless this trace begins like `parent`, up to the reply at which it says it forked."""
        if self.parent is None or self.parent[0] != parent.id:
            raise ReplayMismatch(f"trace {self.id} says its parent is {self.parent}, not {parent.id}", 0)
        mine, its = ([e.reply for e in t.events if e.reply is not None] for t in (self, parent))
        turn = self.parent[1]
        same = self._beginning() == parent._beginning() and 0 <= turn <= len(its) and mine[:turn] == its[:turn]
        if not same:
            raise ReplayMismatch(
                f"trace {self.id} does not begin with the first {turn} replies of trace {parent.id}", 0
            )

    def beginnings(self) -> tuple[bytes, ...]:
        """For each number of replies, from 0, eight bytes that tell what came before from anything else: a fork has those of its
        parent up to where it left. They rest on the digests, so check these first."""
        ends = (digest for event, digest in zip(self.events, self.digests or self.chain(), strict=False) if event.reply)
        return tuple(bytes.fromhex(digest[:16]) for digest in (self._first_digest(), *ends))

    def session(self) -> Session:
        """Replay the episode. Raises ReplayMismatch at the first event that was changed or does not follow from those before,
        and OlderRules for a record that was written before what replies mean was changed."""
        self.check_digests()
        if self.spec.version != ENV_VERSION:
            raise OlderRules(self.spec.version, ENV_VERSION)
        session = Session(Play(self.spec.make_workflow(), self.question, self.seed, self.limits))
        wave = session.turns
        same = self._compare(
            session, 0
        )  # events that have been compared: all, wave by wave, so that replay is no longer than the trace
        try:
            for event in self.events:
                if event.reply is not None:
                    session.reply(*event.reply)
                    if session.turns != wave:
                        same, wave = self._compare(session, same), session.turns
        except ReplayMismatch:
            raise
        except LLMMarlError as bad:
            self._compare(session, same)
            raise ReplayMismatch(f"replay stopped: {bad}", len(session.events)) from bad
        if self.status is Status.FAILED and session.status is None:
            session.fail(self.why)
        self._compare(session, same)
        if len(session.events) != len(self.events):
            raise ReplayMismatch(
                f"the trace has {len(self.events)} events; its workflow produces {len(session.events)}",
                len(session.events),
            )
        if self.status is not Status.FAILED and (session.status, session.answer) != (self.status, self.answer):
            raise ReplayMismatch(
                f"the trace ends {self.status} with answer {_short(self.answer)}; "
                f"its own replies lead to {session.status} with {_short(session.answer)}",
                len(self.events),
            )
        return session

    def _compare(self, session: Session, start: int) -> int:
        """Every event that the session has replayed from `start` on must be equal to the trace's, and so must the call it waits
        for. Returns how many are equal."""
        for i in range(start, len(session.events)):
            event = session.events[i]
            there = self.events[i] if i < len(self.events) else None
            if there is None or differ(event, there):
                raise ReplayMismatch(f"event {i} is {_short(there)}; the workflow says {_short(event)}", i)
        i, asks = len(session.events), session.call
        if asks and i < len(self.events) and differ(Event(self.events[i].call, None, 0), Event(asks, None, 0)):
            raise ReplayMismatch(f"event {i} is {_short(self.events[i].call)}; the workflow asks {_short(asks)}", i)
        return len(session.events)

    def chain(self) -> tuple[str, ...]:
        """The digests of all events and of the ending, each over its content and the digest before."""
        digests = []
        last = self._first_digest()
        for event in self.events:
            last = blake2b(last.encode() + canonical(event_to_json(event, self.version)), digest_size=16).hexdigest()
            digests.append(last)
        ending = blake2b(last.encode() + canonical(self._ending()), digest_size=16).hexdigest()
        return (*digests, ending)

    def _first_digest(self) -> str:
        return blake2b(canonical(self._header()), digest_size=16).hexdigest()

    def check_digests(self) -> None:
        """Raises ReplayMismatch at the first event whose digest is wrong. A trace made in this process has none to check."""
        if not self.digests:
            return
        if len(self.digests) != len(self.events) + 1:
            raise ReplayMismatch(
                f"{len(self.digests)} digests for {len(self.events)} events; expected one each and one for the ending",
                0,
            )
        for i, (got, want) in enumerate(zip(self.digests, self.chain(), strict=True)):
            if got != want:
                what = f"event {i}" if i < len(self.events) else "the ending (answer, status, score or meta)"
                raise ReplayMismatch(f"the digest of {what} is wrong: it or something before it was changed", i)

    def _header(self) -> dict[str, Any]:
        return {"version": self.version} | self._beginning()

    def _beginning(self) -> dict[str, Any]:
        return {
            "env": self.env_id,
            "task_knobs": dict(self.spec.task_knobs),
            "workflow_knobs": dict(self.spec.workflow_knobs),
            "split": self.split,
            "question": _fields(self.question),
            "seed": self.seed,
            "limits": _fields(self.limits),
        }

    def _ending(self) -> dict[str, Any]:
        return {
            "status": self.status and str(self.status),
            "why": self.why,
            "answer": self.answer,
            "score": self.score,
            "meta": dict(self.meta),
        }

    def to_json(self) -> str:
        """The trace as one line, digests included."""
        digests = self.digests or self.chain()
        events = [event_to_json(e, self.version) | {"digest": d} for e, d in zip(self.events, digests, strict=False)]
        whole = self._header() | {"events": events} | self._ending() | {"digest": digests[-1]}
        return json.dumps(whole, ensure_ascii=True)

    @classmethod
    def from_json(cls, line: str) -> Trace:
        """Raises TraceError if the line is not a trace of this version or an older one."""
        try:
            data = json.loads(line)
            if type(data["version"]) is not int or not 1 <= data["version"] <= VERSION:
                raise TraceError(f"trace version {data['version']}; this release reads versions 1 to {VERSION}")
            check_fields(data, TRACE, "a trace")
            pair, _, version = data["env"].rpartition("-")
            if not re.fullmatch("v[0-9]{1,4}", version) or int(version[1:]) > int(ENV_VERSION[1:]):
                raise TraceError(
                    f"a trace of {data['env']!r}; this release plays environments of version {ENV_VERSION}"
                )
            task, _, workflow = pair.partition("/")
            check_fields(data["question"], QUESTION, "the question")
            check_fields(data["limits"], LIMITS, "limits")
            data = upgraded(data)
            question = data["question"] | {"materials": tuple(data["question"]["materials"])}
            digests = (*(e.pop("digest") for e in data["events"]), data["digest"])
            return cls(
                EnvSpec(task, workflow, data["task_knobs"], data["workflow_knobs"], version),
                data["split"],
                Question(**question),
                data["seed"],
                Limits(**data["limits"]),
                tuple(event_from_json(e, i) for i, e in enumerate(data["events"])),
                Status(data["status"]) if data["status"] is not None else None,
                data["why"],
                data["answer"],
                data["score"],
                data["meta"],
                digests,
                data["version"],
            )
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as bad:
            raise TraceError(f"not a trace ({type(bad).__name__}: {bad}); expected one JSON object per line") from None


def _fields(thing: Question | Limits) -> dict[str, Any]:
    """As `dataclasses.asdict`, which takes ten times as long: it copies whatever is inside."""
    return {name: getattr(thing, name) for name in thing.__dataclass_fields__}


def _short(thing: object) -> str:
    text = repr(thing)
    return text if len(text) <= 200 else f"{text[:120]} ... {text[-60:]}"
