"""What the views cost: a batch of 1,024 sessions against a loop over as many AEC environments, and codecs against texts."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest
from benchmarks.ratio import compare
from toys import Capitals, Lookup

from llm_marl_envs import VecEnv, WorkflowEnv, make, make_parallel, make_role, make_vec, numeric
from llm_marl_envs.envs.codecs import Hashed, Menu

N = 1024
SAID = "Units 7+8=15, tens 4+5=9. \\boxed{95}"
KNOBS = {
    "arithmetic/solo-v1": {"train_size": 2000},
    "arithmetic/eval_opt-v1": {"train_size": 2000},
    "snippets/solo-v1": {"train_size": 200},
}


def in_turn(envs) -> float:
    """Seconds in which a loop steps every environment once after the other until all have ended an episode."""
    began = time.perf_counter()
    for i, env in enumerate(envs):
        env.reset(seed=i)
    live = list(envs)
    while live:
        for env in live:
            _, _, over, cut, _ = env.last()
            env.step(None if over or cut else SAID)
        live = [env for env in live if env.agents]
    return time.perf_counter() - began


def together(env) -> float:
    """The same of a batch."""
    began = time.perf_counter()
    env.reset(seed=0)
    ended = [False] * env.num_envs
    while not all(ended):
        over = env.step([SAID] * env.num_envs)[2]
        ended = [a or b for a, b in zip(ended, over.tolist(), strict=True)]
    return time.perf_counter() - began


@pytest.mark.parametrize("env_id", KNOBS)
def test_a_batch_against_a_loop(benchmark, env_id):
    count = N if not env_id.startswith("snippets") else 128
    loop = [make(env_id, **KNOBS[env_id]) for _ in range(count)]
    batch = make_vec(env_id, count, **KNOBS[env_id])
    compare(benchmark, lambda: in_turn(loop), lambda: together(batch), f"{env_id}: a loop over {count} against a batch")


@dataclass(frozen=True)
class Remote(Capitals):
    """Its tool is two milliseconds away, as a retrieval server is."""

    def _find(self, country: str) -> str:
        time.sleep(0.002)
        return super()._find(country)


def test_a_batch_against_a_loop_where_a_tool_is_remote(benchmark):
    loop, batch = [WorkflowEnv(Remote(), Lookup()) for _ in range(N)], VecEnv(Remote(), Lookup(), N)
    compare(
        benchmark, lambda: in_turn(loop), lambda: together(batch), f"a remote tool: a loop over {N} against a batch"
    )


@pytest.mark.parametrize("view", [make, make_parallel, make_role])
def test_arrays_against_texts(benchmark, view):
    texts = view("arithmetic/eval_opt-v1", train_size=2000)
    arrays = numeric(view("arithmetic/eval_opt-v1", train_size=2000), Hashed(256), Menu(texts.workflow, [SAID, "x"]))

    def play(env, action) -> float:
        began = time.perf_counter()
        for seed in range(200):
            if view is make:
                env.reset(seed=seed)
                while env.agents:
                    _, _, over, cut, _ = env.last()
                    env.step(None if over or cut else action)
            elif view is make_parallel:
                env.reset(seed=seed)
                while env.agents:
                    env.step(dict.fromkeys(env.agents, action))
            else:
                env.reset(seed=seed)
                while not env.step(action)[2]:
                    pass
        return time.perf_counter() - began

    compare(benchmark, lambda: play(arrays, 0), lambda: play(texts, SAID), f"{view.__name__}: arrays against texts")
