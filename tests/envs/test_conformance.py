"""The whole PettingZoo API: for a sample of the ids in which every task and every workflow occurs, and for all (slow)."""

from __future__ import annotations

import inspect
import pickle
import random

import numpy as np
import pettingzoo
import pytest
from cases import every
from fitting import KNOBS, made
from pettingzoo.test import api_test, parallel_api_test, render_test, seed_test, state_test
from pettingzoo.utils.conversions import turn_based_aec_to_parallel

from llm_marl_envs import WorkflowEnv, register
from llm_marl_envs.catalog import names
from llm_marl_envs.spec import split_id

# What the API shows depends on the workflow alone, and on the task only through its problems' texts and tools: so every
# workflow on the tasks that need no data, and every task with one agent.
PROCEDURAL = ("arithmetic", "atlas", "snippets")
SAMPLE = [id for id in KNOBS if split_id(id)[0] in PROCEDURAL or split_id(id)[1] == "solo"]


@pytest.fixture(params=SAMPLE)
def env_id(request) -> str:
    return request.param


def test_the_sample_has_every_task_and_every_workflow():
    tasks, workflows = zip(*map(split_id, SAMPLE), strict=True)
    assert set(tasks) == set(names("llm_marl_envs.tasks"))
    assert set(workflows) == set(names("llm_marl_envs.workflows"))


# PettingZoo's own tests; their random actions are UnicodeText samples: garbage.


def test_pettingzoo_api(env_id, example_dir):
    api_test(made(env_id, data_dir=example_dir), num_cycles=100)


def test_pettingzoo_seeds(env_id, example_dir):
    seed_test(lambda: made(env_id, data_dir=example_dir), num_cycles=100)


def test_pettingzoo_rendering(env_id, example_dir, capsys):
    render_test(lambda render_mode: made(env_id, data_dir=example_dir, render_mode=render_mode))
    assert "says:" in capsys.readouterr().out


def test_pettingzoo_state(env_id, example_dir):
    env = made(env_id, data_dir=example_dir)
    state_test(env, turn_based_aec_to_parallel(made(env_id, data_dir=example_dir)))
    env.reset(seed=0)
    assert env.state() == {"messages": ()}
    speaker = env.agent_selection
    env.step("my words")
    assert env.state()["messages"][0] == {"role": speaker, "content": "my words"}


def test_pettingzoo_parallel(env_id, example_dir):
    parallel_api_test(turn_based_aec_to_parallel(made(env_id, data_dir=example_dir)), num_cycles=100)


def found_by_name(env_id, example_dir):
    register()
    env = pettingzoo.make("aec", env_id, data_dir=example_dir, reward="own", **KNOBS[env_id])
    assert env.unwrapped.metadata["name"] == env_id
    assert env.unwrapped.split in env.unwrapped.task.splits
    api_test(env, num_cycles=10)


test_pettingzoo_registry = pytest.mark.skipif(
    not hasattr(pettingzoo, "make"), reason="this PettingZoo has no registry"
)(every("env_id", SAMPLE)(found_by_name))


def leaves_global_generators(env_id, example_dir):
    before = random.getstate(), pickle.dumps(np.random.get_state())
    env = made(env_id, data_dir=example_dir, render_mode="ansi")
    for seed in (None, 0, 1):
        env.reset(seed=seed)
        while env.agents:
            env.step(None if any(env.last()[2:4]) else "\\boxed{1}")
        env.render()
    assert (random.getstate(), pickle.dumps(np.random.get_state())) == before


test_global_generators_are_untouched = every("env_id", SAMPLE)(leaves_global_generators)


def test_a_pickled_episode_goes_on_identically(env_id, example_dir):
    words = ["STRATEGY 1: a\nSTRATEGY 2: b \\boxed{1}", "\\boxed{Incorrect} \\boxed{2}", "", "\\boxed{1}", "60"]

    def rest(env: WorkflowEnv, step: int) -> list:
        seen = []
        while env.agents:
            seen.append((env.agent_selection, env.last(), env.state(), env.render()))
            env.step(None if any(env.last()[2:4]) else words[step % len(words)])
            step += not seen[-1][1][2]
        return [*seen, env.outcome, env.trace().to_json()]

    for cut in range(3):
        env = made(env_id, data_dir=example_dir, render_mode="ansi")
        env.reset(seed=4)
        for i in range(cut):
            if not any(env.last()[2:4]):
                env.step(words[i])
        copy = pickle.loads(pickle.dumps(env))
        assert rest(copy, cut) == rest(env, cut)
        copy.reset()
        env.reset()
        assert copy.problem == env.problem
        assert copy.session.play == env.session.play


@pytest.mark.slow
@pytest.mark.parametrize(
    "check",
    [
        test_pettingzoo_api,
        test_pettingzoo_seeds,
        test_pettingzoo_rendering,
        test_pettingzoo_state,
        test_pettingzoo_parallel,
        found_by_name,
        leaves_global_generators,
        test_a_pickled_episode_goes_on_identically,
    ],
    ids=lambda check: check.__name__,
)
def test_all_other_ids(check, example_dir, capsys):
    others = every("env_id", [id for id in KNOBS if id not in SAMPLE])(check)
    fixtures = {"example_dir": example_dir, "capsys": capsys}
    others(**{name: fixtures[name] for name in inspect.signature(others).parameters})
