"""`llm-marl doctor`: what works on this machine, and whether its sandbox holds."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections import Counter
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from llm_marl_envs.errors import ToolFailed
from llm_marl_envs.files import cache_folder
from llm_marl_envs.tools.sandbox import Sandbox, cgroup, variants
from llm_marl_envs.tools.sandbox.escapes import all_escapes, one_of_each
from llm_marl_envs.tools.sandbox.escapes.suite import Finding, meant_for, run_suite
from llm_marl_envs.tools.sandbox.inside import seccomp

if sys.platform != "win32":  # where there is no C library to load at import
    from llm_marl_envs.tools.sandbox.inside import landlock

OUT = Console()
EXTRAS = ("train", "data", "math", "search", "report")


def doctor(all: bool = False, sandbox: str = "auto") -> None:
    """Say what is installed and which sandbox is in force, then try to break out of it. Exit code 1 if anything fails.

    Examples: `llm-marl doctor`, `llm-marl doctor --all`, `llm-marl doctor --sandbox namespaces`

    Args:
        all: Try every hostile program, which takes minutes; else one of each category.
        sandbox: The sandbox to try: auto takes the one that is in force.
    """
    OUT.print(_installation())
    OUT.print(_sandboxes())
    OUT.print(_layers())
    try:
        with Sandbox(sandbox, workers=1) as box:
            known = meant_for(box.variant, all_escapes())
            escapes = known if all else one_of_each(known)
            columns = TextColumn("trying to break out of {task.description}"), BarColumn(), MofNCompleteColumn()
            with Progress(*columns, console=OUT, transient=True) as progress:
                bar = progress.add_task(box.variant, total=len(escapes))
                findings = run_suite(box, escapes, lambda finding: progress.advance(bar))
    except ToolFailed as bad:
        OUT.print(f"[red]no sandbox:[/] {escape(str(bad))}", soft_wrap=True)
        raise SystemExit(1) from None
    held = tell(findings, box.variant)
    tried = f"tried {len(findings)} of {len(known)} hostile programs"
    OUT.print(tried if all else f"{tried}, one of each category; all of them: llm-marl doctor --all", soft_wrap=True)
    if not held:
        raise SystemExit(1)


def tell(findings: list[Finding], variant: str) -> bool:
    """Print a line per category and one per program that was not contained; whether all were."""
    tried, held = (Counter(f.escape.category for f in findings if f.contained or kind) for kind in (True, False))
    table = Table("hostile programs", "contained", title=f"escapes from {variant}")
    for category, count in tried.items():
        colour = "green" if held[category] == count else "red"
        table.add_row(category, f"[{colour}]{held[category]}/{count}[/]")
    table.add_section()
    table.add_row("all", f"{held.total()}/{tried.total()}")
    OUT.print(table)
    for finding in findings:
        if not finding.contained:
            where = f"{finding.escape.category}: {finding.escape.name}"
            OUT.print(f"[red]not contained:[/] {escape(where)}: {escape(finding.detail)}", soft_wrap=True)
    return held == tried


def _sandboxes() -> Table:
    """The variants in the order of preference; the first that works is in force."""
    table = Table("sandbox", "state", title="sandboxes, best first")
    chosen = False
    for name, reason in variants().items():
        if reason is not None:
            state = f"[yellow]not here:[/] {escape(reason)}"
        else:
            state, chosen = ("works" if chosen else "[green]in force[/]"), True
        table.add_row(name, state)
    return table


def _layers() -> Table:
    """What holds beside the sandbox itself, and what is lacking here."""
    table = Table("layer", "state", title="layers of the sandbox")
    place, reason = cgroup.home()
    held = "not in force: limits on address space and the filter of system calls hold without it"
    table.add_row("cgroup", f"[green]in force[/] in {place}" if place else f"[yellow]{held}[/] ({escape(reason)})")
    abi = landlock.version() if seccomp.supported() else 0
    table.add_row("Landlock", f"version {abi}" if abi else "[yellow]not in this kernel[/]")
    users = (
        "each server has its own"
        if getattr(os, "geteuid", lambda: 1)() == 0
        else "yours, in a user namespace: only root can give others"
    )
    table.add_row("user id", users)
    return table


def _installation() -> Table:
    table = Table("what", "here", title="installation")
    table.add_row("llm-marl-envs", version("llm-marl-envs"))
    table.add_row(
        "python", f"{platform.python_version()} on {platform.system()} {platform.release()} {platform.machine()}"
    )
    for extra in EXTRAS:
        lacking = missing(extra)
        state = (
            f"[yellow]lacks {', '.join(lacking)}[/]: pip install 'llm-marl-envs\\[{extra}]'" if lacking else "installed"
        )
        table.add_row(f"extra {extra}", state)
    data = os.environ.get("LLM_MARL_DATA", "")
    there = f"{data}{'' if Path(data).is_dir() else ' [red](no such folder)[/]'}"
    table.add_row("data folder", there if data else "not set (LLM_MARL_DATA): data sets come from the Hugging Face hub")
    table.add_row("cache folder", str(cache_folder() or "none can be written: indices are built anew each time"))
    table.add_row("CUDA", _cuda())
    return table


def missing(extra: str) -> list[str]:
    """The packages of an extra that are not installed."""
    marked = re.compile(rf"""([\w.-]+).*;.*extra == ["']{extra}["']""")
    wanted = (match[1] for text in requires("llm-marl-envs") or () if (match := marked.match(text)))
    return [name for name in wanted if not _installed(name)]


def _installed(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


def _cuda() -> str:
    """What is known without importing torch."""
    if find_spec("torch") is None:
        return "torch is not installed"
    cards = sorted(Path("/dev").glob("nvidia[0-9]*"))
    return f"torch {version('torch')}; NVIDIA devices: {len(cards) or 'none'}"
