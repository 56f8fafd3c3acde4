"""Which environments can be made, and what some of them need for it."""

from __future__ import annotations

import dataclasses
from typing import Any

from llm_marl_envs import WorkflowEnv, make, make_task, make_workflow
from llm_marl_envs.catalog import names
from llm_marl_envs.spec import missing_tools, split_id


def knobs_for(env_id: str) -> dict[str, str] | None:
    """The knobs that an environment needs: a corpus if its agents search. None: the task can never have a tool they need."""
    task, workflow = split_id(env_id)
    fields = {f.name for f in dataclasses.fields(make_task(task))}  # type: ignore[arg-type]
    knobs = {"corpus": "atlas"} if {"corpus"} <= fields and getattr(make_workflow(workflow), "needs", ()) else {}
    return None if missing_tools(make_task(task, **knobs), make_workflow(workflow)) else knobs


PAIRS = [f"{t}/{w}-v1" for t in names("llm_marl_envs.tasks") for w in names("llm_marl_envs.workflows")]
KNOBS = {env_id: knobs for env_id in PAIRS if (knobs := knobs_for(env_id)) is not None}


# A task that needs no data for every workflow.
ENVS = {
    workflow: next(f"{task}/{workflow}-v1" for task in ("arithmetic", "atlas", "snippets") if KNOBS.get(f"{task}/{workflow}-v1") == {})
    for workflow in names("llm_marl_envs.workflows")
}  # fmt: skip


def made(env_id: str, **given: Any) -> WorkflowEnv:
    return make(env_id, **KNOBS[env_id], **given)
