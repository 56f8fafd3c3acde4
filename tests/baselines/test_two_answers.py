"""Every method must raise the probability of the reply that is rewarded, and a copy with its sign flipped must not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from two_answers import PROMPTS, Pair, TwoAnswers, make_model  # noqa: E402

from baselines.batch import to_samples  # noqa: E402
from baselines.chat import Chat  # noqa: E402
from baselines.engines.transformers import TransformersEngine  # noqa: E402
from baselines.learner import Learner, Settings  # noqa: E402
from baselines.methods import make_method  # noqa: E402
from baselines.methods.shared import Shared  # noqa: E402
from baselines.policies import Policies, load_tokenizer  # noqa: E402
from baselines.rollout import groups, rollout  # noqa: E402
from baselines.types import Sampling  # noqa: E402

METHODS = {
    "shared": {},
    "shared, std": {"std": True},
    "shared, agent baseline": {"baseline": "agent", "std": True},
    "shared, gspo": {"surrogate": "gspo", "normalise": "sequences", "std": True},
    "isolated": {},
    "isolated, gspo": {"surrogate": "gspo", "normalise": "sequences"},
}


class Flipped(Shared):
    """The method with the sign of its advantages wrong."""

    def credit(self, episodes, values, seed):
        return {key: -value for key, value in super().credit(episodes, values, seed).items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    torch.set_num_threads(1)
    return make_model(tmp_path_factory.mktemp("two") / "model")


def odds(policies: Policies, chat: Chat, route) -> dict[str, float]:
    """P(A) of each role."""
    found = {}
    answer = chat.tokenizer("A")["input_ids"][0]
    for agent, prompt in PROMPTS.items():
        role = agent.removesuffix("_0")
        ids = torch.tensor([chat.open(({"role": "user", "content": prompt},))])
        with torch.no_grad():
            logits = policies.model(route(role))(input_ids=ids).logits[0, -1]
        found[role] = float(torch.softmax(logits, -1)[answer])
    return found


def train(folder: Path, method, lora_rank: int = 0, steps: int = 12) -> tuple[dict[str, float], dict[str, float]]:
    """P(A) per role before and after a few steps."""
    task, workflow = TwoAnswers(), Pair()
    route = method.route(workflow.roster)
    torch.manual_seed(0)
    policies = Policies(str(folder), route.policies, lora_rank=lora_rank)
    chat = Chat(load_tokenizer(str(folder)))
    engine = TransformersEngine(policies, chat)
    settings = Settings(5e-3 if lora_rank else 2e-3, steps, schedule="constant", normaliser=method.normaliser)
    learner = Learner(policies, settings, method.loss, chat.pad_id)
    before = odds(policies, chat, route)
    for step in range(steps):
        starts = groups(workflow, task.problems("train"), 8, seed=step)
        episodes = rollout(starts, route, engine, task, sampling=Sampling(1.0, 3))
        learner.update(to_samples(episodes, method.credit(episodes, {}, step)), step)
    return before, odds(policies, chat, route)


def learns(before: dict[str, float], after: dict[str, float]) -> bool:
    return all(after[role] > 0.8 and after[role] > before[role] + 0.2 for role in before)


@pytest.mark.parametrize("name", METHODS)
def test_the_paid_reply_becomes_likelier(folder, name):
    before, after = train(folder, make_method(name.partition(",")[0], **METHODS[name]))
    assert all(0.3 < p < 0.7 for p in before.values()), "the toy must begin near even odds"
    assert learns(before, after), (before, after)


@pytest.mark.parametrize("name", METHODS)
def test_a_flipped_sign_fails_the_same_test(folder, name):
    method = make_method(name.partition(",")[0], **METHODS[name])
    flipped = type("Flipped", (Flipped, type(method)), {})(**METHODS[name])
    before, after = train(folder, flipped)
    assert not learns(before, after)
    assert sum(after.values()) < sum(before.values())


@pytest.mark.parametrize("name", ["shared", "isolated"])
def test_lora_adapters_learn_too(folder, name):
    """With embeddings frozen, adapters of this size can move the odds by about a tenth: the direction is what counts."""
    method = make_method(name)
    before, after = train(folder, method, lora_rank=4, steps=30)
    assert all(after[role] > before[role] + 0.08 for role in before), (before, after)
    if name == "shared":
        before, after = train(folder, type("Flipped", (Flipped, type(method)), {})(), lora_rank=4, steps=30)
        assert all(after[role] < before[role] - 0.08 for role in before), (before, after)


def test_prompted_does_not_learn():
    assert not make_method("prompted").learns
    assert replace(make_method("shared"), std=True).learns
