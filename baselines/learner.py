"""Samples to one optimizer step per policy.

The loss of a step is a weighted sum over all its sampled tokens, with weights that are fixed before the first micro-batch:
"tokens": 1 / (sampled tokens of the policy in this step); "sequences": 1 / (replies x length of its reply); a reply of no
tokens counts for nothing. So loss and gradient do not depend on how the step is cut into micro-batches. Samples that teach
nothing (all advantages are 0, no returns, no term of its role's loss) count in the weights but are not computed: their
gradient is 0.

The policy that a batch is compared with (`old`) is the learner's own before its first update, not the engine's: engine and
learner round differently, which must clip nothing. How far they are apart is measured in every step.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from baselines.batch import (
    Batch,
    Normaliser,
    collate,
    conversations,
    counted,
    entropies,
    gradient_mass,
    packed,
    sample_of,
    span_of,
)
from baselines.forward import Forward
from baselines.losses import Loss, estimated_kl
from baselines.policies import Policies
from baselines.settings import Terms
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
    updates: int = 1  # times that each batch is gone through
    minibatches: int = 1  # into which it is cut each time, anew; each is an optimizer step
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
    kl: float = 0.0  # to the reference
    held: float = 0  # tokens in `kl`
    gap: float = 0.0  # of the engine's and the learner's log-probs, absolute
    compared: float = 0  # tokens in `gap`

    def __add__(self, other: Sums) -> Sums:  # type: ignore[override]
        return Sums(*(a + b for a, b in zip(self, other, strict=True)))

    def figures(self) -> dict[str, float]:
        kl = {"kl": self.kl / self.held} if self.held else {}
        return {"clipped": self.clipped / max(1, self.computed)} | kl | self.gaps()

    def gaps(self) -> dict[str, float]:
        return {"logprob_gap": self.gap / self.compared} if self.compared else {}


class Learner:
    """One AdamW per policy. `update` makes one step (or `updates` x `minibatches`) from a batch and returns figures about it.

    settings: of all policies, or of each. loss: the loss of a policy by its name. terms: what roles' losses have beside it.
    """

    def __init__(
        self,
        policies: Policies,
        settings: Settings | Mapping[str, Settings],
        loss: Callable[[str], Loss],
        pad_id: int,
        terms: Mapping[str, Terms] = MappingProxyType({}),
    ):
        self.policies, self.pad_id, self.terms = policies, pad_id, terms
        self.forward = Forward(pad_id, policies.device, shares=not policies.checkpointing)
        names = policies.names
        self.settings = settings if isinstance(settings, Mapping) else dict.fromkeys(names, settings)
        self.losses = {name: loss(name) for name in names}
        self.optimizers = {name: self._optimizer(name) for name in names}

    def _optimizer(self, name: str) -> torch.optim.AdamW:
        settings = self.settings[name]
        layers = self.policies.model(name).named_modules()
        embeddings = {f"{key}.weight" for key, layer in layers if isinstance(layer, torch.nn.Embedding)}
        spared: dict[bool, list[torch.nn.Parameter]] = {False: [], True: []}
        for key, parameter in self.policies.named_parameters(name).items():
            spared[parameter.ndim < 2 or key in embeddings].append(parameter)
        groups = [
            {"params": mine, "weight_decay": 0.0 if spare else settings.weight_decay}
            for spare, mine in spared.items()
            if mine
        ]
        return torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas)

    def update(self, samples: Sequence[Sample], step: int) -> dict[str, float]:
        """One batch. Returns, by policy, loss, learning rate, gradient norm, clipped share and the gap to the engine; and by role
        its share of the squared gradient norm and of the credit, the entropy, the clipped share, the gap, and the KL that is held
        down. Figures of several optimizer steps are their means.

        An optimizer step whose gradient is not finite is left out and counted as skipped.
        """
        rates = {name: settings.rate(step) for name, settings in self.settings.items()}
        alike = len(set(rates.values())) == 1
        stats = {"lr": next(iter(rates.values()))} if alike else {f"lr/{name}": rate for name, rate in rates.items()}
        for name in self.policies.names:
            stats |= self._steps(name, [s for s in samples if s.policy == name and s.spans], step)
        squares = {key: v for key, v in stats.items() if key.startswith("grad_square/")}
        total = sum(squares.values())
        for key, square in squares.items():
            del stats[key]
            stats["grad_share/" + key.removeprefix("grad_square/")] = square / total if total else 0.0
        return stats | gradient_mass(samples, {n: s.normaliser for n, s in self.settings.items()}) | entropies(samples)

    def _steps(self, name: str, samples: Sequence[Sample], step: int) -> dict[str, float]:
        """All optimizer steps of a policy on a batch. The first is compared with the policy as it is, the others with what it was."""
        settings, found = self.settings[name], defaultdict[str, list[float]](list)
        several = settings.updates * settings.minibatches > 1
        later = self._remembering(name, samples) if several else samples
        count = 0
        for update in range(settings.updates):
            order = list(range(len(samples)))
            if settings.minibatches > 1:
                Random(seed_of("minibatches", name, step, update)).shuffle(order)
            for k in range(settings.minibatches):
                part = [(later if count else samples)[i] for i in order[k :: settings.minibatches]]
                with self.policies.dropping(name, seed_of("dropout", name, step, count)):
                    for key, value in self._update_policy(name, part, step).items():
                        found[key].append(value)
                count += 1
        skipped = sum(not math.isfinite(norm) for norm in found[f"grad_norm/{name}"])
        return {key: _mean(values) for key, values in found.items()} | {f"skipped_updates/{name}": skipped}

    def gradients(self, name: str, samples: Sequence[Sample]) -> dict[str, float]:
        """Accumulate the step's gradient into .grad, role by role. Returns loss, clip share, and the mean gap between the engine's
        log-probs and the learner's; and by role its squared norm, clip share, gap and KL."""
        total = counted(samples, self.settings[name].normaliser)
        by_role: dict[str, list[Sample]] = defaultdict(list)
        for sample in samples:
            if self._teaches(sample):
                by_role[sample.role].append(sample)
        parameters = self.policies.parameters(name)
        sums, squares = {role: Sums() for role in by_role}, dict.fromkeys(sorted({s.role for s in samples}), 0.0)
        before: list[Tensor] | None = None
        for role, chosen in by_role.items():
            with self.policies.learning():
                for _, batch in self._batches(name, chosen, total):
                    sums[role] += self._backward(name, batch, self.terms.get(role, Terms()))
            squares[role] = _squared_distance(parameters, before)
            if len(by_role) > 1:
                before = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in parameters]
        whole = sum(sums.values(), Sums())
        gap = whole if whole.compared else self._probe(name, samples)
        stats = {f"grad_square/{role}": square for role, square in squares.items()}
        for role, mine in sums.items():
            stats |= {f"{key}/{role}": value for key, value in mine.figures().items()}
        return stats | {"loss": whole.loss, "clipped": 0.0} | whole.figures() | gap.gaps()

    def _teaches(self, sample: Sample) -> bool:
        """Whether there is anything to learn from a sample: credit, returns, an imitated reply, or a term of its role's loss."""
        held = bool(self.terms.get(sample.role))
        return any(span.teaches or (held and span.logprobs) for span in sample.spans)

    def _batches(self, name: str, samples: Sequence[Sample], total: float = 1.0) -> Iterator[tuple[list[int], Batch]]:
        """Micro-batches, each with its samples' places."""
        for places in packed(samples, self.settings[name].micro_tokens):
            yield places, self._batch(name, [samples[place] for place in places], total)

    def _batch(self, name: str, samples: Sequence[Sample], total: float) -> Batch:
        return collate(samples, self.settings[name].normaliser, total, self.pad_id, self.policies.device)

    def _backward(self, name: str, batch: Batch, terms: Terms) -> Sums:
        taught = batch.segment > 0
        said, value = self._forward(name, batch, entropy=terms.entropy > 0)
        logp = said[..., 0]
        present, gap = batch.old.isnan(), _gap(logp, batch)
        batch = replace(batch, old=torch.where(present, logp.detach(), batch.old))
        per_token, clipped = self.losses[name](logp, value, batch)
        own = taught & ~batch.sampled.isnan()  # imitated replies are not its own
        kl = torch.zeros(())
        if terms.kl:
            kl = torch.where(own, estimated_kl(logp, self._references(name, batch)), 0.0)
            ratio = torch.where(own, logp - batch.old, 0.0).exp()  # or the gradient is not the divergence's
            per_token, kl = per_token + terms.kl * ratio * kl, kl.detach()
        if terms.entropy:
            per_token = per_token - terms.entropy * torch.where(own, said[..., 1], 0.0)
        loss = (per_token * batch.weight).sum()
        loss.backward()
        held = int(own.sum()) if terms.kl else 0
        return (
            Sums(float(loss.detach()), float((clipped * taught).sum()), int(taught.sum()), float(kl.sum()), held) + gap
        )

    @torch.no_grad()
    def _references(self, name: str, batch: Batch) -> Tensor:
        """The log-probs of the sampled tokens in the model that the policy began as."""
        with self.policies.reference(name) as model:
            return self.forward(name, model, batch)[0][..., 0]

    @torch.no_grad()
    def _probe(self, name: str, samples: Sequence[Sample]) -> Sums:
        """The gap of a few samples, for a step in which none that was sampled teaches anything."""
        fresh = [s for s in samples if any(span.logprobs and not span.old for span in s.spans)]
        few = sorted(fresh, key=lambda s: len(s.ids))[:PROBED]
        if not few:
            return Sums()
        batch = self._batch(name, few, 1.0)
        return _gap(self._forward(name, batch)[0][..., 0], batch)

    @torch.no_grad()
    def _remembering(self, name: str, samples: Sequence[Sample]) -> list[Sample]:
        """The samples with the learner's present log-probs as the old ones, except on lessons."""
        made = list(samples)
        teaching = [i for i, s in enumerate(samples) if self._teaches(s)]
        for places, batch in self._batches(name, [samples[i] for i in teaching]):
            said, _ = self._forward(name, batch)
            for i, row in zip((teaching[place] for place in places), said[..., 0].tolist(), strict=True):
                spans = (
                    s._replace(old=tuple(row[s.start - 1 : s.end - 1])) if s.logprobs else s for s in samples[i].spans
                )
                made[i] = samples[i]._replace(spans=tuple(spans))
        return made

    def _forward(self, name: str, batch: Batch, *, entropy: bool = False) -> tuple[Tensor, Tensor | None]:
        """See `Forward`; instead of the hidden states, what the critic makes of them (B, T), 0 elsewhere."""
        said, hidden = self.forward(name, self.policies.model(name), batch, entropy=entropy)
        if (critic := self.policies.heads.get(name)) is None:
            return said, None
        value = critic(hidden.float()).squeeze(-1)
        return said, value.new_zeros(batch.segment.shape).masked_scatter(batch.segment > 0, value)

    @torch.no_grad()
    def values(self, episodes: Sequence[Episode]) -> Values:
        """What the critics say before each token of every reply of theirs. Replies without tokens are not in it."""
        found: dict[Place, tuple[float, ...]] = {}
        for name in self.policies.heads:
            mine = [(i, turns) for i, turns in conversations(episodes) if turns[0].policy == name]
            samples = [sample_of(turns, tuple(span_of(turn, 0.0) for turn in turns)) for _, turns in mine]
            for places, batch in self._batches(name, samples):
                _, value = self._forward(name, batch)
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
            self.policies.refresh(name)
        optimizer.zero_grad(set_to_none=True)
        return {k if "/" in k else f"{k}/{name}": v for k, v in stats.items()}

    def save(self, path: Path) -> None:
        torch.save({name: o.state_dict() for name, o in self.optimizers.items()}, path)

    def restore(self, path: Path) -> None:
        for name, state in torch.load(path, map_location=self.policies.device, weights_only=True).items():
            self.optimizers[name].load_state_dict(state)


def _mean(values: Sequence[float]) -> float:
    """Of the finite ones, if there are any."""
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else values[0]


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
