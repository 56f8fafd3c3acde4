"""The loop of baselines/train.py with an engine and a learner that keep a record of what they did and how long it took."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from ceilings import Ceilings, Peak, Stopwatch
from counting import Shape, causal_pairs, forward_bytes, forward_flops, training_flops
from torch import Tensor, nn

from baselines.engines.transformers import TransformersEngine
from baselines.learner import Learner
from baselines.policies import Policies
from baselines.types import Completion, Request, Sample

GAP_SAMPLES = 2  # per policy and step whose log-probs are computed a second time


@dataclass
class Record:
    """Sums over the training steps of one run; seconds, tokens, operations and bytes."""

    device: str
    ceilings: Ceilings
    generate_s: float = 0.0
    generate_forward_s: float = 0.0  # of which in the models' forward passes, gaps between their kernels included
    generate_floor_s: float = 0.0  # the least that these passes could take
    sampled: int = 0
    update_s: float = 0.0
    trained: int = 0  # tokens in the learner's forward passes, padding not counted
    padded: int = 0  # the same with padding
    training_flops: float = 0.0
    measuring_s: float = 0.0  # spent on this record itself
    generate_peak: int = 0
    update_peak: int = 0
    dtypes: set[torch.dtype] = field(default_factory=set)  # of the logits
    gaps: list[float] = field(default_factory=list)  # |log-prob of the engine - log-prob of the learner's weights|
    before: dict[str, dict[str, int]] = field(default_factory=dict)  # fingerprints before the first step
    learner: Learner | None = None

    def update_share(self) -> float:
        """Of the matrix-multiply ceiling, what the updates reached (MFU)."""
        return self.training_flops / self.ceilings.rate / self.update_s

    def generate_share(self) -> float:
        """Of the time in generation, what the two ceilings make unavoidable."""
        return self.generate_floor_s / self.generate_s


@dataclass(slots=True)
class Pass:
    """One forward pass: when it began and ended, which positions were real, and in which type its logits came."""

    start: Any
    mask: Tensor  # (B, keys)
    width: int  # positions computed per row
    end: Any = None
    dtype: torch.dtype | None = None


class Passes:
    """Hooks on a model that note every forward pass until `take`."""

    def __init__(self, watch: Stopwatch):
        self.watch, self.seen = watch, list[Pass]()
        self.models: set[int] = set()

    def follow(self, model: nn.Module) -> None:
        """Note this model's passes, too. Adapters on one backbone are one model."""
        if id(model) not in self.models:
            self.models.add(id(model))
            model.register_forward_pre_hook(self._before, with_kwargs=True)
            model.register_forward_hook(self._after)

    def take(self) -> list[Pass]:
        taken, self.seen = self.seen, []
        return taken

    def _before(self, model: nn.Module, args: tuple, given: dict[str, Any]) -> None:
        ids = given["input_ids"]
        self.seen.append(Pass(self.watch.mark(), given.get("attention_mask", torch.ones_like(ids)), ids.shape[1]))

    def _after(self, model: nn.Module, args: tuple, out: Any) -> None:
        here = self.seen[-1]
        here.end, here.dtype = self.watch.mark(), out.logits.dtype


def measured(record: Record) -> tuple[type[TransformersEngine], type[Learner]]:
    """The engine's and the learner's class with a record. What plays outside training (evaluation) is not counted: it is
    the greedy part."""
    watch, peak = Stopwatch(record.device), Peak(record.device)
    passes = Passes(watch)
    size = 2 if record.device == "cuda" else 4

    class MeasuredEngine(TransformersEngine):
        def generate(self, requests: list[Request]) -> list[Completion]:
            for name in self.policies.names:
                passes.follow(self.policies.model(name))
            passes.take()
            peak.restart()
            watch.wait()
            began = time.perf_counter()
            done = super().generate(requests)
            watch.wait()
            took = time.perf_counter() - began
            if requests and not requests[0].sampling.greedy:
                record.generate_s += took
                record.generate_peak = max(record.generate_peak, peak.bytes())
                record.sampled += sum(len(c.token_ids) for c in done)
                self._count(requests)
                record.measuring_s += time.perf_counter() - began - took
            return done

        def _count(self, requests: list[Request]) -> None:
            policy = requests[0].policy if requests else self.policies.names[0]
            shape = Shape.of(self.policies.model(policy), policy, size)  # all policies of a run have one shape
            for here in passes.take():
                lengths = here.mask.sum(1).tolist()
                record.generate_forward_s += watch.seconds(here.start, here.end)
                record.dtypes.add(here.dtype)
                first = here.width == here.mask.shape[1]
                pairs = causal_pairs(lengths) if first else sum(lengths)
                tokens = sum(lengths) if first else len(lengths)
                flops = forward_flops(shape, tokens, len(lengths), pairs)
                moved = forward_bytes(shape, 0 if first else pairs, tokens)
                record.generate_floor_s += record.ceilings.floor(flops, moved)

    class MeasuredLearner(Learner):
        def __init__(self, policies: Policies, *rest: Any):
            super().__init__(policies, *rest)
            record.learner = self
            record.before = fingerprints(policies)
            for name in policies.names:
                passes.follow(policies.model(name))

        def update(self, samples: Sequence[Sample], step: int) -> dict[str, float]:
            arrived = time.perf_counter()
            record.gaps += self._gaps(samples)
            passes.take()
            peak.restart()
            watch.wait()
            began = time.perf_counter()
            stats = super().update(samples, step)
            watch.wait()
            took = time.perf_counter() - began
            record.update_s += took
            record.update_peak = max(record.update_peak, peak.bytes())
            name = self.policies.names[0]
            shape = Shape.of(self.policies.model(name), name, size)
            for here in passes.take():
                before = (
                    here.mask[:, : -here.width].sum(1).tolist()
                )  # of the prompt, where that was read in a pass of its own
                lengths = here.mask.sum(1).tolist()
                tokens = sum(lengths) - sum(before)
                record.dtypes.add(here.dtype)
                record.trained += tokens
                record.padded += len(lengths) * here.width
                pairs = causal_pairs(lengths) - causal_pairs(before)
                record.training_flops += training_flops(shape, tokens, 0, pairs)
            taught = sum(s.end - s.start for sample in samples if self._teaches(sample) for s in sample.spans)
            record.training_flops += training_flops(shape, 0, taught, 0)  # the head sees sampled tokens alone
            record.measuring_s += time.perf_counter() - arrived - took
            return stats

        def _gaps(self, samples: Sequence[Sample]) -> list[float]:
            gaps: list[float] = []
            for name in self.policies.names:
                for sample in [s for s in samples if s.policy == name][:GAP_SAMPLES]:
                    logp = log_probs(self.policies, name, sample.ids, sample.spans[0].sampling.temperature)
                    for span in sample.spans:
                        old = torch.tensor(span.logprobs)
                        gaps += (logp[span.start - 1 : span.end - 1] - old).abs().tolist()
            return gaps

    return MeasuredEngine, MeasuredLearner


@torch.inference_mode()
def log_probs(policies: Policies, name: str, ids: Sequence[int], temperature: float = 1.0) -> Tensor:
    """log p(ids[t + 1] | ids[..t]) of one sequence as the policy computes it, alone and unpadded; (T - 1,) on the CPU."""
    row = torch.tensor([ids], device=policies.device)
    logits = policies.model(name)(input_ids=row, attention_mask=torch.ones_like(row), use_cache=False).logits
    logp = torch.log_softmax(logits[0, :-1].float() / temperature, -1)
    return logp.gather(-1, row[0, 1:, None]).squeeze(-1).cpu()


def fingerprints(policies: Policies) -> dict[str, dict[str, int]]:
    """Of every parameter, the sum of its bits as whole numbers: a change of any one weight changes it. By policy, and under
    "" what no policy trains."""
    found: dict[str, dict[str, int]] = {name: {} for name in policies.names} | {"": {}}
    for name in policies.names:
        mine = policies.named_parameters(name)
        others = {key for other in policies.names for key in policies.named_parameters(other)}
        frozen = {k: p for k, p in policies.model(name).named_parameters() if k not in others}
        for owner, parameters in ((name, mine), ("", frozen)):
            for key, parameter in parameters.items():
                whole = torch.int32 if parameter.element_size() == 4 else torch.int16
                found[owner][key] = int(parameter.detach().view(whole).sum(dtype=torch.int64))
    return found
