"""What several workflows share: the prompt that asks for a solution, and the readers of marked replies."""

from __future__ import annotations

import re
from collections.abc import Iterable

from llm_marl_envs.task import Question


def solve(question: Question, advice: str = "") -> str:
    """The problem, how to answer it, and optionally a line of advice before that."""
    if not (question.materials or advice):
        return f"{question.text}\n{question.answer_format}"
    return "\n".join(part for part in (question.text, *question.materials, advice, question.answer_format) if part)


def passages_in(found: str) -> list[str]:
    """The passages in a search tool's reply: its lines `Doc 1(Title: "Oslo") Oslo is ...`, without their numbers. A tool that
    writes otherwise is taken line by line."""
    lines = [line.strip() for line in found.splitlines() if line.strip()]
    numbered = [match[1] for line in lines if (match := _PASSAGE.match(line))]
    return numbered or [line for line in lines if line != NOTHING_FOUND]


_PASSAGE = re.compile(r"Doc [0-9]{1,4}(\(Title: .*)")
NOTHING_FOUND = "No passage was found."


def listed(passages: Iterable[str]) -> str:
    """Passages numbered from 1, one a line."""
    return "\n".join(f"[{i}] {passage}" for i, passage in enumerate(passages, 1)) or "(none)"


TOOL_ARGUMENTS = {"search": "query", "python": "code", "run_examples": "code"}  # the tools that roles may call by a tag
