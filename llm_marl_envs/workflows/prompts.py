"""What several workflows share: the prompt that asks for a solution, and the readers of marked replies."""

from __future__ import annotations

import re

from llm_marl_envs.tasks.base import Question

_BOXED = re.compile(r"\\boxed\s*\{([^{}]{0,200})\}")


def solve(question: Question, advice: str = "") -> str:
    """The problem, how to answer it, and optionally a line of advice before that."""
    return "\n".join(part for part in (question.text, *question.materials, advice, question.answer_format) if part)


def boxed(reply: str) -> str | None:
    """What stands in a reply's last flat `\\boxed{...}` (its last 4,000 characters are read), or None."""
    found = _BOXED.findall(reply[-4000:])
    return found[-1].strip() if found else None
