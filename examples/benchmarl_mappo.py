"""BenchMARL: MAPPO on a team, waves; masked actors for each role, and critics that see the team's transcript."""

from __future__ import annotations

import argparse
from itertools import count
from tempfile import TemporaryDirectory
from typing import Any

import torch
from benchmarl.algorithms import MappoConfig
from benchmarl.environments.pettingzoo.common import PettingZooClass
from benchmarl.experiment import Callback, Experiment, ExperimentConfig
from benchmarl.models.mlp import MlpConfig
from sums import team
from torchrl.envs.libs.pettingzoo import PettingZooWrapper

MADE = count()  # BenchMARL gives all environments of an experiment one seed


class Sums(PettingZooClass):
    """A task whose specs of observations, masks and state are read off the environment."""

    def get_env_fun(self, num_envs: int, continuous_actions: bool, seed: int | None, device: Any) -> Any:
        return lambda: PettingZooWrapper(
            team(), return_state=True, categorical_actions=True, seed=1000 * (seed or 0) + next(MADE)
        )

    def supports_discrete_actions(self) -> bool:
        return True


class Returns(Callback):
    """The mean return of each batch's episodes."""

    means: tuple[float, ...] = ()

    def on_batch_collected(self, batch: Any) -> None:
        ended = batch["next", "done"].flatten()
        self.means += (batch["next", "generator", "episode_reward"].flatten()[ended].mean().item(),)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--iterations", type=int, default=18)
    args = parser.parse_args()
    torch.set_num_threads(1)
    algorithm, model, config = (each.get_from_yaml() for each in (MappoConfig, MlpConfig, ExperimentConfig))
    algorithm.entropy_coef, algorithm.lmbda, model.num_cells = 0.01, 0.95, [64]
    config.gamma, config.lr, config.max_n_frames, config.max_n_iters = 1.0, 2e-3, None, args.iterations
    config.on_policy_collected_frames_per_batch, config.on_policy_n_envs_per_worker = 1024, 8
    config.on_policy_minibatch_size, config.on_policy_n_minibatch_iters = 128, 8
    config.loggers, config.create_json, config.evaluation = [], False, False
    returns = Returns()
    with TemporaryDirectory() as config.save_folder:
        Experiment(Sums("sums", {"max_cycles": 10}), algorithm, model, args.seed, config, callbacks=[returns]).run()
    print(f"return {sum(returns.means[:2]) / 2:.3f} -> {sum(returns.means[-2:]) / 2:.3f}")
