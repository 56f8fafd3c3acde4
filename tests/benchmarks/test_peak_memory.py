"""The learner's peak memory at a real vocabulary, against the logits of the sampled tokens at once and of all tokens at once.

Each is measured in a process of its own, over what it held before the step. The model is small, so that logits are what counts.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

VOCABULARY, PROMPT, REPLY, ROWS = 151_936, 20, 12, 16


def peak(how: str, found) -> None:
    """MiB that one gradient takes; `how` is "ours", "sampled" or "all"."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "baselines"))
    import torch
    from lone import lone
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from baselines.batch import collate
    from baselines.learner import Learner, Settings
    from baselines.losses import grpo
    from baselines.types import Sample, Span

    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=8,
        intermediate_size=32, tie_word_embeddings=True,
    )  # fmt: skip
    model = Qwen3ForCausalLM(config).eval()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    ids = torch.randint(5, VOCABULARY, (ROWS, PROMPT + REPLY)).tolist()
    samples = [Sample("p", "r", tuple(row), (Span(PROMPT, PROMPT + REPLY, 1.0, ()),)) for row in ids]
    learner = Learner(lone(model), Settings(1e-3, 1), lambda name: grpo(), 0)
    learner.forward._plain["p"] = True  # what is found out once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if how == "ours":
        learner.gradients("p", samples)
    else:
        batch = collate(samples, "tokens", ROWS * REPLY, 0, "cpu")
        kept = REPLY + 1 if how == "sampled" else PROMPT + REPLY
        logits = model(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False, logits_to_keep=kept).logits
        logp = torch.log_softmax(logits[:, :-1].float(), -1).gather(-1, batch.ids[:, 1 - kept :, None]).squeeze(-1)
        (-(logp - logp.detach()).exp() * batch.weight[:, 1 - kept :]).sum().backward()
    found.put((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def test_peak_memory(benchmark):
    context = multiprocessing.get_context("spawn")
    peaks = {}
    for how in ("ours", "sampled", "all"):
        found = context.Queue()
        child = context.Process(target=peak, args=(how, found))
        child.start()
        peaks[how] = found.get(timeout=300)
        child.join()
    print(f"\npeak MiB of a gradient at V = {VOCABULARY:,}, {ROWS} x ({PROMPT} + {REPLY}) tokens: {peaks}")
    assert peaks["ours"] <= peaks["all"] / 4
    assert peaks["ours"] < peaks["sampled"]
    for how in ("sampled", "all"):
        benchmark.extra_info[how] = peaks["ours"] / peaks[how]
        print(f"ours / {how}: {peaks['ours'] / peaks[how]:.3f}")
    benchmark.pedantic(lambda: None, rounds=1)
