"""A (task, workflow) pair by name and knobs: what an environment id means, and which workflows can be played on which tasks."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llm_marl_envs.catalog import build, find_class, name_of, names
from llm_marl_envs.errors import ConfigError, UnknownName
from llm_marl_envs.protocol import Workflow
from llm_marl_envs.task import Task

VERSION = "v1"  # of the rules: what graders and workflows read in a reply. A record of older rules cannot be compared with new ones


def knobs_of(thing: object) -> dict[str, Any]:
    """A dataclass instance's knobs that differ from their defaults, ready for JSON, except those that only say where things
    are (`data_dir`)."""
    knobs = [f for f in dataclasses.fields(thing) if f.init and not f.metadata.get("where")]  # type: ignore[arg-type]
    return {f.name: value for f in knobs if (value := getattr(thing, f.name)) != f.default}


def reads_data(task: str) -> bool:
    """Whether a task reads data: it then has a `data_dir`. One that reads none is made up."""
    return any(f.name == "data_dir" for f in dataclasses.fields(find_class("llm_marl_envs.tasks", task)))


def make_task(name: str, data_dir: str | Path | None = None, **knobs: Any) -> Task:
    """A task by name, for example `make_task("arithmetic", digits=3)`; `data_dir` is for tasks that read data."""
    if data_dir is not None and reads_data(name):
        knobs["data_dir"] = str(data_dir)
    return build("llm_marl_envs.tasks", name, knobs)


def make_workflow(name: str, **knobs: Any) -> Workflow:
    """A workflow by name, for example `make_workflow("eval_opt", rounds=2)`."""
    return build("llm_marl_envs.workflows", name, knobs)


def split_id(env_id: str) -> tuple[str, str]:
    """("gsm8k", "eval_opt") for "gsm8k/eval_opt-v1"; an UnknownName with the nearest names otherwise."""
    pair, dash, version = env_id.rpartition("-")
    task, slash, workflow = pair.partition("/")
    if not dash or not slash or version != VERSION:
        raise UnknownName("environment", env_id, env_ids())
    return task, workflow


def share_knobs(task: str, workflow: str, knobs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sort knobs into the task's and the workflow's by their field names."""
    of_task = {f.name for f in dataclasses.fields(find_class("llm_marl_envs.tasks", task)) if f.init}
    of_workflow = {f.name for f in dataclasses.fields(find_class("llm_marl_envs.workflows", workflow)) if f.init}
    for knob in knobs:
        if knob not in of_task | of_workflow:
            raise UnknownName(f"knob of {task} or {workflow}", knob, of_task | of_workflow)
        if knob in of_task & of_workflow:
            raise ConfigError(
                f"both {task} and {workflow} have a knob {knob!r}; build them apart and use WorkflowEnv(...)"
            )
    return (
        {k: v for k, v in knobs.items() if k in of_task},
        {k: v for k, v in knobs.items() if k in of_workflow},
    )


def missing_tools(task: Task, workflow: Workflow, given: Iterable[str] = ()) -> tuple[str, ...]:
    """The tools that a workflow's agents use (its `needs`, if it has any) and the task does not have, nor are `given`. Making
    a tool may take a while; a task that knows its tools' names before says them as `offers`."""
    needs = set(getattr(workflow, "needs", ())) - set(given)
    return tuple(sorted(needs - set(getattr(task, "offers", None) or task.tools))) if needs else ()


def check_tools(task: Task, workflow: Workflow) -> None:
    """Raises ConfigError unless the task has all tools that the workflow's agents use."""
    if not (missing := missing_tools(task, workflow)):
        return
    names = name_of("llm_marl_envs.workflows", workflow), name_of("llm_marl_envs.tasks", task)
    if takes_corpus(task):
        remedy = "give it corpus='wiki.jsonl.gz', corpus='atlas' to try, or retriever='http://...'"
    else:
        remedy = "docs/workflows.md says which tasks have it"
    raise ConfigError(
        f"{names[0]} uses the tool {missing[0]!r}; {names[1]} has {', '.join(task.tools) or 'no tools'}: {remedy}"
    )


def takes_corpus(task: Task) -> bool:
    """Whether a task can be given something to search: a `corpus`."""
    return any(f.name == "corpus" for f in dataclasses.fields(task))  # type: ignore[arg-type]


@functools.cache
def env_ids() -> tuple[str, ...]:
    """The ids of all environments that can be made. Where agents search and the task brings nothing to search, that is with
    a corpus or a retriever only: `make("hotpotqa/search_answer-v1", corpus="atlas")`. Reads no data."""
    tasks = {name: make_task(name) for name in names("llm_marl_envs.tasks")}
    workflows = {name: make_workflow(name) for name in names("llm_marl_envs.workflows")}
    return tuple(
        f"{task}/{workflow}-{VERSION}"
        for task, of_task in tasks.items()
        for workflow, of_workflow in workflows.items()
        if not missing_tools(of_task, of_workflow, ("search",) if takes_corpus(of_task) else ())
    )


@dataclass(frozen=True, slots=True)
class EnvSpec:
    """A (task, workflow) pair as plain data, from which it can be made again."""

    task: str
    workflow: str
    task_knobs: Mapping[str, Any] = field(default_factory=dict)
    workflow_knobs: Mapping[str, Any] = field(default_factory=dict)
    version: str = VERSION

    @classmethod
    def of(cls, task: Task, workflow: Workflow) -> EnvSpec:
        names = name_of("llm_marl_envs.tasks", task), name_of("llm_marl_envs.workflows", workflow)
        return cls(*names, knobs_of(task), knobs_of(workflow))

    @property
    def env_id(self) -> str:
        return f"{self.task}/{self.workflow}-{self.version}"

    def make_task(self, data_dir: str | Path | None = None, places: Mapping[str, Any] = {}) -> Task:
        """The task, with `places` (a corpus, a retriever) as the caller says: where things are is never taken from a record."""
        where = {
            f.name for f in dataclasses.fields(find_class("llm_marl_envs.tasks", self.task)) if f.metadata.get("where")
        }
        own = {name: value for name, value in places.items() if name in where and value is not None}
        return make_task(self.task, data_dir, **{k: v for k, v in self.task_knobs.items() if k not in where}, **own)

    def make_workflow(self) -> Workflow:
        return make_workflow(self.workflow, **self.workflow_knobs)
