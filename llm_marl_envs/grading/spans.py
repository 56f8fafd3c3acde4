r"""Is the short answer of a reply a gold answer, and do retrieved passages hold one? (SQuAD, HotpotQA, DAC.)

`exact_match` and `f1` are those of the official scripts (Rajpurkar et al. 2016; Yang et al. 2018): lower case, without ASCII
punctuation and the articles a, an, the, white space collapsed; F1 is 0 if one side is yes, no or noanswer and the other
is not. `grade_span` compares by `reading.plain_form`, which leaves numbers their points and signs and takes typographic
apostrophes and dashes for the ASCII ones. An answer that becomes empty by this ("", "a", "!") matches no gold answer, except
gold answers that also become empty ("The The", "!!!"), which are compared in lower case only.

Time is linear in the text; replies and passages beyond 200,000 characters and answers beyond 1,000 are refused.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from llm_marl_envs.reading import ABSTENTION, LONGEST_ANSWER, LONGEST_REPLY, normalize, plain_form, read_answer
from llm_marl_envs.task import Score

Metric = Literal["em", "f1"]


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A titled text."""

    title: str
    text: str

    def __str__(self) -> str:
        return f"{self.title}: {self.text}"


@dataclass(frozen=True, slots=True)
class Gold:
    """The gold answers, each of which is right, and the paragraphs that support them, if they are known."""

    answers: tuple[str, ...]
    supporting: tuple[Paragraph, ...] = ()


# The official measures.
_ARTICLES = frozenset(("a", "an", "the"))
_CLOSED = frozenset(("yes", "no", "noanswer"))


def exact_match(prediction: str, gold: str) -> float:
    """1.0 if the two are equal once normalised, else 0.0."""
    return float(normalize(prediction) == normalize(gold))


def f1(prediction: str, gold: str) -> float:
    """The harmonic mean of token precision and recall, by HotpotQA's script (0 if either side has no tokens)."""
    return _f1(normalize(prediction), normalize(gold))


def _f1(prediction: str, gold: str) -> float:
    if prediction != gold and (prediction in _CLOSED or gold in _CLOSED):
        return 0.0
    ours, theirs = prediction.split(), gold.split()
    common = (Counter(ours) & Counter(theirs)).total()
    if not common:
        return 0.0
    precision, recall = common / len(ours), common / len(theirs)
    return 2 * precision * recall / (precision + recall)


# Whether retrieved passages suffice.
_JOINED = re.compile(
    r"['’]\s?s\b|(?<=[\w.)])[-/\u2010-\u2015\u2212](?=[\w(])", re.IGNORECASE
)  # Norway's, Camden-based, 1505–1572
_BEFORE_TITLE = re.compile(
    r"^(?:doc(?:ument)?\s*\d+|passage\s*\d+|\d+[.)]|\[\d+\]|[\s(\"'“*#-]|title:)*", re.IGNORECASE
)


def grade_evidence(gold: Gold, text: str | None) -> Score:
    """DAC's s(Q, E) (arXiv 2606.10684): 1 if the passages contain a gold answer after normalisation, as whole tokens.

    A token ends at white space, and in a second reading also at hyphens, dashes, slashes and a possessive 's. If the
    answers are yes, no or articles, containment says nothing; then, by our own definition, every supporting paragraph
    must be among the passages: its text, or its title as the heading of a line (`Title: text`, `Doc 1(Title: "..."`).
    """
    text = text or ""
    if not text.strip() or len(text) > LONGEST_REPLY:
        return Score(0.0, "no passages" if not text.strip() else "more text than passages may have")
    readings = _readings(text)
    if any(form not in _CLOSED for form in _forms(gold.answers)):
        held = _holds(readings, gold.answers)
        why = "a gold answer is in the passages" if held else "no gold answer is in the passages"
    elif not gold.supporting:
        return Score(
            0.0, "the answer is yes or no and no supporting paragraph is known: cannot be told", "insufficient"
        )
    else:
        lines = [_headed(line) for line in text.split("\n")]
        missing = [p.title for p in gold.supporting if not _has_paragraph(lines, readings, p)]
        held = not missing
        why = "every supporting paragraph is there" if held else f"supporting paragraphs missing: {len(missing)}"
    return Score(float(held), why, "sufficient" if held else "insufficient")


def _readings(text: str) -> tuple[str, str]:
    return plain_form(text), plain_form(_JOINED.sub(" ", text))


def _holds(readings: tuple[str, str], spans: Sequence[str]) -> bool:
    padded = [f" {reading} " for reading in readings]
    return any(
        form and form not in _CLOSED and f" {form} " in where
        for span in spans
        for form, where in zip(_readings(span), padded, strict=True)
    )


def _has_paragraph(lines: Sequence[str], readings: tuple[str, str], paragraph: Paragraph) -> bool:
    if _holds(readings, (paragraph.text,)):
        return True
    title = _headed(paragraph.title)
    rests = (line[len(title) :] for line in lines if title and line.startswith(title))
    return any(rest.lstrip(" \"'”*")[:1] in ("", ":", ")") for rest in rests)


def _headed(line: str) -> str:
    """A line in lower case, from the start of its heading's title."""
    return _BEFORE_TITLE.sub("", line.strip().lower(), count=1)


# The grade.
@functools.lru_cache(maxsize=4096)
def _forms(answers: tuple[str, ...], official: bool = False) -> tuple[str, ...]:
    normal = normalize if official else plain_form
    return tuple(dict.fromkeys(form for answer in answers if (form := normal(answer))))


def grade_span(
    gold: Gold, text: str | None, kind: str = "answer", metric: Metric = "em", official: bool = False
) -> Score:
    """1 if the reply's answer is one of the gold answers, else 0, or its best F1 if that is the `metric`; for `evidence`
    see `grade_evidence`. Answers are compared by their `plain_form`, or by SQuAD's own normalisation if `official`. A verdict is graded by the truth of the answer it is about (`outcome.outcome_of`), not here."""
    if kind == "evidence":
        return grade_evidence(gold, text)
    if kind != "answer":
        return Score(0.0, f"this task grades answers and evidence, not {kind}")
    text = text or ""
    alone = len(text) <= LONGEST_ANSWER and _is_gold(
        text.strip(), gold.answers, official
    )  # some gold answers are no short line
    answer, why = (text.strip(), "the whole reply") if alone else read_answer(text)
    if answer is None:
        return Score(0.0, why)
    form = normalize(answer) if official else plain_form(answer)
    if alone or _is_gold(answer, gold.answers, official):
        return Score(1.0, f"exact match ({why})", form or answer)
    if form == ABSTENTION:
        return Score(0.0, "abstained", form)
    best = max((_f1(form, theirs) for theirs in _forms(gold.answers, official)), default=0.0)
    return Score(
        best if metric == "f1" else 0.0, f"{answer!r:.60} is no gold answer, F1 {best:.2f} ({why})", form or answer
    )


def _is_gold(answer: str, golds: tuple[str, ...], official: bool) -> bool:
    if form := normalize(answer) if official else plain_form(answer):
        return form in _forms(golds, official)
    bare = " ".join(answer.lower().split())
    if not bare or answer in _ARTICLES:  # a bare "a" is a slip, not the letter A
        return False
    return any(bare == " ".join(gold.lower().split()) for gold in golds if not normalize(gold))
