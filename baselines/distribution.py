"""The distribution that a token is sampled from. The engine draws from it and the learner takes log-probs under it, so both
truncate in the same way. Pure tensor functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from baselines.types import Sampling


class Truncation(NamedTuple):
    """top_k (0: all) and top_p of each row."""

    top_k: Tensor
    top_p: Tensor


def truncation_of(samplings: Sequence[Sampling]) -> Truncation | None:
    """One row per sampling; None if nothing is cut off anywhere. Greedy decoding cuts nothing off."""
    if not any(s.truncates for s in samplings):
        return None
    cuts = [(s.top_k, s.top_p) if s.truncates else (0, 1.0) for s in samplings]
    top_k, top_p = zip(*cuts, strict=True)
    return Truncation(torch.tensor(top_k), torch.tensor(top_p))


def truncated(logits: Tensor, cut: Truncation, chosen: Tensor | None = None) -> Tensor:
    """Logits (..., V), already divided by the temperature, with -inf for what is cut off: all but the `top_k` largest, and of
    these all but the fewest that have `top_p` of their probability. Of equal ones the lower id is kept.

    `chosen` (...) are tokens that stay in any case: the learner's weights have moved since they were sampled. The set of
    tokens is a constant of the gradient.
    """
    with torch.no_grad():
        ranked, order = torch.sort(logits, dim=-1, descending=True, stable=True)
        place = torch.arange(logits.shape[-1], device=logits.device)
        top_k = torch.where(cut.top_k > 0, cut.top_k, logits.shape[-1])[..., None]
        keep = place < top_k
        p = torch.softmax(ranked.masked_fill(~keep, -torch.inf), -1)
        before = p.cumsum(-1) - p  # of the likelier ones together
        top_p = cut.top_p[..., None]
        keep &= (before < top_p) | (top_p >= 1)
        lost = torch.ones_like(keep).scatter(-1, order, ~keep)
        if chosen is not None:
            lost.scatter_(-1, chosen[..., None], False)
    return logits.masked_fill(lost, -torch.inf)
