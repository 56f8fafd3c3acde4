"""The tiny model's making: config, tokenizer, and a supervised warm start on what experts play.

`tiny_model(...)` returns a folder in the hub's layout, made once and cached under a hash of everything that went into it, so
the rest of the code loads it like any other model.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import json
import math
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from random import Random
from typing import Any

from baselines.chat import Chat
from baselines.tiny.recipe import Copying, Course, Recipe
from baselines.tiny.sizes import SIZES
from baselines.tiny.syllabus import Calls, lessons, syllabus_of, taught, variants
from baselines.tiny.tokenizer import train_tokenizer
from llm_marl_envs.files import cache_folder, cached_folder
from llm_marl_envs.protocol import Workflow
from llm_marl_envs.seeds import seed_of
from llm_marl_envs.task import Problem, Task
from llm_marl_envs.tasks.arithmetic import Arithmetic

VERSION = 3  # of the training code below and of its folder; part of the cache key
WORDS = 400  # episodes of each workflow that a tokenizer is made of
OnStep = Callable[[int, int, float], None]  # step, steps, loss
Row = tuple[list[int], list[tuple[int, int]]]  # a conversation's token ids, and where its replies lie in them


def play_experts(workflow: Workflow, problems: Sequence[Problem], task: Task, recipe: Recipe) -> list[tuple[str, str]]:
    """All (prompt, reply) of one expert episode per problem."""
    played = lessons((workflow,), problems, task, recipe.experts, "experts", recipe.seed)
    return [call for calls in played for call in calls]


def tiny_model(
    workflow: str = "eval_opt",
    task: Task = Arithmetic(),
    recipe: Recipe | None = None,
    cache: Path | None = None,
    progress: OnStep | None = None,
    *,
    knobs: Mapping[str, Any] = {},
    size: str = "tiny",
    seed: int = 0,
) -> Path:
    """The folder of the warm-started model for a team, made if it is not cached (in `cache_folder()`, unless another is
    given). Without a writable cache it lasts as long as this process, with a warning.

    recipe: by default the syllabus's, in this `size` and with this `seed`. knobs: the workflow's. Raises ConfigError for a task
    that there are no lessons for; a workflow without lessons of its own starts from another's model, with a warning if it is
    not `solo`.
    """
    syllabus = syllabus_of(task)
    chosen = taught(syllabus, workflow)
    recipe = recipe or replace(syllabus.recipe_for(chosen), **SIZES[size], seed=seed)
    if chosen != workflow != "solo":
        warnings.warn(
            f"the tiny model has no lessons for {workflow} on {type(task).__name__.lower()}: it starts from those for {chosen}",
            stacklevel=2,
        )
    courses, words = _played(chosen, knobs if chosen == workflow else {}, task, recipe)
    content = json.dumps([VERSION, asdict(recipe), courses, words]).encode()
    name = f"{size}-{chosen}-{hashlib.blake2b(content, digest_size=8).hexdigest()}"
    cache = cache or cache_folder()
    why = "no home folder"
    if cache is not None:
        try:
            return cached_folder(cache / name, lambda folder: _train(recipe, words, courses, folder, progress))
        except OSError as bad:
            why = str(bad)
    warnings.warn(f"the tiny model cannot be cached ({why}): it is made anew in each process", stacklevel=2)
    return cached_folder(_passing() / name, lambda folder: _train(recipe, words, courses, folder, progress))


def _played(
    workflow: str, knobs: Mapping[str, Any], task: Task, recipe: Recipe
) -> tuple[list[list[Calls]], list[tuple[str, str]]]:
    """The conversations of each course, and what the tokenizer is made of."""
    train, played = task.problems("train"), variants(workflow, knobs)
    order = Random(seed_of("warm start", recipe.seed)).choices(train, k=recipe.episodes)
    courses = [lessons(played, order, task, recipe.experts, "experts", recipe.seed)]
    if recipe.then is not None:
        order = Random(seed_of("warm start, then", recipe.seed)).choices(train, k=recipe.then.episodes)
        courses.append(lessons(played, order, task, recipe.then.experts, "experts, then", recipe.seed))
    shown = [courses[0][: 4 * WORDS]]
    if (syllabus := syllabus_of(task)).together:
        seeds = (recipe.experts, "experts", recipe.seed)
        every = [variants(name, knobs if name == workflow else {}) for name in ("solo", *syllabus.workflows)]
        some = train[: min(WORDS, recipe.episodes)]
        shown = [lessons(played, some, task, *seeds) for played in every]
    return courses, [call for conversations in shown for calls in conversations for call in calls]


@functools.cache
def _passing() -> Path:
    """A folder that lasts as long as this process."""
    folder = tempfile.mkdtemp(prefix="llm-marl-tiny-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _train(
    recipe: Recipe, words: Sequence[tuple[str, str]], courses: Sequence[Sequence[Calls]], folder: Path,
    progress: OnStep | None,
) -> None:  # fmt: skip
    import torch

    tokenizer = train_tokenizer(words, recipe.vocab, apart=recipe.apart)
    chat = Chat(tokenizer)
    with torch.random.fork_rng():
        torch.manual_seed(seed_of("weights", recipe.seed) % 2**63)
        model = build_model(recipe, len(tokenizer), tokenizer.pad_token_id, tokenizer.eos_token_id)
    if recipe.copying is not None:
        _teach_copying(model, recipe, recipe.copying, names_of(tokenizer), len(tokenizer), progress)
    taught = [recipe.course, *([recipe.then] if recipe.then else [])]
    for number, (course, conversations) in enumerate(zip(taught, courses, strict=True)):
        rows = [row_of(calls, chat, tokenizer) for calls in conversations]
        rng = Random(seed_of("batches", recipe.seed, *([number] if number else [])))
        _teach(model, recipe, course, rows, rng, progress)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def row_of(calls: Calls, chat: Chat, tokenizer: Any) -> Row:
    """A conversation as it is at run time: its first prompt opens the chat, each other one follows a reply."""
    ids: tuple[int, ...] = ()
    replies = []
    for prompt, reply in calls:
        messages = ({"role": "user", "content": prompt},)
        ids = chat.follow(ids, messages) if ids else chat.open(messages)
        start = len(ids)
        ids += (*tokenizer(reply)["input_ids"], tokenizer.eos_token_id)
        replies.append((start, len(ids)))
    return list(ids), replies


def names_of(tokenizer: Any) -> list[int]:
    """The tokens that are capitalised words."""
    return [id for id in range(len(tokenizer)) if re.fullmatch("[A-Z][a-z]+", tokenizer.decode([id]))]


def _teach_copying(
    model: Any, recipe: Recipe, copying: Copying, names: list[int], vocab: int, progress: OnStep | None
) -> None:
    import torch

    rng = Random(seed_of("copying", recipe.seed))
    optimizer = _optimizer(model, recipe)
    smoothed = math.inf
    for step in range(copying.steps):
        between = rng.randrange(4)
        rows = []
        for _ in range(copying.batch):
            chosen = rng.choices(names, k=copying.names)
            rows.append([*chosen, *(rng.randrange(3, vocab) for _ in range(between)), *chosen])
        ids = torch.tensor(rows)  # (B, 2 names + between)
        start = copying.names + between
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, start:-1]
        loss = torch.nn.functional.cross_entropy(model.lm_head(hidden).flatten(0, 1), ids[:, start + 1 :].flatten())
        _step(model, optimizer, loss, recipe.lr * min(1.0, (step + 1) / 20))
        value = float(loss.detach())
        smoothed = value if step == 0 else 0.9 * smoothed + 0.1 * value
        if progress is not None:
            progress(step + 1, copying.steps, smoothed)
        if smoothed < copying.until:
            return


def _teach(model: Any, recipe: Recipe, course: Course, rows: list[Row], rng: Random, progress: OnStep | None) -> None:
    import torch

    optimizer = _optimizer(model, recipe)
    batches = _batches(rows, recipe.batch, course.alike, rng)
    for step in range(course.steps):
        batch = next(batches)
        width = max(len(ids) for ids, _ in batch)
        ids = torch.zeros((len(batch), width), dtype=torch.long)  # (B, T)
        mask = torch.zeros_like(ids)
        sampled = torch.zeros((len(batch), width), dtype=torch.bool)
        for i, (row, replies) in enumerate(batch):
            ids[i, : len(row)] = torch.tensor(row)
            mask[i, : len(row)] = 1
            for start, end in replies:
                sampled[i, start:end] = True
        hidden = model.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state[:, :-1]
        replied = sampled[:, 1:]
        loss = torch.nn.functional.cross_entropy(model.lm_head(hidden[replied]), ids[:, 1:][replied])
        rate = min(1.0, (step + 1) / course.warmup) * 0.5 * (1 + math.cos(math.pi * step / course.horizon))
        _step(model, optimizer, loss, course.lr * rate)
        if progress is not None:
            progress(step + 1, course.steps, float(loss.detach()))


def _batches(rows: list[Row], size: int, alike: int, rng: Random) -> Iterator[list[Row]]:
    """Random rows, `alike` batches of them drawn at a time and sorted by length."""
    while True:
        drawn = [rows[rng.randrange(len(rows))] for _ in range(alike * size)]
        if alike > 1:
            drawn.sort(key=lambda row: len(row[0]))
        batches = [drawn[k : k + size] for k in range(0, len(drawn), size)]
        if alike > 1:
            rng.shuffle(batches)
        yield from batches


def _optimizer(model: Any, recipe: Recipe) -> Any:
    import torch

    return torch.optim.AdamW(model.parameters(), lr=recipe.lr, betas=recipe.betas, weight_decay=recipe.weight_decay)


def _step(model: Any, optimizer: Any, loss: Any, lr: float) -> None:
    import torch

    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


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
        initializer_range=recipe.init,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        pad_token_id=pad_id,
        eos_token_id=eos_id,
        bos_token_id=None,
    )
    return Qwen3ForCausalLM(config)
