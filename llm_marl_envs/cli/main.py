"""The command line. `llm-marl` gathers its subcommands from entry points, so each package brings its own."""

from __future__ import annotations

import errno
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

import tyro
from rich.console import Console
from rich.markup import escape

from llm_marl_envs.catalog import load
from llm_marl_envs.errors import ConfigError, LLMMarlError

DESCRIPTION = "Reinforcement learning of teams of language models: environments, training, evaluation, scoring."
OUT, ERR = Console(), Console(stderr=True)


def main(argv: list[str] | None = None) -> None:
    """Run a subcommand. Expected mistakes end with one message and exit code 2, ctrl-C with 130; bugs keep their traceback."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: ERR.print(f"[yellow]warning:[/] {escape(str(message))}")
        _run(sys.argv[1:] if argv is None else argv)


def _run(argv: list[str]) -> None:
    try:
        found, lost = _load()
        if argv and argv[0] in lost:
            raise lost[argv[0]]
        note = f" Not here, for reasons that they tell when run: {', '.join(sorted(lost))}." if lost else ""
        tyro.extras.subcommand_cli_from_dict(found, prog="llm-marl", description=DESCRIPTION + note, args=argv)
    except LLMMarlError as bad:
        ERR.print(f"[red]error:[/] {escape(str(bad))}", soft_wrap=True)
        raise SystemExit(2) from None
    except KeyboardInterrupt as stop:
        ERR.print(f"[yellow]interrupted[/] {escape(str(stop))}", soft_wrap=True)
        raise SystemExit(130) from None
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone; this is not an error
        raise SystemExit(0) from None
    except OSError as bad:
        if bad.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT):
            raise
        ERR.print(f"[red]error:[/] {escape(str(bad))}. Free some space or choose a writable place, then run again.")
        raise SystemExit(2) from None


def commands() -> dict[str, Callable[..., Any]]:
    """The subcommands of all installed packages, by name."""
    return _load()[0]


def _load() -> tuple[dict[str, Callable[..., Any]], dict[str, ConfigError]]:
    """The commands by name, and why the others cannot be had: one package that does not load leaves the rest as they are."""
    found, lost = {}, {}
    for point in entry_points(group="llm_marl.commands"):
        try:
            found[point.name] = load(point)
        except ConfigError as bad:
            lost[point.name] = bad
    return found, lost
