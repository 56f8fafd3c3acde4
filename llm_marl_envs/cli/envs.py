"""`llm-marl envs`: what there is, and what its knobs mean."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Annotated

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from llm_marl_envs.catalog import build, find_class, names
from llm_marl_envs.errors import UnknownName
from llm_marl_envs.spec import env_ids, split_id

OUT = Console()


def envs(name: Annotated[str, tyro.conf.Positional] = "") -> None:
    """List the environments, or explain one task, workflow, method or environment id with its knobs.

    Examples: `llm-marl envs`, `llm-marl envs eval_opt`, `llm-marl envs gsm8k/voting-v0`

    Args:
        name: A task, workflow, method or environment id; empty lists all.
    """
    packages = ("llm_marl_envs.tasks", "llm_marl_envs.workflows", "baselines.methods")
    if not name:
        for package, what in zip(packages, ("task", "workflow", "method"), strict=True):
            table = Table(what, "what it is", min_width=60)
            for known in names(package):
                table.add_row(known, _summary(package, known))
            OUT.print(table)
        OUT.print(
            "Environments are <task>/<workflow>-v0, made by llm_marl_envs.make(id, split=..., reward=..., **knobs):"
        )
        OUT.print("  " + "  ".join(env_ids()))
        OUT.print("More about any of these: llm-marl envs NAME")
        return
    wanted = split_id(name) if "/" in name else (name,)
    for part in wanted:
        package = next((p for p in packages if part in names(p)), None)
        if package is None:
            known = [n for p in packages for n in names(p)]
            raise UnknownName("task, workflow, method or environment", part, [*known, *env_ids()])
        _explain(package, part)


def _summary(package: str, name: str) -> str:
    return (inspect.getdoc(find_class(package, name)) or "").partition("\n")[0]


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
