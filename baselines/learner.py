"""Samples to one optimizer step per policy.

The loss of a step is a weighted sum over all its sampled tokens, with weights that are fixed before the first micro-batch:
"tokens": 1 / (sampled tokens of the policy in this step); "sequences": 1 / (replies x length of its reply). So loss and
gradient do not depend on how the step is cut into micro-batches. Samples whose advantages are all 0 count in the weights
but are not computed: their gradient is 0.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from baselines.losses import Loss, token_logprobs
from baselines.policies import Policies
from baselines.types import Credit, Episode, Sample, Span

Normaliser = Literal["tokens", "sequences"]
Schedule = Literal["linear", "cosine", "constant"]


def to_samples(episodes: Sequence[Episode], credit: Credit) -> list[Sample]:
    """Every conversation of every episode as one token sequence with its replies marked.

    A turn whose prompt continues the tokens of its agent's last turn joins that sequence; any other starts a new one.
    """
    samples: list[Sample] = []
    for i, episode in enumerate(episodes):
        open_: dict[str, int] = {}  # agent -> place of its conversation in samples
        for turn in episode.turns:
            prompt, reply = turn.completion.prompt_ids, turn.completion.token_ids
            span = Span(len(prompt), len(prompt) + len(reply), credit[i, turn.index], turn.completion.logprobs)
            place = open_.get(turn.agent)
            if place is not None and prompt[: len(samples[place].ids)] == samples[place].ids:
                samples[place] = samples[place]._replace(ids=prompt + reply, spans=(*samples[place].spans, span))
            else:
                open_[turn.agent] = len(samples)
                samples.append(Sample(turn.policy, turn.role, prompt + reply, (span,)))
    return samples


@dataclass(frozen=True, slots=True)
class Batch:
    """A micro-batch, right-padded. All fields except `ids` and `mask` refer to the *next* token: (B, T), ids are (B, T + 1)."""

    ids: Tensor
    mask: Tensor  # (B, T + 1), 1 on real tokens
    segment: Tensor  # k on the tokens of the k-th reply, 0 elsewhere
    advantage: Tensor
    old: Tensor
    weight: Tensor  # 0 except on sampled tokens


def collate(samples: Sequence[Sample], normaliser: Normaliser, total: float, pad_id: int, device: str) -> Batch:
    """Pad samples into a batch; `total` is the step's number of sampled tokens, or of replies."""
    width = max(len(s.ids) for s in samples)
    ids = torch.full((len(samples), width), pad_id)
    mask = torch.zeros((len(samples), width), dtype=torch.long)
    segment = torch.zeros((len(samples), width - 1), dtype=torch.long)
    advantage, old, weight = (torch.zeros(len(samples), width - 1) for _ in range(3))
    for row, sample in enumerate(samples):
        ids[row, : len(sample.ids)] = torch.tensor(sample.ids)
        mask[row, : len(sample.ids)] = 1
        for k, span in enumerate(sample.spans, 1):
            here = slice(span.start - 1, span.end - 1)
            segment[row, here] = k
            advantage[row, here] = span.advantage
            old[row, here] = torch.tensor(span.logprobs)
            weight[row, here] = 1 / total if normaliser == "tokens" else 1 / (total * (span.end - span.start))
    return Batch(*(x.to(device) for x in (ids, mask, segment, advantage, old, weight)))


@dataclass(frozen=True, slots=True)
class Settings:
    """The optimizer: AdamW, gradient clipping by norm, a schedule over `steps` with `warmup`, ending at `floor` x lr."""

    lr: float
    steps: int
    schedule: Schedule = "linear"
    warmup: int = 0
    floor: float = 0.05
    clip: float = 1.0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.98)
    micro_batch: int = 256  # sequences in one forward pass
    updates: int = 1  # optimizer steps on each batch
    normaliser: Normaliser = "tokens"
    temperature: float = 1.0

    def rate(self, step: int) -> float:
        """The learning rate of step 0, 1, ..."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        done = min(1.0, (step - self.warmup) / max(1, self.steps - self.warmup))
        fall = {"linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done)), "constant": 1.0}[self.schedule]
        return self.lr * (self.floor + (1 - self.floor) * fall)


class Learner:
    """One AdamW per policy. `update` makes one step (or `updates` steps) from a batch and returns figures about it."""

    def __init__(self, policies: Policies, settings: Settings, loss: Loss, pad_id: int):
        self.policies, self.settings, self.loss, self.pad_id = policies, settings, loss, pad_id
        self.optimizers = {
            name: torch.optim.AdamW(
                policies.parameters(name), lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay
            )
            for name in policies.names
        }

    def update(self, samples: Sequence[Sample], step: int) -> dict[str, float]:
        """One batch. Returns loss, learning rate, clipped share, and per policy and role the gradient's norm and share."""
        stats: dict[str, float] = {"lr": self.settings.rate(step)}
        for _ in range(self.settings.updates):
            for name in self.policies.names:
                mine = [s for s in samples if s.policy == name and s.spans]
                stats |= self._update_policy(name, mine, step)
        squares = {key: v for key, v in stats.items() if key.startswith("grad_square/")}
        total = sum(squares.values())
        for key, square in squares.items():
            del stats[key]
            stats["grad_share/" + key.removeprefix("grad_square/")] = square / total if total else 0.0
        return stats

    def gradients(self, name: str, samples: Sequence[Sample]) -> dict[str, float]:
        """Accumulate the step's gradient into .grad, role by role. Returns loss, clip share and squared norm per role."""
        settings = self.settings
        tokens = sum(span.end - span.start for s in samples for span in s.spans)
        total = tokens if settings.normaliser == "tokens" else sum(len(s.spans) for s in samples)
        by_role: dict[str, list[Sample]] = defaultdict(list)
        for sample in samples:
            if any(span.advantage for span in sample.spans):
                by_role[sample.role].append(sample)
        parameters = self.policies.parameters(name)
        model = self.policies.model(name)
        loss, clipped, squares = 0.0, 0.0, dict.fromkeys(sorted({s.role for s in samples}), 0.0)
        before: list[Tensor] | None = None
        for role, chosen in by_role.items():
            chosen.sort(key=lambda s: len(s.ids))
            for i in range(0, len(chosen), settings.micro_batch):
                batch = collate(
                    chosen[i : i + settings.micro_batch], settings.normaliser, total, self.pad_id, self.policies.device
                )
                part, share = self._backward(model, batch)
                loss += part
                clipped += share
            squares[role] = _squared_distance(parameters, before)
            if len(by_role) > 1:
                before = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in parameters]
        return {"loss": loss, "clipped": clipped / max(1, tokens)} | {f"grad_square/{r}": s for r, s in squares.items()}

    def _backward(self, model: torch.nn.Module, batch: Batch) -> tuple[float, float]:
        with torch.autocast(self.policies.device, torch.bfloat16, enabled=self.policies.autocast):
            logits = model(input_ids=batch.ids[:, :-1], attention_mask=batch.mask[:, :-1], use_cache=False).logits
        logp = token_logprobs(logits, batch.ids, self.settings.temperature)
        per_token, clipped = self.loss(logp, batch.old, batch.advantage, batch.segment)
        loss = (per_token * batch.weight).sum()
        loss.backward()
        return float(loss.detach()), float((clipped * (batch.segment > 0)).sum())

    def _update_policy(self, name: str, samples: Sequence[Sample], step: int) -> dict[str, float]:
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        stats = self.gradients(name, samples)
        parameters = self.policies.parameters(name)
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.settings.clip)
        stats["grad_norm"] = float(norm)
        if norm > 0:  # no gradient, no step: AdamW's momentum alone must not change the weights
            for group in optimizer.param_groups:
                group["lr"] = self.settings.rate(step)
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return {k if k.startswith("grad_square/") else f"{k}/{name}": v for k, v in stats.items()}

    def save(self, path: Path) -> None:
        torch.save({name: o.state_dict() for name, o in self.optimizers.items()}, path)

    def restore(self, path: Path) -> None:
        for name, state in torch.load(path, map_location=self.policies.device, weights_only=True).items():
            self.optimizers[name].load_state_dict(state)


def _squared_distance(parameters: Sequence[torch.nn.Parameter], before: Sequence[Tensor] | None) -> float:
    """Squared norm of the change of the gradient since `before` (None: since it was empty)."""
    total = 0.0
    for i, parameter in enumerate(parameters):
        if parameter.grad is not None:
            added = parameter.grad if before is None else parameter.grad - before[i]
            total += float(added.float().pow(2).sum())
    return total
