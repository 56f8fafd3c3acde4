"""Figures of a step by role: by hand, and of saboteurs."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from test_credit import made

from baselines.credit.group import group_relative
from baselines.diagnostics import diagnose
from baselines.engines.scripted import Scripted
from baselines.policies import PolicyRouter
from baselines.rollout import forks, groups, rollout
from baselines.types import Request, Sampling, Signal
from llm_marl_envs import make_task, make_workflow


def play(say, *, workflow="eval_opt", problems=6, samples=4, length=lambda text: len(text)):
    """Episodes of scripted speakers whose replies have a token for each letter."""
    task, flow = make_task("arithmetic"), make_workflow(workflow)

    class Counted(Scripted):
        def generate(self, requests):
            return [c._replace(token_ids=(1,) * length(c.text)) for c in super().generate(requests)]

    starts = groups(flow, task.problems("train")[:problems], samples, seed=0)
    return rollout(starts, PolicyRouter.shared(flow.roster), Counted(say), task, sampling=Sampling())


def test_lengths_and_malformed_replies_by_role():
    """The generator says 9 letters that can be read, the evaluator 2 that cannot: it counts as a rejection, 3 rounds long."""
    found = diagnose(play(lambda r: "\\boxed{1}" if r.ask.agent == "generator_0" else "hm"), {})
    assert found == {
        "reply_tokens/evaluator": 2, "reply_tokens/generator": 9, "malformed/evaluator": 1.0, "malformed/generator": 0.0,
        "own_score/generator": 0.0,
    }  # fmt: skip


def test_the_shares_of_roles_make_up_the_teams():
    def say(request: Request) -> str:
        return ("hm", "\\boxed{Correct}", "\\boxed{7}")[request.seed % 3]

    episodes = play(say)
    calls: dict[str, int] = {}
    for e in episodes:
        for agent, count in e.outcome.calls.items():
            calls[agent[:-2]] = calls.get(agent[:-2], 0) + count
        assert sum(e.outcome.unread.values()) == e.outcome.malformed
    found = diagnose(episodes, {})
    malformed = sum(found[f"malformed/{role}"] * count for role, count in calls.items())
    assert 0 < malformed == pytest.approx(sum(e.outcome.malformed for e in episodes))


def test_groups_without_signal_by_hand():
    """Team rewards: group 0 differs, group 1 does not. The evaluator spoke in group 1 alone."""
    batch = [made(0, 1.0, "g"), made(0, 0.0, "g"), made(1, 1.0, "ge"), made(1, 1.0, "ge")]
    found = silent_of(batch, group_relative(batch))
    assert found == {
        "zero_variance/generator": 0.5,
        "zero_variance/evaluator": 1.0,
        "zero_variance": pytest.approx(2 / 3),
    }
    rounded = dict.fromkeys(group_relative(batch), 1e-12)
    assert silent_of(batch, rounded)["zero_variance"] == 1.0
    critic = {(0, 0): Signal((0.0, 0.5), (0.1, 0.1), (1.0, 1.0)), (1, 0): Signal((0.0, 0.0), (0.0, 0.0), (0.0, 0.0))}
    assert silent_of(batch, critic) == {"zero_variance/generator": 0.0, "zero_variance": 0.0}


def silent_of(batch, credit):

    quiet = [replace(e, outcome=SimpleNamespace(calls={}, unread={})) for e in batch]
    return {key: value for key, value in diagnose(quiet, credit).items() if key.startswith("zero_variance")}


def test_a_reply_and_its_forks_are_one_group():
    """Candidates that a method leaves out of credit, for they are worth the same, are a group without signal."""
    (parent,) = play(lambda r: "\\boxed{1}", problems=1, samples=1)
    task, flow = make_task("arithmetic"), make_workflow("eval_opt")
    route, engine = PolicyRouter.shared(flow.roster), Scripted(lambda r: "\\boxed{2}")
    batch = [parent]
    for turn in (0, 1):
        batch += rollout(forks(parent, turn, 2, seed=1), route, engine, task)
    generator = {(0, 0): 1.0, (1, 0): -0.5, (2, 0): -0.5}
    found = {k: v for k, v in diagnose(batch, generator).items() if k.startswith("zero_variance")}
    assert found == {"zero_variance/generator": 0.0, "zero_variance/evaluator": 1.0, "zero_variance": 0.5}
