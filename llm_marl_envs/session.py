"""One talk in progress. The replies are the state; the running generator is only a cache of it.

    session = Session(Play(EvalOpt(), question, seed=0))
    while session.waiting:
        call = session.waiting[0]
        session.reply(my_model(session.messages(call)))
    session.answer, session.status

A session does no I/O. Drivers (the PettingZoo environment, the batched rollout, the scorer) answer its calls.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from sys import maxsize
from typing import Any, NamedTuple

from llm_marl_envs.errors import SessionOver, WorkflowError
from llm_marl_envs.protocol import CALLS, NOTES, Ask, Call, Note, Spawn, Stop, Talk, Workflow
from llm_marl_envs.reading import spoken
from llm_marl_envs.seeds import LazyRandom
from llm_marl_envs.task import Question

Message = dict[str, str]  # {"role": "system" | "user" | "assistant", "content": ...}


class Status(StrEnum):
    """How an episode ended. Truncated episodes count as wrong; failed ones are counted and never trained on or scored."""

    FINISHED = "finished"
    TRUNCATED = "truncated"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Limits:
    """An episode's budget; None means no limit. When a limit is reached, the episode ends as TRUNCATED.

    calls: replies of agents. turns: waves, tool waves included. tokens: prompt and reply tokens of all calls together.
    seconds: time spent in all calls together, as the driver reports it.
    """

    calls: int | None = 512
    turns: int | None = 512
    tokens: int | None = None
    seconds: float | None = None


class Reply(NamedTuple):
    """The answer to one call, with what it cost. `worked` is how well a tool worked, from 0 to 1 (1 for agents)."""

    text: str
    prompt_tokens: int = 0
    reply_tokens: int = 0
    seconds: float = 0.0
    worked: float = 1.0


class Event(NamedTuple):
    """One line of the record: a call with its reply, or a note (reply None). `wave` counts from 0."""

    call: Call | Note
    reply: Reply | None
    wave: int


_new = tuple.__new__  # a NamedTuple's own constructor takes twice as long, and there are two of these per call


@dataclass(frozen=True, slots=True)
class Play:
    """Everything that decides a talk except the replies."""

    workflow: Workflow
    question: Question
    seed: int = 0
    limits: Limits = field(default=Limits())

    def start(self) -> Talk:
        return self.workflow.talk(self.question, LazyRandom("talk", self.seed))  # type: ignore[arg-type]


class Session:
    """Plays one talk: `waiting` says which calls are unanswered, `reply` answers the first of them."""

    __slots__ = (
        "_chats",
        "_got",
        "_heard",
        "_many",
        "_max_calls",
        "_max_turns",
        "_metered",
        "_next",
        "_spawned",
        "_talk",
        "_wave",
        "agents",
        "answer",
        "calls",
        "events",
        "play",
        "seconds",
        "status",
        "stopped",
        "tokens",
        "turns",
        "why",
    )

    def __init__(self, play: Play, replies: Iterable[Reply | str] = (), *, failure: str = ""):
        self.play = play
        self.events: list[Event] = []
        self.agents: list[str] = list(play.workflow.roster.present)
        self.answer: str | None = None
        self.status: Status | None = None
        self.why = ""
        self.calls, self.turns, self.tokens, self.seconds = 0, 0, 0, 0.0
        self.stopped: list[str] = []
        self._spawned: tuple[str, ...] = ()
        self._chats: dict[str, list[tuple[Ask, str]]] = {}  # each agent's conversation
        self._heard = 0  # events that are in them
        limits = play.limits
        self._metered = limits.tokens is not None or limits.seconds is not None
        self._max_calls = maxsize if limits.calls is None else limits.calls
        self._max_turns = maxsize if limits.turns is None else limits.turns
        self._talk = play.start()
        self._wave: tuple[Call, ...] = ()
        self._next = 0
        self._got: list[str] = []
        self._many = False
        self._advance(None)
        for reply in replies:
            if isinstance(reply, str):
                self.reply(reply)
            else:
                self.reply(*reply)
        if failure:
            self.fail(failure)

    @property
    def waiting(self) -> tuple[Call, ...]:
        """The calls of the current wave that are not yet answered, in order; empty when the talk is over."""
        return self._wave[self._next :] if self._next else self._wave

    @property
    def call(self) -> Call | None:
        """The first waiting call, or None when the talk is over."""
        return self._wave[self._next] if self.status is None else None

    @property
    def over(self) -> bool:
        return self.status is not None

    @property
    def replies(self) -> tuple[Reply, ...]:
        """All answers so far, in order: with `play`, the whole state."""
        return tuple(event.reply for event in self.events if event.reply is not None)

    def messages(self, call: Ask) -> tuple[Message, ...]:
        """The chat that the agent sees for a call: its own conversation if `fresh=False`, then the prompt."""
        if call.fresh and not call.system:
            return ({"role": "user", "content": call.prompt},)
        chat = [] if call.fresh else self._conversation(call.agent)
        system = (chat[0][0] if chat else call).system
        messages: list[Message] = [{"role": "system", "content": system}] if system else []
        for asked, said in chat:
            messages += ({"role": "user", "content": asked.prompt}, {"role": "assistant", "content": said})
        messages.append({"role": "user", "content": call.prompt})
        return tuple(messages)

    def _conversation(self, agent: str) -> list[tuple[Ask, str]]:
        """What the agent was asked and said since its last ask with `fresh=True`. Each event is looked at once in an episode."""
        for call, reply, _ in self.events[self._heard :]:
            if type(call) is Ask:
                assert reply is not None
                if call.fresh or call.agent not in self._chats:
                    self._chats[call.agent] = []
                self._chats[call.agent].append((call, reply.text))
        self._heard = len(self.events)
        return self._chats.get(agent, [])

    def reply(
        self, text: str, prompt_tokens: int = 0, reply_tokens: int = 0, seconds: float = 0.0, worked: float = 1.0
    ) -> None:
        """Answer the first waiting call. An agent's reply is recorded whole, and the talk is sent what it says outside its
        thinking (`reading.spoken`). Raises SessionOver if nothing is waiting."""
        if self.status is not None:
            raise SessionOver(
                f"the talk is {self.status} after {len(self.replies)} replies and is not waiting for a reply; "
                f"start a new one, or fork() an earlier turn"
            )
        call = self._wave[self._next]
        said = _new(Reply, (text, prompt_tokens, reply_tokens, seconds, worked))
        self.events.append(_new(Event, (call, said, self.turns)))
        self._next += 1
        if type(call) is Ask:
            self.calls += 1
            text = spoken(text)  # what a model thinks is recorded and is its own; the talk hears what it says
        if self._metered:
            self.tokens += prompt_tokens + reply_tokens
            self.seconds += seconds
        if not self._many:
            self.turns += 1
            self._advance(text)
        else:
            self._got.append(text)
            if self._next == len(self._wave):
                self.turns += 1
                self._advance(tuple(self._got))
        if self.calls >= self._max_calls or self.turns >= self._max_turns or self._metered:
            self._check_limits()

    def fail(self, why: str) -> None:
        """End the episode as FAILED (a tool or grader could not run): it is counted, never trained on."""
        self._end(Status.FAILED, None, why)

    def fork(self, turn: int | None = None) -> Session:
        """A new session that has replayed the first `turn` replies of this one (all of them by default)."""
        if turn is None:
            return Session(self.play, self.replies, failure=self.why if self.status is Status.FAILED else "")
        if not 0 <= turn <= len(self.replies):
            raise ValueError(f"fork(turn) takes 0 to {len(self.replies)} (the replies so far); got {turn}")
        return Session(self.play, self.replies[:turn])

    def __reduce__(self):
        return _revive, (self.play, self.replies, self.why if self.status is Status.FAILED else "")

    def __repr__(self) -> str:
        return f"<Session {self.play.question.id} after {len(self.replies)} replies: {self.status or 'waiting'}>"

    def _advance(self, value: str | tuple[str, ...] | None) -> None:
        """Send `value` into the talk and run it to its next wave or its end, recording its notes."""
        send = self._talk.send
        event: Any  # its type is checked below: a workflow may yield anything
        try:
            event = send(value)
            while (kind := type(event)) in NOTES:
                if kind is Spawn or kind is Stop:
                    self._move(event)
                elif event.agent not in self.agents:
                    raise WorkflowError(self._absent(event.agent))
                self.events.append(_new(Event, (event, None, self.turns)))
                event = send(None)
        except StopIteration as stop:
            if stop.value is not None and not isinstance(stop.value, str):
                raise WorkflowError(
                    f"{self.play.workflow} returned {type(stop.value).__name__}; a talk returns the answer as str, or None"
                ) from None
            self._end(Status.FINISHED, stop.value, "")
            return
        self._many = kind is tuple
        self._wave = event if self._many else (event,)
        self._next = 0
        if self._many:
            self._got = []
            self._check_wave(self._wave)
        elif kind not in CALLS:
            self._check_wave(self._wave)
        elif event.agent not in self.agents:
            raise WorkflowError(self._absent(event.agent))

    def _check_wave(self, wave: tuple[Call, ...]) -> None:
        if not wave:
            raise WorkflowError(f"{self.play.workflow} yielded an empty wave; yield at least one call, or nothing")
        here = self.agents if len(wave) < 8 else set(self.agents)
        for call in wave:
            if type(call) not in CALLS:
                raise WorkflowError(
                    f"{self.play.workflow} yielded {call!r}; expected Ask, UseTool, a note or a tuple of calls"
                )
            if call.agent not in here:
                raise WorkflowError(self._absent(call.agent))
        asked = [call.agent for call in wave if type(call) is Ask]
        if len(asked) != len(set(asked)):
            raise WorkflowError(f"{self.play.workflow} asks one agent twice in a wave ({asked}); ask it in two waves")

    def _move(self, note: Spawn | Stop) -> None:
        if type(note) is Spawn:
            roster = self.play.workflow.roster
            if note.agent not in roster.spawned:
                raise WorkflowError(f"cannot spawn {note.agent!r}: the roster's spawned agents are {roster.spawned}")
            if note.agent in self._spawned:
                raise WorkflowError(
                    f"cannot spawn {note.agent!r} again: names are never reused in an episode; take the next one"
                )
            self._spawned += (note.agent,)
            self.agents.append(note.agent)
        elif note.agent not in self.agents:
            raise WorkflowError(self._absent(note.agent))
        else:
            self.agents.remove(note.agent)
            self.stopped.append(note.agent)

    def _absent(self, agent: str) -> str:
        if agent in self.play.workflow.roster.present or agent in self._spawned:
            return f"{agent!r} was stopped and cannot act again"
        if agent in self.play.workflow.roster:
            return f"{agent!r} acts before it was spawned; yield Spawn({agent!r}, by=...) first"
        return f"{agent!r} is not in the roster ({', '.join(self.play.workflow.roster.names)})"

    def _check_limits(self) -> None:
        limits = self.play.limits
        if self.status is not None:
            return
        if limits.calls is not None and self.calls >= limits.calls and any(type(c) is Ask for c in self.waiting):
            self._end(Status.TRUNCATED, None, f"used all {limits.calls} calls")
        elif limits.turns is not None and self.turns >= limits.turns:
            self._end(Status.TRUNCATED, None, f"used all {limits.turns} turns")
        elif limits.tokens is not None and self.tokens >= limits.tokens:
            self._end(Status.TRUNCATED, None, f"used all {limits.tokens} tokens")
        elif limits.seconds is not None and self.seconds >= limits.seconds:
            self._end(Status.TRUNCATED, None, f"used all {limits.seconds} seconds")

    def _end(self, status: Status, answer: str | None, why: str) -> None:
        self._talk.close()
        self._wave, self._next, self._got = (), 0, []
        self.status, self.answer, self.why = status, answer, why


def _revive(play: Play, replies: tuple[Reply, ...], failure: str) -> Session:
    return Session(play, replies, failure=failure)
