"""Policy losses as pure tensor functions. Each returns one number per token, (B, T), and a 0/1 map of clipped tokens; the
learner averages them (`Batch.weight`), so that the result is the same for any micro-batch size.

A loss is given log-probs (B, T), a critic's values (B, T) or None, and the batch, all (B, T): `old` are the learner's log-probs before
the batch's first update, `sampled` the engine's (NaN on lessons), `returns` are NaN where a reply has none, `segment` is k on the
k-th reply of a row and 0 elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor


class Trained(Protocol):
    """What a loss may see of a batch (`learner.Batch`); all are (B, T)."""

    @property
    def segment(self) -> Tensor: ...
    @property
    def advantage(self) -> Tensor: ...
    @property
    def old(self) -> Tensor: ...
    @property
    def sampled(self) -> Tensor: ...
    @property
    def values(self) -> Tensor: ...
    @property
    def returns(self) -> Tensor: ...


Loss = Callable[[Tensor, Tensor | None, Trained], tuple[Tensor, Tensor]]


def grpo(clip_low: float = 0.2, clip_high: float = 0.28) -> Loss:
    """-min(rho A, clip(rho, 1 - low, 1 + high) A), rho = pi / pi_old of each token (GRPO, arXiv 2402.03300; the wider upper
    range is DAPO's, arXiv 2503.14476)."""

    def loss(logp: Tensor, value: Tensor | None, batch: Trained) -> tuple[Tensor, Tensor]:
        ratio = torch.where(batch.segment > 0, logp - batch.old, 0.0).exp()
        return _clipped(ratio, batch.advantage, clip_low, clip_high)

    return loss


def gspo(clip_low: float = 3e-4, clip_high: float = 4e-4, most: float = math.inf) -> Loss:
    """As `grpo`, but with one ratio for a whole reply: s = exp(mean over its tokens of log pi - log pi_old) (GSPO,
    arXiv 2507.18071). All tokens of a reply carry its loss, so a mean over sequences is the paper's objective.
    The mean log ratio is kept within -most and most."""

    def loss(logp: Tensor, value: Tensor | None, batch: Trained) -> tuple[Tensor, Tensor]:
        segment = batch.segment
        difference = torch.where(segment > 0, logp - batch.old, 0.0)
        log_ratio = torch.zeros_like(difference)
        for k in range(1, int(segment.max()) + 1):
            here = (segment == k).to(difference.dtype)
            mean = (difference * here).sum(1, keepdim=True) / here.sum(1, keepdim=True).clamp(min=1)
            log_ratio = log_ratio + mean.clamp(-most, most) * here
        return _clipped(log_ratio.exp(), batch.advantage, clip_low, clip_high)

    return loss


def corrected(loss: Loss, cap: float) -> Loss:
    """`loss` with each token weighted by min(pi_old / pi_engine, cap): what the engine samples from is not quite the learner's
    policy, be it rounded or stale (truncated importance sampling, arXiv 1802.01561). Lessons weigh 1."""

    def weighted(logp: Tensor, value: Tensor | None, batch: Trained) -> tuple[Tensor, Tensor]:
        per_token, clipped = loss(logp, value, batch)
        gap = torch.where(batch.segment > 0, batch.old - batch.sampled, 0.0).nan_to_num(nan=0.0)
        return per_token * gap.exp().clamp(max=cap), clipped

    return weighted


def ppo(clip: float = 0.2, clip_value: float = 0.2, value_weight: float = 0.5) -> Loss:
    """The clipped surrogate of each token, plus value_weight x max((V - R)^2, (V' - R)^2), in which V' is the critic's value kept
    within `clip_value` of what it was (PPO, arXiv 1707.06347; the value clip as in its released code, where the weight is
    0.5 of half a square: give 0.25 for that). Replies without returns (lessons) teach the critic nothing. The policy must be
    one of the method's critics."""
    surrogate = grpo(clip, clip)

    def loss(logp: Tensor, value: Tensor | None, batch: Trained) -> tuple[Tensor, Tensor]:
        assert value is not None, "a policy with this loss is a critic"
        per_token, clipped = surrogate(logp, value, batch)
        known = (batch.segment > 0) & ~batch.returns.isnan()
        now, was, due = (torch.where(known, x, 0.0) for x in (value, batch.values, batch.returns))
        near = was + (now - was).clamp(-clip_value, clip_value)
        miss = torch.maximum((now - due).square(), (near - due).square())
        return per_token + value_weight * miss, clipped

    return loss


def estimated_kl(logp: Tensor, reference: Tensor) -> Tensor:
    """An estimate of KL(policy, reference) from the log-probs of tokens that the policy sampled: r - 1 - log r with r = reference /
    policy, never negative, without bias, and of less variance than -log r (k3 of Schulman's "Approximating KL divergence",
    as in GRPO, arXiv 2402.03300). Its own gradient is not the divergence's: that of it times policy / old policy is
    (DeepSeek-V3.2, arXiv 2512.02556)."""
    difference = reference - logp
    return difference.exp() - difference - 1


def _clipped(ratio: Tensor, advantage: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    free = ratio * advantage
    bound = ratio.clamp(1 - low, 1 + high) * advantage
    return -torch.minimum(free, bound), (bound < free).float()
