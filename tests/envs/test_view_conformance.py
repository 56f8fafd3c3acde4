"""PettingZoo's and Gymnasium's own tests on every workflow in every view (the AEC view's are in `test_conformance`)."""

from __future__ import annotations

import gymnasium
import pettingzoo
import pytest
from cases import every
from envs.views import reply
from fitting import ENVS
from gymnasium.utils.env_checker import check_env
from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test, render_test, seed_test, state_test
from pettingzoo.utils.conversions import parallel_to_aec

from llm_marl_envs import make, make_parallel, make_role, numeric, register
from llm_marl_envs.envs.codecs import FlatText, Hashed, Menu, TokenIds, Tokens
from llm_marl_envs.envs.symbols import TokenByToken
from llm_marl_envs.spec import split_id

TEXTS = (r"\boxed{1}", r"\boxed{Incorrect}", "STRATEGY 1: a\nSTRATEGY 2: b", "<search>x</search>", "2", "continue")
SMALL = {"arithmetic": {"train_size": 50}, "atlas": {"size": 100, "train_size": 40}, "snippets": {"train_size": 20}}


EACH = every("env_id", ENVS.values())  # a workflow each


def knobs(env_id: str) -> dict:
    return SMALL[split_id(env_id)[0]]


@EACH
def test_waves(env_id, capsys):
    parallel_api_test(made := make_parallel(env_id, **knobs(env_id)), num_cycles=20)
    parallel_seed_test(lambda: make_parallel(env_id, **knobs(env_id)), num_cycles=10)
    api_test(parallel_to_aec(made), num_cycles=10)
    state_test(parallel_to_aec(make_parallel(env_id, **knobs(env_id))), made)
    render_test(lambda render_mode: parallel_to_aec(make_parallel(env_id, render_mode=render_mode, **knobs(env_id))))
    assert "says:" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:.*WARN.*|.*is not recommended.*")
@EACH
def test_one_learner_in_text(env_id):
    for role in (None, make(env_id, **knobs(env_id)).workflow.roster.roles[0]):
        check_env(make_role(env_id, role, reply, render_mode="ansi", **knobs(env_id)), skip_render_check=True)


@pytest.mark.parametrize("coded", ["menu", "tokens"])
@pytest.mark.filterwarnings(
    "ignore:.*WARN.*", "ignore:Observation numpy array is all zeros"
)  # who is not asked sees nothing
@EACH
def test_numbers(env_id, coded, capsys):
    workflow = make(env_id, **knobs(env_id)).workflow
    obs = Hashed(32) if coded == "menu" else TokenIds(40)
    act = Menu(workflow, TEXTS) if coded == "menu" else Tokens("0123456789", 2, r"\boxed{", "}")

    def aec():
        return numeric(make(env_id, **knobs(env_id)), obs, act)

    def waves():
        return numeric(make_parallel(env_id, **knobs(env_id)), obs, act)

    api_test(aec(), num_cycles=20)
    seed_test(aec, num_cycles=10)
    parallel_api_test(waves(), num_cycles=10)
    parallel_seed_test(waves, num_cycles=10)
    state_test(aec(), waves())
    for flat in (False, True):
        check_env(numeric(make_role(env_id, **knobs(env_id)), obs, act, flat=flat), skip_render_check=True)
    capsys.readouterr()


@pytest.mark.filterwarnings("ignore:.*WARN.*")
@EACH
def test_one_learner_token_by_token(env_id):
    env = make_role(env_id, **knobs(env_id))
    check_env(TokenByToken(env, Hashed(16), "0123456789", 2, r"\boxed{", "}"), skip_render_check=True)


@pytest.mark.filterwarnings("ignore:.*WARN.*|.*is not recommended.*")
def test_flat_text_is_a_text():
    env = numeric(make_role("arithmetic/solo-v1"), FlatText(), Tokens("0123456789", 2, r"\boxed{", "}"), flat=True)
    check_env(env, skip_render_check=True)
    assert env.reset(seed=0)[0].startswith("user: What is ")


def test_registered_by_name():
    register()
    register()
    waves = pettingzoo.make("parallel", "arithmetic/voting-v1", train_size=9)
    assert len(waves.unwrapped.task.problems("train")) == 9
    env = gymnasium.make("llm_marl/arithmetic-solo-v1", train_size=9)
    seen, info = env.reset(seed=0)
    assert (info["agent"], seen["messages"][0]["role"]) == ("generator_0", "user")
    vector = gymnasium.make_vec("llm_marl/arithmetic-eval_opt-v1", num_envs=3, role="evaluator", partners=reply)
    assert vector.reset(seed=0)[1]["agent"].tolist() == ["evaluator_0"] * 3
    learned = gymnasium.make("llm_marl/arithmetic-eval_opt-v1", role="generator", partners=reply)
    assert learned.reset(seed=0)[1]["role"] == "generator"
