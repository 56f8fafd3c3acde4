"""What several workflows share: the prompt that asks for a solution, a question's options, a numbered list of passages, and the tools
that tags call."""

from __future__ import annotations

from collections.abc import Iterable

from llm_marl_envs.reading import options_in
from llm_marl_envs.task import Question


def solve(question: Question, advice: str = "") -> str:
    """The problem, how to answer it, and optionally a line of advice before that."""
    if not (question.materials or advice):
        return f"{question.text}\n{question.answer_format}"
    return "\n".join(part for part in (question.text, *question.materials, advice, question.answer_format) if part)


def options_of(question: Question) -> tuple[str, ...]:
    """What a question of multiple choice lets choose from, for reading answers; nothing for other questions."""
    return options_in(question.text) if question.domain == "choice" else ()


def listed(passages: Iterable[str]) -> str:
    """Passages numbered from 1, one per line."""
    return "\n".join(f"[{i}] {passage}" for i, passage in enumerate(passages, 1)) or "(none)"


TOOL_ARGUMENTS = {"search": "query", "python": "code", "run_examples": "code"}  # the tools that roles may call by a tag
