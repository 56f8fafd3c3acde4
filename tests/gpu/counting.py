"""How much work a forward pass must do at least: floating-point operations and bytes, counted from the model's own modules.

Only what the mathematics needs is counted: padding, recomputation, casts and the optimizer are not, so the shares of the
ceilings in the table say how far a run is from what the card could do, not how busy the card was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True, slots=True)
class Shape:
    """Weights in matrix products per token, and the widths of attention.

    body: weights of the linear layers before the head, an adapter's included. head: the output layer's weights, tied or not.
    trained, trained_head: those of both that get a gradient. size: bytes of one number as it is computed with.
    """

    body: int
    head: int
    trained: int
    trained_head: int
    layers: int
    query_width: int  # heads x head_dim
    cache_width: int  # kv heads x head_dim
    size: int

    @classmethod
    def of(cls, model: nn.Module, policy: str, size: int) -> Shape:
        """Of a causal language model of transformers, with or without LoRA adapters of which `policy`'s is switched on."""
        body = head = trained = trained_head = 0
        for name, module in model.named_modules():
            if not isinstance(module, nn.Linear):
                continue
            _, lora, adapter = name.partition(".lora_")
            if lora and adapter.partition(".")[2] != policy:
                continue
            count = module.weight.numel()
            if name.endswith("lm_head"):
                head += count
                trained_head += count * module.weight.requires_grad
            else:
                body += count
                trained += count * module.weight.requires_grad
        config = model.config
        return cls(
            body,
            head,
            trained,
            trained_head,
            config.num_hidden_layers,
            config.num_attention_heads * config.head_dim,
            config.num_key_value_heads * config.head_dim,
            size,
        )


def forward_flops(shape: Shape, tokens: int, outputs: int, pairs: int) -> int:
    """Two operations per weight and token, and two products of query_width per layer and (query, key) pair.

    tokens: positions that are computed. outputs: positions with logits. pairs: keys seen, summed over the positions.
    """
    return 2 * (shape.body * tokens + shape.head * outputs) + 4 * shape.layers * shape.query_width * pairs


def training_flops(shape: Shape, tokens: int, outputs: int, pairs: int) -> int:
    """Forward, the gradient of every product's input (as much again), and that of the trained weights."""
    weights = 2 * shape.trained * tokens + 2 * shape.trained_head * outputs
    return 2 * forward_flops(shape, tokens, outputs, pairs) + weights + 4 * shape.layers * shape.query_width * pairs


def forward_bytes(shape: Shape, pairs: int, rows: int) -> int:
    """Fewest bytes of a forward pass that generates: every weight once, and every cached key and value once.

    A row's cache is read once by however many of its positions are computed together, so a prefill reads nothing that it
    did not just write: it is given pairs = 0. `rows` new keys and values are written.
    """
    return shape.size * (shape.body + shape.head + 2 * shape.layers * shape.cache_width * (pairs + rows))


def causal_pairs(lengths: Sequence[int]) -> int:
    """(query, key) pairs of sequences read from their start: n (n + 1) / 2 each."""
    return sum(n * (n + 1) // 2 for n in lengths)
