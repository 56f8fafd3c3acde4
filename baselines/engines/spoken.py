"""Partners as an engine: who plays a role in training without being trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from baselines.types import Completion, Request
from llm_marl_envs.envs.role import Partner, said
from llm_marl_envs.envs.vector import Asked, BatchPartner
from llm_marl_envs.errors import AgentFailed


@dataclass
class Spoken:
    """Partners as an engine: policy name -> partner. Its completions have no ids, so nothing that it says can be trained on."""

    partners: Mapping[str, Partner]

    def generate(self, requests: list[Request]) -> list[Completion]:
        """One completion per request, in order; partners that answer many at once are asked once."""
        found: list[str | AgentFailed] = [""] * len(requests)
        places: dict[str, list[int]] = {}
        for place, request in enumerate(requests):
            places.setdefault(request.policy, []).append(place)
        for policy, mine in places.items():
            partner = self.partners[policy]
            asks = [_asked(requests[place]) for place in mine]
            texts = partner.many(asks) if isinstance(partner, BatchPartner) else [_tried(partner, ask) for ask in asks]
            for place, text, ask in zip(mine, texts, asks, strict=True):
                found[place] = said(text, ask[0])
        return [Completion("", failure=str(t)) if isinstance(t, AgentFailed) else Completion(t) for t in found]


def _asked(request: Request) -> Asked:
    ask = request.ask
    return ask.agent, request.messages, {"kind": ask.kind, "choices": ask.choices, "infoset": ask.infoset}


def _tried(partner: Partner, ask: Asked) -> str | AgentFailed:
    try:
        return partner(*ask)
    except AgentFailed as bad:
        return bad
