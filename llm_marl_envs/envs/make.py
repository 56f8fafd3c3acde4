"""Environments by id, and their registration with PettingZoo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llm_marl_envs.envs.aec import WorkflowEnv
from llm_marl_envs.rewards import Rule
from llm_marl_envs.session import Limits
from llm_marl_envs.spec import make_task, make_workflow, share_knobs, split_id


def make(
    env_id: str,
    *,
    split: str | None = None,
    render_mode: str | None = None,
    data_dir: str | Path | None = None,
    reward: str | Rule = "team",
    **knobs: Any,
) -> WorkflowEnv:
    """The environment `<task>/<workflow>-v0`. Knobs go to the task or the workflow, whichever has a field of that name;
    `limits=Limits(...)` sets the budget. Without a split it is the training split, or the only one there is."""
    task_name, workflow_name = split_id(env_id)
    limits = knobs.pop("limits", Limits())
    task_knobs, workflow_knobs = share_knobs(task_name, workflow_name, knobs)
    task = make_task(task_name, data_dir, **task_knobs)
    workflow = make_workflow(workflow_name, **workflow_knobs)
    return WorkflowEnv(task, workflow, split=split, reward=reward, limits=limits, render_mode=render_mode)
