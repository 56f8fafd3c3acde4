"""Engines by policy name: each request goes to the engine that serves its policy."""

from __future__ import annotations

from collections.abc import Mapping

from baselines.types import Completion, Engine, Request
from llm_marl_envs.errors import UnknownName


class EngineRouter:
    """An engine made of engines: `EngineRouter({"solver": one, "judge": other})`. Policies may share one engine."""

    def __init__(self, engines: Mapping[str, Engine]):
        self.engines = dict(engines)

    def generate(self, requests: list[Request]) -> list[Completion]:
        """One completion per request, in order. Each engine is asked once, for all requests of the policies that it serves.

        Raises UnknownName for a policy that no engine serves, before any engine is asked, and ValueError if an engine
        does not return one completion per request.
        """
        places: dict[int, list[int]] = {}  # engine -> its requests
        for place, request in enumerate(requests):
            if request.policy not in self.engines:
                raise UnknownName("engine for the policy", request.policy, self.engines)
            places.setdefault(id(self.engines[request.policy]), []).append(place)
        done: list[Completion | None] = [None] * len(requests)
        for mine in places.values():
            batch = [requests[place] for place in mine]
            completions = self.engines[batch[0].policy].generate(batch)
            if len(completions) != len(batch):
                raise ValueError(self._named(batch[0].policy, len(completions), len(batch)))
            for place, completion in zip(mine, completions, strict=True):
                done[place] = completion
        return done  # type: ignore[return-value]  # every place belongs to one engine

    def _named(self, policy: str, got: int, expected: int) -> str:
        engine = self.engines[policy]
        serves = ", ".join(sorted(name for name, other in self.engines.items() if other is engine))
        return (
            f"the engine {type(engine).__name__} (policies: {serves}) returned {got} completions for {expected} "
            "requests; an engine returns exactly one per request, in their order"
        )
