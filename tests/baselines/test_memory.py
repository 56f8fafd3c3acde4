"""The plan for a card's memory: counts by hand, what fits and what is refused, and where numbers are chosen."""

from __future__ import annotations

import dataclasses

import pytest

torch = pytest.importorskip("torch")

from transformers import LlamaConfig, Qwen3Config  # noqa: E402

from baselines import devices  # noqa: E402
from baselines.devices import pick_dtype  # noqa: E402
from baselines.engines import transformers as engine  # noqa: E402
from baselines.memory import CACHED, GIB, LOGITS, PROBE, Shape, fitted, need  # noqa: E402
from llm_marl_envs.errors import ConfigError  # noqa: E402

SIZES = {
    "vocab_size": 1000, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 16, "intermediate_size": 48, "tie_word_embeddings": True,
}  # fmt: skip
# A layer: q 32x64, k and v 32x32 each, o 64x32, gate and up 32x48 each, down 48x32; norms of 32, 32 and, in Qwen3, 16, 16.
LINEAR = 32 * 64 + 2 * 32 * 32 + 64 * 32 + 3 * 32 * 48
SHAPE = Shape(weights=1_000_000, adapter=0, vocabulary=100, kept=1000, checkpointed=100, cached=50)


@pytest.mark.parametrize(("config", "norms"), [(Qwen3Config(**SIZES), 96), (LlamaConfig(**SIZES), 64)])
def test_a_model_counts_itself(config, norms):
    shape = Shape.of(config, torch.bfloat16, 4)
    assert shape.weights == 1000 * 32 + 3 * (LINEAR + norms) + 32
    assert shape.adapter == 4 * 3 * ((32 + 64) + 2 * (32 + 32) + (64 + 32) + 2 * (32 + 48) + (48 + 32))
    assert shape.cached == 2 * 3 * 2 * 16 * 2  # keys and values, layers, heads of 16, two bytes
    assert shape.vocabulary == 1000
    wide = Shape.of(config, torch.float32, 0)
    assert (wide.adapter, wide.cached) == (0, 2 * shape.cached)


def test_what_a_pass_keeps_is_what_torch_keeps():
    """Against a real pass of the same length on the CPU, weights left out; within a tenth, for kernels differ."""
    from transformers import AutoModelForCausalLM

    config = Qwen3Config(**SIZES)
    model = AutoModelForCausalLM.from_config(config)
    spared, kept = {p.data_ptr() for p in model.parameters()}, {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in spared and tensor.shape[-1] != 1000:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    mask = torch.zeros((1, 1, PROBE, PROBE))  # as with padding: keys and values are then copied for each head
    ids = torch.zeros((1, PROBE), dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = model(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=1)
    assert out.logits.shape == (1, 1, 1000)
    assert Shape.of(config, torch.float32, 0).kept == pytest.approx(sum(kept.values()) / PROBE, rel=0.1)


def test_needs_by_hand():
    """Two full policies in bfloat16 that are trained: weights 2 x 2 MB, optimizer and masters 2 x 12, gradients of one 4."""
    low, full = torch.bfloat16, torch.float32
    found = need(SHAPE, low, policies=2, trained=2, micro_tokens=10, rows=8, cached=1000)
    assert found.always == {"weights": 4e6, "optimizer and masters": 24e6}
    assert found.learning == {"gradients": 4e6, "activations": 10_000, "logits": 16 * LOGITS}
    assert found.generating == {"cache": 50_000, "logits": 26 * 8 * 100}
    assert found.total == pytest.approx(1.1 * (28e6 + 4e6 + 10_000 + 16 * LOGITS))
    wide = need(
        SHAPE, full, policies=2, trained=2, micro_tokens=10, rows=8, roles=2, reference=True, checkpointing=True
    )
    assert wide.always == {"weights": 8e6, "reference": 4e6, "optimizer": 16e6}
    assert wide.learning == {"gradients": 8e6, "activations": 1_000, "logits": 16 * LOGITS}
    adapters = need(
        dataclasses.replace(SHAPE, adapter=10), low, policies=2, trained=2, micro_tokens=1, rows=1, reference=True
    )
    assert adapters.always == {"weights": 2e6 + 40, "optimizer and masters": 240}
    untrained = need(SHAPE, low, policies=1, trained=0, micro_tokens=10, rows=8)
    assert (untrained.always, untrained.learning) == ({"weights": 2e6}, {})


def both(shape: Shape = SHAPE, micro_tokens: int = 10_000_000):
    sizes = {"policies": 1, "trained": 1, "micro_tokens": micro_tokens, "rows": 8}
    return [need(shape, torch.bfloat16, checkpointing=c, **sizes) for c in (False, True)]  # 10 GB of activations, or 1


def test_layers_are_computed_again_only_where_they_must_be():
    plain, saving = both()
    fit = fitted(80 * GIB, "auto", plain, saving)
    assert (fit.checkpointing, fit.cached) == (False, CACHED)
    assert "needs about 11 of 80 GiB: weights 0.0" in fit.said
    tight = fitted(3 * GIB, "auto", plain, saving)
    assert tight.checkpointing
    assert "layers computed again" in tight.said
    assert fitted(80 * GIB, "on", plain, saving).checkpointing


def test_a_cache_is_as_large_as_there_is_room_for():
    plain, saving = both(dataclasses.replace(SHAPE, cached=40_000), micro_tokens=1000)  # 20 GiB of keys and values
    assert fitted(80 * GIB, "auto", plain, saving).cached == CACHED
    assert fitted(15 * GIB, "auto", plain, saving).cached == CACHED // 2


@pytest.mark.parametrize(("wanted", "remedy"), [("auto", "Try --lora-rank"), ("off", "Try --checkpointing auto")])
def test_a_plan_that_does_not_fit_is_refused_with_what_to_change(wanted, remedy):
    with pytest.raises(ConfigError, match=r"needs about \d+ GiB and the card has 1: weights") as refused:
        fitted(1 * GIB, wanted, *both())
    assert remedy in str(refused.value)


def test_numbers_are_chosen_by_what_gains(monkeypatch):
    narrow, broad = Qwen3Config(**SIZES), Qwen3Config(**SIZES | {"hidden_size": 576})
    for quick in (False, True):
        monkeypatch.setattr(devices, "multiplies_bfloat16", lambda quick=quick: quick)
        assert pick_dtype("auto", "cpu", narrow) == torch.float32
        assert pick_dtype("auto", "cpu", broad) == (torch.bfloat16 if quick else torch.float32)
        assert pick_dtype("auto", "cuda", narrow) == torch.bfloat16
        assert pick_dtype("bfloat16", "cpu", narrow) == torch.bfloat16
        assert pick_dtype("float32", "cuda", broad) == torch.float32


def test_whether_a_cpu_multiplies_bfloat16_is_read_from_it(monkeypatch):
    for has, quick in [
        ({}, False),
        ({"amx_bf16": True}, True),
        ({"avx512_bf16": True}, True),
        ({"amx_bf16": False}, False),
    ]:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda has=has: has)
        assert devices.multiplies_bfloat16() is quick


def test_batches_are_even(monkeypatch):
    """Ten rows of at most eight at a time are five and five, not eight and two; limits on tokens hold."""
    monkeypatch.setattr(engine, "MAX_ROWS", 8)
    prompts, new = [(0,) * 3] * 10, [2] * 10
    assert [len(b) for b in engine._batches(list(range(10)), prompts, new, 1000)] == [5, 5]
    assert [len(b) for b in engine._batches(list(range(9)), prompts, new, 20)] == [
        3,
        3,
        3,
    ]  # of four at most, by tokens
    long = [(0,) * 3] * 5 + [(0,) * 98]
    cut = engine._batches(list(range(6)), long, [2] * 6, 100)
    assert sorted(i for batch in cut for i in batch) == list(range(6))
    assert cut[-1] == [5]
    assert engine._batches([], [], [], 10) == []
