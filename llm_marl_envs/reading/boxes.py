r"""Boxes: `\boxed{...}`, `\fbox{...}`, with anything inside.

A reply's answer is its last box. Earlier ones are intermediate results if prose stands between; boxes side by side, or joined by
commas, "or" or "and", are one list.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from llm_marl_envs.reading.thinking import spoken

LONGEST_BOX = 1_000  # characters
_LISTED = 8  # boxes of one list
_FAR = 4_000  # characters in which the boxes of a list stand
_OPEN = re.compile(r"\\f?box(?:ed)?[ ]?\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)


class Box(NamedTuple):
    """A box and where it stands in its text, end excluded; `content` is None if it does not close within LONGEST_BOX."""

    content: str | None
    start: int
    end: int


def boxed(reply: str) -> str | None:
    """The content of a reply's last box, stripped; None if there is none, it is not closed, or it is one of several different
    ones in a list."""
    return common_content(final_boxes(spoken(reply)))


def common_content(boxes: tuple[Box, ...]) -> str | None:
    """The content that all boxes share, stripped; None if there is no box, one is not closed, or they differ."""
    contents = {box.content and box.content.strip() for box in boxes}
    return contents.pop() if len(contents) == 1 else None


def final_boxes(text: str) -> tuple[Box, ...]:
    r"""The last box of a text and those that are listed with it, the last first; empty if it has none. Of `\boxed{\boxed{7}}` the
    inner one; a box that holds more than another box is listed with that."""
    if (single := _single(text)) is not None:
        return (single,)
    opens = list(_OPEN.finditer(text)) if "\\boxed" in text or "\\fbox" in text else []
    if not opens:
        return ()
    found = [_box(text, opens.pop())]
    start, end = found[0].start, found[0].end
    while opens and found[-1].content is not None and len(found) <= _LISTED and opens[-1].start() >= start - _FAR:
        earlier = _box(text, opens.pop())
        around = earlier.content is not None and earlier.end > start
        if around and _only_box(text[text.index("{", earlier.start) + 1 : start] + text[end : earlier.end - 1]):
            start, end = earlier.start, earlier.end
            continue
        if not around and earlier.content is not None and not _listed(text[earlier.end : start], text[end : end + 60]):
            break
        found.append(earlier)
        if not around:
            start, end = earlier.start, earlier.end
    return tuple(found)


def _single(text: str) -> Box | None:
    """The box of most replies, read fast: one, with nothing in braces inside."""
    start = text.find("\\boxed{")
    if start < 0 or text.count("box") > 1:
        return None
    end = text.find("}", start, start + 7 + LONGEST_BOX)
    inside = text[start + 7 : end]
    return Box(inside, start, end + 1) if end >= 0 and "{" not in inside and "\\" not in inside else None


def _box(text: str, opened: re.Match[str]) -> Box:
    depth, first = 1, opened.end()
    for brace in _BRACE.finditer(text, first, first + LONGEST_BOX):
        depth += (brace[0] == "{") - (brace[0] == "}")
        if depth == 0:
            return Box(text[first : brace.start()], opened.start(), brace.end())
    return Box(None, opened.start(), first)


def _only_box(around: str) -> bool:
    return not around.strip(" \t\n$")


# What may stand between the boxes of a list.
_TEXT = re.compile(r"\\(?:text|mbox|mathrm|textbf|textit)\s*\{([^{}]*)\}")
_RESULT = re.compile(
    r"\\(?:to|implies|therefore|iff|approx|(?:long)?(?:right|Right)arrow)(?![A-Za-z])|[=≈→⇒:>]|[=-]>", re.IGNORECASE
)
_NOISE = re.compile(r"\\(?:[A-Za-z]+|.)|[{}$*_]", re.DOTALL)
_STOP = re.compile(r"(?<!e\.g)(?<!i\.e)(?<!\bvs)(?<!\.)[.!?](?=\s)|\n")
_OR = re.compile(r"\bor\b", re.IGNORECASE)
_JOINERS = "or|and|to|either|both|else|maybe|perhaps|possibly|probably|alternatively|even|through|versus|vs|also"
_WORD = re.compile(rf"\b(?!(?:{_JOINERS})\b)([^\W\d_]+?)s?(?![^\W\d_])", re.IGNORECASE)
_VARIABLE = re.compile(r"[\s,;.]*(?:and|or)?[\s,;]*[^\W\d_](?:_\w)?\s*=\s*", re.IGNORECASE)  # "x = [1], y = [2]"


def _listed(gap: str, after: str) -> bool:
    """Whether two boxes with this gap between them belong to one list: neither is the result of the other."""
    gap = _TEXT.sub(r" \1 ", gap)
    result = _RESULT.search(gap)
    gap = _NOISE.sub(" ", gap)
    if _VARIABLE.fullmatch(gap):
        return True
    sentences = _STOP.split(gap)
    if _OR.search(sentences[-1]):
        return True
    words = _WORD.findall(gap.lower())
    if result or len(words) > 3:
        return False
    units = _WORD.findall(_STOP.split(_NOISE.sub(" ", _TEXT.sub(r" \1 ", after)))[0].lower())
    return units[: len(words)] == words  # "[1] apple and [42] apples", or nothing but separators
