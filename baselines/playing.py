"""The team that an evaluation plays: of a run's checkpoint, or of a model as it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from baselines.args import TrainArgs, args_of
from baselines.progress import Progress
from baselines.runlog import RunLog
from baselines.team import Team, resolve_model
from baselines.tiny.sizes import SIZES
from baselines.types import Sampling
from llm_marl_envs.spec import make_task


@dataclass
class Playing:
    """A team, restored; `folder` is its run's, or None; `name` that of the run or model, `model` what it was trained from."""

    team: Team
    sampling: Mapping[str, Sampling]
    name: str
    model: str
    step: int = 0
    folder: Path | None = None


def playing_of(
    policy: str,
    progress: Progress,
    *,
    task: str | None = None,
    workflow: str | None = None,
    set: tuple[str, ...] | None = None,
    team: tuple[str, ...] | None = None,
    temperature: float = 0.0,
    max_tokens: int | None = None,
    step: int | Literal["best"] | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    threads: int = 2,
) -> Playing:
    """A run folder's team at a checkpoint, or a model's; what is None is as in the run, or the default. Where another task or workflow is
    played, the run's knobs, settings of roles and partners do not go along."""
    folder = Path(policy)
    is_run = (folder / "args.json").is_file()
    args = args_of(folder) if is_run else TrainArgs(model=policy, method="prompted")
    named = args.model
    if is_run:  # the model that the run started from, whatever is played now
        of_task, of_workflow, _ = args.knobs()
        first = make_task(args.task, **of_task)
        args = dataclasses.replace(
            args, model=resolve_model(args.model, args.workflow, first, args.seed, progress, of_workflow)
        )
    moved = (task or args.task, workflow or args.workflow) != (args.task, args.workflow)
    args = dataclasses.replace(
        args,
        task=task or args.task,
        workflow=workflow or args.workflow,
        set=set if set is not None else () if moved else args.set,
        per=() if moved else args.per,
        team=team if team is not None else () if moved else args.team,
        max_tokens=max_tokens or (args.max_tokens if is_run or named in SIZES else 1024),
        device=device,
        threads=threads,
    )
    made = Team(args, progress)
    at = 0
    if is_run and made.method.learns:
        log = RunLog(folder)
        checkpoint = log.chosen("" if step is None else str(step))
        at = log.step_of(checkpoint)
        made.restore(checkpoint)
    sampling = made.decoding(temperature)
    if max_tokens:
        sampling = {role: s._replace(max_tokens=max_tokens) for role, s in sampling.items()}
    return Playing(made, sampling, folder.name if is_run else policy, named, at, folder if is_run else None)
