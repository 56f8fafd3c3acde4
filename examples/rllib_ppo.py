"""RLlib: two roles learn together on waves, a policy each by PPO with action masks."""

from __future__ import annotations

import argparse
from typing import Any

import ray
import torch
from gymnasium.spaces import Dict
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.env.wrappers.pettingzoo_env import ParallelPettingZooEnv
from ray.rllib.examples.rl_modules.classes.action_masking_rlm import ActionMaskingTorchRLModule
from ray.tune.registry import register_env
from sums import team


class Masked(ActionMaskingTorchRLModule):
    """RLlib's own calls what is seen `observations`, PettingZoo `observation`."""

    def __init__(self, *, observation_space: Dict, **options: Any):
        seen = {"observations": observation_space["observation"], "action_mask": observation_space["action_mask"]}
        super().__init__(observation_space=Dict(seen), **options)

    def _preprocess_batch(self, batch: dict[str, Any], **options: Any) -> Any:
        batch["obs"]["observations"] = batch["obs"].pop("observation")
        return super()._preprocess_batch(batch, **options)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--iterations", type=int, default=36)
    args = parser.parse_args()
    torch.set_num_threads(1)
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    register_env("sums", lambda _: ParallelPettingZooEnv(team()))
    ppo = (
        PPOConfig()
        .environment("sums")
        .env_runners(num_env_runners=0, num_envs_per_env_runner=32)
        .multi_agent(policies={"generator", "evaluator"}, policy_mapping_fn=lambda seat, *_, **__: seat.split("_")[0])
        .rl_module(rl_module_spec=RLModuleSpec(Masked, model_config={"fcnet_hiddens": [64]}))
        .training(gamma=1.0, lr=1e-3, num_epochs=8, use_kl_loss=False, entropy_coeff=0.005)
        .training(train_batch_size_per_learner=1024, minibatch_size=256)
        .evaluation(evaluation_interval=1000, evaluation_duration=400)
        .reporting(metrics_num_episodes_for_smoothing=400)
        .debugging(seed=args.seed, log_level="ERROR")
        .build_algo()
    )

    def played() -> float:
        """A role's mean return in fresh episodes; `episode_return_mean` would be the sum of both."""
        return ppo.evaluate()["env_runners"]["module_episode_returns_mean"]["generator"]

    before = played()
    for _ in range(args.iterations):
        ppo.train()
    print(f"return {before:.3f} -> {played():.3f}")
