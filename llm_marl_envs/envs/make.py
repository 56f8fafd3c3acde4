"""Environments by id, in every view, and their registration with PettingZoo and Gymnasium."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import gymnasium
import pettingzoo
from gymnasium.vector import AutoresetMode

from llm_marl_envs.envs.aec import WorkflowEnv
from llm_marl_envs.envs.parallel import WaveEnv
from llm_marl_envs.envs.role import Partners, RoleEnv
from llm_marl_envs.envs.vector import VecEnv
from llm_marl_envs.errors import ConfigError
from llm_marl_envs.protocol import Workflow
from llm_marl_envs.spec import env_ids, make_task, make_workflow, share_knobs, split_id
from llm_marl_envs.task import Task

OPTIONS = ("split", "reward", "limits", "render_mode")


def make(env_id: str, *, data_dir: str | Path | None = None, **knobs: Any) -> WorkflowEnv:
    """The environment `<task>/<workflow>-v1`, in which agents act one after the other. Knobs go to the task or the workflow, whichever
    has a field of that name; beside them `split` (the training split, or the only one), `reward` (a rule or its name, "team"),
    `limits=Limits(...)` (the budget) and `render_mode` ("ansi" or "human")."""
    task, workflow, options = parts(env_id, data_dir, knobs)
    return WorkflowEnv(task, workflow, **options)


def make_parallel(env_id: str, *, data_dir: str | Path | None = None, **knobs: Any) -> WaveEnv:
    """The same as a parallel environment: a step is a wave."""
    task, workflow, options = parts(env_id, data_dir, knobs)
    return WaveEnv(task, workflow, **options)


def make_role(
    env_id: str,
    role: str | None = None,
    partners: Partners | None = None,
    *,
    data_dir: str | Path | None = None,
    **knobs: Any,
) -> RoleEnv:
    """The same as a Gymnasium environment: one role or seat learns (None: the whole team), `partners` play the others."""
    task, workflow, options = parts(env_id, data_dir, knobs)
    return RoleEnv(task, workflow, role, partners, **options)


def make_vec(
    env_id: str,
    num_envs: int = 1,
    role: str | None = None,
    partners: Partners | None = None,
    *,
    autoreset: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    data_dir: str | Path | None = None,
    **knobs: Any,
) -> VecEnv:
    """`num_envs` of `make_role` as one batch of texts in Gymnasium's vector protocol."""
    task, workflow, options = parts(env_id, data_dir, knobs)
    return VecEnv(task, workflow, num_envs, role, partners, autoreset=autoreset, **options)


def parts(env_id: str, data_dir: str | Path | None, knobs: dict[str, Any]) -> tuple[Task, Workflow, Any]:
    """The task, the workflow and the options that an id and its keyword arguments say."""
    options = {name: knobs.pop(name) for name in OPTIONS if name in knobs}
    task_name, workflow_name = split_id(env_id)
    task_knobs, workflow_knobs = share_knobs(task_name, workflow_name, knobs)
    return make_task(task_name, data_dir, **task_knobs), make_workflow(workflow_name, **workflow_knobs), options


def gymnasium_id(env_id: str) -> str:
    """`llm_marl/gsm8k-solo-v1` for `gsm8k/solo-v1`: Gymnasium's ids have one slash, before the name."""
    return f"llm_marl/{env_id.replace('/', '-')}"


def register() -> None:
    """Make PettingZoo and Gymnasium know our environments, all of `env_ids()`: after it `pettingzoo.make("aec", "gsm8k/eval_opt-v1")`
    and `"parallel"` work, and `gymnasium.make("llm_marl/gsm8k-solo-v1", **knobs)` and `gymnasium.make_vec` as `make_role` and
    `make_vec` do. Calling it again changes nothing. Raises ConfigError where this PettingZoo has no registry."""
    for env_id in env_ids():
        if (name := gymnasium_id(env_id)) not in gymnasium.registry:
            gymnasium.register(
                name,
                entry_point=functools.partial(make_role, env_id),
                vector_entry_point=functools.partial(make_vec, env_id),
            )
    if not hasattr(pettingzoo, "register"):
        raise ConfigError(
            f"PettingZoo {pettingzoo.__version__} has no registry; it came with 1.27. Run: pip install --upgrade pettingzoo, or "
            f"use llm_marl_envs.make(env_id), which needs none"
        )
    for env_id in env_ids():
        if env_id not in pettingzoo.aec_registry:
            pettingzoo.register("aec", env_id, entry_point=functools.partial(make, env_id))
        if env_id not in pettingzoo.parallel_registry:
            pettingzoo.register("parallel", env_id, entry_point=functools.partial(make_parallel, env_id))
