"""What tests of the views share: replies that are a function of what is seen, and one episode through each view."""

from __future__ import annotations

from random import Random
from typing import Any

from llm_marl_envs.envs.aec import WorkflowEnv
from llm_marl_envs.envs.parallel import WaveEnv
from llm_marl_envs.envs.role import RoleEnv
from llm_marl_envs.seeds import seed_of
from llm_marl_envs.testing import random_reply


def reply(agent: str, messages: Any, info: Any) -> str:
    """A random reply to what an agent sees, the same whoever asks: a partner, a policy."""
    return random_reply(Random(seed_of("view", agent, messages)), info["choices"])


def play_aec(env: WorkflowEnv, seed: int | None, speak: Any = reply) -> WorkflowEnv:
    env.reset(seed=seed)
    for agent in env.agent_iter():
        seen, _, over, cut, info = env.last()
        env.step(None if over or cut else speak(agent, seen["messages"], info))
    return env


def play_waves(env: WaveEnv, seed: int | None, speak: Any = reply) -> WaveEnv:
    seen, infos = env.reset(seed=seed)
    while env.agents:
        said = {a: speak(a, seen[a]["messages"], infos[a]) if infos[a]["asked"] else "not heard" for a in env.agents}
        seen, _, _, _, infos = env.step(said)
    return env


def play_role(env: RoleEnv, seed: int | None, speak: Any = reply) -> RoleEnv:
    seen, info = env.reset(seed=seed)
    over = False
    while not over:
        seen, _, over, _, info = env.step(speak(info["agent"], seen["messages"], info))
    return env
