"""Is the option that a reply chooses the right one?"""

from __future__ import annotations

from dataclasses import dataclass

from llm_marl_envs.reading import LETTERS, read_choice
from llm_marl_envs.task import Score


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a question as they are shown, and the index of the right one."""

    texts: tuple[str, ...]
    right: int

    @property
    def letter(self) -> str:
        return LETTERS[self.right]


def grade_choice(gold: Options, text: str | None, kind: str = "answer") -> Score:
    """1 if the reply commits to the right option (see `reading.choices`), else 0."""
    if kind != "answer":
        return Score(0.0, f"this task grades answers, not {kind}")
    letter, why = read_choice(text, gold.texts)
    if letter is None:
        return Score(0.0, why)
    return Score(float(letter == gold.letter), why if letter == gold.letter else f"{why} is {letter}", letter)
