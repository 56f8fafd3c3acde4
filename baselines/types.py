"""What flows from rollout to update: Request -> Completion -> Turn -> Episode -> (Credit) -> Sample.

`reward` and `advantage` never share a field: an Episode has rewards, a Credit maps its turns to advantages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from llm_marl_envs.outcome import Outcome
from llm_marl_envs.protocol import Ask
from llm_marl_envs.session import Message, Session
from llm_marl_envs.task import Problem


class Sampling(NamedTuple):
    """How to decode. temperature 0 is greedy; log-probs are always those of the distribution that was sampled from.

    top_k: only the k likeliest tokens (0: all). top_p: of these the fewest that have this much of the probability.
    stop: words before which a reply ends: they are among its tokens, if there are any, but not in its text.
    """

    temperature: float = 1.0
    max_tokens: int = 256
    top_p: float = 1.0
    top_k: int = 0
    stop: tuple[str, ...] = ()

    @property
    def greedy(self) -> bool:
        return self.temperature == 0

    @property
    def truncates(self) -> bool:
        """Whether some tokens cannot be sampled at all."""
        return not self.greedy and (self.top_k > 0 or self.top_p < 1)

    def end(self, text: str, start: int = 0) -> int | None:
        """Where the first stop word in `text` begins, at `start` or later; None without one."""
        found = [at for word in self.stop if (at := text.find(word, start)) >= 0]
        return min(found) if found else None


class Request(NamedTuple):
    """One call to one policy: `ask` is what the workflow wants, with its menu and infoset; `messages` is the chat that an
    agent sees for it. `context` holds the token ids of the conversation up to its last `new` messages (without it: none)."""

    policy: str
    messages: tuple[Message, ...]
    seed: int
    ask: Ask
    context: tuple[int, ...] = ()
    sampling: Sampling = Sampling()
    new: int = 1


class Completion(NamedTuple):
    """What was sampled, exactly: ids, never text that was tokenised again. The stop token, if sampled, is the last id.

    An engine that knows no ids says in `counted` how many prompt and reply tokens it took. `failure`: why there is no reply at all;
    the episode is then FAILED.
    """

    text: str
    prompt_ids: tuple[int, ...] = ()
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    finish: Literal["stop", "length"] = "stop"
    counted: tuple[int, int] | None = None
    failure: str = ""

    @property
    def tokens(self) -> tuple[int, int]:
        """Of the prompt and of the reply."""
        return self.counted or (len(self.prompt_ids), len(self.token_ids))


class Engine(Protocol):
    """The only view of inference that the rest has: scripted, transformers, a player, or a server behind it."""

    def generate(self, requests: list[Request]) -> list[Completion]: ...


class Player(Engine, Protocol):
    """What speaks for a policy in this process and is no language model: regret tables, a mixing network.

    It sees each request's ask, with its menu and infoset, and answers as it plays in training, or as it is evaluated where
    the request's sampling is greedy.
    """

    def learn(self, episodes: Sequence[Episode], step: int) -> Mapping[str, float]:
        """Learn from a step's episodes, with their sessions and origins; returns figures for the metrics."""
        ...

    def state(self) -> Mapping[str, Any]:
        """All that it has learned, as plain JSON (dicts with texts as keys, lists, numbers): its part of a checkpoint."""
        ...

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        ...


class Turn(NamedTuple):
    """One reply of one agent. `index` is its place among the session's replies: what `Session.fork` takes."""

    index: int  # type: ignore[assignment]
    agent: str
    role: str
    policy: str
    completion: Completion
    sampling: Sampling = Sampling()


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

    @property
    def own_turns(self) -> tuple[Turn, ...]:
        """Its turns without those that a fork has from its parent, which are the parent's to train on."""
        return tuple(turn for turn in self.turns if self.origin is None or turn.index >= self.origin[1])


class Signal(NamedTuple):
    """What a reply is trained with: one advantage, or one for each of its tokens; for a critic also the values that it gave
    before each token when the reply was sampled, and the returns that it should have given."""

    advantage: float | tuple[float, ...]
    values: tuple[float, ...] = ()
    returns: tuple[float, ...] = ()


Place = tuple[int, int]  # (an episode's place in the batch, turn.index)
Credit = Mapping[Place, float | Signal]  # a turn that is not in it is not trained on, but stays in its conversation
Values = Mapping[Place, tuple[float, ...]]  # what a critic says before each token of a reply


class Span(NamedTuple):
    """One reply inside a sample: tokens [start, end) with what they are trained with.

    `logprobs` are the engine's; () says that the reply was not sampled (a lesson): its ratio is 1, so an advantage of w is w
    times the log-likelihood's gradient. `sampling` is what the reply was sampled with: of its distribution are the log-probs.
    `old` are the learner's own before the batch's first update; () are its present ones, so that the ratio is 1.
    """

    start: int
    end: int
    advantage: float | tuple[float, ...]
    logprobs: tuple[float, ...]
    values: tuple[float, ...] = ()
    returns: tuple[float, ...] = ()
    sampling: Sampling = Sampling()
    old: tuple[float, ...] = ()

    @property
    def teaches(self) -> bool:
        """Whether there is anything to learn from it."""
        some = any(self.advantage) if isinstance(self.advantage, tuple) else bool(self.advantage)
        return self.end > self.start and (some or bool(self.returns))


class Sample(NamedTuple):
    """One conversation as one token sequence; only `spans` are trained on.

    ids      user  tokens | reply tokens | user  tokens | reply tokens
    spans                  [------A1----)               [-----A2-----)
    """

    policy: str
    role: str
    ids: tuple[int, ...]
    spans: tuple[Span, ...]
