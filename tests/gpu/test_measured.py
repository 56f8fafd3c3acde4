"""What the record of a run would notice: planted faults in the weights and in the log-probs."""

from __future__ import annotations

import pytest
import torch
from measured import fingerprints, log_probs
from test_training import LARGEST_GAP

from baselines.chat import Chat
from baselines.engines.transformers import TransformersEngine
from baselines.policies import Policies, load_tokenizer
from baselines.types import Request, Sampling
from llm_marl_envs import Ask


@pytest.fixture(scope="module")
def adapters(tiny, device) -> Policies:
    return Policies(tiny, ("generator", "evaluator"), lora_rank=4, device=device)


def test_one_bit_of_one_weight_changes_one_fingerprint(adapters):
    before = fingerprints(adapters)
    assert set(before) == {"generator", "evaluator", ""}
    assert all(before.values())
    key = next(iter(before[""]))
    weight = dict(adapters.model("generator").named_parameters())[key].detach()
    whole = weight.view(torch.int32 if weight.element_size() == 4 else torch.int16).flatten()
    whole[3] ^= 1
    after = fingerprints(adapters)
    whole[3] ^= 1
    assert [k for k in before[""] if after[""][k] != before[""][k]] == [key]
    assert {name: after[name] for name in adapters.names} == {name: before[name] for name in adapters.names}
    assert fingerprints(adapters) == before


def test_a_stale_adapter_shows_in_the_gap(adapters, tiny):
    """Replies sampled from one adapter, looked at with another: mean difference above what training allows."""
    chat = Chat(load_tokenizer(tiny))
    for parameter in adapters.parameters("evaluator"):  # as after long training
        torch.nn.init.normal_(parameter, std=0.3)
    chats = [({"role": "user", "content": f"What is {i} + 1?"},) for i in range(8)]
    how, ask = Sampling(1.0, 12), Ask("generator_0", "")
    requests = [Request("generator", chat, i, ask, sampling=how) for i, chat in enumerate(chats)]
    done = TransformersEngine(adapters, chat).generate(requests)

    def gap(policy: str) -> float:
        found = [log_probs(adapters, policy, c.prompt_ids + c.token_ids)[len(c.prompt_ids) - 1 :] for c in done]
        return float((torch.cat(found) - torch.tensor([p for c in done for p in c.logprobs])).abs().mean())

    assert gap("generator") < LARGEST_GAP < gap("evaluator")
