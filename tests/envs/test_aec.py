"""The PettingZoo environment: what happens between reset and reward."""

from __future__ import annotations

import numpy as np
import pytest
from fitting import KNOBS
from toys import Capitals, Crew, Lookup

from llm_marl_envs import Limits, Status, WorkflowEnv, env_ids, make, minus_cost
from llm_marl_envs.envs.spaces import UnicodeText
from llm_marl_envs.errors import ConfigError, InvalidAction, SessionOver, UnknownName
from llm_marl_envs.rewards import own


def played(env: WorkflowEnv, *texts: str) -> WorkflowEnv:
    for text in texts:
        env.step(text)
    return env


def scripted(env_id: str, *texts: str, problem: str | int | None = 0, **knobs) -> WorkflowEnv:
    env = make(env_id, test_size=20, train_size=20, **knobs)
    env.reset(seed=0, options={"problem": problem})
    gold = str(env.problem.gold)
    return played(env, *(text.replace("GOLD", gold) for text in texts))


def test_a_workflow_whose_tools_are_missing_is_refused():
    assert set(env_ids()) == set(KNOBS)
    with pytest.raises(
        ConfigError, match=r"search_answer uses the tool 'search'; arithmetic has no tools: docs/workflows\.md"
    ):
        make("arithmetic/search_answer-v1")
    with pytest.raises(
        ConfigError, match="search_answer uses the tool 'search'; hotpotqa has no tools: give it corpus="
    ):
        make("hotpotqa/search_answer-v1")
    with pytest.raises(ConfigError, match="swarm uses the tool 'search'; snippets has python, run_examples"):
        make("snippets/swarm-v1", tools=("python", "search"))
    assert make("hotpotqa/search_answer-v1", given=("a passage",)).workflow.needs == frozenset()  # type: ignore[attr-defined]


def test_samples_are_garbage_but_valid():
    space = UnicodeText(seed=3)
    samples = [space.sample() for _ in range(200)]
    assert all(sample in space for sample in samples)
    assert "" in samples
    assert any(not sample.isascii() for sample in samples)
    assert any("\\" in sample or "{" in sample for sample in samples)
    assert 3 not in space
    assert "abcd" not in UnicodeText(3)
    assert "\ud800\x00" in space
    with pytest.raises(ValueError, match="takes no mask"):
        space.sample(mask=np.ones(3))


# Which problem.


def test_options_choose_the_problem():
    env = make("arithmetic/solo-v1", train_size=30)
    env.reset(seed=0, options={"problem": 7})
    assert env.problem.question.id == "arithmetic/train/0/7"
    env.reset(seed=1, options={"problem": "arithmetic/train/0/22"})
    assert env.problem.question.id == "arithmetic/train/0/22"
    assert env.observe("generator_0")["messages"][0]["content"].startswith(env.problem.question.text)
    for wrong in ("arithmetic/train/0/99", 30, -1):
        with pytest.raises(UnknownName, match="no problem in split 'train'"):
            env.reset(options={"problem": wrong})


def test_the_seed_chooses_otherwise_and_unknown_options_are_ignored():
    one, two = make("arithmetic/solo-v1", train_size=500), make("arithmetic/solo-v1", train_size=500)
    one.reset(seed=5)
    two.reset(seed=5, options={"colour": "blue"})
    assert one.problem == two.problem
    first, later = one.session.play.seed, []
    for env in (one, two):
        env.reset()
        later.append((env.problem, env.session.play.seed))
    assert later[0] == later[1], "episodes without a seed go on from the last seed"
    assert later[0][1] != first
    one.reset(seed=5)
    assert one.session.play.seed == first
    seen = set()
    for seed in range(100):
        one.reset(seed=seed)
        seen.add(one.problem.question.id)
    assert len(seen) > 80, "neighbouring seeds choose problems independently"


def test_episodes_without_any_seed_differ_between_environments():
    seeds = set()
    for _ in range(3):
        env = make("arithmetic/solo-v1", train_size=10)
        env.reset()
        seeds.add(env.session.play.seed)
    assert len(seeds) == 3


# Rewards. The team: a wrong draft, rejected; a right one, accepted.

REFINED = ("\\boxed{0}", "\\boxed{Incorrect}", "\\boxed{GOLD}", "\\boxed{Correct}")


@pytest.mark.parametrize(
    ("rule", "generator", "evaluator"),
    [
        ("team", 1.0, 1.0),
        ("own", 0.5, 1.0),
        ("minus_cost", 0.98, 0.98),
        (minus_cost(own, per_call=0.1), 0.3, 0.8),
    ],
)
def test_rewards_land_at_the_end(rule, generator, evaluator):
    env = scripted("arithmetic/eval_opt-v1", reward=rule)
    gold = str(env.problem.gold)
    for text in REFINED:
        assert env.rewards == {"generator_0": 0.0, "evaluator_0": 0.0}
        env.step(text.replace("GOLD", gold))
    assert env.rewards == pytest.approx({"generator_0": generator, "evaluator_0": evaluator})
    assert env.terminations == {"generator_0": True, "evaluator_0": True}
    assert env.truncations == {"generator_0": False, "evaluator_0": False}
    got = {}
    for agent in env.agent_iter():
        _, reward, termination, truncation, info = env.last()
        assert (termination, truncation) == (True, False)
        assert info["status"] == "finished"
        assert info["score"] == 1.0
        got[agent] = reward
        env.step(None)
    assert got == pytest.approx({"generator_0": generator, "evaluator_0": evaluator})


def test_a_wrong_answer_pays_nothing():
    env = scripted("arithmetic/voting-v1", *["\\boxed{0}"] * 3, "\\boxed{2}")
    assert set(env.rewards.values()) == {0.0}
    assert env.outcome.status is Status.FINISHED


def test_an_unknown_rule_split_or_mode_is_named():
    with pytest.raises(UnknownName, match=r"no reward rule 'teem'\. Did you mean 'team'"):
        make("arithmetic/solo-v1", reward="teem")
    with pytest.raises(UnknownName, match=r"no split of Arithmetic 'tset'\. Did you mean 'test'"):
        make("arithmetic/solo-v1", split="tset")
    with pytest.raises(UnknownName, match="no render mode 'rgb_array'"):
        make("arithmetic/solo-v1", render_mode="rgb_array")


# Mistakes of the caller.


@pytest.mark.parametrize("action", [None, 3, b"bytes", ["a"], np.array([1, 2])])
def test_an_action_that_is_no_text_loses_nothing(action):
    env = scripted("arithmetic/eval_opt-v1", "first draft")
    before = env.session.replies, env.agent_selection, env.last()
    with pytest.raises(InvalidAction, match=f"evaluator_0's action is {type(action).__name__}; expected a str"):
        env.step(action)
    assert (env.session.replies, env.agent_selection, env.last()) == before
    env.step("\\boxed{Correct}")
    assert env.outcome.status is Status.FINISHED


def test_steps_outside_an_episode():
    env = make("arithmetic/solo-v1")
    for act in (lambda: env.step("x"), env.render, env.trace):
        with pytest.raises(SessionOver, match=r"reset\(\)"):
            act()
    env.reset(seed=0)
    played(env, "x", None)
    assert env.agents == []
    with pytest.raises(SessionOver, match=r"the episode is over; call reset\(\)"):
        env.step("x")
    env.reset()
    assert env.outcome is None
    env.step("y")
    assert env.session.answer == "y"


# Other ends.


@pytest.mark.parametrize(
    ("limits", "why"),
    [(Limits(calls=2), "used all 2 calls"), (Limits(turns=2), "used all 2 turns")],
)
def test_limits_truncate(limits, why):
    env = scripted("arithmetic/eval_opt-v1", "\\boxed{GOLD}", "\\boxed{Incorrect}", limits=limits)
    assert env.truncations == {"generator_0": True, "evaluator_0": True}
    assert env.terminations == {"generator_0": False, "evaluator_0": False}
    assert env.rewards == {"generator_0": 0.0, "evaluator_0": 0.0}
    assert env.session.why == why
    assert env.infos["generator_0"] == {"status": "truncated", "score": 0.0, "why": why}
    played(env, None, None)
    assert env.agents == []


def test_a_tool_is_run_and_recorded():
    env = WorkflowEnv(Capitals(), Lookup())
    env.reset(seed=0, options={"problem": "capitals/Peru"})
    env.step("Peru")
    assert [m["role"] for m in env.last()[0]["messages"]] == ["system", "user", "assistant", "user"]
    assert env.last()[0]["messages"][-1]["content"] == "Found: Lima. Answer?"
    env.step("Lima")
    assert env.rewards == {"searcher_0": 1.0}
    assert env.state()["messages"][1] == {"role": "searcher_0", "content": "Lima"}


def test_a_tool_that_cannot_run_fails_the_episode():
    env = WorkflowEnv(Capitals(down=True), Lookup())
    env.reset(seed=0)
    env.step("France")
    assert env.outcome.status is Status.FAILED
    assert env.session.why == "tool find: the atlas is out of reach"
    assert env.truncations == {"searcher_0": True}
    assert env.terminations == {"searcher_0": False}
    assert env.rewards == {"searcher_0": 0.0}
    assert "the atlas is out of reach" in env.infos["searcher_0"]["why"]
    assert env.trace().session().status is Status.FAILED


def test_a_grader_that_crashes_fails_the_episode():
    env = WorkflowEnv(Capitals(buggy=True), Lookup(), reward=minus_cost(own, per_call=1.0))
    env.reset(seed=0)
    played(env, "France", "Paris")
    assert env.outcome.status is Status.FAILED
    assert env.rewards == {"searcher_0": 0.0}, "not even costs: nothing is known about the episode"
    assert env.infos["searcher_0"]["why"] == "the grader failed: ZeroDivisionError: an oversight"


# Who is there, and when.


def test_the_stopped_leave_and_the_hired_act_from_then_on():
    env = WorkflowEnv(Capitals(), Crew())
    env.reset(seed=0)
    assert env.agents == env.possible_agents == ["boss_0", "helper_0", "helper_1", "helper_2"]
    assert [env.observe(agent)["messages"] for agent in env.agents[1:]] == [(), (), ()], "nobody was hired yet"
    acted = []
    for agent in env.agent_iter():
        _, reward, termination, _, info = env.last()
        acted.append((agent, termination, len(env.agents)))
        if termination and agent == "helper_0":
            assert reward == 0.0
            assert env.agent_selection == "helper_0"
        if agent == "boss_0" and info.get("choices"):
            assert info == {"kind": "decision", "choices": ("0", "1", "2", "3"), "infoset": ("pick", 4), "turn": 3}
        env.step(None if termination else {"helper_0": "Paris"}.get(agent, "0"))
    assert acted == [
        ("boss_0", False, 4),
        ("helper_0", False, 4),
        ("helper_1", False, 4),
        ("helper_0", True, 4),  # its last, empty step
        ("helper_2", False, 3),
        ("helper_1", False, 3),
        ("boss_0", False, 3),
        ("boss_0", True, 3),
        ("helper_1", True, 2),
        ("helper_2", True, 1),
    ]
    assert env.session.answer == "Paris"


@pytest.mark.parametrize("env_id", ["arithmetic/voting-v1", "arithmetic/orch_workers-v1"])
def test_prompts_of_a_wave_are_fixed_before_anybody_speaks(env_id):
    env = make(env_id, train_size=10)
    env.reset(seed=0)
    if "orch" in env_id:
        env.step("STRATEGY 1: a\nSTRATEGY 2: b\nSTRATEGY 3: c")
    wave = [call.agent for call in env.session.waiting]
    assert len(wave) == 3
    before = {agent: env.observe(agent) for agent in wave}
    assert all(env.problem.question.text in seen["messages"][-1]["content"] for seen in before.values())
    for i, agent in enumerate(wave):
        assert env.agent_selection == agent
        assert env.last()[0] == before[agent]
        assert {a: env.observe(a) for a in wave[i:]} == {a: before[a] for a in wave[i:]}
        env.step(f"secret {i}")
    while env.last()[2]:
        env.step(None)
    assert all(f"secret {i}" in env.last()[0]["messages"][-1]["content"] for i in range(3))


def test_human_rendering_prints_only_what_is_new(capsys):
    env = scripted("arithmetic/eval_opt-v1", render_mode="human")
    parts = [capsys.readouterr().out]
    gold = str(env.problem.gold)
    for text in REFINED:
        env.step(text.replace("GOLD", gold))
        parts.append(capsys.readouterr().out)
    assert parts[0].startswith("# arithmetic/train/0/0\nWhat is ")
    assert "evaluator_0 says:\n    | \\boxed{Incorrect}\n" in parts[2]
    assert all("evaluator_0 says" not in part for part in (*parts[:2], parts[3]))
    assert parts[-1].endswith(f"status: finished\nanswer: \\boxed{{{gold}}}\nscore: 1 (last boxed)\n")
    env.render()
    assert capsys.readouterr().out == "", "nothing is new"
    env.render_mode = "ansi"
    assert "".join(parts) == env.render()
    env.render_mode = "human"
    env.reset(seed=1)
    assert capsys.readouterr().out.startswith("# arithmetic/train/0/"), "a new episode is printed from its start"
