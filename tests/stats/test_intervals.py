"""Intervals against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_marl_envs.stats.intervals import accuracy_of, bootstrap, mean_of, wilson


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


def test_no_interval_has_zero_width():
    assert str(mean_of([0.0] * 8, share=True)) == "0.0% [0.0, 32.4]"
    assert mean_of([0.5] * 8, share=True) == wilson(4, 8)
    assert accuracy_of([("a", 1.0), ("a", 0.0), ("b", 0.0), ("b", 1.0)]) == wilson(1, 2), "n is the number of problems"
    assert accuracy_of([("a", 1.0)] * 5) == wilson(1, 1)
    for values, share in (([1.0], True), ([7.0], False), ([7.0] * 9, False)):
        interval = mean_of(values, share=share)
        assert interval.mean == values[0]
        assert math.isnan(interval.low), "not known"
        assert str(interval).endswith("% -")


@given(st.lists(st.floats(0, 1), min_size=2, max_size=40))
def test_shares_and_their_intervals_stay_shares(values):
    for interval in (mean_of(values, share=True), accuracy_of(enumerate(values))):
        assert 0 <= interval.low <= interval.mean + 1e-9
        assert interval.mean - 1e-9 <= interval.high <= 1
        assert interval.low < interval.high


def test_weights_are_cases():
    """1 of 1 and 1 of 3: 2 of 4, not the mean of the rates."""
    interval = bootstrap([1.0, 1 / 3], [1, 3])
    assert interval.mean == pytest.approx(0.5)
    assert (interval.low, interval.high) == (pytest.approx(1 / 3), 1.0)
