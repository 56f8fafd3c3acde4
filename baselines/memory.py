"""What a run needs of a card's memory, said before it starts: a plan that does not fit is refused with what to change.

Weights are counted on a model without storage (torch's meta device), and so is what a forward pass keeps for the backward one:
a short pass is made and every tensor that it saves is added up, so that any architecture counts itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from baselines.output import LOGITS
from baselines.policies import layers_of
from baselines.settings import Checkpointing
from llm_marl_envs.errors import ConfigError

GIB = 2**30
PROBE = (
    8  # tokens of the pass that is counted: few, since what grows with their square is never kept by a card's attention
)
SPARE = 0.1  # of all that is allocated: fragments, and what kernels use for themselves
CACHED = 1 << 19  # tokens in the key-value cache of one decoding batch, if there is room


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a model, in numbers and, per token, in bytes."""

    weights: int
    adapter: int  # of one LoRA adapter; 0 without
    vocabulary: int
    kept: float  # bytes that a forward pass keeps of a token
    checkpointed: float  # the same if each layer is computed again in the backward pass
    cached: int  # bytes of a token's keys and values

    @classmethod
    def of(cls, config: Any, dtype: torch.dtype, lora_rank: int) -> Shape:
        """Of the model that a configuration describes."""
        from transformers import AutoModelForCausalLM

        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config).to(dtype)
        own = config.get_text_config()
        layers = layers_of(model)
        output = model.get_output_embeddings()
        linear = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not output]
        adapter = lora_rank * sum(m.in_features + m.out_features for m in linear)
        kept, keys = _counted(model, own.vocab_size)
        if lora_rank:  # each adapter keeps its input's projection
            kept += dtype.itemsize * lora_rank * len(linear)
        edges = own.hidden_size * dtype.itemsize * len(layers)
        return cls(
            sum(p.numel() for p in model.parameters()), adapter, own.vocab_size,
            kept, edges + kept / max(1, len(layers)), keys,
        )  # fmt: skip


def _counted(model: Any, vocabulary: int) -> tuple[float, int]:
    """Bytes per token that a forward pass keeps for the backward one (weights and logits apart), and of its keys and values."""
    spared = {p.untyped_storage()._cdata for p in model.parameters()}
    kept: dict[
        int, torch.UntypedStorage
    ] = {}  # by what tells storages apart that have no address; alive, or it is given again

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in spared and vocabulary not in tensor.shape:
            kept[storage._cdata] = storage
        return tensor

    given = {
        "input_ids": torch.zeros((1, PROBE), dtype=torch.long, device="meta"),
        "attention_mask": torch.zeros(
            (1, 1, PROBE, PROBE), dtype=model.dtype, device="meta"
        ),  # whole: nothing is looked up in it
        "logits_to_keep": 1,
    }
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(**given, use_cache=False)
    cache = model(**given, use_cache=True).past_key_values
    keys = sum(t.numel() * t.element_size() for layer in cache.layers for t in (layer.keys, layer.values))
    return sum(storage.nbytes() for storage in kept.values()) / PROBE, keys // PROBE


@dataclass(frozen=True, slots=True)
class Need:
    """What a run needs, in bytes: all the time; while it learns; while it generates (of which so much a cached token)."""

    always: Mapping[str, float]
    learning: Mapping[str, float]
    generating: Mapping[str, float]
    per_cached: int
    checkpointing: bool

    @property
    def total(self) -> float:
        """The most that is needed at a time."""
        turns = max(sum(self.learning.values()), sum(self.generating.values()))
        return (1 + SPARE) * (sum(self.always.values()) + turns)

    def __str__(self) -> str:
        def listed(parts: Mapping[str, float]) -> str:
            return ", ".join(f"{name} {size / GIB:.1f}" for name, size in parts.items())

        return (
            f"{listed(self.always)}; then {listed(self.learning)} in learning or {listed(self.generating)} in generating; "
            f"{SPARE:.0%} to spare"
        )


def need(
    shape: Shape, dtype: torch.dtype, *, policies: int, trained: int, micro_tokens: int, rows: int, reference: bool = False,
    roles: int = 1, checkpointing: bool = False, cached: int = CACHED,
) -> Need:  # fmt: skip
    """What a run needs. policies: models or adapters, of which so many are trained; rows: replies that are decoded at a time;
    roles: that share the largest policy; cached: tokens in the cache."""
    size, low = dtype.itemsize, dtype != torch.float32
    copies = 1 if shape.adapter else policies
    one = shape.adapter or shape.weights
    always = {"weights": size * (copies * shape.weights + (policies * shape.adapter if shape.adapter else 0))}
    if reference and not shape.adapter:
        always["reference"] = size * shape.weights
    if trained:
        always["optimizer" + (" and masters" if low else "")] = (8 + 4 * low) * one * trained
    learning = {
        "gradients": 4 * one * (2 if roles > 1 else 1) if trained else 0,  # apart by role: one more copy
        "activations": micro_tokens * (shape.checkpointed if checkpointing else shape.kept),
        "logits": 16 * max(LOGITS, shape.vocabulary),
    }
    generating = {"cache": cached * shape.cached, "logits": 26 * rows * shape.vocabulary}
    return Need(always, learning if trained else {}, generating, shape.cached, checkpointing)


@dataclass(frozen=True, slots=True)
class Fit:
    """A plan that fits: whether layers are computed again, how many tokens a cache may hold, and what is said about it."""

    checkpointing: bool
    cached: int
    said: str


def fitted(has: float, wanted: Checkpointing, plain: Need, saving: Need) -> Fit:
    """The plan for a card with `has` bytes: `plain`, or `saving` (with checkpointing) where that is wanted or needed, with a
    cache as large as there is room for.

    Raises ConfigError if neither fits even with a sixteenth of the cache.
    """
    choices = {"off": [plain], "on": [saving], "auto": [plain, saving]}[wanted]
    tried = choices[-1]
    for choice in choices:
        for part in (1, 2, 4, 8, 16):
            smaller = {**choice.generating, "cache": choice.generating["cache"] / part}
            tried = replace(choice, generating=smaller)
            if tried.total <= has:
                again = ", layers computed again in the backward pass" if choice.checkpointing else ""
                said = f"needs about {tried.total / GIB:.0f} of {has / GIB:.0f} GiB{again}: {tried}"
                return Fit(choice.checkpointing, int(smaller["cache"] / max(1, choice.per_cached)), said)
    remedies = [
        "--lora-rank 32 (masters and optimizer of adapters are small)",
        "a smaller --micro-tokens",
        "a smaller model",
    ]
    if wanted == "off":
        remedies.insert(0, "--checkpointing auto")
    raise ConfigError(
        f"this run needs about {tried.total / GIB:.0f} GiB and the card has {has / GIB:.0f}: {tried}. Try {', or '.join(remedies)}."
    )
