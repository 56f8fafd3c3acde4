"""The two ceilings exist and are plausible, and generation at full width is set against them."""

from __future__ import annotations

import torch
from ceilings import Stopwatch
from measured import Record, measured

from baselines.chat import Chat
from baselines.policies import Policies, load_tokenizer
from baselines.types import Request, Sampling
from llm_marl_envs import Ask


def test_the_ceilings_are_measured(ceilings, report):
    assert 1e9 < ceilings.bandwidth < 1e14
    assert 1e8 < ceilings.rate < 1e16
    assert [figure.unit for figure in report.figures if figure.of == "the machine"] == ["GB/s", "TFLOP/s"]


def test_a_stopwatch_measures_twice_the_work_as_longer(device):
    watch = Stopwatch(device)
    side = 4096 if device == "cuda" else 512
    matrix = torch.randn(side, side, device=device)

    def seconds(products: int) -> float:
        start = watch.mark()
        for _ in range(products):
            matrix @ matrix
        return watch.seconds(start, watch.mark())

    seconds(5)
    assert 0 < min(seconds(2) for _ in range(5)) < min(seconds(40) for _ in range(5))


def test_generation_at_full_width(qwen3, device, ceilings, report):
    """Many rows, long replies: what decoding reaches when the batch is as wide as in a real run."""
    rows, tokens = (256, 128) if device == "cuda" else (16, 16)
    policies = Policies(qwen3, ("shared",), device=device)
    record = Record(device, ceilings)
    engine = measured(record)[0](policies, Chat(load_tokenizer(qwen3)))
    requests = [
        Request("shared", ({"role": "user", "content": f"What is {i} + {i}?"},), seed, Ask("solver_0", ""))
        for seed, i in enumerate(range(rows))
    ]
    engine.generate([r._replace(sampling=Sampling(1.0, 4)) for r in requests[:2]])
    engine = measured(record := Record(device, ceilings))[0](policies, engine.chat)
    done = engine.generate([r._replace(sampling=Sampling(1.0, tokens)) for r in requests])
    assert [len(c.token_ids) for c in done] == [tokens] * rows or device == "cpu"
    assert record.sampled == sum(len(c.token_ids) for c in done)
    where = f"generation, 0.6B, {rows} rows x {tokens}"
    report.add(where, "sampled tokens per second", record.sampled / record.generate_s, "tokens/s")
    report.add(where, "share of the ceilings", record.generate_share(), "of 1")
    report.add(where, "share of time in forward passes", record.generate_forward_s / record.generate_s, "of 1")
    report.add(where, "peak memory", record.generate_peak / 2**30, "GiB")
    assert record.generate_floor_s > 0
    assert 0 < record.generate_forward_s <= record.generate_s * 1.05
