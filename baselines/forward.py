"""What a model says at the sampled tokens of a batch: log-probs, entropies, and the hidden states that a critic looks at.

Samples of a group begin with the same prompt. Where that saves enough, each distinct prompt is read once and its keys and
values are lent to all replies to it, with gradients; the result is the same up to rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from baselines.batch import Batch, shared_tokens
from baselines.distribution import Truncation
from baselines.output import is_plain, only, picked, picked_in_pieces

WORTH = 1.15  # times fewer tokens from which two passes, one over prompts and one over replies, are quicker than one


class Forward:
    """Passes through models. What their architecture allows is found out once by trying, and kept by name."""

    def __init__(self, pad_id: int, device: str, *, shares: bool = True):
        self.pad_id, self.device, self.shares = pad_id, device, shares
        self._plain: dict[str, bool] = {}  # whether the output layer can be used apart from the model
        self._lends: dict[str, bool] = {}  # whether keys and values of a prompt can be lent

    def __call__(self, name: str, model: Any, batch: Batch, *, entropy: bool = False) -> tuple[Tensor, Tensor]:
        """Log-probs of the sampled tokens (B, T, 1), with `entropy` beside the entropies there (B, T, 2), 0 elsewhere; and the last
        hidden states before them, (N, H), row by row."""
        taught, output = batch.segment > 0, model.get_output_embeddings()
        cut = batch.cut and Truncation(*(x[taught] for x in batch.cut))
        sought = batch.ids[:, 1:][taught], batch.temperature[taught], cut
        if name not in self._plain:
            self._plain[name] = is_plain(model, self.device)
        if self._plain[name]:
            hidden = self._shared(model, batch) if self._pays(name, model, batch) else _whole(model, batch)[taught]
            found = picked_in_pieces(hidden, output, *sought, entropy=entropy)
        else:
            with only(output, taught) as seen:
                logits = model(**_inputs(batch), use_cache=False).logits
            found, hidden = picked(logits[0], *sought, entropy=entropy), seen[0][taught]
        found = found.view(len(found), -1)
        empty = found.new_zeros(*taught.shape, found.shape[-1])
        return empty.masked_scatter(taught[..., None], found), hidden

    def _pays(self, name: str, model: Any, batch: Batch) -> bool:
        """Whether prompts are read once: it saves enough, and the model allows it."""
        whole = batch.ids[:, 1:].numel()
        if not self.shares or whole < WORTH * shared_tokens(batch.prompts, batch.lengths):
            return False
        if name not in self._lends:
            self._lends[name] = self._can_lend(model)
        return self._lends[name]

    @torch.no_grad()
    def _can_lend(self, model: Any) -> bool:
        """Tried with two replies to one prompt: some caches forget, summarise or cannot be lent."""
        from transformers import DynamicCache
        from transformers.cache_utils import DynamicLayer

        ids = torch.arange(1, 9, device=self.device)[None].expand(2, -1).contiguous()
        cache = model(input_ids=ids[:1, :4], use_cache=True).past_key_values
        if type(cache) is not DynamicCache or any(type(layer) is not DynamicLayer for layer in cache.layers):
            return False
        segment = torch.zeros_like(ids[:, 1:])
        segment[:, 3:] = 1
        nothing = torch.zeros(segment.shape)
        batch = Batch(
            ids, torch.ones_like(ids), segment, *(nothing,) * 7, cut=None, prompts=((1, 2, 3, 4),) * 2, lengths=(8, 8)
        )
        lent, whole = self._shared(model, batch).float(), _whole(model, batch)[segment > 0].float()
        return bool((lent - whole).norm() <= 0.02 * whole.norm())

    def _shared(self, model: Any, batch: Batch) -> Tensor:
        """The last hidden states before the sampled tokens, (N, H): prompts are read once, then the replies to each."""
        distinct = {prompt: i for i, prompt in enumerate(dict.fromkeys(batch.prompts))}
        owner = torch.tensor([distinct[prompt] for prompt in batch.prompts], device=self.device)
        starts = torch.tensor([len(prompt) for prompt in batch.prompts], device=self.device)
        width = max(map(len, distinct))
        prompts = torch.full((len(distinct), width), self.pad_id)
        mask = torch.zeros_like(prompts)
        for i, prompt in enumerate(distinct):
            prompts[i, : len(prompt)] = torch.tensor(prompt)
            mask[i, : len(prompt)] = 1
        prompts, mask = prompts.to(self.device), mask.to(self.device)
        output = model.get_output_embeddings()
        with only(output, None) as seen:
            cache = model(input_ids=prompts, attention_mask=mask, use_cache=True).past_key_values
            last = seen[0][owner, starts - 1][:, None]  # (B, 1, H): before the first token of the reply
            longest = max(n - 1 - len(p) for n, p in zip(batch.lengths, batch.prompts, strict=True))
            if longest > 0:
                cache.batch_select_indices(owner)
                places = starts[:, None] + torch.arange(longest, device=self.device)  # (B, T')
                inside = places < torch.tensor(batch.lengths, device=self.device)[:, None] - 1
                ids = batch.ids.gather(1, places.clamp(max=batch.ids.shape[1] - 1)).where(inside, self.pad_id)
                model(
                    input_ids=ids,
                    attention_mask=torch.cat([mask[owner], inside.to(mask.dtype)], 1),
                    position_ids=places,
                    past_key_values=cache,
                    use_cache=True,
                )
                last = torch.cat([last, seen[1]], 1)
        rows, places = (batch.segment > 0).nonzero(as_tuple=True)
        return last[rows, places - starts[rows] + 1]


def _inputs(batch: Batch) -> dict[str, Tensor]:
    return {"input_ids": batch.ids[:, :-1], "attention_mask": batch.mask[:, :-1]}


def _whole(model: Any, batch: Batch) -> Tensor:
    """The last hidden states of a plain pass, (B, T, H)."""
    with only(model.get_output_embeddings(), None) as seen:
        model(**_inputs(batch), use_cache=False)
    return seen[0]
