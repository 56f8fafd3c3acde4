"""Views in arrays: what who is not asked sees, who stays, what ends, what is drawn again."""

from __future__ import annotations

import numpy as np
import pytest
from envs.test_role import Unsteady
from toys import Capitals, Crew, Lookup

from llm_marl_envs import Limits, RoleEnv, WaveEnv, WorkflowEnv, make, make_parallel, make_role, make_vec, numeric
from llm_marl_envs.envs.codecs import Features, Hashed, Infoset, Menu, Tokens
from llm_marl_envs.envs.symbols import TokenByToken
from llm_marl_envs.errors import ConfigError, ToolFailed

TEXTS = {"generator": [rf"\boxed{{{n}}}" for n in range(4)], "evaluator": [r"\boxed{Correct}", r"\boxed{Incorrect}"]}
LENGTH = Features(lambda messages, ask: [len(messages), ask is not None], 2)


def eval_opt(build, **knobs):
    env = build("arithmetic/eval_opt-v1", digits=1, train_size=30, **knobs)
    return numeric(env, LENGTH, Menu(env.workflow, TEXTS))


def test_who_is_not_asked_sees_nothing_and_has_one_action():
    env = eval_opt(make_parallel)
    seen, infos = env.reset(seed=0)
    assert seen["generator_0"]["observation"].tolist() == [1, 1]
    assert seen["generator_0"]["action_mask"].tolist() == [1, 1, 1, 1]
    assert seen["evaluator_0"]["observation"].tolist() == [0, 0]
    assert seen["evaluator_0"]["action_mask"].tolist() == [1, 0]
    assert infos["generator_0"] == {"asked": 1.0, "turn": 0.0, "failed": 0.0, "over": 0.0, "score": 0.0}
    assert infos["evaluator_0"]["asked"] == 0.0
    seen, _, _, _, infos = env.step({"generator_0": 3, "evaluator_0": 0})
    assert env.env.session.replies[0].text == r"\boxed{3}"
    assert (infos["generator_0"]["asked"], infos["evaluator_0"]["asked"]) == (0.0, 1.0)
    assert seen["generator_0"]["observation"].tolist() == [0, 0], "not even its last chat"
    assert env.action_mask("evaluator_0").tolist() == [1, 1]
    assert env.state() in env.state_space


def test_a_whole_episode_one_after_the_other():
    env = eval_opt(make)
    env.reset(seed=0)
    assert env.last()[0]["action_mask"].tolist() == [1] * 4
    for action in (0, 1, 1, 1, 2):
        assert set(env.infos[env.agent_selection].values()) >= {1.0}
        env.step(action)
    texts = [reply.text for reply in env.env.session.replies]
    assert texts == [r"\boxed{0}", r"\boxed{Incorrect}", r"\boxed{1}", r"\boxed{Incorrect}", r"\boxed{2}"]
    assert set(env.terminations.values()) == {True}
    assert {key for info in env.infos.values() for key in info} == {"asked", "turn", "failed", "over", "score"}
    while env.agents:
        assert env.last()[0]["action_mask"].sum() == 1
        env.step(None)


def test_a_gymnasium_environment_of_one_role():
    env = make_role("arithmetic/eval_opt-v1", "generator", lambda *_: r"\boxed{Incorrect}", digits=1, train_size=30)
    flat = numeric(env, LENGTH, Menu(env.workflow, TEXTS), flat=True)
    seen, info = flat.reset(seed=0)
    assert seen.tolist() == [1, 1]
    assert flat.action_masks().tolist() == [True] * 4
    assert flat.action_masks().dtype == bool
    for _ in range(2):
        assert flat.step(np.int64(2))[2] is False
    seen, _, over, cut, info = flat.step(3)
    assert (seen.tolist(), over, cut, info["over"], info["asked"]) == ([0, 0], True, False, 1.0, 0.0)
    assert flat.action_masks().tolist() == [True, False, False, False]


def test_a_whole_team_as_one_agent_needs_one_space():
    env = make_role("arithmetic/eval_opt-v1", train_size=30)
    with pytest.raises(ConfigError, match="generator and evaluator have different actions"):
        numeric(env, LENGTH, Menu(env.workflow, TEXTS))
    one = numeric(env, LENGTH, Menu(env.workflow, TEXTS, same_spaces=True))
    one.reset(seed=0)
    seen = one.step(1)[0]
    assert seen["action_mask"].tolist() == [1, 1, 0, 0], "now it is the evaluator"


@pytest.mark.parametrize("build", [make, make_parallel, make_role, make_vec])
def test_what_it_takes(build):
    env = build("arithmetic/solo-v1", train_size=30)
    if build is make_vec:
        with pytest.raises(ConfigError, match=r"got VecEnv\. For many at once: gymnasium\.vector\.SyncVectorEnv"):
            numeric(env, LENGTH, Tokens("01", 2))
        return
    env.reset(seed=0)
    with pytest.raises(ConfigError, match="takes an environment that was not reset before"):
        numeric(env, LENGTH, Tokens("01", 2))


def test_a_budget_that_runs_out_terminates():
    env = eval_opt(make_parallel, limits=Limits(calls=2))
    env.reset(seed=0)
    env.step({"generator_0": 0, "evaluator_0": 0})
    _, _, ended, cut, _ = env.step({"generator_0": 0, "evaluator_0": 1})
    assert (set(ended.values()), set(cut.values())) == ({True}, {False})
    one_by_one = eval_opt(make, limits=Limits(calls=1))
    one_by_one.reset(seed=0)
    one_by_one.step(0)
    assert set(one_by_one.terminations.values()) == {True}


@pytest.mark.parametrize("view", [WorkflowEnv, WaveEnv])
def test_the_stopped_stay_and_get_their_reward(view):
    env = numeric(view(Capitals(), Crew()), LENGTH, Menu(Crew(), {"helper": ["Paris", "Lima", "N'Djamena"]}))
    if view is WaveEnv:
        env.reset(seed=0)
        while env.agents:
            assert len(env.agents) == 4
            _, rewards, ended, _, _ = env.step(dict.fromkeys(env.agents, 0))
        assert (set(ended), len(set(rewards.values()))) == (set(env.possible_agents), 1)
    else:
        env.reset(seed=0)
        while not any(env.terminations.values()):
            assert len(env.agents) == 4
            env.step(0)
        assert (len(env.rewards), len(set(env.rewards.values()))) == (4, 1)


@pytest.mark.parametrize("view", [WorkflowEnv, WaveEnv, RoleEnv])
def test_what_failed_is_drawn_again(view):
    env = numeric(view(Unsteady(), Lookup()), Hashed(32), Menu(Lookup(), ["Peru", "Lima"]))
    found = env.reset(seed=0)
    for failed in (1, 2, 3):
        if view is WorkflowEnv:
            env.step(0)
            seen, ended, info = env.last()[0], env.terminations | env.truncations, env.infos["searcher_0"]
            assert not any(ended.values())
        elif view is WaveEnv:
            seen, _, ended, cut, infos = env.step({"searcher_0": 0})
            seen, info = seen["searcher_0"], infos["searcher_0"]
            assert not any((ended | cut).values())
        else:
            seen, reward, over, cut, info = env.step(0)
            assert (reward, over, cut) == (0.0, False, False)
        assert (info["failed"], info["asked"], info["turn"]) == (failed, 1.0, 0.0)
        assert seen["observation"].any()
    assert found is None or len(found) == 2


@pytest.mark.parametrize("view", [WorkflowEnv, WaveEnv])
def test_a_tool_that_never_works_is_named(view):
    env = numeric(view(Capitals(down=True), Lookup()), Hashed(32), Menu(Lookup(), ["Peru"]))
    env.reset(seed=0)

    def again() -> None:
        for _ in range(10):
            env.step(0 if view is WorkflowEnv else {"searcher_0": 0})

    with pytest.raises(ToolFailed, match=r"10 episodes in a row could not be played\. The last: tool find"):
        again()


def test_decisions_by_their_infosets():
    env = make_parallel("arithmetic/propose_review-v1", train_size=30)
    texts = {"proposer": [r"\boxed{1}"], "reviewer": ["RIGHT", "WRONG"]}
    view = numeric(env, Infoset(env.workflow), Menu(env.workflow, texts))
    seen, _ = view.reset(seed=0)
    while view.agents and not seen["reviewercontroller_0"]["observation"].any():
        seen = view.step(dict.fromkeys(view.agents, 0))[0]
        if seen.get("reviewercontroller_1", {"observation": np.zeros(1)})["observation"].any():
            break
    assert sum(s["observation"].sum() for s in seen.values()) == 2.0, "one vote bucket and one time bucket"


# A symbol a step.


def test_a_reply_symbol_by_symbol():
    env = TokenByToken(
        make_role("arithmetic/solo-v1", digits=1, train_size=30), LENGTH, "0123456789", 2, r"\boxed{", "}"
    )
    seen, info = env.reset(seed=0)
    assert env.observation_space.shape == (2 + 2 * 11,)
    gold = str(env.env.problem.gold)
    assert (seen.tolist(), info) == ([1, 1] + [0] * 22, {"symbols": 0.0, "score": 0.0})
    for place, digit in enumerate(gold):
        assert env.observation_space.sample() is not None
        seen, reward, over, _, _ = env.step(int(digit) + 1)
        if place == 0 and len(gold) == 2:
            assert np.flatnonzero(seen).tolist() == [0, 1, 2 + int(digit) + 1]
            assert (reward, over) == (0.0, False)
    if len(gold) == 1:
        _, reward, over, _, _ = env.step(0)
    assert (reward, over) == (1.0, True)
    assert env.env.session.replies[0].text == rf"\boxed{{{gold}}}"
    with pytest.raises(ConfigError, match="needs a codec whose space is a flat Box"):
        TokenByToken(make_role("arithmetic/solo-v1"), type("Text", (), {"space": env.action_space})(), "01", 2)
