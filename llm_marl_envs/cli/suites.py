"""`llm-marl suites`: the frozen lists of problems on which teams are compared."""

from __future__ import annotations

from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from llm_marl_envs.errors import ConfigError
from llm_marl_envs.suites import Suite, load_suite, suite_names

OUT = Console()


def suites(
    action: Annotated[Literal["list", "show"], tyro.conf.Positional] = "list",
    name: Annotated[str, tyro.conf.Positional] = "",
) -> None:
    """List the suites, or show one: its tasks, knobs, problems, limits and the workflows that may play them.

    Examples: `llm-marl suites list`, `llm-marl suites show smoke-v1`

    Args:
        action: list all, or show one.
        name: The suite to show, or a file of your own that ends in .json.
    """
    if action == "show" and not name:
        raise ConfigError(f"which suite? Known: {', '.join(suite_names())}")
    chosen = [load_suite(name)] if name else [load_suite(each) for each in suite_names()]
    for suite in chosen:
        episodes = sum(len(part.problems) * part.samples for part in suite.parts)
        OUT.print(f"[bold]{suite.name}[/bold]  {episodes} episodes, digest {suite.digest}")
        OUT.print(f"  {escape(suite.about)}")
        if action == "show":
            _show(suite)


def _show(suite: Suite) -> None:
    table = Table("task", "split", "problems", "samples", "knobs", "limits")
    for part in suite.parts:
        limits = ", ".join(
            f"{k} {v}" for k in ("calls", "turns", "tokens", "seconds") if (v := getattr(part.limits, k))
        )
        knobs = " ".join(f"{k}={v}" for k, v in part.task_knobs.items())
        table.add_row(part.task, part.split, str(len(part.problems)), str(part.samples), escape(knobs), limits)
    OUT.print(table)
    for part in suite.parts:
        OUT.print(f"{part.name}: {part.workflows[0]} as a rule; also {', '.join(part.workflows[1:])}")
