"""`llm-marl envs`: what there is, and what its knobs mean."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Annotated

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from llm_marl_envs.catalog import announced, build, find_class, names
from llm_marl_envs.errors import ConfigError, UnknownName
from llm_marl_envs.spec import check_tools, env_ids, make_task, make_workflow, split_id

OUT = Console()


def envs(name: Annotated[str, tyro.conf.Positional] = "") -> None:
    """List the environments, or explain one task, workflow, method or environment id with its knobs.

    Examples: `llm-marl envs`, `llm-marl envs eval_opt`, `llm-marl envs gsm8k/voting-v1`

    Args:
        name: A task, workflow, method or environment id; empty lists all.
    """
    kinds = {
        "task": ("llm_marl_envs.tasks",),
        "workflow": ("llm_marl_envs.workflows",),
        "method": announced("llm_marl.methods"),
    }
    if not name:
        for what, packages in kinds.items():
            table = Table(what, "what it is", min_width=60)
            for package in packages:
                for known in names(package):
                    table.add_row(known, _summary(package, known))
            OUT.print(table)
        OUT.print(
            "Environments are <task>/<workflow>-v1, made by llm_marl_envs.make(id, split=..., reward=..., **knobs);"
            " where agents search and the task has nothing to search, with corpus=... (corpus='atlas' to try):"
        )
        OUT.print("  " + "  ".join(env_ids()))
        OUT.print("More about any of these: llm-marl envs NAME")
        return
    wanted = split_id(name) if "/" in name else (name,)
    for part in wanted:
        packages = [package for several in kinds.values() for package in several]
        homes = [package for package in packages if part in names(package)]
        if not homes:
            known = [n for p in packages for n in names(p)]
            raise UnknownName("task, workflow, method or environment", part, [*known, *env_ids()])
        for package in homes:
            _explain(package, part)
    if "/" in name and name not in env_ids():
        check_tools(make_task(wanted[0]), make_workflow(wanted[-1]))


def _summary(package: str, name: str) -> str:
    try:
        return escape((inspect.getdoc(find_class(package, name)) or "").partition("\n")[0])
    except (ImportError, ConfigError) as bad:  # somebody else's
        return f"[red]cannot be loaded:[/] {escape(str(bad))}"


def _explain(package: str, name: str) -> None:
    cls = find_class(package, name)
    OUT.print(f"[bold]{name}[/] ({package.rpartition('.')[2]})\n{escape(inspect.getdoc(cls) or '')}")
    fields = [f for f in dataclasses.fields(cls) if f.init]
    if fields:
        table = Table("knob", "type", "default")
        for f in fields:
            table.add_row(f.name, escape(str(f.type)), escape(repr(f.default)))
        OUT.print(table)
    thing = build(package, name, {})
    if hasattr(thing, "roster"):
        OUT.print(
            f"agents: {', '.join(thing.roster.present)}" + "".join(f", {a} (spawned)" for a in thing.roster.spawned)
        )
    OUT.print()
