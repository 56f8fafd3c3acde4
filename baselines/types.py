"""What flows from rollout to update: Request -> Completion -> Turn -> Episode -> (Credit) -> Sample.

`reward` and `advantage` never share a field: an Episode has rewards, a Credit maps its turns to advantages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from llm_marl_envs.outcome import Outcome
from llm_marl_envs.protocol import Ask
from llm_marl_envs.session import Message, Session
from llm_marl_envs.task import Problem


class Sampling(NamedTuple):
    """How to decode. temperature 0 is greedy; log-probs are always those of the distribution that was sampled from."""

    temperature: float = 1.0
    max_tokens: int = 256


class Request(NamedTuple):
    """One call to one policy: `ask` is what the workflow wants, with its menu and infoset; `messages` is the chat that an
    agent sees for it. `context` holds the token ids of a conversation that `messages` continues (else empty)."""

    policy: str
    messages: tuple[Message, ...]
    seed: int
    ask: Ask
    context: tuple[int, ...] = ()


class Completion(NamedTuple):
    """What was sampled, exactly: ids, never text that was tokenised again. The stop token, if sampled, is the last id."""

    text: str
    prompt_ids: tuple[int, ...] = ()
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    finish: Literal["stop", "length"] = "stop"


class Engine(Protocol):
    """The only view of inference that the rest has: scripted, transformers, or a server behind it."""

    def generate(self, requests: list[Request], sampling: Sampling) -> list[Completion]: ...


class Turn(NamedTuple):
    """One reply of one agent. `index` is its place among the session's replies: what `Session.fork` takes."""

    index: int  # type: ignore[assignment]
    agent: str
    role: str
    policy: str
    completion: Completion


@dataclass(frozen=True, slots=True)
class Episode:
    """A finished session with its grade. Episodes of one problem that are compared share a `group`."""

    session: Session
    problem: Problem
    group: int
    sample: int
    turns: tuple[Turn, ...]
    outcome: Outcome
    rewards: Mapping[str, float]
    origin: tuple[Episode, int] | None = field(
        default=None, repr=False, compare=False
    )  # for a fork: its parent and the turn


Credit = dict[tuple[int, int], float]  # (episode's place in the batch, turn.index) -> advantage


class Span(NamedTuple):
    """One sampled reply inside a sample: tokens [start, end) with their log-probs and one advantage."""

    start: int
    end: int
    advantage: float
    logprobs: tuple[float, ...]


class Sample(NamedTuple):
    """One conversation as one token sequence; only `spans` are trained on.

    ids      user  tokens | reply tokens | user  tokens | reply tokens
    spans                  [------A1----)               [-----A2-----)
    """

    policy: str
    role: str
    ids: tuple[int, ...]
    spans: tuple[Span, ...]
