"""The device computes the same log-probs as the CPU does in float64, through the engine and through a padded batch.

Tolerances, of log-probs in nats. A float32 pass rounds with 2^-24 per operation; a CPU's differs from float64 by 2.4e-6 at most at the
full shape (28 layers, 151,936 tokens), and FLOAT32 allows twenty times that: kernels sum in other orders, but TF32, which rounds with
2^-11, should not pass. A bfloat16 product rounds its operands and its result with 2^-9, and so does the residual stream; the
log-softmax is float32, and the errors of layers are independent. With a float32 residual stream that gave, on a CPU, a mean of
0.0036 and at most 0.011 at the full shape (0.0042 and 0.012 for the tiny model). The bounds are three times that for the mean and
five times for the largest of some hundred tokens, both times the standard deviation of the logits where that is above 1, since
their rounding is relative.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from baselines.chat import Chat
from baselines.engines.transformers import TransformersEngine
from baselines.policies import Policies, load_model, load_tokenizer
from baselines.types import Completion, Request, Sampling
from llm_marl_envs import Ask, make_task, make_workflow
from llm_marl_envs.session import Play, Session

FLOAT32 = 5e-5
BFLOAT16_MEAN, BFLOAT16_MOST = 0.012, 0.06


@dataclass(frozen=True)
class Reference:
    """What the CPU finds in float64 for some replies: log-probs of their tokens, and how far logits spread."""

    completions: list[Completion]
    logprobs: list[Tensor]  # of each reply, (tokens,)
    spread: float

    def errors(self, found: list[Tensor]) -> Tensor:
        return torch.cat([(f.double() - r).abs() for f, r in zip(found, self.logprobs, strict=True)])


@pytest.fixture(scope="module", params=["tiny", "0.6B"])
def checked(request: pytest.FixtureRequest, device: str) -> tuple[str, Policies, Chat, Reference]:
    """A model's name, the model on the device with float32 weights, and replies that its engine sampled in bfloat16."""
    path = request.getfixturevalue({"tiny": "tiny", "0.6B": "qwen3"}[request.param])
    policies = Policies(path, ("shared",), device=device, dtype=torch.bfloat16)  # on the CPU too
    chat = Chat(load_tokenizer(path))
    task, workflow = make_task("arithmetic"), make_workflow("eval_opt")
    sessions = [Session(Play(workflow, p.question, 0)) for p in task.problems("test")[:8]]
    asks = [session.messages(session.waiting[0]) for session in sessions]
    asks += [({"role": "user", "content": ask[0]["content"] * 3},) for ask in asks[:2]]  # longer: the others are padded
    how = Sampling(1.0, 16)
    requests = [Request("shared", ask, seed, Ask("generator_0", ""), sampling=how) for seed, ask in enumerate(asks)]
    done = TransformersEngine(policies, chat).generate(requests)
    return request.param, policies, chat, reference(path, done)


@torch.inference_mode()
def reference(path: str, completions: list[Completion]) -> Reference:
    model = load_model(path, torch.float64).eval()
    logprobs, spreads = [], []
    for done in completions:
        logits = model(input_ids=torch.tensor([done.prompt_ids + done.token_ids]), use_cache=False).logits
        here = logits[0, len(done.prompt_ids) - 1 : -1]
        spreads.append(float(here.std(-1).mean()))
        logprobs.append(torch.log_softmax(here, -1).gather(-1, torch.tensor(done.token_ids)[:, None]).squeeze(-1))
    assert here.dtype == torch.float64
    return Reference(completions, logprobs, max(1.0, sum(spreads) / len(spreads)))


@torch.inference_mode()
def padded(policies: Policies, chat: Chat, completions: list[Completion], *, see_padding: bool = False) -> list[Tensor]:
    """Log-probs of the replies in one left-padded forward pass. `see_padding` is a planted fault: no mask."""
    rows = [done.prompt_ids + done.token_ids for done in completions]
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), chat.pad_id)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, width - len(row) :] = torch.tensor(row)
        mask[i, width - len(row) :] = 1
    places = (mask.cumsum(1) - 1).clamp(min=0)
    if see_padding:
        mask = torch.ones_like(mask)
    ids, mask, places = (x.to(policies.device) for x in (ids, mask, places))
    logits = policies.model("shared")(input_ids=ids, attention_mask=mask, position_ids=places, use_cache=False).logits
    assert logits.dtype == policies.dtype
    logp = torch.log_softmax(logits[:, :-1].float(), -1).gather(-1, ids[:, 1:, None]).squeeze(-1).cpu()
    return [logp[i, width - 1 - len(done.token_ids) :] for i, done in enumerate(completions)]


def in_float32(policies: Policies) -> Policies:
    return Policies(policies.path, ("shared",), device=policies.device)


def within(errors: Tensor, spread: float) -> bool:
    return float(errors.mean()) <= BFLOAT16_MEAN * spread and float(errors.max()) <= BFLOAT16_MOST * spread


def test_the_engines_log_probs_in_bfloat16(checked, report):
    """Left padding, the cache and its copies, rows that leave the batch."""
    name, _, _, ref = checked
    errors = ref.errors([torch.tensor(done.logprobs) for done in ref.completions])
    where = f"log-probs, {name}"
    report.add(where, "engine in bfloat16 against CPU in float64, mean difference", errors.mean(), "nats")
    report.add(where, "engine in bfloat16 against CPU in float64, largest difference", errors.max(), "nats")
    report.add(where, "bound of the mean difference", BFLOAT16_MEAN * ref.spread, "nats")
    report.add(where, "bound of the largest difference", BFLOAT16_MOST * ref.spread, "nats")
    report.add(where, "tokens compared", len(errors), "tokens")
    assert len(errors) >= 50
    assert within(errors, ref.spread)


def test_a_padded_batch_in_bfloat16(checked):
    _, policies, chat, ref = checked
    assert within(ref.errors(padded(policies, chat, ref.completions)), ref.spread)


def test_a_padded_batch_in_float32(checked, report):
    name, policies, chat, ref = checked
    errors = ref.errors(padded(in_float32(policies), chat, ref.completions))
    report.add(f"log-probs, {name}", "float32 against CPU in float64, largest difference", errors.max(), "nats")
    assert float(errors.max()) <= FLOAT32


def test_padding_that_is_seen_is_noticed(checked):
    """A planted fault."""
    _, policies, chat, ref = checked
    assert not within(ref.errors(padded(policies, chat, ref.completions, see_padding=True)), ref.spread)


def test_one_layer_that_is_off_by_a_tenth_is_noticed(checked):
    """A planted fault: the last layer's MLP output times 1.1 on the device alone."""
    _, policies, chat, ref = checked
    wide = in_float32(policies)
    with torch.no_grad():
        wide.model("shared").model.layers[-1].mlp.down_proj.weight.mul_(1.1)
    off = ref.errors(padded(wide, chat, ref.completions))
    assert float(off.max()) > FLOAT32
