r"""Tags, menus, verdicts and a team's proposed answers, outside thinking."""

from __future__ import annotations

import re
from collections.abc import Sequence

from llm_marl_envs.reading.boxes import common_content, final_boxes
from llm_marl_envs.reading.choices import read_choice
from llm_marl_envs.reading.programs import find_program
from llm_marl_envs.reading.thinking import spoken

LONGEST_INSIDE = 2_000  # characters in a tag


def tagged(reply: str, tag: str) -> str | None:
    """The text inside a reply's first `<tag>...</tag>`, stripped (at most LONGEST_INSIDE); None if there is no such tag or it is
    empty. A tag of thinking (`reason`) is read too, if it is asked for."""
    opening, closing = f"<{tag}>", f"</{tag}>"
    said = spoken(reply)
    start = said.find(opening)
    if start < 0 and not spoken(opening):
        said, start = reply, reply.find(opening)
    if start < 0:
        return None
    start += len(opening)
    end = said.find(closing, start)
    inside = said[start:end].strip() if end >= 0 else ""
    return inside if 0 < len(inside) <= LONGEST_INSIDE else None


def verdict_in(reply: str, tag: str, yes: str, no: str) -> bool | None:
    """True for a last `<tag>yes</tag>`, False for a last `<tag>no</tag>`, None for anything else."""
    said = spoken(reply)
    start = said.rfind(f"<{tag}>")
    return {yes: True, no: False}.get(_word(tagged(said[start:], tag) or "")) if start >= 0 else None


_FINAL = re.compile(r"(?im)^[ \t*#]{0,8}final answer[ \t*]{0,4}:[ \t*]{0,4}(\S[^\n]{0,400})")


def final_answer(reply: str, options: Sequence[str] = ()) -> str | None:
    """The answer that a reply proposes, for comparing answers within a team: the last box, the last `<answer>`, the last
    `Final answer:` line or the last program, in this order. None if it has none of them, or a list of boxes. Graders read
    replies more strictly. Where a question has options, the letter of the chosen one, as graders read it."""
    if options:
        return read_choice(reply, options).letter
    said = spoken(reply)
    if boxes := final_boxes(said):
        return common_content(boxes) or None
    start = said.rfind("<answer>")
    if start >= 0:
        return tagged(said[start:], "answer")
    if lines := _FINAL.findall(said[-4000:]):
        return lines[-1].strip().rstrip(".")
    return find_program(said) or None


def same_answer(one: str | None, other: str | None) -> bool:
    """Whether two answers are the same text up to case and space."""
    return one is not None and other is not None and _flat(one) == _flat(other)


def _flat(text: str) -> str:
    return "".join(text.split()).casefold()


_STYLE = re.compile(r"\\(?:text|math)[a-z]*\s*\{([^{}]*)\}")
_DRESS = " \t\r\n.,;:!\"'`*_#$()[]<>{}"  # what a single word may be dressed in


def _word(text: str) -> str:
    r"""A single word without its dress: `**Incorrect**.` and `\text{Correct}` are incorrect and correct."""
    return (_STYLE.sub(r"\1", text) if "\\" in text else text).strip(_DRESS).casefold()


def chosen(reply: str, choices: tuple[str, ...]) -> str | None:
    """The choice that a reply is equal to, ignoring case, punctuation around it and a box; None if there is none."""
    said = spoken(reply)
    if said.strip() in choices:
        return said.strip()
    if len(boxes := final_boxes(said)) == 1 and not (said[: boxes[0].start] + said[boxes[0].end :]).strip(_DRESS):
        said = boxes[0].content or ""
    word = _word(said[:LONGEST_INSIDE])
    return next((choice for choice in choices if word and _word(choice) == word), None)


def passages_in(found: str) -> list[str]:
    """The passages in a search tool's text: its lines `Doc 1(Title: "Oslo") Oslo is ...`, without their numbers. Other
    layouts are split into lines."""
    lines = [line.strip() for line in found.split("\n") if line.strip()]
    numbered = [match[1] for line in lines if (match := _PASSAGE.match(line))]
    return numbered or [line for line in lines if line != NOTHING_FOUND]


_PASSAGE = re.compile(r"Doc [0-9]{1,4}(\(Title: .*)")
NOTHING_FOUND = "No passage was found."


# Verdicts.

_VERDICTS = {"correct": True, "incorrect": False}
_VERDICT_LINE = re.compile(r"(?i)(?:(?:so|therefore|thus|hence),?\s+)?(?:(?:my|the)\s+)?(?:final\s+)?(?:verdict|judge?ment|conclusion|answer)(?:\s+is)?\s*:?[\s*]*")  # fmt: skip


def accepts(verdict: str) -> bool | None:
    """True for `\\boxed{Correct}`, False for `\\boxed{Incorrect}`, None for anything else. A reply without a box may end in a
    line that is nothing but one of the two words, or `Verdict: Correct`."""
    said = spoken(verdict)
    if boxes := final_boxes(said):
        words = {_word(box.content or "") for box in boxes}
        return _VERDICTS.get(words.pop()) if len(words) == 1 else None
    last = said.strip().rpartition("\n")[2][:200].strip(_DRESS)
    return _VERDICTS.get(_word(_VERDICT_LINE.sub("", last, count=1)))


_FIRST_WORD = re.compile(r"[\s*#>\"'`]*(right|correct|wrong|incorrect)\b", re.I)


def verdict_of(review: str) -> bool | None:
    """True if the first non-empty line starts with right or correct, False if with wrong or incorrect, else None."""
    match = _FIRST_WORD.match(spoken(review)[:200])
    return match[1].lower() in ("right", "correct") if match else None
