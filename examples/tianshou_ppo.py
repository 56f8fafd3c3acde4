"""Tianshou: its PPO on one role of a team, a Gymnasium environment to it, whose other role is played by a fixed partner."""

from __future__ import annotations

import argparse

import numpy as np
import torch
from sums import generator
from tianshou.algorithm import PPO
from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, VectorReplayBuffer
from tianshou.env import DummyVectorEnv
from tianshou.trainer import OnPolicyTrainerParams
from tianshou.utils.net.common import Net
from tianshou.utils.net.discrete import DiscreteActor, DiscreteCritic

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    np.random.seed(args.seed)

    def collector(seed: int) -> Collector:
        envs = DummyVectorEnv([generator] * 8)
        envs.seed(list(range(seed, seed + 8)))
        made = Collector(ppo, envs, VectorReplayBuffer(4096, 8))
        made.reset()
        return made

    def net() -> Net:
        return Net(state_shape=256, hidden_sizes=[64], activation=torch.nn.Tanh)

    env = generator()
    actor = DiscreteActor(preprocess_net=net(), action_shape=env.action_space.n, softmax_output=False)
    policy = DiscreteActorPolicy(actor=actor, action_space=env.action_space)
    critic = DiscreteCritic(preprocess_net=net())
    ppo = PPO(policy=policy, critic=critic, optim=AdamOptimizerFactory(lr=2e-3), gamma=1.0)
    settings = OnPolicyTrainerParams(
        training_collector=collector(1000 * args.seed), max_epochs=1, epoch_num_steps=16_384, collection_step_num_env_steps=1024,
        batch_size=256, update_step_num_repetitions=8, test_step_num_episodes=0, verbose=False, show_progress=False,
    )  # fmt: skip
    before = collector(1000 * args.seed + 500).collect(n_episode=400).returns.mean()
    ppo.run_training(settings)
    after = collector(1000 * args.seed + 600).collect(n_episode=400).returns.mean()
    print(f"return {before:.3f} -> {after:.3f}")
