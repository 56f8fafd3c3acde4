"""Whether a gold answer can be graded fairly: its own grader is tried on it, before any reply is.

Data sets have golds that no grader of formulas can handle: one that only its exact spelling equals, or that a statement which is
always true, or a part of it, would equal. Rewarding by them teaches tricks, so their problems are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from llm_marl_envs.grading.mathematics import grade_math, is_plain_number, named_value, parts_of

_LOOSE = re.compile(r"(?<!\w)\s+|\s+(?!\w)")  # spaces that separate neither words nor numbers


def unfair(golds: Sequence[str], tolerances: Sequence[float | None]) -> str:
    """Why an answer, all of `golds`, cannot be graded fairly; "" if it can. Forms of a plain number are read by rules that need no
    trial."""
    if len(golds) == 1 and is_plain_number(golds[0]):
        return ""
    whole = ", ".join(golds)

    def value(reply: str) -> float:
        return grade_math(golds, f"\\boxed{{{reply}}}", tolerance=tolerances).value

    if refused := next((form for form in _spellings(whole) if value(form) != 1.0), None):
        return f"its own grader refuses the spelling {refused!r:.80}"
    if accepted := next((wrong for wrong in _not_answers(golds) if value(wrong) != 0.0), None):
        return f"its own grader accepts {accepted!r:.80}"
    return ""


def _spellings(whole: str) -> Iterator[str]:
    yield whole
    yield _LOOSE.sub("", whole)
    yield whole.replace("\\frac", "\\dfrac").replace("\\left", "").replace("\\right", "")
    if (value := named_value(whole)) != whole:
        yield value


def _not_answers(golds: Sequence[str]) -> Iterator[str]:
    """Statements that are always true or never, and parts of the answer."""
    yield from ("0=1", "1=1")
    for gold in golds:
        if "=" in gold:
            yield f"{named_value(gold)}={named_value(gold)}"
    parts = [part for gold in golds for part in parts_of(gold)]
    if len(parts) > 1:
        yield from parts
