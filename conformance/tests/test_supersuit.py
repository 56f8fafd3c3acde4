# pyright: reportMissingImports=false
"""Which of SuperSuit's wrappers a team of waves can be put in: those of observations in bare arrays, and why the others cannot."""

from __future__ import annotations

import numpy as np
import pytest

from examples.sums import team
from llm_marl_envs import make_parallel

supersuit = pytest.importorskip("supersuit")

OF_OBSERVATIONS = {
    "agent_indicator_v0": (True,),
    "dtype_v0": (np.float16,),
    "flatten_v0": (),
    "frame_stack_v1": (2,),
    "max_observation_v0": (2,),
    "normalize_obs_v0": (),
    "observation_lambda_v0": (lambda seen, space: seen,),
    "pad_observations_v0": (),
    "reshape_v0": ((16, 16),),
}
OF_THE_REST = {
    "action_lambda_v1": (lambda action, space: action, lambda space: space),
    "clip_reward_v0": (),
    "delay_observations_v0": (1,),
    "pad_action_space_v0": (),
    "reward_lambda_v0": (lambda reward: 10 * reward,),
    "sticky_actions_v0": (0.2,),
}


def rewards(env) -> list[float]:
    """The generator's, of 60 episodes."""
    found = []
    for seed in range(60):
        env.reset(seed=seed)
        while env.agents:
            _, given, *_ = env.step({agent: env.action_space(agent).sample() for agent in env.agents})
        found.append(given["generator_0"])
    return found


@pytest.mark.parametrize("name", OF_OBSERVATIONS)
def test_wrappers_of_observations_take_bare_arrays_and_no_dicts(name):
    wrapper = getattr(supersuit, name)
    found = rewards(wrapper(team(flat=True), *OF_OBSERVATIONS[name]))
    assert set(found) == {0.0, 1.0}
    with pytest.raises((AssertionError, AttributeError, TypeError)) as refused:
        rewards(wrapper(team(), *OF_OBSERVATIONS[name]))
    said = str(refused.value)
    assert any(
        text in said
        for text in ("Dict(", "'Dict' object", "'dict' and 'dict'", "original shape None", "Discrete and Box")
    ), said


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("name", OF_THE_REST)
def test_the_others_take_both(name, flat):
    found = rewards(getattr(supersuit, name)(team(flat=flat), *OF_THE_REST[name]))
    assert set(found) == ({0.0, 10.0} if name == "reward_lambda_v0" else {0.0, 1.0})


def test_a_batch_has_a_row_for_each_agent_and_the_end_of_an_episode_in_its_info():
    envs = supersuit.concat_vec_envs_v1(supersuit.pettingzoo_env_to_vec_env_v1(team(flat=True)), 3)
    seen, _ = envs.reset(seed=0)
    assert seen.shape == (6, 256)
    assert seen.any(axis=1).tolist() == [True, False] * 3, "who is not asked sees zeros"
    assert len({row.tobytes() for row in seen[::2]}) == 3, "every team has a problem of its own"
    envs.step(np.zeros(6, int))
    *_, over, _, infos = envs.step(np.zeros(6, int))
    assert over.all()
    assert infos[0]["terminal_observation"].shape == (256,)


def test_fails_by_design():
    text = make_parallel("arithmetic/eval_opt-v1")
    with pytest.raises(Exception, match="doesn't have an registered `iterate` function"):
        supersuit.concat_vec_envs_v1(supersuit.pettingzoo_env_to_vec_env_v1(text), 1).reset()
    skipping = supersuit.frame_skip_v0(team(flat=True), 2)
    skipping.reset(seed=0)
    with pytest.raises(AttributeError, match="no attribute 'np_random'"):
        skipping.step(dict.fromkeys(skipping.agents, 0))
