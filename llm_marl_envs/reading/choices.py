r"""The option that a reply chooses, outside thinking: a letter, or nothing.

What counts as the choice, in this order:
1. The last box, and the text in `<answer>...</answer>`: if there are several of them, they must name the same option.
2. The whole reply, if it is one letter, or the text of exactly one option.
3. The last claim: `The answer is (B)`, `Answer: B`, `I choose B`, `Option B is correct`. One that is denied ("is not B"), doubted
   ("if the answer is B") or about nothing that is an option is no claim; one that names several options is no choice.
4. The last line, if it is a letter, or a letter and the text of its option (`B) blue`); else the first line, if no other option is
   named after it; else the only line, if it begins with a letter and a bracket, a colon or a full stop.

A letter is a capital that stands alone, or any letter in brackets, in bold, in a box or after "answer:"; `A` and `I` before another
word are English. Options that are listed (`A or B`, `(A) and (C)`, lines with all of them) are no choice, nor is a letter beyond
the options. The reply is not searched for letters or for the text of an option.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from llm_marl_envs.reading.boxes import Box, final_boxes
from llm_marl_envs.reading.spans import LONGEST_ANSWER, LONGEST_REPLY
from llm_marl_envs.reading.thinking import spoken

LETTERS = "ABCDEFGHIJ"
_TAIL = 4_000  # characters in which claims and lines are looked for


class Choice(NamedTuple):
    """The letter of the chosen option, None if there is none, and a short phrase that says where it was found or why not."""

    letter: str | None
    why: str


def lettered(options: Sequence[str]) -> str:
    """Options as a question shows them: one per line, with their letters."""
    return "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))


def options_in(text: str) -> tuple[str, ...]:
    """The options that a question's text ends with, as `lettered` writes them; empty if there are none."""
    rest = text[text.rfind("\nA. ") :] if "\nA. " in text else ""
    options: list[str] = []
    for letter, following in zip(LETTERS, f"{LETTERS[1:]}\0", strict=True):
        if not rest.startswith(f"\n{letter}. "):
            break
        end = rest.find(f"\n{following}. ")
        options.append(rest[4:end] if end > 0 else rest[4:])
        rest = rest[end:] if end > 0 else ""
    return tuple(options) if len(options) > 1 else ()


def read_choice(reply: str | None, options: Sequence[str]) -> Choice:
    """The option that a reply commits to, by the rules above. Never raises, whatever the text."""
    text = spoken(reply or "")
    if len(text) > LONGEST_REPLY or not text.strip():
        return Choice(None, "too long for a reply" if text.strip() else "empty")
    if marked := _of_marks(text, options):
        return marked
    if letter := _meant(text, options, alone=True):
        return Choice(letter, "the whole reply")
    near = _plain(text[-_TAIL:])
    claimed, written = _of_claims(near, options), _of_lines(near, options, len(text) <= _TAIL)
    if claimed and claimed.letter and written and written.letter and written.letter != claimed.letter:
        return Choice(None, "two different answers")
    return claimed or written or Choice(None, "no option is chosen")


# Texts in one notation: `**B**`, `$\text{(b)}$`, `"B"` and full-width letters are `(B)`.
_WIDE = {0xFF01 + i: 0x21 + i for i in range(94)} | {0x3000: " ", 0x3002: "."}
_OPEN, _CLOSE = (
    r"(?:\\(?:text|math|mbox|underline)[a-z]*\s?\{|\\[(\[{]|[*_`$\"'“‘{\[<])",
    r"(?:\\[)\]}]|[*_`$\"'”’}\]>])",
)
_DRESSED = re.compile(rf"(?<![\w\\]){_OPEN}{{1,6}}\s?\(?([A-Za-z])\)?[.:]?\s?{_CLOSE}{{1,6}}(?!\w)")
_STYLE = re.compile(r"\\(?:text|math|mbox)[a-z]*\s?\{([^{}]*)\}")
_SIGNS = re.compile(
    r"(?<![\w*])\*{1,3}(?=\S)|(?<=\S)\*{1,3}(?![\w*])|`+|\\?\$|\\[()\[\]]|\\[,;:! ]"
)  # not the star of 2*3
_WORD = re.compile(r"[^\W\d_]{3,}")


def _plain(text: str) -> str:
    text = _DRESSED.sub(r"(\1)", text if text.isascii() else text.translate(_WIDE))
    return _SIGNS.sub("", _STYLE.sub(r" \1 ", text) if "\\" in text else text)


def _flat(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", _plain(text)).split()).rstrip(".").strip(" \"'“”()")


def _small(text: str) -> str:
    """The text with its words in small letters, but not units, genotypes and formulas: MeV is not meV."""
    return _WORD.sub(lambda word: word[0] if _mixed(word[0]) else word[0].casefold(), text)


def _mixed(word: str) -> bool:
    return not (word.islower() or word.isupper() or word.istitle())


def _by_text(text: str, options: Sequence[str]) -> str | None:
    """The letter of the only option with this text; if several differ only in capitals, these decide."""
    if len(text) > LONGEST_ANSWER or not (said := _flat(text)):
        return None
    for fold in (str, _small):
        same = [letter for letter, option in zip(LETTERS, options, strict=False) if fold(_flat(option)) == fold(said)]
        if len(same) == 1:
            return same[0]
    return None


# A letter at the start of a text, and what may follow it.
_AT = re.compile(
    r"\s*(?:(?i:(?:the\s+)?(?:option|choice|letter|alternative))\s*:?\s*)?"
    r"(?:\(\s?(?P<dressed>[A-Za-z])\s?\)|(?P<capital>[A-Z])(?![\w'’])|(?P<small>[a-z])(?=\)|[.:]?\s*(?:\n|\Z)))"
)
_LETTER = r"(?:\([A-Ja-j]\)|\b[a-j]\)|[B-HJ](?![\w'’])|[AI](?![\w'’]|\s+(?!(?:or|and|nor)\b)[a-z]))"
_JOINER = r"\b(?:or|and|nor|versus|vs|maybe|perhaps|possibly|probably|even|also|alternatively|else|either|both|option|choice|answer)\b"
_LISTED = re.compile(
    rf"(?:[^\S\n]|[,;/|&+=<>)\]–—-]|(?i:{_JOINER}))*{_LETTER}|[.:][^\S\n]*\(?[A-J]\)?[^\S\n]*(?:[.,;:)]|$)",
    re.MULTILINE,
)
_LISTED_BEFORE = re.compile(rf"{_LETTER}\s*(?i:\b(?:or|and|nor)\b|[/|&])[\s$*\\(]*\Z")
_SEPARATED = re.compile(r"[^\S\n]*(?:[.():,;=]|!(?=\s|\Z)|[–—-][^\S\n]|->|→|\n|\Z)")
_REASON = re.compile(
    r"\s*,?\s*(?:because|since|as(?!\s+well)|due\s+to|is\s+(?:the\s+)?(?:correct|right|best|answer))\b",
    re.IGNORECASE,
)
_HEDGED = re.compile(r"(?i)\b(?:or|nor|but|if|unless|either|neither|both|maybe|perhaps|possibly|however|alternatively|although|also|plus|as\s+well|along\s+with)\b|\?")  # fmt: skip
_DENIED = re.compile(
    r"(?i)[^\w(]*(?:(?:is|was|are|seems?|looks?|can|could|must|would)(?:\s+be)?)?\s*"
    r"(?:not\b(?!\s+(?:option\s+)?\(?[A-Ja-j]\b)|n['’]t\b|cannot\b|wrong|incorrect|false|impossible|unlikely|ruled|eliminated|excluded|too\b)"
)
_NOT_BEFORE = re.compile(
    r"(?i)(?:\b(?:not|never|cannot|neither|nor|instead\s+of|rather\s+than)|n['’]t|≠|\\neq?)"
    r"(?:\s+(?:be|the|an?|option|choice|answer|in))*[\s:\"'`*_$(\\]*\Z"
)


def _settled(at: re.Match[str], options: Sequence[str]) -> bool:
    """Whether what follows a letter leaves it the choice: nothing, a reason, or the text of its option."""
    letter, rest = _letter(at), at.string[at.end() : at.end() + LONGEST_ANSWER]
    line = rest.partition("\n")[0]
    if not at["dressed"] and not _SEPARATED.match(rest):
        return bool(_REASON.match(line))
    said = line.lstrip(" \t.!):,;=>→–—-")
    if not said.strip(". "):
        return not _LISTED.match(rest)
    if named := _by_text(said, options):
        return named == letter
    own, flat = _flat(options[LETTERS.index(letter)]), _flat(said)
    if own and flat.startswith(own) and not flat[len(own) : len(own) + 1].isalnum():
        line = flat[len(own) :]
    sentence = re.split(r"(?<=\w)[.!](?=\s|$)", line.lstrip(" \t.):"))[0]
    return bool(_REASON.match(line)) or not (_LISTED.match(line) or _HEDGED.search(sentence) or _DENIED.match(line))


def _letter(at: re.Match[str]) -> str:
    return (at["dressed"] or at["capital"] or at["small"]).upper()


def _exists(at: re.Match[str] | None, options: Sequence[str]) -> bool:
    return at is not None and _letter(at) in LETTERS[: len(options)]


_TITLE = re.compile(r"(?i)\W*(?:(?:so|thus|hence|therefore)\b,?\s*)?(?:the\s+|my\s+)?(?:final\s+|correct\s+)?answer(?:\s+is)?(?:\s*[:=]\s*|\s+)")  # fmt: skip


def _meant(text: str, options: Sequence[str], alone: bool = False) -> str | None:
    """The option that a whole text names, such as what is in a box. `alone`: a small letter must be in brackets."""
    text = " ".join(_plain(text).split()).strip("#>_ ")
    if not alone:
        text = _TITLE.sub("", text, count=1)
        text = re.sub(r"\A[a-j](?=[.):]|\Z)", lambda small: small[0].upper(), text)
    at = _AT.match(text)
    if at and _exists(at, options) and not text[at.end() :].strip(". )]}:") and (at["small"] is None or ")" in text):
        return _letter(at)
    if named := _by_text(text, options):
        return named
    return _letter(at) if at and not alone and _exists(at, options) and _settled(at, options) else None


# Rule 1.
_TAG = re.compile(r"</?answer>", re.IGNORECASE)


def _of_marks(text: str, options: Sequence[str]) -> Choice | None:
    found: set[str | None] = set()
    boxes = final_boxes(text)
    for box in boxes:
        if box.content is None:
            return Choice(None, "boxed is not closed, or too long")
        if why := _unsaid(text, box):
            return Choice(None, why)
        found.add(_meant(box.content, options))
    tags = list(_TAG.finditer(text)) if "<" in text else []
    for i, tag in enumerate(tags):
        if (tag[0][1] == "/") is not (i % 2 == 1) or len(tags) % 2:
            return Choice(None, "<answer> is not closed")
        inside = text[tag.end() : tags[i + 1].start()] if i % 2 == 0 else ""
        if i % 2 == 0 and not any(tag.end() <= box.start < tags[i + 1].start() for box in boxes):
            if _NOT_BEFORE.search(text[max(0, tag.start() - 60) : tag.start()]):
                return Choice(None, "negated")
            found.add(_meant(inside, options))
    if not found:
        return None
    if len(found) > 1:
        return Choice(None, "two different answers")
    return Choice(letter, "boxed" if boxes else "tagged") if (letter := found.pop()) else Choice(None, "not one option")


def _unsaid(text: str, box: Box) -> str:
    """Why a box is not the choice, by what stands around it; "" if it is."""
    before, after = text[max(0, box.start - 60) : box.start], _plain(text[box.end : box.end + 60])
    if _NOT_BEFORE.search(before):
        return "negated"
    listed = _LISTED_BEFORE.search(_plain(before)) or _LISTED.match(after) or re.match(r"[\s,]*or\b", after)
    return "one of several options" if listed else ""


# Rule 3.
_CLAIM = re.compile(
    r"\b(?i:(?:answer|ans|choice|option|selection|letter|solution)(?:\s+(?:to|for)\s+[^.\n:]{1,40}?|,[^,.\n]{1,20},)?"
    r"(?:\s*\(s\))?\s*(?:\b(?:is|was|must be|should be|has to be)\b\s*:?|:|=|→|->))"
    r"|\b(?:I|[Ww]e)(?:['’]ll|\s+will|\s+would|['’]d)?\s+(?:choose|pick|select|go\s+with|opt\s+for|answer)(?:\s+with)?\b:?"
    r"|(?P<right>(?:(?i:\b(?:option|choice)\s+))?(?:\([A-Za-z]\)|\b[A-J]))(?=\s+is\s+(?:the\s+)?(?:correct|right|best|answer)\b)"
    r"|\b(?:is|matches|corresponds\s+to)(?=\s+(?i:option|choice)\s+\(?[A-J])"
)
_SURE = re.compile(r"(?i)\s*(?:(?:probably|most|likely|clearly|therefore|thus|indeed|definitely|certainly|simply|just|then|hence|obviously|surely|actually|that)\b,?\s*|,\s*[^,.\n]{1,20},\s*)*")  # fmt: skip
_NOT = re.compile(r"(?i)\s*(?:\w+ly\s+)?(?:not|never|neither)\b")
_SEVERAL = re.compile(r"(?i)\s*(?:either|both|any|all|one)\b")
_DOUBTED = re.compile(r"(?i)\b(?:not|never|cannot|if|whether|unless|suppose|supposing|assume|assuming|doubt|neither|nor|why|wrong|unlikely|deny)\b|n['’]t\b")  # fmt: skip
_WORDS_BETWEEN = re.compile(r"(?i)[^\W\d_]+")
_NO_PROSE = frozenset(["or", "and", "the", "a", "also", "maybe", "perhaps", "possibly", "alternatively", "either", "else", "final", "correct", "right", "best", "my", "so", "is"])  # fmt: skip


def _of_claims(near: str, options: Sequence[str]) -> Choice | None:
    denied: set[str] = set()
    later: tuple[str, int] | None = None  # the choice so far, and where its claim starts
    for claim in reversed(list(_CLAIM.finditer(near))):
        letter, kind, end = _claimed(near, claim, options)
        if kind == "denied":
            denied |= {letter} if later is None else set()
        elif kind == "several" and later is None:
            return Choice(None, "several options, or none of them")
        elif kind == "chosen" and later is None:
            if letter in denied:
                return Choice(None, "claimed and denied")
            later = (letter, claim.start())
        elif kind and later:
            between = {word.lower() for word in _WORDS_BETWEEN.findall(near[end : later[1]])}
            if letter != later[0] and not between - _NO_PROSE:
                return Choice(None, "lists several options")
            break
    return Choice(later[0], "the last claim") if later else None


def _claimed(near: str, claim: re.Match[str], options: Sequence[str]) -> tuple[str, str, int]:
    """The letter that a claim is about, whether it is chosen, denied, one of several or "", and where it ends."""
    before = re.split(r"[.!?;\n]", near[max(0, claim.start() - 80) : claim.start()])[-1]
    start = claim.start() if claim["right"] else claim.end()
    denial = _NOT.match(near, start)
    start = denial.end() if denial else start
    start = sure.end() if (sure := _SURE.match(near, start)) else start
    at = _AT.match(near, start)
    end = at.end() if at else start
    exists = at is not None and _exists(at, options)
    if denial or _DOUBTED.search(before):
        return (_letter(at) if at and exists else "", "denied", end)
    line = near[start:].lstrip().partition("\n")[0]
    if at and exists and (_settled(at, options) if not claim["right"] else not _LISTED_BEFORE.search(before)):
        return _letter(at), "chosen", end
    for said in (line, re.split(r"(?<=\w)[.](?=\s)", line)[0]) if not claim["right"] else ():
        if named := _by_text(said, options):
            return named, "chosen", start + len(said)
    if at is None:
        return "", "several" if _SEVERAL.match(line) and re.search(_LETTER, line) else "", end
    english = at["capital"] in ("A", "I") and re.match(r"\s+[a-z]", near[end:]) and not _LISTED.match(near, end)
    return "", "" if english else "several", end


# Rule 4.
def _of_lines(near: str, options: Sequence[str], whole: bool) -> Choice | None:
    lines = [line for line in near.split("\n") if line.strip()]
    if not lines:
        return None
    last = [_mark(line, options) for line in lines[: -len(LETTERS) - 2 : -1]]  # from the last one up
    if last[0]:
        block = last[: last.index(None) if None in last else None]
        return Choice(last[0], "the last line") if len(set(block)) == 1 else Choice(None, "lists several options")
    if not whole:
        return None
    first = _mark(lines[0], options)
    if first and not re.search(_LETTER, "\n".join(lines[1:])):
        return Choice(first, "the first line")
    at = _AT.match(lines[0].lstrip("#> \t")) if len(lines) == 1 else None
    if at is None or not _exists(at, options) or not _settled(at, options):
        return None
    rest = at.string[at.end() :]
    if at["small"] and rest[:1] != ")":
        return None
    initial = at["capital"] and (at["capital"] in "AI" or (rest[:1] == "." and not rest[1:].lstrip()[:1].isupper()))
    if initial and rest[:1] in ".:" and not _REASON.match(rest[1:]):  # A. Smith, C. elegans
        return None
    return Choice(_letter(at), "the only line")


def _mark(line: str, options: Sequence[str]) -> str | None:
    """The letter of a line that is nothing but a letter, or a letter and the text of its option."""
    line = re.sub(r"(?i)\A[\s#>•–-]*(?:(?:so|thus|hence|therefore)\b[,:]?\s*)?", "", line).strip()
    at = _AT.match(line)
    if at is None or not _exists(at, options) or (at["small"] and line[at.end() :][:1] != ")"):
        return None
    said = line[at.end() :].strip(" \t.):,–—-")
    return _letter(at) if not said or ((_SEPARATED.match(line[at.end() :]) or at["dressed"]) and _by_text(said, options) == _letter(at)) else None  # fmt: skip
