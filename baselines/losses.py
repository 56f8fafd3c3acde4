"""Policy losses as pure tensor functions. Each returns one number per token, (B, T); the learner
averages them (`Batch.weight`), so that the result is the same for any micro-batch size.

Shapes: logp, old, advantage are (B, T); `segment` (B, T) is k on the k-th reply of a row and 0 elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def token_logprobs(logits: Tensor, ids: Tensor, temperature: float) -> Tensor:
    """log p(ids[t+1] | ids[..t]) at the temperature it was sampled with: (B, T, V) logits, (B, T + 1) ids -> (B, T)."""
    logp = torch.log_softmax(logits.float() / temperature, -1)
    return logp.gather(-1, ids[:, 1:, None]).squeeze(-1)


def grpo(clip_low: float = 0.2, clip_high: float = 0.28) -> Loss:
    """-min(rho A, clip(rho, 1 - low, 1 + high) A), rho = pi / pi_old of each token (GRPO, arXiv 2402.03300; the wider upper
    range is DAPO's, arXiv 2503.14476). Returns the loss and a 0/1 map of clipped tokens."""

    def loss(logp: Tensor, old: Tensor, advantage: Tensor, segment: Tensor) -> tuple[Tensor, Tensor]:
        ratio = torch.where(segment > 0, logp - old, 0.0).exp()
        return _clipped(ratio, advantage, clip_low, clip_high)

    return loss


def gspo(clip_low: float = 3e-4, clip_high: float = 4e-4) -> Loss:
    """As `grpo`, but with one ratio for a whole reply: s = exp(mean over its tokens of log pi - log pi_old) (GSPO,
    arXiv 2507.18071). All tokens of a reply carry its loss, so a mean over sequences is the paper's objective."""

    def loss(logp: Tensor, old: Tensor, advantage: Tensor, segment: Tensor) -> tuple[Tensor, Tensor]:
        difference = torch.where(segment > 0, logp - old, 0.0)
        log_ratio = torch.zeros_like(difference)
        for k in range(1, int(segment.max()) + 1):
            here = (segment == k).to(difference.dtype)
            mean = (difference * here).sum(1, keepdim=True) / here.sum(1, keepdim=True).clamp(min=1)
            log_ratio = log_ratio + mean * here
        return _clipped(log_ratio.exp(), advantage, clip_low, clip_high)

    return loss


def _clipped(ratio: Tensor, advantage: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    free = ratio * advantage
    bound = ratio.clamp(1 - low, 1 + high) * advantage
    return -torch.minimum(free, bound), (bound < free).float()
