"""The counts behind every share of a ceiling, against numbers worked out by hand and against torch's own counter."""

from __future__ import annotations

import pytest
import torch
from ceilings import Ceilings
from counting import Shape, causal_pairs, forward_bytes, forward_flops, training_flops
from torch.utils.flop_counter import FlopCounterMode
from transformers import Qwen3Config, Qwen3ForCausalLM

CONFIG = Qwen3Config(
    vocab_size=100,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
    intermediate_size=48,
    tie_word_embeddings=True,
    attn_implementation="eager",
)
# A layer: q 32x64, k and v 32x32 each, o 64x32, gate and up 32x48 each, down 48x32.
BODY = 2 * (32 * 64 + 2 * 32 * 32 + 64 * 32 + 3 * 32 * 48)
HEAD = 100 * 32


@pytest.fixture(scope="module")
def model():
    return Qwen3ForCausalLM(CONFIG)


def test_a_shape_counts_the_weights_of_its_products(model):
    assert Shape.of(model, "p", 2) == Shape(BODY, HEAD, BODY, HEAD, 2, 64, 32, 2)


def test_an_adapter_counts_and_another_policys_does_not(model):
    from peft import LoraConfig, get_peft_model

    adapters = LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM")
    adapted = get_peft_model(Qwen3ForCausalLM(CONFIG), adapters, adapter_name="p")
    adapted.add_adapter("q", adapters)
    lora = 2 * (32 * 4 + 4 * 64)
    assert Shape.of(adapted, "p", 4) == Shape(BODY + lora, HEAD, lora, 0, 2, 64, 32, 4)


def angles(counter: FlopCounterMode) -> int:
    """What some releases of transformers multiply to turn positions into angles, which no weight takes part in."""
    return sum(sum(by.values()) for name, by in counter.get_flop_counts().items() if name.endswith("rotary_emb"))


def test_operations_are_those_that_torch_counts(model):
    ids = torch.randint(0, 100, (3, 7))
    shape = Shape.of(model, "p", 4)
    with FlopCounterMode(display=False, depth=4) as counter:
        loss = model(input_ids=ids, use_cache=False).logits.sum()
    # eager attention multiplies the masked half too: 7 x 7 pairs instead of 7 x 8 / 2
    forward = counter.get_total_flops() - angles(counter)
    assert forward == forward_flops(shape, 21, 21, 3 * 49)
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    both = forward + backward.get_total_flops()
    # torch leaves out the gradient of nothing: every product's input and weight has one here
    assert both == training_flops(shape, 21, 21, 3 * 49)


def test_bytes_and_pairs_by_hand():
    shape = Shape(body=1000, head=100, trained=0, trained_head=0, layers=3, query_width=8, cache_width=4, size=2)
    assert causal_pairs([1, 3]) == 1 + 6
    # weights 1,100 numbers; keys and values 2 x 3 layers x 4 numbers for 10 cached and 2 new positions
    assert forward_bytes(shape, pairs=10, rows=2) == 2 * (1100 + 24 * 12)
    assert forward_flops(shape, tokens=2, outputs=1, pairs=10) == 2 * (2000 + 100) + 4 * 3 * 8 * 10


def test_the_slower_ceiling_decides():
    ceilings = Ceilings(bandwidth=10.0, rate=100.0, dtype=torch.float32)
    assert ceilings.floor(flops=100, moved=5) == 1.0
    assert ceilings.floor(flops=100, moved=50) == 5.0
