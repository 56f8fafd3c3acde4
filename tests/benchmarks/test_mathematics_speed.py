"""Plain numbers graded per second: ours, against Math-Verify called directly (without the processes that keep its time)."""

from __future__ import annotations

import logging
import time
from random import Random

import pytest
from benchmarks.ratio import compare

from llm_marl_envs.grading import workers
from llm_marl_envs.grading.mathematics import _normal, grade_math

pytest.importorskip("math_verify")


def items(count: int, seed: int) -> list[tuple[str, str, bool]]:
    rng, made = Random(seed), []
    for _ in range(count):
        gold, denominator = rng.randint(-9999, 9999), rng.choice((3, 7, 9, 11))
        other = gold + rng.randint(1, 9)
        made += [
            (f"{gold}", rng.choice([f"{gold}", f"{gold}.0", f"\\frac{{{2 * gold}}}{{2}}"]), True),
            (f"{gold}", f"{other}", False),
            (f"\\frac{{{abs(gold) + 1}}}{{{denominator}}}", f"{abs(gold) + 1}/{denominator}", True),
        ]
    return made


def test_plain_numbers_against_math_verify(benchmark, caplog):
    """At least 20 times as many, with no process asked; texts are new in every round, so that no cache helps."""
    caplog.set_level(logging.CRITICAL)
    seeds = iter(range(10**6))

    def rate(judge, count: int) -> float:
        asked = items(count, next(seeds))
        _normal.cache_clear()
        began = time.perf_counter()
        verdicts = [judge(gold, answer) for gold, answer, _ in asked]
        seconds = time.perf_counter() - began
        assert verdicts == [right for _, _, right in asked]
        return len(asked) / seconds

    def ours(gold: str, answer: str) -> bool:
        return grade_math(gold, f"The answer is $\\boxed{{{answer}}}$.").value == 1.0

    def theirs(gold: str, answer: str) -> bool:
        return workers.compare(gold, answer)["equal"]

    assert (
        compare(benchmark, lambda: rate(ours, 300), lambda: rate(theirs, 20), "plain numbers/s, ours / Math-Verify")
        >= 20
    )
