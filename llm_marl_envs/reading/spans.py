r"""Short answers, outside thinking.

What a short answer is (`read_answer`):
1. The text inside `<answer>...</answer>`, in the last `\boxed{...}`, and after `Answer:` or `Final answer:` on the last line. All
   of them must be the same answer: a reply that gives two different ones has no answer, nor has a list of different boxes.
   Nor has a reply with a mark that is not closed or comes right after "not". Without tag and box, earlier lines that start
   with `Answer:` must agree with the last.
2. Otherwise the whole reply, if it is one line of at most 20 words. (A reply that is exactly a gold answer is always right.)
`unknown` is an abstention: it scores 0, but is distinguished from a wrong answer.
"""

from __future__ import annotations

import re
import string
import unicodedata
from typing import NamedTuple

from llm_marl_envs.reading.boxes import final_boxes
from llm_marl_envs.reading.thinking import spoken

# Short answers. Normalisation is SQuAD's (Rajpurkar et al. 2016).

LONGEST_REPLY = 200_000  # characters; a longer reply is not an attempt at an answer
LONGEST_ANSWER, _WORDS = 1_000, 20
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
ABSTENTION = "unknown"


def normalize(text: str) -> str:
    """Lower case, no ASCII punctuation, no articles, single spaces; in this order, as the official scripts do."""
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


# A stricter and wider form: what SQuAD's normalisation takes from numbers stays, and signs that look alike are alike.
_ALIKE = str.maketrans(
    dict.fromkeys("‘’‚‛´`ʹʻʼ′", "'")
    | dict.fromkeys("“”„‟«»″", '"')
    | dict.fromkeys("‐‑‒–—―−﹣－", "-")
    | {"…": "...", "\u00a0": " "}
)
_GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")  # 1,250
_POINT = re.compile(r"(?<=\d)\.(?=\d)|(?<![\w.])\.(?=\d)")  # 3.5 and .5, neither v.2 nor U.S.
_SIGN = re.compile(
    r"(?<![\w)\]%.-])([-<>])(?=[$£€¥]?[\d\ue010])|\A\s*([-<>])\s+(?=[$£€¥]?[\d\ue010])"
)  # -40, <5, and a whole "- 40"
_BETWEEN = re.compile(rf"(?<=\d)[{re.escape(string.punctuation)}](?=[\d\ue010-\ue013])")  # 1939-1945, 3:45, 1/2
_KEPT = {"-": "\ue011", "<": "\ue012", ">": "\ue013"}
_GIVEN_BACK = str.maketrans({"\ue010": ".", "\ue011": "-", "\ue012": "<", "\ue013": ">"})
_HELD_BACK = str.maketrans(dict.fromkeys("\ue010\ue011\ue012\ue013"))
_DIGIT = re.compile(r"\d")


def plain_form(text: str) -> str:
    """`normalize`, except that typographic apostrophes, quotation marks and dashes are the ASCII ones and accents are composed
    (as TriviaQA's and DPR's scripts have it), and that numbers keep their meaning: a decimal point and a sign stay, and
    other signs between digits part them. `3.5` is not `35`, `-40` not `40`, `3-0` not `30`; `1,250` is `1250`."""
    text = unicodedata.normalize("NFC", text).translate(_ALIKE)
    if _DIGIT.search(text):
        text = _GROUPED.sub(lambda found: found[0].replace(",", ""), text.translate(_HELD_BACK))
        text = _POINT.sub("\ue010", text)
        text = _SIGN.sub(lambda found: _KEPT[found[1] or found[2]], text)
        text = _BETWEEN.sub(" ", text)
        return normalize(text).translate(_GIVEN_BACK)
    return normalize(text)


# What a reply answers.
class Answer(NamedTuple):
    """A reply's answer as written, None if it has none, and a short phrase that says where it was found or why it has none."""

    answer: str | None
    why: str


_TAG = re.compile(r"</?answer>", re.IGNORECASE)
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
    text = spoken(text or "")
    if len(text) > LONGEST_REPLY:
        return Answer(None, "the reply is too long to be read")
    text = text.strip()
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
    if len({plain_form(answer) or answer.lower() for answer in marked}) > 1:
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
        if inside and _negated(parts[i - 1]):
            return [], "negated"
        boxes = final_boxes(part)
        for box in boxes:
            if box.content is None or _negated(part[max(0, box.start - 40) : box.start]):
                return [], "boxed is not closed" if box.content is None else "negated"
            answers.append(_STYLE.sub("", box.content))
        if inside and not boxes:
            answers.append(part)
    return answers, ""


def _negated(before: str) -> bool:
    return _NEGATED.search(before[-40:]) is not None
