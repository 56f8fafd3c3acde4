"""TorchRL: two roles learn together on waves; an actor each by clipped PPO, with critics that see the whole observation."""

from __future__ import annotations

import argparse

import torch
from sums import team
from tensordict.nn import TensorDictModule, TensorDictSequential
from torch import nn
from torchrl.collectors import Collector
from torchrl.envs import RewardSum, TransformedEnv
from torchrl.envs.libs.pettingzoo import PettingZooWrapper
from torchrl.envs.utils import check_env_specs
from torchrl.modules import MaskedCategorical, ProbabilisticActor
from torchrl.objectives import ClipPPOLoss


def net(out: int) -> nn.Module:
    return nn.Sequential(nn.Linear(256, 64), nn.Tanh(), nn.Linear(64, out))


if __name__ == "__main__":
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--seed", type=int, default=0)
    args = args.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    check_env_specs(PettingZooWrapper(team(), seed=args.seed))
    env = PettingZooWrapper(team(), seed=args.seed)
    groups = list(env.group_map)
    env = TransformedEnv(env, RewardSum([(g, "reward") for g in groups], [(g, "episode_reward") for g in groups]))
    actors, losses = {}, {}
    for g in groups:
        seen, mask = (g, "observation", "observation"), (g, "action_mask")
        actors[g] = ProbabilisticActor(
            TensorDictModule(net(5), [seen], [(g, "logits")]), in_keys={"logits": (g, "logits"), "mask": mask}, out_keys=[(g, "action")],
            distribution_class=MaskedCategorical, return_log_prob=True, log_prob_key=(g, "log_prob"),
        )  # fmt: skip
        critic = TensorDictModule(net(1), [seen], [(g, "state_value")])
        loss = losses[g] = ClipPPOLoss(actors[g], critic, entropy_coeff=0.005)
        of_group = ("reward", "action", "done", "terminated", "advantage", "value_target")
        loss.set_keys(sample_log_prob=(g, "log_prob"), value=(g, "state_value"), **{key: (g, key) for key in of_group})
        loss.make_value_estimator(gamma=1.0, lmbda=0.95)
    collector = Collector(env, TensorDictSequential(*actors.values()), frames_per_batch=1024, total_frames=1024 * 24)
    optimizer = torch.optim.Adam([p for loss in losses.values() for p in loss.parameters()], 2e-3)
    returns = []
    for batch in collector:
        done = batch["next", "done"].squeeze(-1)
        returns.append(batch["next", groups[0], "episode_reward"].reshape(len(done), -1)[:, 0][done].mean().item())
        with torch.no_grad():
            for loss in losses.values():
                loss.value_estimator(batch, params=loss.critic_network_params)
        for places in (p for _ in range(8) for p in torch.randperm(batch.numel()).split(256)):
            parts = [loss(batch.reshape(-1)[places]) for loss in losses.values()]
            sum(p[k] for p in parts for k in ("loss_objective", "loss_critic", "loss_entropy")).backward()
            optimizer.step()
            optimizer.zero_grad()
        collector.update_policy_weights_()
    print(f"return {sum(returns[:2]) / 2:.3f} -> {sum(returns[-2:]) / 2:.3f}")
