"""Batched decoding with Hugging Face models: left padding, a KV cache, and each distinct prompt read once.

Sampling is by inverse transform from uniforms that belong to the request's seed, so a reply does not depend on what else is
in the batch (up to the rounding of batched matrix products).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from baselines.chat import Chat
from baselines.distribution import Truncation, truncated, truncation_of
from baselines.memory import CACHED
from baselines.policies import Policies
from baselines.types import Completion, Request, Sampling

MAX_ROWS = 1024


class TransformersEngine:
    """Generates with the current weights of `policies`. cached: tokens in the cache of one batch, prompts and replies."""

    def __init__(self, policies: Policies, chat: Chat, cached: int = CACHED):
        self.policies, self.chat, self.cached = policies, chat, cached

    def generate(self, requests: list[Request]) -> list[Completion]:
        """One completion per request, in order; one or more batches per policy, whatever sampling its requests ask for."""
        prompts = [self.chat.resume(r.context, r.new, r.messages) for r in requests]
        by_policy: dict[str, list[int]] = defaultdict(list)
        for i, request in enumerate(requests):
            by_policy[request.policy].append(i)
        done: dict[int, Completion] = {}
        for policy, rows in by_policy.items():
            model = self.policies.model(policy)
            for batch in _batches(rows, prompts, [r.sampling.max_tokens for r in requests], self.cached):
                decoded = self._decode(model, [prompts[i] for i in batch], [requests[i] for i in batch])
                done.update(zip(batch, decoded, strict=True))
        return [done[i] for i in range(len(requests))]

    @torch.inference_mode()
    def _decode(
        self, model: torch.nn.Module, prompts: list[tuple[int, ...]], requests: list[Request]
    ) -> list[Completion]:
        seeds, samplings = [r.seed for r in requests], [r.sampling for r in requests]
        ids, logprobs = decode(model, prompts, seeds, samplings, self.chat.stop_ids, self.chat.pad_id, self._stop_word)
        return [
            self._completion(prompt, row, probs, sampling)
            for prompt, row, probs, sampling in zip(prompts, ids, logprobs, samplings, strict=True)
        ]

    def _completion(
        self, prompt: tuple[int, ...], ids: list[int], logprobs: list[float], sampling: Sampling
    ) -> Completion:
        """The text ends before the first stop word; the ids end with the token that completed it."""
        stopped = ids[-1] in self.chat.stop_ids
        text = self.chat.decode(ids[:-1] if stopped else ids)
        end = sampling.end(text, len(self.chat.opens))
        if end is not None:
            while sampling.end(self.chat.decode(ids[:-1]), len(self.chat.opens)) is not None:
                ids, logprobs = ids[:-1], logprobs[:-1]
            text, stopped = text[:end], True
        return Completion(text, prompt, tuple(ids), tuple(logprobs), "stop" if stopped else "length")

    def _stop_word(self, ids: list[int], sampling: Sampling) -> bool:
        """Whether the reply holds a stop word. Only its last tokens are decoded, unless they do: the rest was looked at before."""
        tail = ids[-(max(len(word.encode()) for word in sampling.stop) + 4) :]
        if sampling.end(self.chat.decode(tail), len(self.chat.opens)) is None:
            return False
        return sampling.end(self.chat.decode(ids), len(self.chat.opens)) is not None


def _batches(rows: list[int], prompts: list[tuple[int, ...]], new: list[int], cached: int) -> list[list[int]]:
    """Rows of similar prompt length together, in batches of at most MAX_ROWS rows and `cached` tokens (but one row in any case), as
    few and then as even as can be: a short last batch takes as many steps as a full one."""

    def cut(most: int) -> list[list[int]]:
        batches: list[list[int]] = []
        longest = 0
        for i in sorted(rows, key=lambda i: len(prompts[i])):
            longest = max(longest, len(prompts[i]) + new[i])
            if not batches or len(batches[-1]) >= most or (len(batches[-1]) + 1) * longest > cached:
                batches.append([])
                longest = len(prompts[i]) + new[i]
            batches[-1].append(i)
        return batches

    fewest = cut(MAX_ROWS)
    even = cut(-(-len(rows) // len(fewest))) if rows else fewest
    return even if len(even) == len(fewest) else fewest


def decode(
    model: torch.nn.Module,
    prompts: list[tuple[int, ...]],
    seeds: list[int],
    samplings: list[Sampling],
    stop_ids: frozenset[int],
    pad_id: int,
    stop_word: Callable[[list[int], Sampling], bool],
) -> tuple[list[list[int]], list[list[float]]]:
    """Sampled ids (stop token included) and their log-probs, one list per prompt. `stop_word(ids, sampling)` says whether a reply
    so far holds one of its stop words.

    Equal prompts are read once and their cache is copied to each of their rows; rows that have ended leave the batch.
    """
    device = next(model.parameters()).device
    distinct = {prompt: i for i, prompt in enumerate(dict.fromkeys(prompts))}
    width = max(map(len, distinct))
    ids = torch.full((len(distinct), width), pad_id)  # (U, L), left-padded
    mask = torch.zeros((len(distinct), width), dtype=torch.long)
    for prompt, i in distinct.items():
        ids[i, width - len(prompt) :] = torch.tensor(prompt)
        mask[i, width - len(prompt) :] = 1
    ids, mask = ids.to(device), mask.to(device)
    out = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=(mask.cumsum(1) - 1).clamp(min=0),
        use_cache=True,
        logits_to_keep=1,
    )
    cache = out.past_key_values
    owner = torch.tensor([distinct[prompt] for prompt in prompts], device=device)  # (B,)
    logits, mask = out.logits[owner, -1], mask[owner]  # (B, V), (B, L)
    if len(distinct) < len(prompts) or len(distinct) > 1:
        cache.batch_select_indices(owner)
    position = mask.sum(1)  # (B,)
    draw = _Draw(seeds, samplings, device)
    stops = torch.tensor(sorted(stop_ids), device=device)
    limits = torch.tensor([s.max_tokens for s in samplings], device=device)
    most = max(s.max_tokens for s in samplings)
    worded = any(s.stop for s in samplings)

    rows = torch.arange(len(prompts), device=device)  # which prompt each live row belongs to
    tokens_out = torch.full((len(prompts), most), -1, device=device)
    logprobs_out = torch.zeros((len(prompts), most), device=device)
    ended = torch.zeros(len(prompts), dtype=torch.bool, device=device)  # of the live rows
    for t in range(most):
        token, logprob = draw(logits, rows, t)
        tokens_out[rows, t] = torch.where(ended, -1, token)
        logprobs_out[rows, t] = logprob
        ended = ended | torch.isin(token, stops) | (t + 1 >= limits[rows])
        if worded:
            said = zip(rows.tolist(), tokens_out[rows, : t + 1].tolist(), ended.tolist(), strict=True)
            found = [not end and bool(samplings[r].stop) and stop_word(ids, samplings[r]) for r, ids, end in said]
            ended = ended | torch.tensor(found, device=device)
        live = int((~ended).sum())
        if live == 0:
            break
        if live <= 0.75 * len(rows):
            keep = (~ended).nonzero().squeeze(1)
            cache.batch_select_indices(keep)
            rows, token, mask, position, ended = rows[keep], token[keep], mask[keep], position[keep], ended[keep]
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], 1)
        out = model(
            input_ids=token[:, None],
            attention_mask=mask,
            position_ids=position[:, None],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits, position = out.logits[:, -1], position + 1
    lengths = (tokens_out >= 0).sum(1).tolist()
    return (
        [row[:n] for row, n in zip(tokens_out.tolist(), lengths, strict=True)],
        [row[:n] for row, n in zip(logprobs_out.tolist(), lengths, strict=True)],
    )


class _Draw:
    """Draws each row's next token by its own sampling, from uniforms that belong to its seed."""

    def __init__(self, seeds: list[int], samplings: list[Sampling], device: torch.device):
        self.greedy = torch.tensor([s.greedy for s in samplings], device=device)
        self.all_greedy = all(s.greedy for s in samplings)
        self.temperature = torch.tensor([s.temperature or 1.0 for s in samplings], device=device)
        cut = truncation_of(samplings)
        self.cut = cut and Truncation(*(x.to(device) for x in cut))
        if not self.all_greedy:
            most = max(s.max_tokens for s in samplings)
            drawn = np.stack([np.random.Generator(np.random.Philox(key=seed)).random(most) for seed in seeds])
            exact = torch.float32 if device.type == "mps" else torch.float64
            self.uniforms = torch.from_numpy(drawn).to(device, exact)  # (B, most) in [0, 1)

    def __call__(self, logits: Tensor, rows: Tensor, t: int) -> tuple[Tensor, Tensor]:
        """The next token (B,) of these rows and its log-prob (B,) under the distribution it was drawn from."""
        scaled = logits.float() / self.temperature[rows, None]
        if self.cut is not None:
            scaled = truncated(scaled, Truncation(self.cut.top_k[rows], self.cut.top_p[rows]))
        logp = torch.log_softmax(scaled, -1)
        if self.all_greedy:
            token = logp.argmax(-1)
        else:
            uniform = self.uniforms[rows, t]
            cdf = logp.to(uniform.dtype).exp().cumsum(-1)
            total = cdf[:, -1:]
            below = torch.nextafter(
                total, torch.zeros_like(total)
            )  # u x total may round to the total, which no token reaches
            token = torch.searchsorted(cdf, torch.minimum(uniform[:, None] * total, below), right=True).squeeze(1)
            token = token.clamp(max=logits.shape[-1] - 1)  # of a model that says nothing but NaN
            token = torch.where(self.greedy[rows], logp.argmax(-1), token)
        return token, logp.gather(-1, token[:, None]).squeeze(1)
