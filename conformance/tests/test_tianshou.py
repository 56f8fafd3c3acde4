# pyright: reportMissingImports=false
"""What Tianshou makes of a team: off policy returns are right and masks are kept; on policy neither, for who does not act last gets the
next episode's reward."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from examples.sums import one_by_one

os.environ.setdefault("NUMBA_DISABLE_JIT", "1")  # compiling takes longer than the test
pytest.importorskip("tianshou")
import torch
from tianshou.algorithm import DQN, Reinforce
from tianshou.algorithm.modelfree.dqn import DiscreteQLearningPolicy
from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy
from tianshou.algorithm.multiagent.marl import MultiAgentOffPolicyAlgorithm, MultiAgentOnPolicyAlgorithm
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, VectorReplayBuffer
from tianshou.env import DummyVectorEnv, PettingZooEnv
from tianshou.utils.net.common import Net
from tianshou.utils.net.discrete import DiscreteActor

pytestmark = pytest.mark.filterwarnings("ignore")


class Seen(DiscreteActor):
    """An actor that is given a PettingZoo observation, of which a DQN takes `obs` by itself."""

    def forward(self, obs: Any, state: Any = None, info: Any = None) -> Any:
        return super().forward(obs.obs, state, info)


def reinforce(env: PettingZooEnv) -> Reinforce:
    actor = Seen(preprocess_net=Net(state_shape=256, hidden_sizes=[4]), action_shape=5)
    policy = DiscreteActorPolicy(actor=actor, action_space=env.action_space, dist_fn=torch.distributions.Categorical)
    return Reinforce(policy=policy, optim=AdamOptimizerFactory(lr=1e-3), gamma=1.0)


def dqn(env: PettingZooEnv) -> DQN:
    policy = DiscreteQLearningPolicy(
        model=Net(state_shape=256, action_shape=5, hidden_sizes=[4]), action_space=env.action_space, eps_inference=1.0
    )
    return DQN(policy=policy, optim=AdamOptimizerFactory(lr=1e-3), gamma=1.0, n_step_return_horizon=3)


@pytest.mark.parametrize(
    ("team", "one", "right"),
    [(MultiAgentOffPolicyAlgorithm, dqn, True), (MultiAgentOnPolicyAlgorithm, reinforce, False)],
)
def test_returns_of_roles_and_masks(team, one, right):
    np.random.seed(0)
    torch.manual_seed(0)
    env = PettingZooEnv(one_by_one())
    algorithm = team(algorithms=[one(env) for _ in env.agents], env=env)
    envs = DummyVectorEnv([lambda: PettingZooEnv(one_by_one())])
    envs.seed([0])
    played = Collector(algorithm, envs, VectorReplayBuffer(2000, 1), exploration_noise=True)
    played.reset()
    played.collect(n_episode=100)
    batch, places = played.buffer.sample(0)
    assert np.array_equal(batch.rew[:, 0], batch.rew[:, 1]), "the reward is the team's"
    assert batch.obs.mask.sum(1)[batch.obs.agent_id == "evaluator_0"].tolist() == [2] * 100
    kept = all(batch.obs.mask[i, action] for i, action in enumerate(batch.act))
    assert kept is right, "a DQN keeps to masks, DiscreteActor knows of none"
    true, later = np.zeros(len(batch)), 0.0
    for i in reversed(range(len(batch))):
        true[i] = later = batch.rew[i, 0] + (0.0 if batch.done[i] else later)
    made = algorithm._preprocess_batch(batch, played.buffer, places)
    same = [
        np.allclose(np.ravel(made[agent].returns), true[batch.obs.agent_id == agent]) for agent in ("generator_0", "evaluator_0")
    ]  # fmt: skip
    assert same == [right, right]
