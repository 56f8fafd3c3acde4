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
from random import Random
from typing import NamedTuple

from llm_marl_envs.errors import SessionOver, WorkflowError
from llm_marl_envs.protocol import CALLS, NOTES, Ask, Call, Note, Spawn, Stop, Talk, UseTool, Workflow
from llm_marl_envs.seeds import seed_of
from llm_marl_envs.tasks.base import Question

Message = dict[str, str]  # {"role": "system" | "user" | "assistant", "content": ...}


class Status(StrEnum):
    """How an episode ended. Truncated episodes count as wrong; failed ones are counted and never trained on or scored."""

    FINISHED = "finished"
    TRUNCATED = "truncated"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Limits:
    """An episode's budget; None means no limit. Running out of any ends the episode as TRUNCATED.

    calls: replies of agents. turns: waves, tool waves included. tokens: prompt and reply tokens of all calls together.
    seconds: time spent in all calls together, as the driver reports it.
    """

    calls: int | None = 512
    turns: int | None = 512
    tokens: int | None = None
    seconds: float | None = None


class Reply(NamedTuple):
    """The answer to one call, with what it cost."""

    text: str
    prompt_tokens: int = 0
    reply_tokens: int = 0
    seconds: float = 0.0


class Event(NamedTuple):
    """One line of the record: a call with its reply, or a note (reply None). `wave` counts from 0."""

    call: Call | Note
    reply: Reply | None
    wave: int


@dataclass(frozen=True, slots=True)
class Play:
    """Everything that decides a talk except the replies."""

    workflow: Workflow
    question: Question
    seed: int = 0
    limits: Limits = field(default=Limits())

    def start(self) -> Talk:
        return self.workflow.talk(self.question, Random(seed_of("talk", self.seed)))


class Session:
    """Plays one talk: `waiting` says which calls are unanswered, `reply` answers the first of them."""

    __slots__ = (
        "play",
        "events",
        "agents",
        "answer",
        "status",
        "why",
        "calls",
        "turns",
        "tokens",
        "seconds",
        "_talk",
        "_wave",
        "_next",
        "_got",
        "_many",
        "_used",
        "_chats",
        "_bounded",
    )

    def __init__(self, play: Play, replies: Iterable[Reply | str] = (), *, failure: str = ""):
        self.play = play
        self.events: list[Event] = []
        self.agents: list[str] = list(play.workflow.roster.present)
        self.answer: str | None = None
        self.status: Status | None = None
        self.why = ""
        self.calls, self.turns, self.tokens, self.seconds = 0, 0, 0, 0.0
        self._used = set(self.agents)  # names that exist or have existed
        self._chats: dict[str, list[tuple[Ask, str]]] = {}
        self._bounded = play.limits.tokens is not None or play.limits.seconds is not None
        self._talk = play.start()
        self._wave: tuple[Call, ...] = ()
        self._next = 0
        self._got: list[str] = []
        self._many = False
        self._advance(None)
        for reply in replies:
            self.reply(*((reply,) if isinstance(reply, str) else reply))
        if failure:
            self.fail(failure)

    @property
    def waiting(self) -> tuple[Call, ...]:
        """The calls of the current wave that are not yet answered, in order; empty when the talk is over."""
        return self._wave[self._next :] if self._next else self._wave

    @property
    def over(self) -> bool:
        return self.status is not None

    @property
    def replies(self) -> tuple[Reply, ...]:
        """All answers so far, in order: with `play`, the whole state."""
        return tuple(event.reply for event in self.events if event.reply is not None)

    def messages(self, call: Ask) -> tuple[Message, ...]:
        """The chat that the agent sees for a call: its own conversation if `fresh=False`, then the prompt."""
        chat = [] if call.fresh else self._chats.get(call.agent, [])
        system = (chat[0][0] if chat else call).system
        messages: list[Message] = [{"role": "system", "content": system}] if system else []
        for asked, said in chat:
            messages += ({"role": "user", "content": asked.prompt}, {"role": "assistant", "content": said})
        messages.append({"role": "user", "content": call.prompt})
        return tuple(messages)

    def reply(self, text: str, prompt_tokens: int = 0, reply_tokens: int = 0, seconds: float = 0.0) -> None:
        """Answer the first waiting call. Raises SessionOver if nothing is waiting."""
        if self.status is not None:
            raise SessionOver(
                f"the talk is {self.status} after {len(self.replies)} replies and waits for nothing; "
                f"start a new one, or fork() an earlier turn"
            )
        call = self._wave[self._next]
        self.events.append(Event(call, Reply(text, prompt_tokens, reply_tokens, seconds), self.turns))
        self._next += 1
        if type(call) is Ask:
            self.calls += 1
            if call.fresh:
                self._chats[call.agent] = [(call, text)]
            else:
                self._chats.setdefault(call.agent, []).append((call, text))
        if self._bounded:
            self.tokens += prompt_tokens + reply_tokens
            self.seconds += seconds
        if self._next < len(self._wave):
            self._got.append(text)
        else:
            self._got.append(text)
            self.turns += 1
            self._advance(tuple(self._got) if self._many else text)
        if self.status is None:
            self._check_limits()

    def fail(self, why: str) -> None:
        """End the episode as FAILED (a tool or grader could not run): it is counted, never trained on."""
        self._end(Status.FAILED, None, why)

    def fork(self, turn: int | None = None) -> Session:
        """A new session that has lived through the first `turn` replies of this one (all of them by default)."""
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
        try:
            event = send(value)
            while isinstance(event, NOTES):
                self._note(event)
                event = send(None)
        except StopIteration as stop:
            if stop.value is not None and not isinstance(stop.value, str):
                raise WorkflowError(
                    f"{self.play.workflow} returned {type(stop.value).__name__}; a talk returns the answer as str, or None"
                ) from None
            self._end(Status.FINISHED, stop.value, "")
            return
        if type(event) is tuple:
            self._wave, self._many = event, True
            if len(event) != 1:
                self._check_wave(event)
        else:
            self._wave, self._many = (event,), False
        self._next, self._got = 0, []
        for call in self._wave:
            if type(call) is not Ask and type(call) is not UseTool:
                raise WorkflowError(f"{self.play.workflow} yielded {call!r}; expected Ask, UseTool, a note or a tuple of calls")
            if call.agent not in self.agents:
                raise WorkflowError(self._absent(call.agent))

    def _check_wave(self, wave: tuple[Call, ...]) -> None:
        if not wave:
            raise WorkflowError(f"{self.play.workflow} yielded an empty wave; leave it out")
        asked = [call.agent for call in wave if type(call) is Ask]
        if len(asked) != len(set(asked)):
            raise WorkflowError(f"{self.play.workflow} asks one agent twice in a wave ({asked}); ask it in two waves")

    def _note(self, note: Note) -> None:
        if type(note) is Spawn:
            roster = self.play.workflow.roster
            if note.agent not in roster.spawned:
                raise WorkflowError(f"cannot spawn {note.agent!r}: the roster's spawned agents are {roster.spawned}")
            if note.agent in self._used:
                raise WorkflowError(f"cannot spawn {note.agent!r} again: names are never reused in an episode; take the next one")
            self._used.add(note.agent)
            self.agents.append(note.agent)
        elif note.agent not in self.agents:
            raise WorkflowError(self._absent(note.agent))
        elif type(note) is Stop:
            self.agents.remove(note.agent)
        self.events.append(Event(note, None, self.turns))

    def _absent(self, agent: str) -> str:
        if agent in self._used:
            return f"{agent!r} was stopped and cannot act again"
        if agent in self.play.workflow.roster:
            return f"{agent!r} acts before it was spawned; yield Spawn({agent!r}, by=...) first"
        return f"{agent!r} is not in the roster ({', '.join(self.play.workflow.roster.names)})"

    def _check_limits(self) -> None:
        limits = self.play.limits
        if limits.calls is not None and self.calls >= limits.calls and any(type(c) is Ask for c in self.waiting):
            self._end(Status.TRUNCATED, None, f"used all {limits.calls} calls")
        elif limits.turns is not None and self.turns >= limits.turns:
            self._end(Status.TRUNCATED, None, f"used all {limits.turns} turns")
        elif self._bounded:
            if limits.tokens is not None and self.tokens >= limits.tokens:
                self._end(Status.TRUNCATED, None, f"used all {limits.tokens} tokens")
            elif limits.seconds is not None and self.seconds >= limits.seconds:
                self._end(Status.TRUNCATED, None, f"used all {limits.seconds} seconds")

    def _end(self, status: Status, answer: str | None, why: str) -> None:
        self._talk.close()
        self._wave, self._next, self._got = (), 0, []
        self.status, self.answer, self.why = status, answer, why


def _revive(play: Play, replies: tuple[Reply, ...], failure: str) -> Session:
    return Session(play, replies, failure=failure)
