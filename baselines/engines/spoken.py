"""Engines as partners, who take a seat in any view, and partners as an engine: who plays a role in training without being trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from baselines.types import Completion, Engine, Request, Sampling
from llm_marl_envs.envs.role import Partner, said
from llm_marl_envs.envs.vector import Asked, BatchPartner
from llm_marl_envs.errors import AgentFailed
from llm_marl_envs.protocol import Ask
from llm_marl_envs.seeds import seed_of
from llm_marl_envs.session import Message

GREEDY = Sampling(temperature=0.0, max_tokens=1024)


@dataclass
class EnginePartner:
    """An engine as a partner: greedy unless `sampling` says otherwise, and then the same text to the same chat. policy: which of the
    engine's policies plays an agent."""

    engine: Engine
    policy: Callable[[str], str] = lambda agent: "partner"
    sampling: Sampling = GREEDY

    def __call__(self, agent: str, messages: tuple[Message, ...], info: dict[str, Any]) -> str:
        text = self.many([(agent, messages, info)])[0]
        if isinstance(text, AgentFailed):
            raise text
        return text

    def many(self, asks: Sequence[Asked]) -> list[str | AgentFailed]:
        """One text for each (agent, messages, info), or why there is none."""
        return [AgentFailed(done.failure) if done.failure else done.text for done in self.completions(asks)]

    def completions(self, asks: Sequence[Asked]) -> list[Completion]:
        """The same with what they cost, and without ids: nothing that a partner says is trained on."""
        done = self.engine.generate([self._request(*ask) for ask in asks])
        return [Completion(c.text, finish=c.finish, counted=c.tokens, failure=c.failure) for c in done]

    def _request(self, agent: str, messages: tuple[Message, ...], info: Mapping[str, Any]) -> Request:
        ask = Ask(agent, messages[-1]["content"], choices=info["choices"], infoset=info["infoset"], kind=info["kind"])
        return Request(
            self.policy(agent),
            messages,
            seed_of("partner", agent, messages),
            ask,
            sampling=self.sampling,
            new=len(messages),
        )


@dataclass
class Spoken:
    """Partners as an engine: policy name -> partner. Its completions have no ids, so nothing that it says can be trained on."""

    partners: Mapping[str, Partner]

    def generate(self, requests: list[Request]) -> list[Completion]:
        """One completion per request, in order; partners that answer many at once are asked once."""
        found: list[Completion | None] = [None] * len(requests)
        places: dict[str, list[int]] = {}
        for place, request in enumerate(requests):
            places.setdefault(request.policy, []).append(place)
        for policy, mine in places.items():
            done = _completions(self.partners[policy], [_asked(requests[place]) for place in mine])
            for place, completion in zip(mine, done, strict=True):
                found[place] = completion
        return found  # type: ignore[return-value]


def _completions(partner: Partner, asks: Sequence[Asked]) -> list[Completion]:
    if isinstance(partner, EnginePartner):
        return partner.completions(asks)
    texts = partner.many(asks) if isinstance(partner, BatchPartner) else [_tried(partner, ask) for ask in asks]
    heard = [said(text, ask[0]) for text, ask in zip(texts, asks, strict=True)]
    return [Completion("", failure=str(text)) if isinstance(text, AgentFailed) else Completion(text) for text in heard]


def _asked(request: Request) -> Asked:
    ask = request.ask
    return ask.agent, request.messages, {"kind": ask.kind, "choices": ask.choices, "infoset": ask.infoset}


def _tried(partner: Partner, ask: Asked) -> str | AgentFailed:
    try:
        return partner(*ask)
    except AgentFailed as bad:
        return bad
