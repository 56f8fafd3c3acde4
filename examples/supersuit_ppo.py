"""SuperSuit: its wrappers make one batch of a team's agents, for PPO with one policy that is told which role it is."""

from __future__ import annotations

import argparse
from typing import Any

import supersuit
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import VecMonitor
from sums import team


def batch(seed: int) -> Any:
    """Eight teams, an agent a row: wrappers of observations want bare arrays (flat=True), and the batch equal spaces."""
    env = supersuit.agent_indicator_v0(team(flat=True), type_only=True)
    envs = supersuit.pettingzoo_env_to_vec_env_v1(env)
    envs = supersuit.concat_vec_envs_v1(envs, 8, base_class="stable_baselines3")
    envs.venv.reset(seed=seed)  # its SB3 form drops the seed of reset, and PPO(seed=...) is an AttributeError
    return VecMonitor(envs)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=80_000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    set_random_seed(args.seed)
    envs, held = batch(1000 * args.seed), batch(1000 * args.seed + 500)
    model = PPO(
        "MlpPolicy", envs, n_steps=128, batch_size=512, n_epochs=8, learning_rate=2e-3, gamma=1.0, ent_coef=0.01
    )
    before, _ = evaluate_policy(model, held, 400, deterministic=False)
    model.learn(args.steps)
    after, _ = evaluate_policy(model, held, 400, deterministic=False)
    print(f"return {before:.3f} -> {after:.3f}")
