"""One small model for all that does not care which: a config's random weights and a tokenizer that knows the prompts."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def micro_tokenizer():
    pytest.importorskip("torch")
    from two_answers import MICRO

    from baselines.tiny.tokenizer import train_tokenizer
    from baselines.tiny.warm_start import play_experts
    from llm_marl_envs import make_task, make_workflow

    task = make_task("arithmetic")
    return train_tokenizer(play_experts(make_workflow("eval_opt"), task.problems("train")[:200], task, MICRO), 400)


@pytest.fixture
def micro_model(micro_tokenizer):
    """A model of its own for every test, with the same weights."""
    import torch
    from two_answers import MICRO

    from baselines.tiny.warm_start import build_model

    torch.manual_seed(0)
    return build_model(MICRO, len(micro_tokenizer), micro_tokenizer.pad_token_id, micro_tokenizer.eos_token_id).eval()


@pytest.fixture(scope="session")
def micro_folder(micro_tokenizer, tmp_path_factory) -> Path:
    """The same model as a folder in the hub's layout; nobody writes to it."""
    import torch
    from two_answers import MICRO

    from baselines.tiny.warm_start import build_model

    folder = tmp_path_factory.mktemp("micro")
    torch.manual_seed(0)
    model = build_model(MICRO, len(micro_tokenizer), micro_tokenizer.pad_token_id, micro_tokenizer.eos_token_id)
    model.save_pretrained(folder)
    micro_tokenizer.save_pretrained(folder)
    return folder
