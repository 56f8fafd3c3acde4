"""Partners that are engines: a model, the team of a run folder, an endpoint. They answer many asks at once and are never trained.

Modules that need torch are imported when a partner is made, so that listing partners is quick.
"""

from __future__ import annotations

import os
from pathlib import Path

from baselines.args import TrainArgs, args_of
from baselines.engines.spoken import EnginePartner
from baselines.progress import Progress
from baselines.runlog import RunLog
from baselines.types import Sampling
from llm_marl_envs.errors import ConfigError, MissingExtra


def openai(argument: str) -> EnginePartner:
    """`URL` or `URL#model`: an endpoint (see `OpenAIEngine`)."""
    try:
        from baselines.engines.openai import OpenAIEngine
    except ImportError as bad:
        raise MissingExtra("an endpoint", "openai") from bad
    url, _, name = argument.partition("#")
    return EnginePartner(OpenAIEngine(url, name))


def model(argument: str) -> EnginePartner:
    """A hub name or a local folder of a model with a chat template, as it is."""
    return _team(TrainArgs(model=argument, method="prompted"), None)


def run(argument: str) -> EnginePartner:
    """A run folder: its last checkpoint, or `folder#best` or `folder#step`. Each role is played by the policy that was trained for it; a
    role that the run does not have, by its first policy."""
    folder, _, step = argument.partition("#")
    path = Path(folder) / "args.json"
    if not path.is_file():
        raise ConfigError(f"{folder!r} is no run folder: it has no args.json")
    return _team(args_of(Path(folder)), step)


def _team(args: TrainArgs, step: str | None) -> EnginePartner:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # see `baselines.cli`
    from baselines.team import Team

    team = Team(args, Progress(quiet=True))
    if step is not None and team.method.learns:
        team.restore(RunLog(team.args.out).chosen(step))
    by_role, first = team.route.by_role, team.route.policies[0]
    longest = max(sampling.max_tokens for sampling in team.plan.sampling.values())
    sampling = Sampling(temperature=0.0, max_tokens=longest if step is not None else 1024)
    return EnginePartner(team.engine, lambda agent: by_role.get(agent.rpartition("_")[0], first), sampling)
