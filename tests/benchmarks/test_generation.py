"""Batched generation against a bare hand-written decode loop over the same model and batch."""

from __future__ import annotations

import time

import pytest

torch = pytest.importorskip("torch")

from benchmarks.ratio import compare  # noqa: E402

from baselines.chat import Chat  # noqa: E402
from baselines.engines.spoken import EnginePartner  # noqa: E402
from baselines.engines.transformers import TransformersEngine  # noqa: E402
from baselines.policies import Policies, load_tokenizer  # noqa: E402
from baselines.tiny.tokenizer import train_tokenizer  # noqa: E402
from baselines.tiny.warm_start import Recipe, build_model, play_experts  # noqa: E402
from baselines.types import Request, Sampling  # noqa: E402
from llm_marl_envs import Ask, make, make_task, make_vec, make_workflow  # noqa: E402

NEW = 24
GROUP = 8


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """The tiny model's size, untrained and with no stop token: every row decodes NEW tokens, so both do the same work."""
    folder = tmp_path_factory.mktemp("model")
    recipe, task = Recipe(), make_task("arithmetic")
    tokenizer = train_tokenizer(play_experts(make_workflow("eval_opt"), task.problems("train")[:400], task, recipe))
    torch.manual_seed(0)
    build_model(recipe, len(tokenizer), tokenizer.pad_token_id, tokenizer.eos_token_id).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    made = TransformersEngine(Policies(str(folder), ("shared",)), Chat(load_tokenizer(str(folder))))
    made.chat.stop_ids = frozenset({10**6})
    return made


@torch.inference_mode()
def bare_loop(model, prompts, temperature: float) -> None:
    """Left-padded batch, KV cache, softmax sampling; ids and log-probs kept. Nothing else."""
    width = max(map(len, prompts))
    ids = torch.zeros((len(prompts), width), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    position, cache, kept = (mask.cumsum(1) - 1).clamp(min=0), None, []
    for _ in range(NEW):
        out = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        cache = out.past_key_values
        logp = torch.log_softmax(out.logits[:, -1] / temperature, -1)
        ids = torch.multinomial(logp.exp(), 1)
        kept.append((ids, logp.gather(1, ids)))
        mask = torch.cat([mask, torch.ones_like(ids)], 1)
        position = position[:, -1:] + 1


@pytest.mark.parametrize("group", [1, GROUP])
def test_decoding_against_a_bare_loop(benchmark, engine, group):
    """Tokens per second, ours over a bare loop that reads every row's prompt: all prompts distinct, and groups of 8."""
    problems = make_task("arithmetic").problems("train")[: 256 // group]
    chats = [({"role": "user", "content": f"{p.question.text}\n{p.question.answer_format}"},) for p in problems]
    grouped = enumerate(chat for chat in chats for _ in range(group))
    requests = [
        Request("shared", chat, seed, Ask("solver_0", ""), sampling=Sampling(0.7, NEW)) for seed, chat in grouped
    ]
    prompts = [engine.chat.open(r.messages) for r in requests]
    model = engine.policies.model("shared")

    def ours() -> float:
        began = time.perf_counter()
        done = engine.generate(requests)
        seconds = time.perf_counter() - began
        assert sum(len(c.token_ids) for c in done) == NEW * len(requests)
        return NEW * len(requests) / seconds

    def bare() -> float:
        began = time.perf_counter()
        bare_loop(model, prompts, 0.7)
        return NEW * len(requests) / (time.perf_counter() - began)

    ratio = compare(benchmark, ours, bare, f"tokens/s, ours / bare loop, groups of {group}")
    assert ratio >= 0.95


def test_a_batch_of_sessions_whose_partner_is_a_model_against_a_loop(benchmark, engine):
    """`make_vec` asks a partner that is a model for all sessions at once, a loop over environments one by one."""
    sessions, knobs = 128, {"train_size": 2000, "rounds": 2}
    partner = EnginePartner(engine, lambda agent: "shared", Sampling(0.0, NEW))
    batch = make_vec("arithmetic/eval_opt-v1", sessions, "generator", {"evaluator": partner}, **knobs)
    loop = [make("arithmetic/eval_opt-v1", **knobs) for _ in range(sessions)]

    def together() -> float:
        began = time.perf_counter()
        batch.reset(seed=0)
        while not batch.step(["\\boxed{1}"] * sessions)[2].all():
            pass
        return time.perf_counter() - began

    def in_turn() -> float:
        began = time.perf_counter()
        for seed, env in enumerate(loop):
            env.reset(seed=seed)
            while env.agents:
                seen, _, over, cut, info = env.last()
                agent = env.agent_selection
                if over or cut:
                    env.step(None)
                else:
                    env.step("\\boxed{1}" if agent == "generator_0" else partner(agent, seen["messages"], info))
        return time.perf_counter() - began

    label = f"a model as a partner: a loop over {sessions} against a batch"
    assert compare(benchmark, in_turn, together, label) > 1
