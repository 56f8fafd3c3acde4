"""Cards: a page for each task and one for all workflows, made only from their code.

python -m llm_marl_envs.cli.cards docs
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from pathlib import Path
from typing import Any

from llm_marl_envs import rewards
from llm_marl_envs.catalog import find_class, names
from llm_marl_envs.spec import make_task, missing_tools
from llm_marl_envs.stats import figures
from llm_marl_envs.task import Problem, Question
from llm_marl_envs.tasks.families.dataset import Card, DatasetTask

PACKAGE, WORKFLOWS = "llm_marl_envs.tasks", "llm_marl_envs.workflows"
LONGEST = 160  # characters of a value in an example
HEAD = "<!-- Made by `make cards` from the code; edit that. -->\n"


def card_of(name: str) -> str:
    """A task's card as Markdown."""
    cls = find_class(PACKAGE, name)
    card: Card | None = getattr(cls, "card", None)
    about = _benchmark(cls, card) if card else _procedural(name)
    return f"{HEAD}\n# {name}\n\n{inspect.getdoc(cls)}\n\n{about}\n## Knobs\n\n{_knobs(cls)}"


def overview() -> str:
    """All tasks in one table, as Markdown."""
    lines = ["| task | family | metric | splits | licence |", "|---|---|---|---|---|"]
    for name in names(PACKAGE):
        cls = find_class(PACKAGE, name)
        card: Card | None = getattr(cls, "card", None)
        splits = ", ".join(f"{split} {size:,}" for split, size in _sizes(name).items())
        metric, licence = (card.metric, card.licence) if card else ("see its card", "procedural: needs no data")
        lines.append(f"| [{name}]({name}.md) | {_family(cls)} | {metric} | {splits} | {licence} |")
    return f"{HEAD}\n# Tasks\n\n" + "\n".join(lines) + "\n"


def workflows() -> str:
    """All workflows: what they are, who speaks, their knobs, and the tasks that have the tools they need."""
    tasks = {name: make_task(name) for name in names(PACKAGE)}
    rows, parts = [], []
    for name in names(WORKFLOWS):
        cls = find_class(WORKFLOWS, name)
        workflow: Any = cls()
        needs = sorted(getattr(workflow, "needs", ()))
        fit = [task for task, made in tasks.items() if not missing_tools(made, workflow)]
        fed = [
            task for task, made in tasks.items() if task not in fit and "search" in needs and hasattr(made, "corpus")
        ]
        where = (
            "all"
            if len(fit) == len(tasks)
            else "; ".join(
                part
                for part in (", ".join(fit), f"with a corpus or retriever: {', '.join(fed)}" if fed else "")
                if part
            )
        )
        roster = workflow.roster
        late = {roster.role(agent) for agent in roster.spawned}
        roles = ", ".join(
            f"{role} x {len(roster.of(role))}{' (spawned)' if role in late else ''}" for role in roster.roles
        )
        rows.append(f"| [{name}](#{name}) | {roles} | {', '.join(needs) or 'none'} | {where} |")
        source = (inspect.getdoc(inspect.getmodule(cls)) or "").partition("\n")[0]
        parts.append(
            f"## {name}\n\n{source}\n\n{inspect.getdoc(cls)}\n\n{_knobs(cls)}\n"
            f"An episode to read: [tests/golden/{name}.txt](../tests/golden/{name}.txt)\n"
        )
    table = "\n".join(["| workflow | roles by default | tools it needs | tasks it plays |", "|---|---|---|---|", *rows])
    return f"{HEAD}\n# Workflows\n\n{table}\n\n" + "\n".join(parts)


def _family(cls: type) -> str:
    if issubclass(cls, DatasetTask):
        card = cls.card
        problem = cls().read(dict(card.examples[0].row), f"{card.source.name}/example/0")
        domain = problem.question.domain if isinstance(problem, Problem) else ""
    else:
        domain = cls().problems("train")[0].question.domain
    return {"math": "mathematics", "qa": "retrieval QA", "choice": "multiple choice"}.get(domain, domain)


def _sizes(name: str) -> dict[str, int]:
    cls = find_class(PACKAGE, name)
    if issubclass(cls, DatasetTask):
        return dict(cls.card.splits)
    task = make_task(name)
    return {split: len(task.problems(split)) for split in task.splits}


def _benchmark(cls: type[DatasetTask], card: Card) -> str:
    source, hub = card.source, card.source.hub
    configs = ", ".join(f"`{config}`" for config in hub.configs if config)
    pinned = f"revision `{hub.revision}`" if hub.revision != "main" else "revision `main`, not pinned"
    places = [f"`{place}.jsonl[.gz]`" for split in card.splits for places in source.places(split) for place in places]
    example = card.examples[0]
    task: Any = cls()
    problem = task.read(dict(example.row), f"{source.name}/{next(iter(card.splits))}/0")
    lines = [
        f"- **Data**: {card.title}. Hub: `{hub.repo}`{f', configuration {configs}' if configs else ''}, {pinned}.",
        f"- **Licence**: {card.licence}",
        f"- **Source**: {card.citation}",
        f"- **Fields**: {'; or '.join(', '.join(f'`{f}`' for f in layout) for layout in source.layouts)}",
        f"- **Splits**: {', '.join(f'{split} ({size:,})' for split, size in card.splits.items())}",
        f"- **Local files**, in the data folder: {', '.join(dict.fromkeys(places))}",
        f"- **Metric**: {card.metric}",
    ]
    if card.notes:
        lines.append(f"- **Notes**: {card.notes}")
    row = "\n".join(f"{field}: {_cut(value)}" for field, value in example.row.items())
    parts = ["\n".join(lines), f"## An invented row\n\n{_fenced(row)}"]
    if isinstance(problem, Problem):
        parts.append(f"## What agents see\n\n{_fenced(_seen(problem.question))}")
    parts += [
        f"Replies that score 1:\n\n{_listed(example.right)}",
        f"Replies that score 0:\n\n{_listed(example.wrong)}",
    ]
    return "\n\n".join(parts) + "\n"


def _procedural(name: str) -> str:
    task = make_task(name)
    problem: Problem = task.problems("train")[0]
    sizes = ", ".join(f"{split} ({size:,})" for split, size in _sizes(name).items())
    return (
        f"- **Data**: procedural, nothing to download\n- **Splits**: {sizes}\n- **Tools**: {', '.join(task.tools) or 'none'}\n\n"
        f"## The first problem, as agents see it\n\n{_fenced(_seen(problem.question))}\n"
    )


def _seen(question: Question) -> str:
    materials = [text[:LONGEST] for text in question.materials[:3]]
    return "\n".join(part for part in (question.text, *materials, question.answer_format) if part)


def _knobs(cls: type) -> str:
    lines = ["| knob | type | default |", "|---|---|---|"]
    for f in dataclasses.fields(cls):
        if f.init:
            lines.append(f"| `{f.name}` | {str(f.type).replace('|', 'or')} | `{f.default!r}` |")
    return "\n".join(lines) + "\n"


def _cut(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def _listed(replies: tuple[str, ...]) -> str:
    """One reply per line, with line breaks escaped, between more backticks than it contains."""
    texts = (_cut(reply.replace("\n", "\\n")) for reply in replies)
    ticks = "`" * (1 + max(len(run) for reply in replies for run in re.findall("`*", reply)))
    return "\n".join(f"- {ticks} {text} {ticks}" if len(ticks) > 1 else f"- `{text}`" for text in texts)


def _fenced(text: str) -> str:
    fence = "````" if "```" in text else "```"
    return f"{fence}text\n{text.rstrip()}\n{fence}"


FAMILIES: dict[str, tuple[Any, ...]] = {
    "R1: shared team or outcome": (rewards.team,),
    "R2: individual": (rewards.own,),
    "R3: role-specific": (rewards.by_role, rewards.dac, rewards.accepted_evidence, rewards.justified_answer),
    "R4: process": (rewards.process, rewards.progress, rewards.accepted_progress),
    "R5: tool use": (rewards.tool_use,),
    "R6: debate and verification": (rewards.verifier,),
    "R7: orchestration": (
        rewards.orchestration, figures.speed_up, rewards.split_coverage, rewards.aggregation_gain,
    ),
    "R8: hybrid local and global": (rewards.hybrid, rewards.minus_cost),
}  # fmt: skip


def reward_rules() -> str:
    """The page of reward rules, by the survey's families."""
    parts = [
        f"{HEAD}\n# Reward rules\n\nThe families are those of the survey of reinforcement learning for teams of language models "
        "(arXiv 2605.02801). A rule takes an `Outcome` and returns one reward per agent of the roster; rules compose. "
        "`llm_marl_envs.make(id, reward=rule)` and `llm-marl train --reward NAME` take them, the latter by these names: "
        + ", ".join(f"`{name}`" for name in rewards.RULES) + "."
    ]  # fmt: skip
    for family, rules in FAMILIES.items():
        parts.append(f"## {family}")
        for rule in rules:
            parts.append(f"### `{_signature(rule)}`\n\n{inspect.getdoc(rule)}")
    return "\n\n".join(parts) + "\n"


def _signature(function: Any) -> str:
    shown, keyword_only = [], False
    for name, p in inspect.signature(function).parameters.items():
        if p.kind is p.KEYWORD_ONLY and not keyword_only:
            shown.append("*")
            keyword_only = True
        default = "" if p.default is p.empty else f"={getattr(p.default, '__name__', repr(p.default))}"
        shown.append(f"{'*' if p.kind is p.VAR_POSITIONAL else ''}{name}{default}")
    return f"{function.__name__}({', '.join(shown)})"


def pages() -> dict[str, str]:
    """File name in the documentation folder -> text."""
    cards = {f"tasks/{name}.md": card_of(name) for name in names(PACKAGE)}
    return cards | {"tasks/README.md": overview(), "workflows.md": workflows(), "rewards.md": reward_rules()}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    (folder / "tasks").mkdir(parents=True, exist_ok=True)
    for file, text in pages().items():
        (folder / file).write_text(text, encoding="utf-8")
