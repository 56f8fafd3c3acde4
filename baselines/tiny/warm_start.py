"""The tiny model's recipe: config, tokenizer, and a supervised warm start on what noisy experts play. No binary is shipped.

`tiny_model(...)` returns a folder in the hub's layout, made once and cached under a hash of everything that went into it, so
the rest of the code loads it like any other model.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import json
import math
import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random

from baselines.chat import Chat
from baselines.tiny.experts import Experts
from baselines.tiny.tokenizer import train_tokenizer
from llm_marl_envs.files import cache_folder, cached_folder
from llm_marl_envs.protocol import Ask, Workflow
from llm_marl_envs.seeds import seed_of
from llm_marl_envs.session import Play, Session
from llm_marl_envs.spec import make_workflow
from llm_marl_envs.task import Problem
from llm_marl_envs.tasks.arithmetic import Arithmetic

WORKFLOWS = ("solo", "eval_opt", "voting", "orch_workers")  # the tokenizer knows all of their prompts
VERSION = 2  # of the training code below and of its folder; part of the cache key
Calls = list[tuple[str, str]]  # (prompt, reply)
OnStep = Callable[[int, int, float], None]  # step, steps, loss


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the model. The optimizer's numbers are AdamW's, with a linear warm-up and a cosine that the
    run leaves at `steps` of `horizon`."""

    hidden: int = 128
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    mlp: int = 384
    vocab: int = 512
    steps: int = 300
    horizon: int = 500
    warmup: int = 50
    batch: int = 64
    lr: float = 1.5e-3
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    episodes: int = 6_000
    experts: Experts = field(default=Experts())
    seed: int = 0


def play_experts(workflow: Workflow, problems: list[Problem], task: Arithmetic, recipe: Recipe) -> Calls:
    """All calls of one expert episode per problem."""
    calls: Calls = []
    for i, problem in enumerate(problems):
        rng = Random(seed_of("experts", recipe.seed, i))
        session = Session(Play(workflow, problem.question, i))
        while session.waiting:
            call = session.waiting[0]
            assert isinstance(call, Ask)
            reply = recipe.experts.say(session, call, task, problem, rng)
            calls.append((call.prompt, reply))
            session.reply(reply)
    return calls


def tiny_model(
    workflow: str = "eval_opt",
    task: Arithmetic = Arithmetic(),
    recipe: Recipe = Recipe(),
    cache: Path | None = None,
    progress: OnStep | None = None,
) -> Path:
    """The folder of the warm-started model for a team, made if it is not cached (in `cache_folder()`, unless another is
    given). Without a writable cache it lasts as long as this process, with a warning.

    `solo` starts from eval_opt's model, so that the single-agent control and the team begin with the same weights.
    """
    taught = "eval_opt" if workflow not in WORKFLOWS or workflow == "solo" else workflow
    train = list(task.problems("train"))
    order = Random(seed_of("warm start", recipe.seed)).choices(train, k=recipe.episodes)
    lessons = play_experts(make_workflow(taught), order, task, recipe)
    words = [call for name in WORKFLOWS for call in play_experts(make_workflow(name), train[:400], task, recipe)]
    content = json.dumps([VERSION, asdict(recipe), lessons, words]).encode()
    name = f"tiny-{taught}-{hashlib.blake2b(content, digest_size=8).hexdigest()}"
    cache = cache or cache_folder()
    why = "no home folder"
    if cache is not None:
        try:
            return cached_folder(cache / name, lambda folder: _train(recipe, words, lessons, folder, progress))
        except OSError as bad:
            why = str(bad)
    warnings.warn(f"the tiny model cannot be cached ({why}): it is made anew in each process", stacklevel=2)
    return cached_folder(_passing() / name, lambda folder: _train(recipe, words, lessons, folder, progress))


@functools.cache
def _passing() -> Path:
    """A folder that lasts as long as this process."""
    folder = tempfile.mkdtemp(prefix="llm-marl-tiny-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _train(recipe: Recipe, words: Calls, lessons: Calls, folder: Path, progress: OnStep | None) -> None:
    import torch

    tokenizer = train_tokenizer(words, recipe.vocab)
    chat = Chat(tokenizer)
    end = (tokenizer.eos_token_id,)
    rows = [
        (chat.open(({"role": "user", "content": prompt},)), tuple(tokenizer(reply)["input_ids"]) + end)
        for prompt, reply in lessons
    ]
    with torch.random.fork_rng():
        torch.manual_seed(seed_of("weights", recipe.seed) % 2**63)
        model = build_model(recipe, len(tokenizer), tokenizer.pad_token_id, tokenizer.eos_token_id)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.lr, betas=recipe.betas, weight_decay=recipe.weight_decay
    )
    rng = Random(seed_of("batches", recipe.seed))
    for step in range(recipe.steps):
        rate = min(1.0, (step + 1) / recipe.warmup) * 0.5 * (1 + math.cos(math.pi * step / recipe.horizon))
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * rate
        batch = [rows[rng.randrange(len(rows))] for _ in range(recipe.batch)]
        width = max(len(p) + len(r) for p, r in batch)
        ids = torch.zeros((len(batch), width), dtype=torch.long)
        mask = torch.zeros_like(ids)
        labels = torch.full_like(ids, -100)
        for i, (prompt, reply) in enumerate(batch):
            end_ = len(prompt) + len(reply)
            ids[i, :end_] = torch.tensor(prompt + reply)
            mask[i, :end_] = 1
            labels[i, len(prompt) : end_] = torch.tensor(reply)
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if progress is not None:
            progress(step + 1, recipe.steps, float(loss.detach()))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def build_model(recipe: Recipe, vocab: int, pad_id: int, eos_id: int):
    """A Qwen3 of the recipe's size with random weights; the vocabulary is padded to a multiple of 16."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=vocab + -vocab % 16,
        hidden_size=recipe.hidden,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.kv_heads,
        head_dim=recipe.hidden // recipe.heads,
        intermediate_size=recipe.mlp,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        pad_token_id=pad_id,
        eos_token_id=eos_id,
        bos_token_id=None,
    )
    return Qwen3ForCausalLM(config)
