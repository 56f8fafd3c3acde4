"""Where a run computes and in which numbers."""

from __future__ import annotations

from typing import Any

import torch

from baselines.settings import Device, Number
from llm_marl_envs.errors import ConfigError

WIDE = 512  # a hidden size from which a CPU's bfloat16 products are worth their conversions


def pick_device(wanted: Device) -> str:
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "--device cuda, but torch finds no CUDA device. Use --device cpu or auto, or install a CUDA build."
        )
    return wanted if wanted != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def pick_dtype(wanted: Number, device: str, config: Any) -> torch.dtype:
    """The numbers to store and compute a model in. auto is bfloat16 on CUDA, and on a CPU that multiplies it in hardware (AMX or
    AVX512-BF16) for models of a hidden size from WIDE; else float32. `config` is the model's."""
    if wanted == "auto":
        quick = device == "cuda" or (multiplies_bfloat16() and config.get_text_config().hidden_size >= WIDE)
        wanted = "bfloat16" if quick else "float32"
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[wanted]


def multiplies_bfloat16() -> bool:
    """Whether this CPU has instructions for products of bfloat16; without them they are a hundred times slower than float32's."""
    has = torch.cpu.get_capabilities()
    return bool(has.get("amx_bf16") or has.get("avx512_bf16"))
