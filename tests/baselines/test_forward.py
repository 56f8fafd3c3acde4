"""Prompts that are read once: the same figures and gradients as a plain pass, and a plain pass where a model allows nothing else."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from lone import lone  # noqa: E402
from transformers import Gemma2Config, MistralConfig, Qwen3Config, Qwen3NextConfig  # noqa: E402

from baselines.batch import collate  # noqa: E402
from baselines.forward import Forward, _whole  # noqa: E402
from baselines.learner import Learner, Settings  # noqa: E402
from baselines.losses import grpo  # noqa: E402
from baselines.types import Sample, Sampling, Span  # noqa: E402

PROMPTS = [tuple(range(20, 29)), tuple(range(40, 47))]


def group(prompt: tuple[int, ...], lengths: tuple[int, ...]) -> list[Sample]:
    made = []
    for k, length in enumerate(lengths):
        start = len(prompt)
        spans = [Span(start, start + length, 1.0 - k, (), sampling=Sampling(0.7))]
        ids = (*prompt, *range(60 + k, 60 + k + length))
        if k == 2:  # a conversation that went on
            ids += (9, 8, 7, 70, 71)
            spans.append(Span(len(ids) - 2, len(ids), 0.5, ()))
        made.append(Sample("p", "r", ids, tuple(spans)))
    return made


SAMPLES = [*group(PROMPTS[0], (5, 1, 3, 4)), *group(PROMPTS[1], (2, 6, 1)), *group((3,), (1,))]
SIZES = {
    "vocab_size": 200, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 8, "intermediate_size": 48, "max_position_embeddings": 128,
}  # fmt: skip


@pytest.mark.parametrize("tokens", [4096, 40])
def test_prompts_in_common_change_neither_loss_nor_gradient(micro_model, monkeypatch, tokens):
    passes, found = [], {}
    hook = micro_model.register_forward_pre_hook(
        lambda m, a, k: passes.append(tuple(k["input_ids"].shape)), with_kwargs=True
    )
    for shares in (False, True):
        learner = Learner(lone(micro_model), Settings(1e-3, 1, micro_tokens=tokens), lambda name: grpo(), 0)
        learner.forward.shares = shares
        learner.forward._lends["p"] = True
        micro_model.zero_grad()
        passes.clear()
        stats = learner.gradients("p", SAMPLES)
        found[shares] = stats, torch.cat([p.grad.flatten() for p in micro_model.parameters()]), list(passes)
    hook.remove()
    assert found[True][0] == pytest.approx(found[False][0], abs=1e-6)
    assert torch.allclose(found[True][1], found[False][1], atol=1e-6)
    assert found[False][1].abs().max() > 1e-3
    if tokens == 4096:
        assert found[False][2][1:] == [(6, 16)]
        assert found[True][2][1:] == [(3, 9), (6, 7)], (
            "three prompts, then the six replies that teach, without their last token"
        )


def test_one_token_replies_need_no_second_pass(micro_model):
    samples = [Sample("p", "r", (*PROMPTS[0], 50 + k), (Span(9, 10, 1.0, ()),)) for k in range(4)]
    forward, batch = Forward(0, "cpu"), collate(samples, "tokens", 4, 0, "cpu")
    assert forward._can_lend(micro_model)
    with torch.no_grad():
        lent = forward._shared(micro_model, batch)
        assert torch.allclose(lent, _whole(micro_model, batch)[batch.segment > 0], atol=1e-5)


def test_prompts_of_their_own_are_read_with_their_replies(micro_model):
    forward = Forward(0, "cpu")
    apart = [group(prompt, (3,))[0] for prompt in PROMPTS]
    assert not forward._pays("p", micro_model, collate(apart, "tokens", 6, 0, "cpu"))
    assert forward._lends == {}, "nothing had to be tried"
    alike = collate(SAMPLES[:4], "tokens", 6, 0, "cpu")
    assert forward._pays("p", micro_model, alike)
    assert not Forward(0, "cpu", shares=False)._pays("p", micro_model, alike)


@pytest.mark.parametrize(
    ("config", "lends"),
    [
        (Qwen3Config(**SIZES), True),
        (MistralConfig(**SIZES, sliding_window=4), False),
        (Gemma2Config(**SIZES, sliding_window=4), False),
        (Qwen3NextConfig(**SIZES, layer_types=["linear_attention", "full_attention"], num_experts=2, num_experts_per_tok=1, moe_intermediate_size=16,
                         shared_expert_intermediate_size=16, linear_num_key_heads=2, linear_num_value_heads=2,
                         linear_key_head_dim=8, linear_value_head_dim=8), False),
    ],
)  # fmt: skip
def test_what_a_model_allows_is_tried(config, lends):
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    assert Forward(0, "cpu")._can_lend(model) is lends


def test_a_cache_that_forgets_is_noticed(micro_model, monkeypatch):
    """A planted fault of the right type."""
    from transformers import DynamicCache

    original = DynamicCache.batch_select_indices

    def forgetful(self, indices):
        original(self, indices)
        for layer in self.layers:
            layer.keys = torch.zeros_like(layer.keys)

    monkeypatch.setattr(DynamicCache, "batch_select_indices", forgetful)
    assert not Forward(0, "cpu")._can_lend(micro_model)
