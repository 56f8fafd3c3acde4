"""What several workflows share: the prompt that asks for a solution, and the readers of marked replies."""

from __future__ import annotations

from llm_marl_envs.tasks.base import Question


def solve(question: Question, advice: str = "") -> str:
    """The problem, how to answer it, and optionally a line of advice before that."""
    if not (question.materials or advice):
        return f"{question.text}\n{question.answer_format}"
    return "\n".join(part for part in (question.text, *question.materials, advice, question.answer_format) if part)


def boxed(reply: str) -> str | None:
    """What stands in a reply's last `\\boxed{...}` (flat, at most 200 characters), or None."""
    start = reply.rfind("\\boxed{")
    if start < 0:
        return None
    end = reply.find("}", start, start + 208)
    inside = reply[start + 7 : end]
    return inside.strip() if end > 0 and "{" not in inside else None
