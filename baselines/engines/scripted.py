"""An engine that is a function: for tests, experts, oracles and benchmarks."""

from __future__ import annotations

from collections.abc import Callable

from baselines.types import Completion, Request, Sampling


class Scripted:
    """Says whatever `say(request)` returns. There are no tokens, so nothing can be trained on it."""

    def __init__(self, say: Callable[[Request], str]):
        self.say = say

    def generate(self, requests: list[Request], sampling: Sampling) -> list[Completion]:
        return [Completion(self.say(request)) for request in requests]
