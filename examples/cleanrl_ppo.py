"""PPO in one file, as CleanRL does it: only torch, and a batch of Gymnasium environments in which the generator of a team learns."""

from __future__ import annotations

import argparse

import gymnasium
import torch
from gymnasium.vector import AutoresetMode
from sums import generator
from torch import nn
from torch.distributions import Categorical

ENVS, STEPS, UPDATES = 16, 64, 20

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    gymnasium.register("Sums-v0", generator)
    envs = gymnasium.make_vec("Sums-v0", ENVS, "sync", vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP})
    (size,), choices = envs.single_observation_space.shape, envs.single_action_space.n
    actor, critic = (nn.Sequential(nn.Linear(size, 64), nn.Tanh(), nn.Linear(64, out)) for out in (choices, 1))
    adam = torch.optim.Adam([*actor.parameters(), *critic.parameters()], 2e-3)
    now = torch.as_tensor(envs.reset(seed=1000 * args.seed)[0])
    returns = []
    for _ in range(UPDATES + 1):
        rows = []
        for _ in range(STEPS):
            with torch.no_grad():
                policy = Categorical(logits=actor(now))
            action = policy.sample()
            found, reward, over, _, _ = envs.step(action.numpy())  # never cut: a budget that ran out is an end
            rows.append(
                (now, action, policy.log_prob(action), torch.as_tensor(reward).float(), torch.as_tensor(over).int())
            )
            now = torch.as_tensor(found)
        seen, did, before, rewards, over = (torch.stack(part) for part in zip(*rows, strict=True))
        returns.append((rewards.sum() / over.sum()).item())
        with torch.no_grad():
            values = critic(torch.cat([seen, now[None]])).squeeze(-1)
        gains, gain = torch.zeros(STEPS, ENVS), torch.zeros(ENVS)
        for t in reversed(range(STEPS)):  # advantages with gamma 1 and lambda 0.95; nothing is carried over an end
            gain = gains[t] = rewards[t] - values[t] + (1 - over[t]) * (values[t + 1] + 0.95 * gain)
        data = [part.flatten(0, 1) for part in (seen, did, before, gains, gains + values[:-1])]
        for places in (p for _ in range(8) for p in torch.randperm(ENVS * STEPS).split(256)):
            at, action, logprob, gain, target = (part[places] for part in data)
            policy = Categorical(logits=actor(at))
            ratio, better = (policy.log_prob(action) - logprob).exp(), (gain - gain.mean()) / (gain.std() + 1e-8)
            loss = -torch.min(ratio * better, ratio.clamp(0.8, 1.2) * better).mean() - 0.01 * policy.entropy().mean()
            loss += 0.5 * (critic(at).squeeze(-1) - target).square().mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
    print(
        f"return {returns[0]:.3f} -> {returns[-1]:.3f}"
    )  # of the first batch, which nobody was trained for, and the last
