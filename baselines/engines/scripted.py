"""An engine that is a function: for tests, experts, oracles and benchmarks."""

from __future__ import annotations

from collections.abc import Callable

from baselines.types import Completion, Request


class Scripted:
    """Says whatever `say(request)` returns, up to a stop word. There are no tokens, so nothing can be trained on it and
    nothing else of `request.sampling` applies, unless `say` heeds it."""

    def __init__(self, say: Callable[[Request], str]):
        self.say = say

    def generate(self, requests: list[Request]) -> list[Completion]:
        done = []
        for request in requests:
            text = self.say(request)
            done.append(Completion(text[: request.sampling.end(text)] if request.sampling.stop else text))
        return done
