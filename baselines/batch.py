"""From episodes and their credit to what a forward pass takes: token sequences with their replies marked, and padded batches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from baselines.distribution import Truncation
from baselines.types import Credit, Episode, Sample, Signal, Span, Turn

Normaliser = Literal["tokens", "sequences"]  # what the loss of a step is averaged over


def conversations(episodes: Sequence[Episode]) -> list[tuple[int, list[Turn]]]:
    """The turns of each token sequence, with their episode's place. A turn whose prompt continues the tokens of its agent's
    last turn joins that sequence; any other starts a new one. Turns without tokens are in none."""
    made: list[tuple[int, list[Turn]]] = []
    for i, episode in enumerate(episodes):
        open_: dict[str, list[Turn]] = {}  # each agent's conversation
        for turn in episode.turns:
            prompt, reply, *_ = turn.completion[1:]
            if not reply:
                continue
            mine = open_.get(turn.agent)
            before = mine and mine[-1].completion.prompt_ids + mine[-1].completion.token_ids
            if mine and before == prompt[: len(before or ())]:
                mine.append(turn)
            else:
                open_[turn.agent] = [turn]
                made.append((i, open_[turn.agent]))
    return made


def to_samples(episodes: Sequence[Episode], credit: Credit) -> list[Sample]:
    """Every conversation of every episode as one token sequence with its credited replies marked.

    A turn without credit stays in its conversation and is not trained on. Raises ValueError if a signal per token does not fit
    its reply.
    """
    samples: list[Sample] = []
    for i, turns in conversations(episodes):
        spans = tuple(span_of(turn, credit[i, turn.index]) for turn in turns if (i, turn.index) in credit)
        if spans:
            samples.append(sample_of(turns, spans))
    return samples


def sample_of(turns: Sequence[Turn], spans: tuple[Span, ...]) -> Sample:
    """A conversation up to the last of its spans."""
    last = turns[-1].completion
    return Sample(turns[0].policy, turns[0].role, (last.prompt_ids + last.token_ids)[: spans[-1].end], spans)


def span_of(turn: Turn, signal: float | Signal) -> Span:
    """A reply with what it is trained with. Raises ValueError if that does not fit."""
    signal = signal if isinstance(signal, Signal) else Signal(signal)
    start, length = len(turn.completion.prompt_ids), len(turn.completion.token_ids)
    for name, given in zip(signal._fields, signal, strict=True):
        if isinstance(given, tuple) and len(given) not in (length, 0 if name != "advantage" else length):
            raise ValueError(
                f"the credit of {turn.agent}'s reply {turn.index} has {len(given)} {name}; its reply has {length} tokens"
            )
    if bool(signal.values) != bool(signal.returns):
        raise ValueError(f"the credit of {turn.agent}'s reply {turn.index} has values or returns alone: give both")
    return Span(start, start + length, signal.advantage, turn.completion.logprobs, *signal[1:], turn.sampling)


@dataclass(frozen=True, slots=True)
class Batch:
    """A micro-batch, right-padded. All fields except `ids` and `mask` refer to the *next* token: (B, T), ids are (B, T + 1)."""

    ids: Tensor
    mask: Tensor  # (B, T + 1), 1 on real tokens
    segment: Tensor  # k on the tokens of the k-th reply, 0 elsewhere
    advantage: Tensor
    old: Tensor  # NaN where it is the present one
    sampled: Tensor  # the engine's; NaN where the reply was not sampled
    weight: Tensor  # 0 except on sampled tokens
    values: Tensor
    returns: Tensor  # NaN on replies that have none
    temperature: Tensor  # 1 except on sampled tokens
    cut: Truncation | None  # of the tokens that may be sampled; None if nothing is
    prompts: tuple[tuple[int, ...], ...]  # what stands before each row's first reply
    lengths: tuple[int, ...]  # of each row, without padding


def collate(samples: Sequence[Sample], normaliser: Normaliser, total: float, pad_id: int, device: str) -> Batch:
    """Pad samples into a batch; `total` is the step's number of sampled tokens, or of replies."""
    width = max(len(s.ids) for s in samples)
    shape = len(samples), width - 1
    ids, mask = (np.full((len(samples), width), value) for value in (pad_id, 0))
    segment, top_k = (np.zeros(shape, np.int64) for _ in range(2))
    advantage, old, sampled, weight, values, returns = (np.zeros(shape, np.float32) for _ in range(6))
    temperature, top_p = (np.ones(shape, np.float32) for _ in range(2))
    cuts = False
    for row, sample in enumerate(samples):
        ids[row, : len(sample.ids)] = sample.ids
        mask[row, : len(sample.ids)] = 1
        for k, span in enumerate((span for span in sample.spans if span.end > span.start), 1):
            here = slice(span.start - 1, span.end - 1)
            segment[row, here] = k
            advantage[row, here] = span.advantage
            old[row, here] = span.old or math.nan
            sampled[row, here] = span.logprobs or math.nan
            returns[row, here] = span.returns or math.nan
            if span.values:
                values[row, here] = span.values
            temperature[row, here] = span.sampling.temperature or 1.0
            if span.sampling.truncates:
                cuts, top_k[row, here], top_p[row, here] = True, span.sampling.top_k, span.sampling.top_p
            weight[row, here] = token_weight(normaliser, total, span.end - span.start)
    arrays = ids, mask, segment, advantage, old, sampled, weight, values, returns, temperature
    tensors = (torch.from_numpy(array).to(device) for array in arrays)
    cut = Truncation(*(torch.from_numpy(array).to(device) for array in (top_k, top_p))) if cuts else None
    prompts, lengths = tuple(map(_prompt, samples)), tuple(len(s.ids) for s in samples)
    return Batch(*tensors, cut=cut, prompts=prompts, lengths=lengths)  # type: ignore[misc]


def counted(samples: Sequence[Sample], normaliser: Normaliser) -> int:
    """What the loss of these samples is averaged over: their sampled tokens, or their replies that have tokens."""
    lengths = [span.end - span.start for sample in samples for span in sample.spans if span.end > span.start]
    return sum(lengths) if normaliser == "tokens" else len(lengths)


def token_weight(normaliser: Normaliser, total: float, length: int) -> float:
    """What each token of a reply of this length weighs in a loss over `total` tokens, or replies."""
    return 1 / total if normaliser == "tokens" else 1 / (total * length)


def gradient_mass(samples: Sequence[Sample], normalisers: Mapping[str, Normaliser]) -> dict[str, float]:
    """`grad_mass/<role>`: of the sum over all trained tokens of |advantage| x weight in the loss. It is what a role's gradient
    would be if all tokens were equally hard to move; `grad_share` is what it is."""
    mass = dict.fromkeys(sorted({s.role for s in samples}), 0.0)
    totals = {p: counted([s for s in samples if s.policy == p], normalisers[p]) for p in {s.policy for s in samples}}
    for sample in samples:
        for span in sample.spans:
            if length := span.end - span.start:
                per_token = span.advantage if isinstance(span.advantage, tuple) else [span.advantage] * length
                weight = token_weight(normalisers[sample.policy], totals[sample.policy], length)
                mass[sample.role] += weight * sum(map(abs, per_token))
    total = sum(mass.values())
    return {f"grad_mass/{role}": part / total if total else 0.0 for role, part in mass.items()}


def entropies(samples: Sequence[Sample]) -> dict[str, float]:
    """`entropy/<role>`: nats a token of what a role may say, estimated by the mean surprise at what it said, all replies included."""
    surprise: dict[str, list[float]] = {}
    for sample in samples:
        surprise.setdefault(sample.role, []).extend(-p for span in sample.spans for p in span.logprobs)
    return {f"entropy/{role}": sum(found) / len(found) for role, found in surprise.items() if found}


def packed(samples: Sequence[Sample], tokens: int) -> Iterator[list[int]]:
    """The places of samples in micro-batches: of similar length, shortest first, each at most `tokens` wide with padding (but at
    least one sample), where a prompt that several have in common counts once if that is less.

    Worked example: lengths 5, 2, 3, 9 without a common prompt, 6 tokens -> [1, 2], [0], [3].
    """
    lengths, prompts = [len(s.ids) for s in samples], [_prompt(s) for s in samples]
    replies = [length - len(prompt) for length, prompt in zip(lengths, prompts, strict=True)]
    alike = 2 * sum(map(len, set(prompts))) < sum(map(len, prompts))
    part: list[int] = []
    distinct, start, reply, whole = set[tuple[int, ...]](), 0, 0, 0  # of the part: its prompts, and its longest
    for place in sorted(range(len(samples)), key=lambda i: (replies[i], len(prompts[i])) if alike else (lengths[i], 0)):
        distinct.add(prompts[place])
        start, reply = max(start, len(prompts[place])), max(reply, replies[place])
        whole = max(whole, lengths[place])
        rows = len(part) + 1
        cost = min(rows * whole, _shared(len(distinct), start, rows, reply)) if alike else rows * whole
        if part and cost > tokens:
            yield part
            part, distinct = [], {prompts[place]}
            start, reply, whole = len(prompts[place]), replies[place], lengths[place]
        part.append(place)
    if part:
        yield part


def shared_tokens(prompts: Sequence[tuple[int, ...]], lengths: Sequence[int]) -> int:
    """Tokens, padding included, of a batch that reads each distinct prompt once, and then the replies: of each its prompt and the
    length of the whole."""
    reply = max(length - len(prompt) for length, prompt in zip(lengths, prompts, strict=True))
    return _shared(len(set(prompts)), max(map(len, prompts)), len(prompts), reply)


def _shared(distinct: int, start: int, rows: int, reply: int) -> int:
    """The last token of a reply is not read."""
    return distinct * start + rows * (reply - 1)


def _prompt(sample: Sample) -> tuple[int, ...]:
    """What stands before a sample's first reply."""
    return sample.ids[: min((span.start for span in sample.spans), default=len(sample.ids))]
