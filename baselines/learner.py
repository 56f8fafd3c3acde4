"""Samples to one optimizer step per policy.

The loss of a step is a weighted sum over all its sampled tokens, with weights that are fixed before the first micro-batch:
"tokens": 1 / (sampled tokens of the policy in this step); "sequences": 1 / (replies x length of its reply); a reply of no
tokens counts for nothing. So loss and gradient do not depend on how the step is cut into micro-batches. Samples that teach
nothing (all advantages are 0, and no returns) count in the weights but are not computed: their gradient is 0.

The policy that a batch is compared with (`old`) is the learner's own before its first update, not the engine's: engine and
learner round differently, which must clip nothing. How far they are apart is measured in every step.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from baselines.batch import Batch, Normaliser, collate, conversations, packed, sample_of, span_of
from baselines.distribution import Truncation
from baselines.losses import Loss
from baselines.output import is_plain, only, picked, picked_in_pieces
from baselines.policies import Policies
from baselines.types import Episode, Place, Sample, Values
from llm_marl_envs.errors import ConfigError
from llm_marl_envs.seeds import seed_of

PROBED = 8  # samples whose log-probs are compared in a step that computes none
Schedule = Literal["linear", "cosine", "constant"]


@dataclass(frozen=True, slots=True)
class Settings:
    """The optimizer: AdamW (weight decay spares norms, biases and embeddings), gradient clipping by norm, and a schedule over
    `steps` whose last step is at `floor` x lr. Raises ConfigError if the warm-up never ends, so that lr is never reached."""

    lr: float
    steps: int
    schedule: Schedule = "linear"
    warmup: int = 0
    floor: float = 0.05
    clip: float = 1.0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.98)
    micro_tokens: int = 4096  # in one forward pass, padding included; one sequence goes into it in any case
    updates: int = 1  # optimizer steps on each batch
    normaliser: Normaliser = "tokens"

    def __post_init__(self):
        if self.warmup and self.warmup >= self.steps:
            raise ConfigError(
                f"a warm-up of {self.warmup} steps does not end in a run of {self.steps}: lower --warmup or raise --steps"
            )

    def rate(self, step: int) -> float:
        """The learning rate of step 0, 1, ..., steps - 1."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        done = min(1.0, (step - self.warmup) / max(1, self.steps - 1 - self.warmup))
        fall = {"linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done)), "constant": 1.0}[self.schedule]
        return self.lr * (self.floor + (1 - self.floor) * fall)


class Sums(NamedTuple):
    """What a step's micro-batches add up to."""

    loss: float = 0.0
    clipped: float = 0.0  # tokens
    computed: float = 0  # tokens
    gap: float = 0.0  # of the engine's and the learner's log-probs, absolute
    compared: float = 0  # tokens in `gap`

    def __add__(self, other: Sums) -> Sums:  # type: ignore[override]
        return Sums(*(a + b for a, b in zip(self, other, strict=True)))


class Learner:
    """One AdamW per policy. `update` makes one step (or `updates` steps) from a batch and returns figures about it.

    settings: of all policies, or of each. loss: the loss of a policy by its name.
    """

    def __init__(
        self, policies: Policies, settings: Settings | Mapping[str, Settings], loss: Callable[[str], Loss], pad_id: int
    ):
        self.policies, self.pad_id = policies, pad_id
        self._plain: dict[str, bool] = {}  # whether a policy's output layer can be used apart from it
        names = policies.names
        self.settings = settings if isinstance(settings, Mapping) else dict.fromkeys(names, settings)
        self.losses = {name: loss(name) for name in names}
        self.optimizers = {name: self._optimizer(name) for name in names}

    def _optimizer(self, name: str) -> torch.optim.AdamW:
        settings = self.settings[name]
        layers = (m for m in self.policies.model(name).modules() if isinstance(m, torch.nn.Embedding))
        embeddings = {id(p) for layer in layers for p in layer.parameters()}
        spared: dict[bool, list[torch.nn.Parameter]] = {False: [], True: []}
        for parameter in self.policies.parameters(name):
            spared[parameter.ndim < 2 or id(parameter) in embeddings].append(parameter)
        groups = [
            {"params": mine, "weight_decay": 0.0 if spare else settings.weight_decay}
            for spare, mine in spared.items()
            if mine
        ]
        return torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas)

    def update(self, samples: Sequence[Sample], step: int) -> dict[str, float]:
        """One batch. Returns loss, learning rate, clipped share, and per policy and role the gradient's norm and share.

        An update whose gradient is not finite is left out and counted as skipped.
        """
        rates = {name: settings.rate(step) for name, settings in self.settings.items()}
        alike = len(set(rates.values())) == 1
        stats = {"lr": next(iter(rates.values()))} if alike else {f"lr/{name}": rate for name, rate in rates.items()}
        for name in self.policies.names:
            mine = [s for s in samples if s.policy == name and s.spans]
            updates, skipped = self.settings[name].updates, 0
            later = self._remembering(name, mine) if updates > 1 else mine
            for update in range(updates):
                with self.policies.dropping(name, seed_of("dropout", name, step, update)):
                    stats |= self._update_policy(name, later if update else mine, step)
                skipped += not math.isfinite(stats[f"grad_norm/{name}"])
            stats[f"skipped_updates/{name}"] = skipped
        squares = {key: v for key, v in stats.items() if key.startswith("grad_square/")}
        total = sum(squares.values())
        for key, square in squares.items():
            del stats[key]
            stats["grad_share/" + key.removeprefix("grad_square/")] = square / total if total else 0.0
        return stats

    def gradients(self, name: str, samples: Sequence[Sample]) -> dict[str, float]:
        """Accumulate the step's gradient into .grad, role by role. Returns loss, clip share, squared norm per role, and the mean
        gap between the engine's log-probs and the learner's."""
        settings = self.settings[name]
        tokens = sum(span.end - span.start for s in samples for span in s.spans)
        replies = sum(span.end > span.start for s in samples for span in s.spans)
        total = tokens if settings.normaliser == "tokens" else replies
        by_role: dict[str, list[Sample]] = defaultdict(list)
        for sample in samples:
            if any(span.teaches for span in sample.spans):
                by_role[sample.role].append(sample)
        parameters = self.policies.parameters(name)
        sums, squares = Sums(), dict.fromkeys(sorted({s.role for s in samples}), 0.0)
        before: list[Tensor] | None = None
        for role, chosen in by_role.items():
            for part in self._parts(name, chosen):
                sums += self._backward(name, self._batch(name, part, total))
            squares[role] = _squared_distance(parameters, before)
            if len(by_role) > 1:
                before = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in parameters]
        gap = sums if sums.compared else self._probe(name, samples)
        stats = {"loss": sums.loss, "clipped": sums.clipped / max(1, sums.computed)}
        if gap.compared:
            stats["logprob_gap"] = gap.gap / gap.compared
        return stats | {f"grad_square/{role}": square for role, square in squares.items()}

    def _parts(self, name: str, samples: Sequence[Sample]) -> Iterator[list[Sample]]:
        """Micro-batches."""
        for places in packed([len(s.ids) for s in samples], self.settings[name].micro_tokens):
            yield [samples[place] for place in places]

    def _batch(self, name: str, samples: Sequence[Sample], total: float) -> Batch:
        return collate(samples, self.settings[name].normaliser, total, self.pad_id, self.policies.device)

    def _backward(self, name: str, batch: Batch) -> Sums:
        logp, value = self._forward(name, batch)
        present, gap = batch.old.isnan(), _gap(logp, batch)
        batch = replace(batch, old=torch.where(present, logp.detach(), batch.old))
        per_token, clipped = self.losses[name](logp, value, batch)
        loss = (per_token * batch.weight).sum()
        loss.backward()
        taught = batch.segment > 0
        return Sums(float(loss.detach()), float((clipped * taught).sum()), int(taught.sum())) + gap

    @torch.no_grad()
    def _probe(self, name: str, samples: Sequence[Sample]) -> Sums:
        """The gap of a few samples, for a step in which none that was sampled teaches anything."""
        fresh = [s for s in samples if any(span.logprobs and not span.old for span in s.spans)]
        few = sorted(fresh, key=lambda s: len(s.ids))[:PROBED]
        if not few:
            return Sums()
        batch = self._batch(name, few, 1.0)
        return _gap(self._forward(name, batch)[0], batch)

    @torch.no_grad()
    def _remembering(self, name: str, samples: Sequence[Sample]) -> list[Sample]:
        """The samples with the learner's present log-probs as the old ones, except on lessons."""
        made = []
        for part in self._parts(name, [s for s in samples if any(span.teaches for span in s.spans)]):
            logp, _ = self._forward(name, self._batch(name, part, 1.0))
            for sample, row in zip(part, logp.tolist(), strict=True):
                spans = (s._replace(old=tuple(row[s.start - 1 : s.end - 1])) if s.logprobs else s for s in sample.spans)
                made.append(sample._replace(spans=tuple(spans)))
        return made + [s for s in samples if not any(span.teaches for span in s.spans)]

    def _forward(self, name: str, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Log-probs of the sampled tokens (B, T), 0 elsewhere, and a critic's values of the states before them."""
        model, taught = self.policies.model(name), batch.segment > 0
        output, critic = model.get_output_embeddings(), self.policies.heads.get(name)  # type: ignore[operator]
        cut = batch.cut and Truncation(*(x[taught] for x in batch.cut))
        sought = batch.ids[:, 1:][taught], batch.temperature[taught], cut
        with torch.autocast(self.policies.device, torch.bfloat16, enabled=self.policies.autocast):
            if name not in self._plain:
                self._plain[name] = is_plain(model, self.policies.device)
            plain = self._plain[name]
            with only(output, None if plain else taught) as seen:
                out = model(input_ids=batch.ids[:, :-1], attention_mask=batch.mask[:, :-1], use_cache=False)
            logp = picked_in_pieces(seen[0][taught], output, *sought) if plain else picked(out.logits[0], *sought)
        value = None if critic is None else critic(seen[0].float()).squeeze(-1)
        return torch.zeros_like(batch.advantage).masked_scatter(taught, logp), value

    @torch.no_grad()
    def values(self, episodes: Sequence[Episode]) -> Values:
        """What the critics say before each token of every reply of theirs. Replies without tokens are not in it."""
        found: dict[Place, tuple[float, ...]] = {}
        for name in self.policies.heads:
            mine = [(i, turns) for i, turns in conversations(episodes) if turns[0].policy == name]
            samples = [sample_of(turns, tuple(span_of(turn, 0.0) for turn in turns)) for _, turns in mine]
            for places in packed([len(s.ids) for s in samples], self.settings[name].micro_tokens):
                _, value = self._forward(name, self._batch(name, [samples[place] for place in places], 1.0))
                assert value is not None
                for place, row in zip(places, value.tolist(), strict=True):
                    i, turns = mine[place]
                    for turn, span in zip(turns, samples[place].spans, strict=True):
                        found[i, turn.index] = tuple(row[span.start - 1 : span.end - 1])
        return found

    def _update_policy(self, name: str, samples: Sequence[Sample], step: int) -> dict[str, float]:
        optimizer, settings = self.optimizers[name], self.settings[name]
        optimizer.zero_grad(set_to_none=True)
        stats = self.gradients(name, samples)
        norm = torch.nn.utils.clip_grad_norm_(self.policies.parameters(name), settings.clip)
        stats["grad_norm"] = float(norm)
        if not torch.isfinite(norm):  # one such entry would make all weights NaN
            stats |= {key: 0.0 for key in stats if key.startswith("grad_square/")}
        elif norm > 0:  # no gradient, no step: AdamW's momentum alone must not change the weights
            for group in optimizer.param_groups:
                group["lr"] = settings.rate(step)
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return {k if k.startswith("grad_square/") else f"{k}/{name}": v for k, v in stats.items()}

    def save(self, path: Path) -> None:
        torch.save({name: o.state_dict() for name, o in self.optimizers.items()}, path)

    def restore(self, path: Path) -> None:
        for name, state in torch.load(path, map_location=self.policies.device, weights_only=True).items():
            self.optimizers[name].load_state_dict(state)


def _gap(logp: Tensor, batch: Batch) -> Sums:
    """How far the engine's log-probs are from the learner's, on the tokens whose old log-probs are the present ones."""
    here = (batch.segment > 0) & batch.old.isnan() & ~batch.sampled.isnan()
    return Sums(gap=float((logp.detach() - batch.sampled)[here].abs().sum()), compared=int(here.sum()))


def _squared_distance(parameters: Sequence[torch.nn.Parameter], before: Sequence[Tensor] | None) -> float:
    """Squared norm of the change of the gradient since `before` (None: since it was empty)."""
    total = 0.0
    for i, parameter in enumerate(parameters):
        if parameter.grad is not None:
            added = parameter.grad if before is None else parameter.grad - before[i]
            total += float(added.float().pow(2).sum())
    return total
