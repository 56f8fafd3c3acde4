"""Batched decoding with Hugging Face models: left padding, a KV cache, and each distinct prompt read once.

Sampling is by inverse transform from uniforms that belong to the request's seed, so a reply does not depend on what else is
in the batch (up to the rounding of batched matrix products).
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
from torch import Tensor

from baselines.chat import Chat
from baselines.policies import Policies
from baselines.types import Completion, Request, Sampling

MAX_ROWS = 1024
MAX_TOKENS = 1 << 19  # rows x (prompt + reply) tokens in one batch: bounds the KV cache


class TransformersEngine:
    """Generates with the current weights of `policies`."""

    def __init__(self, policies: Policies, chat: Chat):
        self.policies, self.chat = policies, chat

    def generate(self, requests: list[Request], sampling: Sampling) -> list[Completion]:
        """One completion per request, in order; one or more batches per policy."""
        prompts = [
            self.chat.follow(r.context, r.messages) if r.context else self.chat.open(r.messages) for r in requests
        ]
        by_policy: dict[str, list[int]] = defaultdict(list)
        for i, request in enumerate(requests):
            by_policy[request.policy].append(i)
        done: dict[int, Completion] = {}
        for policy, rows in by_policy.items():
            model = self.policies.model(policy)
            for batch in _batches(rows, prompts, sampling.max_tokens):
                decoded = self._decode(model, [prompts[i] for i in batch], [requests[i].seed for i in batch], sampling)
                done.update(zip(batch, decoded, strict=True))
        return [done[i] for i in range(len(requests))]

    @torch.inference_mode()
    def _decode(
        self, model: torch.nn.Module, prompts: list[tuple[int, ...]], seeds: list[int], sampling: Sampling
    ) -> list[Completion]:
        with torch.autocast(self.policies.device, torch.bfloat16, enabled=self.policies.autocast):
            ids, logprobs = decode(model, prompts, seeds, sampling, self.chat.stop_ids, self.chat.pad_id)
        out = []
        for prompt, row, probs in zip(prompts, ids, logprobs, strict=True):
            stopped = row[-1] in self.chat.stop_ids
            text = self.chat.decode(row[:-1] if stopped else row)
            out.append(Completion(text, prompt, tuple(row), tuple(probs), "stop" if stopped else "length"))
        return out


def _batches(rows: list[int], prompts: list[tuple[int, ...]], new: int) -> list[list[int]]:
    """Rows of similar prompt length together, within the limits on rows and on rows x tokens."""
    batches: list[list[int]] = []
    longest = 0
    for i in sorted(rows, key=lambda i: len(prompts[i])):
        longest = len(prompts[i]) + new
        if not batches or len(batches[-1]) >= MAX_ROWS or (len(batches[-1]) + 1) * longest > MAX_TOKENS:
            batches.append([])
        batches[-1].append(i)
    return batches


def decode(
    model: torch.nn.Module,
    prompts: list[tuple[int, ...]],
    seeds: list[int],
    sampling: Sampling,
    stop_ids: frozenset[int],
    pad_id: int,
) -> tuple[list[list[int]], list[list[float]]]:
    """Sampled ids (stop token included) and their log-probs, one list per prompt.

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
    uniforms = _uniforms(seeds, sampling, device)
    stops = torch.tensor(sorted(stop_ids), device=device)

    rows = torch.arange(len(prompts), device=device)  # which prompt each live row belongs to
    tokens_out = torch.full((len(prompts), sampling.max_tokens), -1, device=device)
    logprobs_out = torch.zeros((len(prompts), sampling.max_tokens), device=device)
    ended = torch.zeros(len(prompts), dtype=torch.bool, device=device)  # of the live rows
    for t in range(sampling.max_tokens):
        token, logprob = _pick(logits, sampling.temperature, None if uniforms is None else uniforms[rows, t])
        tokens_out[rows, t] = torch.where(ended, -1, token)
        logprobs_out[rows, t] = logprob
        ended = ended | torch.isin(token, stops)
        live = int((~ended).sum())
        if live == 0 or t + 1 == sampling.max_tokens:
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


def _uniforms(seeds: list[int], sampling: Sampling, device: torch.device) -> Tensor | None:
    """(B, max_tokens) numbers in [0, 1), each row from its own seed; None if decoding is greedy."""
    if sampling.temperature == 0:
        return None
    drawn = [np.random.Generator(np.random.Philox(key=seed)).random(sampling.max_tokens) for seed in seeds]
    return torch.from_numpy(np.stack(drawn)).to(device, torch.float32 if device.type == "mps" else torch.float64)


def _pick(logits: Tensor, temperature: float, uniform: Tensor | None) -> tuple[Tensor, Tensor]:
    """The next token (B,) and its log-prob (B,) under the distribution it was drawn from."""
    if uniform is None:
        logp = torch.log_softmax(logits.float(), -1)
        token = logp.argmax(-1)
    else:
        logp = torch.log_softmax(logits.float() / temperature, -1)
        cdf = logp.to(uniform.dtype).exp().cumsum(-1)
        token = torch.searchsorted(cdf, uniform[:, None] * cdf[:, -1:], right=True).squeeze(1)
        token = token.clamp(max=logits.shape[-1] - 1)
    return token, logp.gather(-1, token[:, None]).squeeze(1)
