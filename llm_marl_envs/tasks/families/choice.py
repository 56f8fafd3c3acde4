"""Multiple choice: code shared by GPQA, MMLU-Pro and similar tasks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from llm_marl_envs.errors import ConfigError, DataError
from llm_marl_envs.grading.choices import Options, grade_choice
from llm_marl_envs.reading import LETTERS, lettered
from llm_marl_envs.seeds import seed_of
from llm_marl_envs.task import Problem, Question, Score
from llm_marl_envs.tasks.families.dataset import DatasetTask, LeftOut

ANSWER_FORMAT = "Exactly one option is right. Give its letter in \\boxed{}."
METRIC = "the reply chooses the right option, and no other, by its letter or its whole text"
DUPLICATES = (
    "Rows in which another option has the same text as the right one are left out, for then two letters are right."
)


@dataclass(frozen=True)
class MultipleChoice(DatasetTask):
    """The base of the family: a task has a card, and reads a row as a question, its options and the right one.

    shuffle: the seed of the options' order, which is drawn for each problem by its id; None keeps the data set's own order.
    """

    shuffle: int | None = 0

    ordered: ClassVar[bool] = True  # does the data set's own order tell nothing about the right option?

    def __post_init__(self):
        if self.shuffle is None and not self.ordered:
            raise ConfigError(
                f"{self.card.source.name} lists the right option first: its options are shuffled; give a seed, as in shuffle=0"
            )

    def problem(self, id: str, question: str, options: tuple[str, ...], right: int) -> Problem | LeftOut:
        """A problem, if its right option is not there twice. Raises DataError for fewer than 2 options, or more than
        there are letters."""
        if not 2 <= len(options) <= len(LETTERS) or not 0 <= right < len(options):
            raise DataError(
                f"{id}: expected 2 to {len(LETTERS)} options, one of them right, got {len(options)} and the index {right}"
            )
        same = [" ".join(option.split()) for option in options]
        if same.count(same[right]) > 1:
            return LeftOut("its right option is there twice")
        order = range(len(options)) if self.shuffle is None else shuffled(options, (self.shuffle, id), self.ordered)
        shown = tuple(options[i].strip() for i in order)
        text = f"{question.strip()}\n\n{lettered(shown)}"
        return Problem(Question(id, text, "choice", ANSWER_FORMAT), Options(shown, list(order).index(right)))

    def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
        return grade_choice(problem.gold, text, kind)


_ABOVE = re.compile(
    r"(?i)\W*(?:all|none|any|both|neither|either|some|two|most|each)\s+(?:of\s+)?(?:(?:the|these)\s+)?"
    r"(?:above|these|those|options|answers|choices|others?)\b.*|.*\b(?:above|other|preceding|previous)\s+(?:options?|answers?|choices?)\b.*"
    r"|.*\bof\s+(?:the\s+)?above\W*",
    re.DOTALL,
)
_ONE = r"\(?(?:option\s+|choice\s+|answer\s+)?\(?\b[A-J]\b\)?"
_NAMED = re.compile(
    rf"\W*(?:(?i:both|either|neither|only|all\s+of|options?|choices?|answers?)\s+)*{_ONE}"
    rf"(?:\s*(?:,|&|/|(?i:,?\s*\b(?:and|or|nor|but\s+not)\b))\s*{_ONE})+(?:\s+(?i:only|both|alone|are.*|is.*))?\W*"
    rf"|\W*(?i:only\s+|options?\s+|choices?\s+|answers?\s+)+{_ONE}\W*(?i:only|alone|above|below)?\W*|\W*{_ONE}\s+(?i:only|alone)\W*",
    re.DOTALL,
)


def shuffled(options: tuple[str, ...], seed: tuple[object, ...], ordered: bool) -> list[int]:
    """An order of options, drawn by a seed, in which what options say about one another stays true.

    "All of the above" and the like stay last. Options that name letters ("both A and B"), or that stand above or below what "the
    above" is, keep the order of all; if the data has no order of its own (`ordered`), letters in options are not about it.
    """
    above = [i for i, option in enumerate(options) if _ABOVE.fullmatch(option)]
    if ordered:
        last = list(range(len(options) - len(above), len(options)))
        if above != last or any(_NAMED.fullmatch(option) for option in options):
            return list(range(len(options)))
    free = [i for i in range(len(options)) if i not in above]
    Random(seed_of("options", *seed)).shuffle(free)
    return free + above
