"""What several workflows share: the prompt that asks for a solution, and the readers of marked replies."""

from __future__ import annotations

import re
from collections.abc import Iterable

from llm_marl_envs.grading.programs import find_program
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


def tagged(reply: str, tag: str) -> str | None:
    """What stands in a reply's first `<tag>...</tag>`, stripped (at most 2,000 characters); None if there is none, or nothing
    in it."""
    opening, closing = f"<{tag}>", f"</{tag}>"
    start = reply.find(opening)
    if start < 0:
        return None
    start += len(opening)
    end = reply.find(closing, start)
    inside = reply[start:end].strip() if end >= 0 else ""
    return inside if 0 < len(inside) <= 2000 else None


def verdict_in(reply: str, tag: str, yes: str, no: str) -> bool | None:
    """True for a last `<tag>yes</tag>`, False for a last `<tag>no</tag>`, None for anything else."""
    start = reply.rfind(f"<{tag}>")
    return {yes: True, no: False}.get((tagged(reply[start:], tag) or "").casefold()) if start >= 0 else None


_FINAL = re.compile(r"(?im)^[ \t*#]{0,8}final answer[ \t*]{0,4}:[ \t*]{0,4}(\S[^\n]{0,400})")


def final_answer(reply: str) -> str | None:
    """What a reply puts forward as its answer, for comparing answers within a team: the last `\\boxed{}`, the last `<answer>`,
    the last `Final answer:` line or the last program, in this order. None if it has none of them. Grading reads replies
    in its own, stricter way."""
    if (inside := boxed(reply)) is not None:
        return inside or None
    start = reply.rfind("<answer>")
    if start >= 0:
        return tagged(reply[start:], "answer")
    if lines := _FINAL.findall(reply[-4000:]):
        return lines[-1].strip().rstrip(".")
    return find_program(reply) or None


def same_answer(one: str | None, other: str | None) -> bool:
    """Whether two answers are the same text up to case and space."""
    return one is not None and other is not None and _flat(one) == _flat(other)


def _flat(text: str) -> str:
    return "".join(text.split()).casefold()


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


def chosen(reply: str, choices: tuple[str, ...]) -> str | None:
    """The choice that a reply is, whatever its case and a full stop; None if it is none of them."""
    word = reply.strip().strip(".\"'`*").casefold()
    return next((choice for choice in choices if choice.casefold() == word), None)


TOOL_ARGUMENTS = {"search": "query", "python": "code", "run_examples": "code"}  # the tools that roles may call by a tag
