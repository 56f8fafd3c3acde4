"""Score a reply whose answer is one number."""

from __future__ import annotations

from numbers import Rational

from llm_marl_envs.grading.numbers import final_number
from llm_marl_envs.task import Score


def grade_number(gold: Rational, text: str | None, kind: str = "answer") -> Score:
    """1 if the reply's final number equals `gold` exactly, else 0 (no tolerance, no partial credit)."""
    if kind != "answer":
        return Score(0.0, f"this task grades answers, not {kind}")
    value, why = final_number(text or "")
    if value is None:
        return Score(0.0, why)
    if value == gold:
        return Score(1.0, why, str(value))
    return Score(0.0, f"{why} is {value}, not {gold}", str(value))
