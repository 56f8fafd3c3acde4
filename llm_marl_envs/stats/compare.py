"""Two results on the same problems."""

from __future__ import annotations

from collections.abc import Sequence

from llm_marl_envs.stats.intervals import Interval, bootstrap, wilson


def paired(before: Sequence[float | None], after: Sequence[float | None]) -> Interval:
    """The mean of after - before over the same problems, in the same order, with its 95% interval: problems are bootstrapped. Those
    that have no score (None) on either side are left out.

    Scores are from 0 to 1. Where all n differences are the same d, up to w = 3.84 / (n + 3.84) of all problems may have others (the
    end of Wilson's interval for none of n), so the interval is from d - w (1 + d) to d + w (1 - d).

    Worked example: wrong, wrong, right before and right, wrong, right after: (1 + 0 + 0) / 3.
    """
    changes = [y - x for x, y in zip(before, after, strict=True) if x is not None and y is not None]
    if not changes or len(set(changes)) > 1:
        return bootstrap(changes)
    d, w = changes[0], wilson(0, len(changes)).high
    return Interval(d, d - w * (1 + d), d + w * (1 - d))
