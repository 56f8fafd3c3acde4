"""Tianshou: both roles of a team learn, a DQN each, one agent after the other and with masks."""

from __future__ import annotations

import argparse

import numpy as np
import torch
from sums import one_by_one
from tianshou.algorithm import DQN
from tianshou.algorithm.modelfree.dqn import DiscreteQLearningPolicy
from tianshou.algorithm.multiagent.marl import MultiAgentOffPolicyAlgorithm
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, VectorReplayBuffer
from tianshou.env import DummyVectorEnv, PettingZooEnv
from tianshou.trainer import OffPolicyTrainerParams
from tianshou.utils.net.common import Net


def dqn(env: PettingZooEnv) -> DQN:
    """Of one role. What follows its step is another role's observation, which has no value to it, and the reward may come with another
    role's step: so the target is the reward of the whole episode, which has 3 asks at most."""
    model = Net(state_shape=256, action_shape=env.action_space.n, hidden_sizes=[64], activation=torch.nn.Tanh)
    policy = DiscreteQLearningPolicy(model=model, action_space=env.action_space, eps_training=0.1)
    return DQN(policy=policy, optim=AdamOptimizerFactory(lr=2e-3), gamma=1.0, n_step_return_horizon=3, is_double=False)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    np.random.seed(args.seed)

    def collector(seed: int) -> Collector:
        envs = DummyVectorEnv([lambda: PettingZooEnv(one_by_one())] * 8)
        envs.seed(list(range(seed, seed + 8)))
        made = Collector(team, envs, VectorReplayBuffer(8192, 8), exploration_noise=True)
        made.reset()
        return made

    env = PettingZooEnv(one_by_one())
    team = MultiAgentOffPolicyAlgorithm(algorithms=[dqn(env) for _ in env.agents], env=env)
    settings = OffPolicyTrainerParams(
        training_collector=collector(1000 * args.seed), max_epochs=1, epoch_num_steps=24_576, collection_step_num_env_steps=512,
        batch_size=256, update_step_num_gradient_steps_per_sample=1 / 16, test_step_num_episodes=0, verbose=False, show_progress=False,
    )  # fmt: skip
    before = collector(1000 * args.seed + 500).collect(n_episode=400).returns.mean()
    team.run_training(settings)
    after = collector(1000 * args.seed + 600).collect(n_episode=400).returns.mean()
    print(f"return {before:.3f} -> {after:.3f}")
