"""Who read whom, inferred from texts: which earlier texts a prompt holds.

Each prompt and each text is looked at once, and a lookup grows with the prompt, not with all that was said: an episode may have
thousands of calls.
"""

from __future__ import annotations

import re
from typing import NamedTuple

SHORT = 8  # characters; a shorter text counts as read only if no earlier prompt holds it
_NAME = re.compile(r"\w+")
_WORDS = re.compile(r"[A-Za-z0-9]+|[^\sA-Za-z0-9]")
_BEFORE = 100  # characters before a quoted text in which its author may be named


class Said(NamedTuple):
    """A text that others may read: its event, its author, the whole text if it may be quoted inside a line, and its parts."""

    number: int
    agent: str
    whole: str
    parts: frozenset[str]


class Sayings:
    """What has been said, and by whom.

    Of what an agent said several times, the latest is found. Where a line of a prompt names authors before the text
    (`worker_3 reports: ...`), only these are found, else all who said it.
    """

    def __init__(self) -> None:
        self._all: list[Said] = []
        self._by_part: dict[str, dict[str, int]] = {}  # part -> author -> the place of the latest that holds it
        self._by_whole: dict[str, dict[str, int]] = {}
        self._sizes: dict[str, set[int]] = {}  # the first SHORT characters of whole texts, or all of fewer -> lengths
        self._heads: dict[str, set[int]] = {}  # the first words of whole texts -> the lengths of these beginnings

    def add(self, said: Said) -> None:
        place = len(self._all)
        self._all.append(said)
        for part in said.parts:
            self._by_part.setdefault(part, {})[said.agent] = place
        if said.whole:
            self._by_whole.setdefault(said.whole, {})[said.agent] = place
            self._sizes.setdefault(said.whole[:SHORT], set()).add(len(said.whole))
            if (head := _WORDS.match(said.whole)) is not None:
                self._heads.setdefault(head[0], set()).add(min(len(said.whole), SHORT))

    def held_by(self, prompt: str, parts: dict[str, str]) -> list[tuple[int, str]]:
        """(event, author) of all that a prompt holds, in order. parts: the prompt's `parts_of`."""
        places: set[int] = set()
        for texts, known in ((parts, self._by_part), (self._quoted(prompt), self._by_whole)):
            for text in texts.keys() & known.keys():
                authors = known[text]
                before = texts[text] if len(authors) > 1 else ""
                named = [authors[name] for name in _NAME.findall(before) if name in authors] if before else ()
                places.update(named or authors.values())
        return [(self._all[place].number, self._all[place].agent) for place in sorted(places)]

    def _quoted(self, prompt: str) -> dict[str, str]:
        """The whole texts in a prompt that neither begin nor end inside a word, each with what stands before it in its lines."""
        found: dict[str, str] = {}
        for head in self._heads.keys() & set(_WORDS.findall(prompt)):
            at = prompt.find(head)
            while at >= 0:
                for width in self._heads[head] if not _inside_word(prompt, at) else ():
                    for size in self._sizes.get(prompt[at : at + width], ()):
                        text = prompt[at : at + size]
                        if text in self._by_whole and not _inside_word(prompt, at + size):
                            before = prompt[max(prompt.rfind("\n", 0, at) + 1, at - _BEFORE) : at]
                            found[text] = f"{found[text]} {before}" if text in found else before
                at = prompt.find(head, at + 1)
        return found


class Shown:
    """What prompts have held, to say whether a short text was among it. Each different line is looked at once per length."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._known: set[str] = set()
        self._pieces: dict[int, tuple[set[str], int]] = {}  # length -> pieces of this length, in how many of the lines

    def add(self, prompt: str) -> None:
        for line in prompt.split("\n"):
            if line not in self._known:
                self._known.add(line)
                self._lines.append(line)

    def __contains__(self, text: str) -> bool:
        return all(self._holds(line) for line in text.split("\n"))

    def _holds(self, text: str) -> bool:
        pieces, done = self._pieces.get(len(text), (set[str](), 0))
        for line in self._lines[done:]:
            pieces.update(line[i : i + len(text)] for i in range(len(line) - len(text) + 1))
        self._pieces[len(text)] = pieces, len(self._lines)
        return text in pieces


def parts_of(text: str) -> dict[str, str]:
    """A text's lines and what follows a colon in them, if not too short: each with what stands before the colon."""
    found = {text: ""}
    if "\n" in text or ": " in text:
        for line in text.split("\n"):
            before, _, after = line.partition(": ")
            found.setdefault(line.strip(), "")
            after = after.strip()
            found[after] = f"{found.get(after, '')} {before}"
    return {part: before for part, before in found.items() if len(part) >= SHORT}


def _inside_word(text: str, at: int) -> bool:
    """Whether the characters before and after a place are of one word."""
    return 0 < at < len(text) and text[at - 1].isalnum() and text[at].isalnum() and text[at - 1 : at + 1].isascii()
