"""Environments by id, and their registration with PettingZoo."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pettingzoo

from llm_marl_envs.envs.aec import WorkflowEnv
from llm_marl_envs.errors import ConfigError
from llm_marl_envs.rewards import Rule
from llm_marl_envs.session import Limits
from llm_marl_envs.spec import env_ids, make_task, make_workflow, share_knobs, split_id


def make(
    env_id: str,
    *,
    split: str | None = None,
    render_mode: str | None = None,
    data_dir: str | Path | None = None,
    reward: str | Rule = "team",
    **knobs: Any,
) -> WorkflowEnv:
    """The environment `<task>/<workflow>-v1`. Knobs go to the task or the workflow, whichever has a field of that name;
    `limits=Limits(...)` sets the budget. Without a split it is the training split, or the only one there is."""
    task_name, workflow_name = split_id(env_id)
    limits = knobs.pop("limits", Limits())
    task_knobs, workflow_knobs = share_knobs(task_name, workflow_name, knobs)
    task = make_task(task_name, data_dir, **task_knobs)
    workflow = make_workflow(workflow_name, **workflow_knobs)
    return WorkflowEnv(task, workflow, split=split, reward=reward, limits=limits, render_mode=render_mode)


def register() -> None:
    """Make PettingZoo know our environments: after it `pettingzoo.make("aec", "gsm8k/eval_opt-v1", **knobs)` works, for all of
    `env_ids()`. Calling it again changes nothing. Raises ConfigError where this PettingZoo has no registry."""
    if not hasattr(pettingzoo, "register"):
        raise ConfigError(
            f"PettingZoo {pettingzoo.__version__} has no registry; it came with 1.27. Run: pip install --upgrade pettingzoo, or "
            f"use llm_marl_envs.make(env_id), which needs none"
        )
    for env_id in env_ids():
        if env_id not in pettingzoo.aec_registry:
            pettingzoo.register("aec", env_id, entry_point=functools.partial(make, env_id))
