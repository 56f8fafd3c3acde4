"""Advantages against numbers worked out by hand."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from baselines.credit.group import agent_relative, group_relative
from baselines.methods import make_method
from baselines.types import Completion, Episode, Turn

ROSTER = SimpleNamespace(role=lambda agent: agent.rpartition("_")[0])
SESSION = SimpleNamespace(play=SimpleNamespace(workflow=SimpleNamespace(roster=ROSTER)))


def made(group: int, rewards: dict[str, float] | float, speakers: str, origin=None) -> Episode:
    """An episode in which g (generator_0) and e (evaluator_0) spoke in this order."""
    agents = {"g": "generator_0", "e": "evaluator_0"}
    if not isinstance(rewards, dict):
        rewards = dict.fromkeys(agents.values(), rewards)
    turns = [Turn(i, agents[s], agents[s][:-2], "p", Completion("")) for i, s in enumerate(speakers)]
    return Episode(SESSION, None, group, 0, tuple(turns), None, rewards, origin)  # type: ignore[arg-type]


def test_team_reward_is_compared_within_the_group():
    batch = [made(0, 1.0, "ge"), made(0, 0.0, "geg"), made(0, 0.0, "geg"), made(0, 0.0, "ge")]
    credit = group_relative(batch)
    assert credit[0, 0] == credit[0, 1] == 0.75
    assert credit[1, 0] == credit[1, 1] == credit[1, 2] == -0.25
    with_std = group_relative(batch, std=True)  # the sample standard deviation of 1, 0, 0, 0 is 0.5
    assert with_std[0, 0] == pytest.approx(0.75 / 0.5001)
    assert with_std[3, 1] == pytest.approx(-0.25 / 0.5001)


def test_the_same_problem_twice_in_a_batch_stays_two_groups():
    credit = group_relative([made(0, 1.0, "g"), made(0, 0.0, "g"), made(1, 1.0, "g"), made(1, 1.0, "g")])
    assert [credit[i, 0] for i in range(4)] == [0.5, -0.5, 0.0, 0.0]


def test_roles_with_rewards_of_their_own_have_baselines_of_their_own():
    batch = [
        made(0, {"generator_0": 1.0, "evaluator_0": 0.0}, "ge"),
        made(0, {"generator_0": 0.0, "evaluator_0": 0.5}, "ge"),
    ]
    credit = group_relative(batch)
    assert [credit[0, 0], credit[0, 1], credit[1, 0], credit[1, 1]] == [0.5, -0.25, -0.5, 0.25]


def test_a_lone_episode_gets_nothing():
    assert set(group_relative([made(0, 1.0, "geg")], std=True).values()) == {0.0}


def test_dr_mas_counts_every_turn_of_an_agent():
    """The generator speaks twice in an episode with reward 1 and once in one with reward 0: mu = 2/3, sigma^2 = (2 (1/3)^2 + (2/3)^2) / 2 = 1/3."""
    batch = [made(0, 1.0, "geg"), made(0, 0.0, "ge")]
    credit = agent_relative(batch)
    sigma = (1 / 3) ** 0.5
    assert credit[0, 0] == credit[0, 2] == pytest.approx((1 / 3) / (sigma + 1e-6))
    assert credit[1, 0] == pytest.approx((-2 / 3) / (sigma + 1e-6))
    # the evaluator spoke once in each: mu = 1/2, sigma = sqrt(1/2)
    assert credit[0, 1] == pytest.approx(0.5 / (0.5**0.5 + 1e-6))
    assert agent_relative(batch, std=False)[1, 0] == pytest.approx(-2 / 3)


def test_dr_mas_singleton_has_mean_0_and_deviation_1():
    batch = [made(0, 1.0, "ge"), made(0, 0.0, "g")]
    assert agent_relative(batch)[0, 1] == pytest.approx(1.0, abs=1e-5)


def test_what_a_fork_has_from_its_parent_is_trained_on_once():
    """Two forks left before the third reply: they share the parent's first two, and only their own replies are credited."""
    parent = made(0, 1.0, "geg")
    forked = [made(7, reward, "geg", origin=(parent, 2)) for reward in (1.0, 0.0)]
    batch = [parent, made(0, 0.0, "ge"), *forked]
    assert group_relative(batch) == {
        (0, 0): 0.5, (0, 1): 0.5, (0, 2): 0.5, (1, 0): -0.5, (1, 1): -0.5,
        (2, 2): 0.5, (3, 2): -0.5,
    }  # fmt: skip
    credit = agent_relative(batch, std=False)
    assert {place for place in credit if place[0] > 1} == {(2, 2), (3, 2)}
    assert credit[2, 2] == 0.5, "the mean of the generator's two replies in the forks' group"


def test_shuffled_permutes_rewards_over_the_batch():
    batch = [made(i // 4, float(i), "g") for i in range(16)]
    import dataclasses

    method = make_method("shuffled")
    credit = method.credit(batch, {}, seed=3)
    assert credit == method.credit(batch, {}, seed=3)
    assert credit != method.credit(batch, {}, seed=4)
    assert credit != group_relative(batch)
    assert sum(credit.values()) == pytest.approx(0.0)
    assert [e.rewards["generator_0"] for e in batch] == list(range(16)), "the episodes are as they were"
    assert dataclasses.is_dataclass(method)
