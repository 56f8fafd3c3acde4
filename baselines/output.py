"""A model's output layer at the sampled positions alone, in pieces: no (B, T, V) tensor is made, forward or backward.

The logits of a batch are its largest tensor: 16 bytes for each token and entry of the vocabulary, with gradient and softmax. But only
sampled tokens are trained on (a fifth of a team's), and their log-probs are single numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from baselines.distribution import Truncation, truncated

Piece = Callable[[Tensor, int], Tensor]  # some rows of hidden states, the place of the first -> their log-probs
LOGITS = 1 << 24  # entries of logits at a time on a card; more than that is computed again in the backward pass
LOGITS_ON_CPU = 1 << 22  # which needs no large matrices to be quick


def picked(
    logits: Tensor, ids: Tensor, temperature: Tensor | float, cut: Truncation | None = None, *, entropy: bool = False
) -> Tensor:
    """The log-probs of `ids` (...) as they were sampled, at a temperature (...) and perhaps truncated, from logits (..., V); with
    `entropy`, in nats, beside that of the distribution: (..., 2)."""
    scaled = logits.float() / (temperature[..., None] if isinstance(temperature, Tensor) else temperature)
    if cut is not None:
        scaled = truncated(scaled, cut, ids)
    logp = torch.log_softmax(scaled, -1)
    said = logp.gather(-1, ids[..., None]).squeeze(-1)
    if not entropy:
        return said
    surprise = -logp.masked_fill(logp == -torch.inf, 0.0)  # what cannot be sampled has no part in it
    return torch.stack([said, (logp.exp() * surprise).sum(-1)], -1)


def picked_in_pieces(
    hidden: Tensor, output: nn.Module, ids: Tensor, temperature: Tensor, cut: Truncation | None, most: int | None = None,
    *, entropy: bool = False,
) -> Tensor:  # fmt: skip
    """`picked` of what the output layer makes of `hidden` (N, H), with at most `most` logits at any time."""
    weights = tuple(output.parameters())
    most = most or (LOGITS_ON_CPU if hidden.device.type == "cpu" else LOGITS)
    rows = max(1, most // len(weights[0]))

    def piece(part: Tensor, start: int) -> Tensor:
        here = slice(start, start + len(part))
        cuts = cut and Truncation(*(x[here] for x in cut))
        return picked(output(part), ids[here], temperature[here], cuts, entropy=entropy)

    if len(hidden) <= rows:
        return piece(hidden, 0)
    return _Pieces.apply(piece, rows, hidden, *weights)  # type: ignore[return-value]


class _Pieces(torch.autograd.Function):
    """`piece(hidden[i : i + rows], i)` for every i, computed again in the backward pass. (torch.utils.checkpoint does so too, and
    imports torch's compiler, for seconds, when it is first called.)"""

    @staticmethod
    def forward(ctx: Any, piece: Piece, rows: int, hidden: Tensor, *weights: Tensor) -> Tensor:
        ctx.piece, ctx.rows = piece, rows
        ctx.save_for_backward(hidden, *weights)
        return torch.cat([piece(hidden[i : i + rows], i) for i in range(0, len(hidden), rows)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        hidden, *weights = ctx.saved_tensors
        wanted = [weight for weight, needed in zip(weights, ctx.needs_input_grad[3:], strict=True) if needed]
        sums: list[Tensor] = [torch.zeros_like(weight, dtype=torch.float32) for weight in wanted]
        parts = []
        for i in range(0, len(hidden), ctx.rows):
            part = hidden[i : i + ctx.rows].detach().requires_grad_()
            with torch.enable_grad():
                found = ctx.piece(part, i)
            mine, *theirs = torch.autograd.grad(found, (part, *wanted), gradients[0][i : i + ctx.rows])
            parts.append(mine)
            for total, more in zip(sums, theirs, strict=True):
                total += more
        given = (total.to(weight.dtype) for total, weight in zip(sums, wanted, strict=True))
        of_weights = (next(given) if needed else None for needed in ctx.needs_input_grad[3:])
        return None, None, torch.cat(parts), *of_weights


@contextmanager
def only(output: nn.Module, positions: Tensor | None) -> Iterator[list[Tensor]]:
    """Inside, the output layer computes these positions (B, T) of what it is given, as one row, or, without any, just the first:
    the list is filled with all that it was given, (B, T, H)."""
    seen: list[Tensor] = []

    def narrow(module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor]:
        seen.append(given[0])
        return (given[0][:1, :1] if positions is None else given[0][positions][None],)

    hook = output.register_forward_pre_hook(narrow)
    try:
        yield seen
    finally:
        hook.remove()


@torch.no_grad()
def is_plain(model: Any, device: str) -> bool:
    """Whether a model's logits are what its output layer says, bit for bit: some scale or cap them afterwards. The layer is made to
    speak up: a cap shows on large logits."""
    output, said = model.get_output_embeddings(), []
    loud = torch.linspace(-9, 9, output.weight.shape[1], dtype=output.weight.dtype, device=device)
    hooks = (
        output.register_forward_pre_hook(lambda layer, given: (loud.expand_as(given[0]),)),
        output.register_forward_hook(lambda layer, given, logits: said.append(logits)),
    )
    try:
        logits = model(input_ids=torch.zeros((1, 1), dtype=torch.long, device=device), use_cache=False).logits
    finally:
        for hook in hooks:
            hook.remove()
    return torch.equal(logits.float(), said[0].float())
