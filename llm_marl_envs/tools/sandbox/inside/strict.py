"""Comparisons of numpy that tests use, without its broadcasting: an empty list is no 2.8.

`numpy.testing.assert_allclose([], 2.8)` passes, because nothing differs. So in the tests' process a comparison first asks
whether both sides are of one shape and kind, and whether both are plain data: what only the program can answer for (its
length, its items) is never compared as an array.
"""

from __future__ import annotations

import collections
import decimal
import fractions
import numbers

from wire import Remote

_ASSERTING = ("assert_allclose", "assert_almost_equal", "assert_approx_equal", "assert_array_almost_equal", "assert_array_equal", "assert_equal")  # fmt: skip
_TELLING = ("allclose", "isclose", "array_equal", "array_equiv")
_SEQUENCES = (list, tuple, range, collections.deque)
_NUMBERS = (numbers.Number, decimal.Decimal, fractions.Fraction)


def make_strict(numpy) -> None:
    """Wrap numpy's comparisons, in this process."""
    for owner, names in ((numpy.testing, _ASSERTING), (numpy, _TELLING)):
        for name in names:
            if (original := getattr(owner, name, None)) is not None:
                setattr(owner, name, _strict(original, numpy, owner is numpy.testing))


def _strict(original, numpy, asserts):
    def compare(one, other, *options, **named):
        if alike(one, other, numpy):
            return original(one, other, *options, **named)
        if asserts:
            raise AssertionError(f"{one!r:.100} and {other!r:.100} are not of one shape and kind")
        return False

    return compare


def alike(one, other, numpy, depth: int = 0) -> bool:
    """Whether two values are plain data of one shape and kind: numbers, or sequences of equal length with such items."""
    if isinstance(one, Remote) or isinstance(other, Remote) or depth > 50:
        return False
    shapes = [_shape(value, numpy) for value in (one, other)]
    if None not in shapes and (isinstance(one, numpy.ndarray) or isinstance(other, numpy.ndarray)):
        return len(set(shapes)) == 1
    sequences = [isinstance(value, (*_SEQUENCES, numpy.ndarray)) for value in (one, other)]
    if all(sequences):
        return len(one) == len(other) and all(alike(*pair, numpy, depth + 1) for pair in zip(one, other, strict=True))
    if any(sequences):
        return False
    numeric = [isinstance(value, (*_NUMBERS, numpy.generic)) for value in (one, other)]
    return all(numeric) or (not any(numeric) and type(one) is type(other))


def _shape(value, numpy):
    """The shape of an array, or of nested sequences of numbers as an array; None for others."""
    if isinstance(value, numpy.ndarray):
        return value.shape
    if not isinstance(value, _SEQUENCES):
        return () if isinstance(value, (*_NUMBERS, numpy.generic)) else None
    inner = {_shape(item, numpy) for item in value}
    if not value:
        return (0,)
    return (len(value), *inner.pop()) if len(inner) == 1 and None not in inner else None
