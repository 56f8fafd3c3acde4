"""The two models that are checked: the embedded tiny one, and one of Qwen3-0.6B's shape with random weights."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from string import ascii_letters, digits
from typing import Any

import torch

from baselines.tiny.tokenizer import train_tokenizer
from baselines.tiny.warm_start import Recipe, play_experts, tiny_model
from llm_marl_envs import make_task, make_workflow
from llm_marl_envs.outcome import Outcome
from llm_marl_envs.protocol import Ask


@dataclass(frozen=True, slots=True)
class Qwen3Size:
    """What of Qwen3-0.6B the CPU is spared; everything else is as in the original's config.json."""

    layers: int = 28
    vocabulary: int = 151_936

    def __str__(self) -> str:
        cut = [f"{self.layers} layers"] * (self.layers != 28)
        cut += [f"vocabulary {self.vocabulary:,}"] * (self.vocabulary != 151_936)
        return "Qwen3-0.6B's shape" + (f" cut to {' and '.join(cut)}" if cut else "")


def short_tiny(cache: Path) -> str:
    """The tiny model after the beginning of its warm start: its speed is the full one's, and its replies vary."""
    return str(tiny_model(recipe=Recipe(steps=40, batch=32, episodes=1_000), cache=cache))


def qwen3_shape(folder: Path, size: Qwen3Size, device: str) -> str:
    """Write a model of this size with random weights (bfloat16, as the original is stored) and a tokenizer; the folder."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    tokenizer = wide_tokenizer(size.vocabulary)
    config = Qwen3Config(
        vocab_size=size.vocabulary,
        hidden_size=1024,
        num_hidden_layers=size.layers,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        intermediate_size=3072,
        max_position_embeddings=40_960,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    with torch.random.fork_rng(), torch.device(device):
        torch.manual_seed(0)
        model = Qwen3ForCausalLM(config)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def wide_tokenizer(vocabulary: int) -> Any:
    """The tiny tokenizer with entries that no merge leads to, so that every id a random model can sample is some text.

    Without them nearly all replies would be empty, and all episodes alike.
    """
    from tokenizers import Tokenizer

    task = make_task("arithmetic")
    calls = play_experts(make_workflow("eval_opt"), list(task.problems("train")[:200]), task, Recipe())  # type: ignore[arg-type]
    tokenizer = train_tokenizer(calls, 512)
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    known = state["model"]["vocab"]
    texts = ("".join(letters) for letters in product(ascii_letters + digits, repeat=3))
    fresh = (text for text in texts if text not in known)
    known |= {next(fresh): i for i in range(len(known), vocabulary)}
    tokenizer._tokenizer = Tokenizer.from_str(json.dumps(state))
    assert len(tokenizer) == vocabulary
    return tokenizer


def coin(outcome: Outcome) -> dict[str, float]:
    """A reward rule for models that never answer right: a checksum of all replies is odd or even, 1 or 0 to everybody.

    Half of all episodes are rewarded, so advantages are not 0 and every policy has a gradient.
    """
    assert outcome.session is not None
    said = [e.reply.text for e in outcome.session.events if type(e.call) is Ask and e.reply is not None]
    return dict.fromkeys(outcome.agents, float(zlib.crc32("\n".join(said).encode("utf-8", "replace")) % 2))
