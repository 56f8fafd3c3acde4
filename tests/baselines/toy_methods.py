"""A method that uses all that a method may: by name, as `toy_methods:Everything`. And a crash for any method's run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from unittest import mock

import pytest

from baselines.losses import grpo, ppo
from baselines.methods.base import Method
from baselines.policies import PolicyRouter
from baselines.rollout import forced, forks
from baselines.runlog import RunLog
from baselines.types import Completion, Sample, Signal, Span


class Crashed(BaseException):
    """A run dies of it, as of being killed: nobody may take it for an error of his own."""


@contextmanager
def crashing(step: int) -> Iterator[None]:
    """Inside, a run crashes when it has trained step `step` and is about to log it; and so it must."""
    append = RunLog.metrics

    def crash(self, record):
        if (record["kind"], record["step"]) == ("train", step):
            raise Crashed
        append(self, record)

    with mock.patch.object(RunLog, "metrics", crash), pytest.raises(Crashed):
        yield


SAID = ("\\boxed{Correct}", "\\boxed{Incorrect}")


class Table:
    """Says Correct as often as it has seen it rewarded; counts what it has heard. Evaluated, it says the likelier one."""

    def __init__(self, seed: int):
        self.paid = [1.0, 1.0]
        self.heard: Counter[str] = Counter()
        self.seed = seed

    def generate(self, requests):
        share = self.paid[0] / sum(self.paid)
        picks = [int(share < 0.5 if r.sampling.greedy else r.seed % 1000 >= 1000 * share) for r in requests]
        return [Completion(SAID[pick]) for pick in picks]

    def learn(self, episodes, step):
        for episode in episodes:
            for turn in episode.turns:
                if turn.policy == "table":
                    self.paid[SAID.index(turn.completion.text)] += episode.rewards[turn.agent]
                    self.heard[turn.agent] += 1
        return {"share": self.paid[0] / sum(self.paid)}

    def state(self):
        return {"paid": self.paid, "heard": dict(self.heard)}

    def load(self, state):
        self.paid, self.heard = list(state["paid"]), Counter(state["heard"])


def brevity(outcome):
    """More for short answers: it differs from reply to reply."""
    return dict.fromkeys(outcome.agents, 1 / (1 + len(outcome.session.answer or "")))


@dataclass(frozen=True)
class Everything(Method):
    """Of eval_opt: a generator with a critic, a table for an evaluator, trees, counterfactuals, lessons."""

    def route(self, roster):
        return PolicyRouter({"generator": "writer", "evaluator": "table"})

    def players(self, roster, seed):
        return {"table": Table(seed)}

    @property
    def critics(self):
        return ("writer",)

    @property
    def rule(self):
        return brevity

    def training(self, workflow):
        return replace(workflow, rounds=3)

    def presets(self, roster):
        return {"writer.lr": 2e-3, "writer.weight_decay": 0.1, "generator.top_k": 50, "betas": (0.9, 0.95)}

    def collect(self, starts, play, task):
        first = play(starts, waves=1)  # the generators' drafts
        whole = play([branch for start in first for branch in forks(start, 1, 2, seed=1)])
        other = [start for e in whole[::2] for start in forced(e, 1, SAID[1], seed=2)]
        return whole + play(other)

    def credit(self, episodes, values, seed):
        return {
            (i, turn.index): Signal(tuple(e.rewards[turn.agent] - v for v in before), before, (e.rewards[turn.agent],) * len(before))
            for i, e in enumerate(episodes)
            for turn in e.turns
            if (before := values.get((i, turn.index))) and (e.origin is None or turn.index >= e.origin[1])
        }  # fmt: skip

    def lessons(self, episodes):
        done = next(t for t in episodes[0].turns if t.policy == "writer").completion
        ids = done.prompt_ids + done.token_ids
        return [Sample("writer", "generator", ids, (Span(len(done.prompt_ids), len(ids), 0.05, ()),))]

    def loss(self, policy):
        return ppo() if policy == "writer" else grpo()
