"""Intervals and team figures against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from llm_marl_envs import Claim, Outcome, Score, Status
from llm_marl_envs.stats.figures import team_figures
from llm_marl_envs.stats.intervals import accuracy_of, bootstrap, wilson


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [
        (8, 10, 0.4902, 0.9433),  # Wilson 1927's formula with z = 1.96, worked by hand
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (50, 100, 0.4038, 0.5962),
    ],
)
def test_wilson(right, n, low, high):
    interval = wilson(right, n)
    assert interval.mean == right / n
    assert interval.low == pytest.approx(low, abs=2e-4)
    assert interval.high == pytest.approx(high, abs=2e-4)


def test_wilson_of_nothing_is_everything():
    interval = wilson(0, 0)
    assert math.isnan(interval.mean)
    assert (interval.low, interval.high) == (0.0, 1.0)


def test_bootstrap_has_its_own_generator():
    values = [math.sqrt(i) / 10 for i in range(40)]
    np.random.seed(1)
    first = bootstrap(values)
    np.random.seed(2)
    assert bootstrap(values) == first
    assert bootstrap(values, seed=1) != first
    # close to the normal interval of the same mean
    mean, half = sum(values) / 40, 1.96 * np.std(values) / math.sqrt(40)
    assert first.mean == pytest.approx(mean)
    assert first.low == pytest.approx(mean - half, abs=0.01)
    assert first.high == pytest.approx(mean + half, abs=0.01)


def test_accuracy_counts_a_problem_once_however_often_it_was_tried():
    once = accuracy_of([("a", 1.0), ("b", 0.0), ("c", 1.0), ("d", 1.0)])
    assert once == wilson(3, 4)
    tried = accuracy_of([("a", 1.0)] * 9 + [("b", 0.0)])
    assert tried.mean == 0.5


def outcome(*claims, value=1.0, status=Status.FINISHED, calls=3, malformed=0):
    return Outcome(
        status, Score(value, ""), tuple(claims), ("generator_0", "evaluator_0"), {"generator_0": calls}, {"generator_0": 10 * calls}, malformed
    )  # fmt: skip


def test_team_figures_by_hand():
    draft = lambda right: (Claim("generator_0", "x"), Score(float(right), "", "x"))  # noqa: E731
    said = lambda verdict, true: (Claim("evaluator_0", verdict, "verdict"), Score(float(true), "", verdict))  # noqa: E731
    outcomes = [
        outcome(draft(0), said("wrong", True), draft(1), said("right", True), value=1.0, calls=4),  # corrected
        outcome(draft(1), said("right", True), value=1.0, calls=2),  # preserved
        outcome(draft(0), said("right", False), value=0.0, calls=2, malformed=1),  # a wrong answer accepted
        outcome(draft(1), said("wrong", False), draft(0), value=0.0, calls=4, status=Status.TRUNCATED),
        outcome(status=Status.FAILED, value=0.0),
    ]
    figures = team_figures(outcomes)
    assert figures["first_draft"] == 2 / 4
    assert figures["correction"] == 1 / 4
    assert figures["preservation"] == 1 / 4
    # verdicts on right answers: right (true), right (true), wrong (false); on wrong ones: wrong (true), right (false)
    assert figures["accept_if_right"] == pytest.approx(2 / 3)
    assert figures["reject_if_wrong"] == pytest.approx(1 / 2)
    assert figures["calls"] == 3.0
    assert figures["tokens"] == 30.0
    assert figures["malformed"] == 1 / 12
    assert figures["truncated"] == 1 / 4
    assert figures["failed"] == 1.0


def test_team_figures_of_nothing():
    assert team_figures([])["failed"] == 0.0
