"""Stable-Baselines3: PPO on one role of a team, whose other role is played by a fixed partner."""

from __future__ import annotations

import argparse

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from sums import generator

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=16_000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    check_env(generator())
    envs = make_vec_env(generator, n_envs=8, seed=args.seed)
    model = PPO(
        "MlpPolicy", envs, seed=args.seed, n_steps=128, batch_size=256, n_epochs=8, learning_rate=2e-3, gamma=1.0, ent_coef=0.01
    )  # fmt: skip
    held = make_vec_env(generator, n_envs=8, seed=args.seed + 1)
    before, _ = evaluate_policy(model, held, 400, deterministic=False)
    model.learn(args.steps)
    after, _ = evaluate_policy(model, held, 400, deterministic=False)
    print(f"return {before:.3f} -> {after:.3f}")
