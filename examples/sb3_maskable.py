"""sb3-contrib: MaskablePPO is a whole team with one menu of 22 texts, of which an ask allows the generator five, the evaluator two."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.evaluation import evaluate_policy
from stable_baselines3.common.env_util import make_vec_env
from sums import KNOBS, options

from llm_marl_envs import Ask, make_role, numeric
from llm_marl_envs.envs.codecs import Hashed, Menu

TEXTS = [r"\boxed{Correct}", r"\boxed{Incorrect}", *(rf"\boxed{{{n}}}" for n in range(20))]


class Allowed(Menu):
    """A menu of which `options` are allowed; an action that is not counts as the first one that is."""

    def mask(self, role: str, ask: Ask | None) -> np.ndarray:
        return np.array([text in options(ask) for text in TEXTS], np.int8) if ask else super().mask(role, ask)


def everybody() -> Any:
    """One learner is the generator, then the evaluator, ask by ask. Its masks are the environment's `action_masks()`."""
    env = make_role("arithmetic/eval_opt-v1", **KNOBS)
    return numeric(env, Hashed(256), Allowed(env.workflow, TEXTS), flat=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=32_000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    envs = make_vec_env(everybody, n_envs=8, seed=args.seed)
    model = MaskablePPO(
        "MlpPolicy", envs, seed=args.seed, n_steps=128, batch_size=256, n_epochs=8, learning_rate=2e-3, gamma=1.0, ent_coef=0.01
    )  # fmt: skip
    held = make_vec_env(everybody, n_envs=8, seed=args.seed + 1)
    before, _ = evaluate_policy(model, held, 400, deterministic=False)
    model.learn(args.steps)
    after, _ = evaluate_policy(model, held, 400, deterministic=False)
    print(f"return {before:.3f} -> {after:.3f}")
