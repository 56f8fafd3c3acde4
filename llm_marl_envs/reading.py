r"""What a reply says: its boxes, tags, verdicts, menu choices, programs and short answers. Workflows and graders use the same
functions, so a team and its grader never read a reply differently.

What a short answer is (`read_answer`); text up to the last `</think>` is not read:
1. The text inside `<answer>...</answer>` or `\boxed{...}`, and after `Answer:` or `Final answer:` on the last line. All of
   them must be the same answer: a reply that gives two different ones has no answer. Nor has a reply with a mark that is not
   closed or comes right after "not". Without tag and box, earlier lines that start with `Answer:` must agree with the last.
2. Otherwise the whole reply, if it is one line of at most 20 words. (A reply that is exactly a gold answer is always right.)
`unknown` is an abstention: it scores 0, but is distinguished from a wrong answer.

Nothing here raises on any text, and all of it takes linear time.
"""

from __future__ import annotations

import re
import string
from typing import NamedTuple

# Boxes, tags and menus.


def boxed(reply: str) -> str | None:
    """The text inside a reply's last `\\boxed{...}` (flat, at most 200 characters), or None."""
    start = reply.rfind("\\boxed{")
    if start < 0:
        return None
    end = reply.find("}", start, start + 208)
    inside = reply[start + 7 : end]
    return inside.strip() if end > 0 and "{" not in inside else None


def tagged(reply: str, tag: str) -> str | None:
    """The text inside a reply's first `<tag>...</tag>`, stripped (at most 2,000 characters); None if there is no such tag or it
    is empty."""
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
    """The answer that a reply proposes, for comparing answers within a team: the last `\\boxed{}`, the last `<answer>`,
    the last `Final answer:` line or the last program, in this order. None if it has none of them. Graders read replies
    more strictly."""
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


def chosen(reply: str, choices: tuple[str, ...]) -> str | None:
    """The choice that a reply is equal to, ignoring case and a final full stop; None if there is none."""
    word = reply.strip().strip(".\"'`*").casefold()
    return next((choice for choice in choices if choice.casefold() == word), None)


def passages_in(found: str) -> list[str]:
    """The passages in a search tool's text: its lines `Doc 1(Title: "Oslo") Oslo is ...`, without their numbers. Other
    layouts are split into lines."""
    lines = [line.strip() for line in found.splitlines() if line.strip()]
    numbered = [match[1] for line in lines if (match := _PASSAGE.match(line))]
    return numbered or [line for line in lines if line != NOTHING_FOUND]


_PASSAGE = re.compile(r"Doc [0-9]{1,4}(\(Title: .*)")
NOTHING_FOUND = "No passage was found."


# Verdicts.


_VERDICTS = {"correct": True, "incorrect": False}


def accepts(verdict: str) -> bool | None:
    """True for `\\boxed{Correct}`, False for `\\boxed{Incorrect}`, None for anything else."""
    return _VERDICTS.get((boxed(verdict) or "").lower())


_FIRST_WORD = re.compile(r"[\s*#>\"'`]*(right|correct|wrong|incorrect)\b", re.I)


def verdict_of(review: str) -> bool | None:
    """True if the first non-empty line starts with right or correct, False if with wrong or incorrect, else None."""
    match = _FIRST_WORD.match(review[:200])
    return match[1].lower() in ("right", "correct") if match else None


# Programs.


_FENCE = re.compile(r"([ \t]*)(`{3,}|~{3,})[ \t]*([^`\n]*)")
_PYTHON = ("", "python", "python3", "py")


def find_program(text: str) -> str | None:
    """The last fenced block of a reply that is marked as Python or not marked at all; None if there is none.

    Fences are Markdown's: three or more backticks or tildes on their own line, closed by at least as many of the same sign.
    The indentation of a fence is removed from the lines of its block. A fence that is never closed opens no block: a
    reply that was cut off has not finished that program. Linear time.
    """
    program, lines, start, opened = None, text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 0, None
    for number, line in enumerate(lines):
        fence = _FENCE.fullmatch(line.rstrip()) if "```" in line or "~~~" in line else None
        if fence is None:
            continue
        if opened is None:
            opened, start = fence, number + 1
        elif _closes(fence, opened):
            marks = opened[3].lower().split()[:1] or [""]
            if marks[0] in _PYTHON:
                program = "\n".join(_dedented(line, opened[1]) for line in lines[start:number])
            opened = None
    return program


def _closes(fence: re.Match[str], opened: re.Match[str]) -> bool:
    """Whether a fence closes the open block. A fence that is indented further, as in a docstring, belongs to the program."""
    same = fence[2][0] == opened[2][0] and len(fence[2]) >= len(opened[2])
    return same and not fence[3] and len(fence[1]) <= len(opened[1]) + 3


def _dedented(line: str, indent: str) -> str:
    return line[len(indent) :] if line.startswith(indent) else line.lstrip(" \t")


# Boxes with anything inside.

LONGEST_BOX = 1_000  # characters
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)


def box_before(text: str, floor: int, end: int) -> int:
    """Where the last box between `floor` and `end` starts; -1 if there is none."""
    return max(text.rfind("\\boxed{", floor, end), text.rfind("\\fbox{", floor, end))


def box_content(text: str, start: int) -> tuple[str | None, int]:
    """The content of the box that starts here, and where it ends; None if it does not close within `LONGEST_BOX`."""
    first = text.index("{", start) + 1
    depth = 1
    for brace in _BRACE.finditer(text, first, first + LONGEST_BOX):
        depth += (brace[0] == "{") - (brace[0] == "}")
        if depth == 0:
            return text[first : brace.start()], brace.end()
    return None, first


# Short answers. Normalisation is SQuAD's (Rajpurkar et al. 2016).

LONGEST_REPLY = 200_000  # characters; a longer reply is not an attempt at an answer
LONGEST_ANSWER, _WORDS = 1_000, 20
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
ABSTENTION = "unknown"


def normalize(text: str) -> str:
    """Lower case, no ASCII punctuation, no articles, single spaces; in this order, as the official scripts do."""
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


# What a reply answers.
class Answer(NamedTuple):
    """A reply's answer as written, None if it has none, and a short phrase that says where it was found or why it has none."""

    answer: str | None
    why: str


_TAG = re.compile(r"</?answer>", re.IGNORECASE)
_MARK = re.compile(r"\\(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_LINE = re.compile(
    r"^[ \t*_#-]*(?:(?:so|thus|hence|therefore),?[ ])?(?:the[ ])?(?:final[ ])?answer(?:[ ]is)?[ \t*_]*:(.*)$",
    re.IGNORECASE | re.MULTILINE,
)
_NEGATED = re.compile(
    r"(?:\b(?:not|never|cannot|neither|nor)|n['’]t)(?:\s+(?:be|the|an?))?[\s:\"'`*_(]*\Z", re.IGNORECASE
)
_STYLE = re.compile(r"\\(?:text(?:bf|it|rm)?|math(?:bf|it|rm)|mbox)(?=\s*\{)")  # \boxed{\text{Rush}}


def read_answer(text: str | None) -> Answer:
    """The answer a reply commits to, by the rules above. Never raises, whatever the text."""
    text = text or ""
    if len(text) > LONGEST_REPLY:
        return Answer(None, "the reply is too long to be read")
    text = text.rpartition("</think>")[2].strip()
    if not text:
        return Answer(None, "empty")
    marked, why = _marked(text)
    if why:
        return Answer(None, why)
    if lines := [line.strip() for line in _LINE.findall(text)]:
        *earlier, last = lines
        if _LINE.fullmatch(text.rpartition("\n")[2]) and last:
            marked += [last] if marked else [*(line for line in earlier if line), last]
    if not marked:
        if "\n" in text or len(text.split()) > _WORDS:
            return Answer(None, "no <answer>...</answer>, and too long to be an answer itself")
        marked, why = [text], "the whole reply"
    if len({normalize(answer) or answer.lower() for answer in marked}) > 1:
        return Answer(None, "two different answers")
    if not marked[-1].strip() or len(marked[-1]) > LONGEST_ANSWER:
        return Answer(None, "an empty answer" if not marked[-1].strip() else "too long to be an answer")
    return Answer(marked[-1].strip(), why or "marked")


def is_abstention(text: str | None) -> bool:
    """Does the reply answer `unknown`, as DAC's generator may (arXiv 2606.10684, v(A) = 0)?"""
    return normalize(read_answer(text).answer or "") == ABSTENTION


def _marked(text: str) -> tuple[list[str], str]:
    """The answers in tags and boxes, and what is wrong with these marks ("" if nothing)."""
    tags = _TAG.findall(text)
    if any((tag[1] == "/") is not (i % 2 == 1) for i, tag in enumerate(tags)) or len(tags) % 2:
        return [], "<answer> is not closed"
    parts = _TAG.split(text)
    answers: list[str] = []
    for i, part in enumerate(parts):
        inside = i % 2 == 1
        boxes = _boxes(part)
        if boxes is None or (inside and _negated(parts[i - 1])):
            return [], "boxed is not closed, or negated" if boxes is None else "negated"
        answers += boxes or ([part] if inside else [])
    return answers, ""


def _boxes(text: str) -> list[str] | None:
    r"""The contents of the outermost boxes; None if one is not closed, or negated."""
    if "\\boxed" not in text and "\\fbox" not in text:
        return []
    found: list[str] = []
    open_at: list[int] = []  # for every open brace: where its box's content starts, -1 if it is not a box
    boxes = 0  # how many of them are boxes
    for match in _MARK.finditer(text):
        mark = match[0]
        if mark == "}":
            start = open_at.pop() if open_at else -1
            boxes -= start >= 0
            if start >= 0 and not boxes:
                found.append(text[start : match.start()])
        elif mark[-1] == "{" and mark != "\\{":
            if mark != "{" and _negated(text[max(0, match.start() - 40) : match.start()]):
                return None
            open_at.append(-1 if mark == "{" else match.end())
            boxes += mark != "{"
    return None if boxes else [_STYLE.sub("", content) for content in found]


def _negated(before: str) -> bool:
    return _NEGATED.search(before[-40:]) is not None
