"""Names to objects. A task or workflow is looked up by the name of its module, imported when first asked for.

`tasks/gsm8k.py` *is* the task "gsm8k"; its class is the one whose name is the module's, case and underscores aside (GSM8K).
Somebody else's is named "their.module:Class". There is no registry to edit.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_marl_envs.errors import ConfigError, UnknownName
from llm_marl_envs.protocol import Workflow
from llm_marl_envs.rewards import Rule
from llm_marl_envs.tasks.base import Task

if TYPE_CHECKING:
    from llm_marl_envs.env import WorkflowEnv

VERSION = "v0"


@functools.cache
def names(kind: str) -> tuple[str, ...]:
    """The names in a package of plug-ins, such as `llm_marl_envs.tasks`, without importing them."""
    package = importlib.import_module(kind)
    modules = (m.name for m in pkgutil.iter_modules(package.__path__) if not m.ispkg)
    return tuple(sorted(name for name in modules if name not in ("base", "prompts")))


@functools.cache
def find_class(package: str, name: str) -> type:
    """The class behind a name: a module of `package`, or "their.module:Class"."""
    what = package.rpartition(".")[2].removesuffix("s")
    if ":" in name:
        module_name, _, class_name = name.partition(":")
        try:
            return getattr(importlib.import_module(module_name), class_name)
        except (ImportError, AttributeError) as bad:
            raise UnknownName(what, name, names(package)) from bad
    if name not in names(package):
        raise UnknownName(what, name, names(package))
    module = importlib.import_module(f"{package}.{name}")
    wanted = name.replace("_", "")
    wanted = wanted.replace("2", "two", 1) if wanted[0] == "2" else wanted  # 2wikimultihopqa: TwoWikiMultihopQA
    return next(c for c in vars(module).values() if isinstance(c, type) and c.__name__.lower() == wanted)


def name_of(package: str, thing: object) -> str:
    """The name that `find_class` finds `thing`'s class by."""
    module, _, last = type(thing).__module__.rpartition(".")
    return last if module == package else f"{type(thing).__module__}:{type(thing).__qualname__}"


def knobs_of(thing: object) -> dict[str, Any]:
    """A dataclass instance's knobs that differ from their defaults, ready for JSON, but those that only say where things
    are (`data_dir`)."""
    knobs = [f for f in dataclasses.fields(thing) if f.init and not f.metadata.get("where")]  # type: ignore[arg-type]
    return {f.name: value for f in knobs if (value := getattr(thing, f.name)) != f.default}


def build(package: str, name: str, knobs: Mapping[str, Any]) -> Any:
    """Make the thing called `name`. Unknown knobs are an UnknownName, impossible values a ConfigError."""
    cls = find_class(package, name)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}
    for knob in knobs:
        if knob not in fields:
            raise UnknownName(f"knob of {name}", knob, fields)
    try:
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in knobs.items()})
    except (TypeError, ValueError) as bad:
        raise ConfigError(f"{name} does not accept {dict(knobs)}: {bad}") from bad


def make_task(name: str, data_dir: str | Path | None = None, **knobs: Any) -> Task:
    """A task by name, for example `make_task("arithmetic", digits=3)`; `data_dir` is for tasks that read data."""
    takes_data = any(f.name == "data_dir" for f in dataclasses.fields(find_class("llm_marl_envs.tasks", name)))
    if data_dir is not None and takes_data:
        knobs["data_dir"] = str(data_dir)
    return build("llm_marl_envs.tasks", name, knobs)


def make_workflow(name: str, **knobs: Any) -> Workflow:
    """A workflow by name, for example `make_workflow("eval_opt", rounds=2)`."""
    return build("llm_marl_envs.workflows", name, knobs)


def split_id(env_id: str) -> tuple[str, str]:
    """("gsm8k", "eval_opt") for "gsm8k/eval_opt-v0"; an UnknownName with the nearest names otherwise."""
    pair, dash, version = env_id.rpartition("-")
    task, slash, workflow = pair.partition("/")
    if not dash or not slash or version != VERSION:
        raise UnknownName("environment", env_id, env_ids())
    return task, workflow


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
    from llm_marl_envs.env import WorkflowEnv
    from llm_marl_envs.session import Limits

    task_name, workflow_name = split_id(env_id)
    limits = knobs.pop("limits", Limits())
    task_knobs, workflow_knobs = share_knobs(task_name, workflow_name, knobs)
    task = make_task(task_name, data_dir, **task_knobs)
    workflow = make_workflow(workflow_name, **workflow_knobs)
    return WorkflowEnv(task, workflow, split=split, reward=reward, limits=limits, render_mode=render_mode)


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


def missing_tools(task: Task, workflow: Workflow) -> tuple[str, ...]:
    """The tools that a workflow's agents use (its `needs`, if it has any) and the task has not."""
    return tuple(sorted(set(getattr(workflow, "needs", ())) - set(task.tools)))


def check_tools(task: Task, workflow: Workflow) -> None:
    """Raises ConfigError unless the task has all tools that the workflow's agents use."""
    if not (missing := missing_tools(task, workflow)):
        return
    names = name_of("llm_marl_envs.workflows", workflow), name_of("llm_marl_envs.tasks", task)
    if any(f.name == "corpus" for f in dataclasses.fields(task)):  # type: ignore[arg-type]
        remedy = "give it corpus='wiki.jsonl.gz', corpus='atlas' to try, or retriever='http://...'"
    else:
        remedy = "docs/workflows.md says which tasks have it"
    raise ConfigError(
        f"{names[0]} uses the tool {missing[0]!r}; {names[1]} has {', '.join(task.tools) or 'no tools'}: {remedy}"
    )


def env_ids() -> tuple[str, ...]:
    """All environment ids; `check_tools` says whether a task has what a workflow needs."""
    tasks, workflows = names("llm_marl_envs.tasks"), names("llm_marl_envs.workflows")
    return tuple(f"{task}/{workflow}-{VERSION}" for task in tasks for workflow in workflows)


@dataclass(frozen=True, slots=True)
class EnvSpec:
    """A (task, workflow) pair as plain data, from which it can be made again."""

    task: str
    workflow: str
    task_knobs: Mapping[str, Any] = field(default_factory=dict)
    workflow_knobs: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, task: Task, workflow: Workflow) -> EnvSpec:
        names = name_of("llm_marl_envs.tasks", task), name_of("llm_marl_envs.workflows", workflow)
        return cls(*names, knobs_of(task), knobs_of(workflow))

    @property
    def env_id(self) -> str:
        return f"{self.task}/{self.workflow}-{VERSION}"

    def make_task(self, data_dir: str | Path | None = None) -> Task:
        return make_task(self.task, data_dir, **self.task_knobs)

    def make_workflow(self) -> Workflow:
        return make_workflow(self.workflow, **self.workflow_knobs)
