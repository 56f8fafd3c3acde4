"""The command line. `llm-marl` gathers its subcommands from entry points, so each package brings its own."""

from __future__ import annotations

import dataclasses
import errno
import inspect
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from random import Random
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from llm_marl_envs.catalog import build, env_ids, find_class, make, names, split_id
from llm_marl_envs.errors import DataError, LLMMarlError, UnknownName
from llm_marl_envs.seeds import seed_of
from llm_marl_envs.terminal import printable
from llm_marl_envs.testing import random_reply
from llm_marl_envs.trace_files import TraceWriter

DESCRIPTION = "Reinforcement learning of teams of language models: environments, training, evaluation, scoring."
OUT, ERR = Console(), Console(stderr=True)


def main(argv: list[str] | None = None) -> None:
    """Run a subcommand. Expected mistakes end with one message and exit code 2, ctrl-C with 130; bugs keep their traceback."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: ERR.print(f"[yellow]warning:[/] {escape(str(message))}")
        _run(sys.argv[1:] if argv is None else argv)


def _run(argv: list[str]) -> None:
    try:
        tyro.extras.subcommand_cli_from_dict(commands(), prog="llm-marl", description=DESCRIPTION, args=argv)
    except LLMMarlError as bad:
        ERR.print(f"[red]error:[/] {escape(str(bad))}", soft_wrap=True)
        raise SystemExit(2) from None
    except KeyboardInterrupt as stop:
        ERR.print(f"[yellow]interrupted[/] {escape(str(stop))}", soft_wrap=True)
        raise SystemExit(130) from None
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone; that is no error of ours
        raise SystemExit(0) from None
    except OSError as bad:
        if bad.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT):
            raise
        ERR.print(f"[red]error:[/] {escape(str(bad))}. Free some space or choose a writable place, then run again.")
        raise SystemExit(2) from None


def commands() -> dict[str, Callable[..., Any]]:
    """The subcommands of all installed packages, by name."""
    return {point.name: point.load() for point in entry_points(group="llm_marl.commands")}


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


def play(
    env_id: Annotated[str, tyro.conf.Positional] = "arithmetic/eval_opt-v0",
    seat: tuple[str, ...] = (),
    random: bool = False,
    script: Path | None = None,
    problem: str | None = None,
    split: str = "test",
    seed: int = 0,
    data_dir: Path | None = None,
    out: Path | None = None,
) -> None:
    """Play an environment in the terminal: you take the seats, or a script or random texts do.

    Examples: `llm-marl play`, `llm-marl play gsm8k/voting-v0 --seat aggregator_0`,
    `llm-marl play arithmetic/solo-v0 --script replies.txt --out mine.jsonl`

    Args:
        env_id: The environment; `llm-marl envs` lists them.
        seat: The agents you play; random texts play the others. Empty: you play all of them.
        random: Nobody plays: all texts are random.
        script: A text file with one reply a line, used in order before anybody is asked (\\n stands for a line break).
        problem: A problem's id or index; otherwise the seed picks one.
        split: The split it is taken from.
        seed: Decides the problem and the random texts.
        data_dir: Folder of local data sets.
        out: Append the episode's trace to this file.
    """
    env = make(env_id, split=split, data_dir=data_dir, render_mode="human")
    for agent in seat:
        if agent not in env.possible_agents:
            raise UnknownName(f"agent of {env_id}", agent, env.possible_agents)
    lines = iter(_script(script))
    rng = Random(seed_of("play", seed))
    wanted = int(problem) if problem is not None and problem.isdigit() else problem
    env.reset(seed=seed, options={"problem": wanted})
    people: list[str] = []
    for agent in env.agent_iter():
        observation, _, terminated, truncated, info = env.last()
        assert observation is not None
        if terminated or truncated:
            env.step(None)
            continue
        reply = next(lines, None)
        if reply is None and not random and (agent in seat or not seat):
            reply = _ask(agent, observation["messages"][-1]["content"], info["choices"])
            people.append(agent)
        env.step(random_reply(rng, info["choices"]) if reply is None else reply)
    if out is not None:
        with TraceWriter(out) as writer:
            writer.write(env.trace(entry="play", people=sorted(set(people))))
        OUT.print(f"trace appended to {out}; score it with: llm-marl score {out}")


def _script(path: Path | None) -> list[str]:
    if path is None:
        return []
    try:
        return [line.replace("\\n", "\n") for line in path.read_text("utf-8").splitlines()]
    except FileNotFoundError:
        raise DataError(f"no script {path}; expected a text file with one reply a line") from None
    except UnicodeDecodeError as bad:
        raise DataError(f"{path} is not UTF-8 ({bad.reason} at byte {bad.start}); save it as UTF-8") from None


def _ask(agent: str, prompt: str, choices: tuple[str, ...]) -> str:
    OUT.rule(f"you are {agent}")
    OUT.print(escape(printable(prompt, None, lines=True)))
    if choices:
        OUT.print(f"choices: {', '.join(choices)}")
    try:
        return input(f"{agent}> ").replace("\\n", "\n")
    except EOFError:
        raise KeyboardInterrupt("(end of input)") from None


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
