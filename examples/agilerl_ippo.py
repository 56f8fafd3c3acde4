"""AgileRL: two roles learn together on waves, a policy each by IPPO."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from agilerl.algorithms import IPPO
from sums import team


def stacked(of_envs: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    return {agent: np.stack([each[agent] for each in of_envs]) for agent in of_envs[0]}


def play(learner: IPPO, envs: list[Any], steps: int) -> tuple[tuple[Any, ...], float]:
    """Experiences as `learn` takes them (its own loop forgets where episodes ended), and the mean return."""
    seen, returns = stacked([env.reset()[0] for env in envs]), []
    over = {agent: np.zeros(len(envs)) for agent in seen}
    kept: list[dict[str, list[np.ndarray]]] = [{agent: [] for agent in seen} for _ in range(6)]
    for _ in range(steps):
        actions, log_probs, _, values = learner.get_action(seen)
        moves = ({agent: actions[agent][i].item() for agent in seen} for i in range(len(envs)))
        after, rewards, ends, _, _ = map(list, zip(*map(lambda env, move: env.step(move), envs, moves), strict=True))
        for column, new in zip(kept, (seen, actions, log_probs, stacked(rewards), over, values), strict=True):
            for agent in seen:
                column[agent].append(new[agent])
        over = {agent: end.astype(float) for agent, end in stacked(ends).items()}
        for i in over["generator_0"].nonzero()[0]:
            returns.append(rewards[i]["generator_0"])
            after[i] = envs[i].reset()[0]
        seen = stacked(after)
    return (*kept, seen, over), float(np.mean(returns))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--iterations", type=int, default=24)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    np.random.seed(args.seed)
    envs = [team(flat=True) for _ in range(16)]  # its IPPO samples with masks, but learns without
    for i, env in enumerate(envs):
        env.reset(seed=1000 * args.seed + i)
    agents = envs[0].possible_agents
    learner = IPPO(
        list(map(envs[0].observation_space, agents)), list(map(envs[0].action_space, agents)), agents,
        batch_size=256, lr=1e-3, update_epochs=8, target_kl=0.02, gamma=1.0, ent_coef=0.005,
    )  # fmt: skip
    _, before = play(learner, envs, 64)
    for _ in range(args.iterations):
        learner.learn(play(learner, envs, 64)[0])
    _, after = play(learner, envs, 64)
    print(f"return {before:.3f} -> {after:.3f}")
