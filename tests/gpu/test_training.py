"""Five steps of training on the device, by the loop that `llm-marl train` runs: what changes, what must not, and how fast."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest
import torch
from measured import Record, fingerprints, measured

import baselines.team
import baselines.train
from baselines.args import TrainArgs
from baselines.memory import Shape, need
from baselines.policies import Policies, load_config
from baselines.progress import Progress
from baselines.runlog import RunLog, read_lines

STEPS = 5
LARGEST_GAP = 0.02  # mean, in nats: both sides round as test_agreement.py says, and a temperature of 0.7 widens it


def settings(model: str, name: str, device: str, out: Path, **changes) -> TrainArgs:
    """Sizes for a card (an 80 GB one holds two full 0.6B policies with their optimizers, 24 GB, and the logits of 32 rows of
    about 170 tokens, 2.44 MB each in learning, 13 GB) and for a CPU."""
    small = device == "cpu"
    tiny = {"problems": 4, "samples": 4, "lr": 1.5e-4} if small else {"problems": 16, "samples": 8, "lr": 1.5e-4}
    large = (
        {"problems": 1, "samples": 4, "max_tokens": 4, "micro_tokens": 512}
        if small
        else {"problems": 8, "samples": 8, "max_tokens": 8, "micro_tokens": 4096}
    )
    sizes = {"max_tokens": 24 if small else 12} | (tiny if name == "tiny" else large | {"temperature": 1.0}) | changes
    plain = {"set": ("rounds=2",), "reward": "models:coin"}
    return TrainArgs(
        model=model, out=out, device=device, steps=STEPS, eval_problems=8, eval_every=STEPS, checkpoint_every=STEPS,
        trace_every=0, threads=torch.get_num_threads(), **(plain | sizes),
    )  # fmt: skip


@pytest.mark.parametrize("lora_rank", [0, 16], ids=["full", "LoRA"])
@pytest.mark.parametrize("method", ["shared", "isolated"])
@pytest.mark.parametrize("name", ["tiny", "0.6B"])
def test_training(name, method, lora_rank, device, ceilings, report, request, tmp_path, monkeypatch):
    model = request.getfixturevalue({"tiny": "tiny", "0.6B": "qwen3"}[name])
    args = settings(model, name, device, tmp_path / "run", method=method, lora_rank=lora_rank)
    record = Record(device, ceilings)
    engine, learner = measured(record)
    monkeypatch.setattr(baselines.team, "TransformersEngine", engine)
    monkeypatch.setattr(baselines.train, "Learner", learner)
    if name != "tiny":  # 7 GB a policy, which measures the disk
        monkeypatch.setattr(RunLog, "checkpoint", lambda self, step, save: None)
    began = time.perf_counter()
    baselines.train.train(args, Progress(quiet=True))
    wall = time.perf_counter() - began

    assert record.learner is not None
    policies = record.learner.policies
    run = f"{name} {method} {'LoRA' if lora_rank else 'full'}"
    _describe(report, run, record, args, wall)

    assert len(policies.names) == (1 if method == "shared" else 2)
    assert record.dtypes == {torch.bfloat16 if device == "cuda" else torch.float32}
    assert {p.device.type for n in policies.names for p in policies.model(n).parameters()} == {device}
    assert {p.dtype for n in policies.names for p in policies.parameters(n)} == {torch.float32}
    low = torch.bfloat16 if device == "cuda" else torch.float32
    assert {p.dtype for n in policies.names for p in policies.model(n).parameters()} == {low}

    steps = [line for line in read_lines(args.out / "metrics.jsonl") if line["kind"] == "train"]
    assert len(steps) == STEPS
    assert all(math.isfinite(v) for line in steps for v in line.values() if isinstance(v, (int, float)))
    for policy in policies.names:
        norms = [line[f"grad_norm/{policy}"] for line in steps]
        assert sum(norm > 0 for norm in norms) >= 2, f"{policy} had no gradient: {norms}"

    after = fingerprints(policies)
    for policy in policies.names:
        before = record.before[policy]
        unchanged = [key for key, bits in after[policy].items() if bits == before[key]]
        assert before.keys() == after[policy].keys()
        assert before
        assert unchanged == []
    assert bool(after[""]) == bool(lora_rank)  # a backbone that nobody trains
    assert after[""] == record.before[""]

    gap = sum(record.gaps) / len(record.gaps)
    assert gap < LARGEST_GAP
    assert record.generate_peak > 0
    assert record.update_peak > 0
    most = 1 if device == "cuda" else math.inf  # a busy CPU may have measured its ceilings too low
    assert 0 < record.generate_share() < most
    assert 0 < record.update_share() < most
    planned = _planned(policies, args)
    report.add(run, "peak memory in training, planned", planned / 2**30, "GiB")
    if device == "cuda":
        assert record.update_peak <= planned, "a plan that says less than is needed lets runs die"
    if name == "tiny":
        _restored(args, after)


def _planned(policies: Policies, args: TrainArgs) -> float:
    """What the plan for the card's memory says of learning."""
    shape = Shape.of(load_config(policies.path), policies.dtype, args.lora_rank)
    count = len(policies.names)
    plan = need(
        shape, policies.dtype, policies=count, trained=count, micro_tokens=args.micro_tokens, rows=0, cached=0,
        roles=2 if count == 1 else 1,
    )  # fmt: skip
    return plan.total


def _describe(report, run: str, record: Record, args: TrainArgs, wall: float) -> None:
    timed = read_lines(args.out / "timing.jsonl")
    steps = sum(line["play_s"] + line["learn_s"] for line in timed) - record.measuring_s
    report.runs.append(run)
    report.add(run, "generation", record.sampled / record.generate_s, "sampled tokens/s")
    report.add(run, "generation, share of the ceilings", record.generate_share(), "of 1")
    report.add(
        run, "generation, share of time in forward passes", record.generate_forward_s / record.generate_s, "of 1"
    )
    report.add(run, "training", record.trained / record.update_s, "tokens/s, prompts counted and padding not")
    report.add(run, "training, padding", 1 - record.trained / record.padded, "of 1")
    report.add(run, "training, share of the matrix-multiply ceiling", record.update_share(), "of 1")
    report.add(run, "time in generation", record.generate_s, "s")
    report.add(run, "time in updates", record.update_s, "s")
    report.add(run, "time outside generation and update", 1 - (record.generate_s + record.update_s) / steps, "of 1")
    report.add(run, "peak memory in generation", record.generate_peak / 2**30, "GiB")
    report.add(run, "peak memory in training", record.update_peak / 2**30, "GiB")
    report.add(run, "gap of engine and learner, mean", sum(record.gaps) / len(record.gaps), "nats")
    report.add(run, "gap of engine and learner, largest", max(record.gaps), "nats")
    report.add(run, "sampled tokens", record.sampled, "tokens")
    report.add(run, "trained tokens", record.trained, "tokens")
    report.add(run, "wall time", wall, "s")


def _restored(args: TrainArgs, after: dict[str, dict[str, int]]) -> None:
    """The last checkpoint gives back on the device, bit for bit, what was trained there."""
    team = baselines.team.Team(args, Progress(quiet=True))
    assert fingerprints(team.policies) != after
    team.policies.restore(RunLog(args.out).checkpoint_folder(STEPS))
    assert fingerprints(team.policies) == after
