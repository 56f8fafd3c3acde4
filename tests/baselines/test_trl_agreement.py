"""Our losses against TRL's own `GRPOTrainer._compute_loss`, on the same model and batch, with ratios far enough from 1 to clip."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
trl = pytest.importorskip("trl", reason="TRL is a test-only dependency (the dev extra)")

from lone import lone  # noqa: E402

from baselines.credit.group import group_relative  # noqa: E402
from baselines.learner import Learner, Settings  # noqa: E402
from baselines.losses import grpo, gspo  # noqa: E402
from baselines.settings import Terms  # noqa: E402
from baselines.tiny.tokenizer import train_tokenizer  # noqa: E402
from baselines.tiny.warm_start import Recipe, build_model  # noqa: E402
from baselines.types import Completion, Episode, Sample, Sampling, Span, Turn  # noqa: E402

TEMPERATURE = 0.7
CLIPS = {"token": (0.2, 0.28), "sequence": (0.02, 0.03)}  # a reply's mean ratio strays less than a token's
PROMPTS = [5, 3, 4, 6]
REPLIES = [5, 3, 4, 6]


@pytest.fixture(scope="module")
def model():
    tokenizer = train_tokenizer([("What is 1 + 2?", "\\boxed{3}")] * 4, 300)
    torch.manual_seed(0)
    made = build_model(Recipe(hidden=32, layers=2, heads=2, kv_heads=1, mlp=64), len(tokenizer), 0, 2)
    made.processing_class = tokenizer
    return made.eval()


@pytest.fixture(scope="module")
def batch(model):
    """Samples of ours, and the same padded as TRL wants them: prompts on the left, replies on the right."""
    generator = torch.Generator().manual_seed(1)
    advantages = [1.0, -0.5, 0.3, -1.5]
    samples, rows = [], []
    for prompt_length, length, advantage in zip(PROMPTS, REPLIES, advantages, strict=True):
        ids = torch.randint(5, 200, (prompt_length + length,), generator=generator)
        with torch.no_grad():
            logits = model(input_ids=ids[None, :-1]).logits[0, prompt_length - 1 :] / TEMPERATURE
        new = torch.log_softmax(logits, -1).gather(-1, ids[prompt_length:, None]).squeeze(-1)
        old = new + 0.4 * torch.randn(length, generator=generator)  # ratios of 0.4 to 2.5: many clip
        samples.append(
            Sample(
                "p",
                "r",
                tuple(ids.tolist()),
                (
                    Span(
                        prompt_length, len(ids), advantage, (), old=tuple(old.tolist()), sampling=Sampling(TEMPERATURE)
                    ),
                ),
            )
        )
        rows.append((ids, prompt_length, old))
    prompts, replies = max(PROMPTS), max(REPLIES)
    inputs = {
        "prompt_ids": torch.zeros(4, prompts, dtype=torch.long),
        "prompt_mask": torch.zeros(4, prompts, dtype=torch.long),
        "completion_ids": torch.zeros(4, replies, dtype=torch.long),
        "completion_mask": torch.zeros(4, replies, dtype=torch.long),
        "old_per_token_logps": torch.zeros(4, replies),
        "advantages": torch.tensor(advantages),
        "num_items_in_batch": torch.tensor(sum(REPLIES)),
    }
    for i, (ids, start, old) in enumerate(rows):
        inputs["prompt_ids"][i, prompts - start :] = ids[:start]
        inputs["prompt_mask"][i, prompts - start :] = 1
        inputs["completion_ids"][i, : len(ids) - start] = ids[start:]
        inputs["completion_mask"][i, : len(ids) - start] = 1
        inputs["old_per_token_logps"][i, : len(old)] = old
    return samples, inputs


def trl_loss(model, inputs, tmp_path, loss_type: str, level: str, beta: float = 0.0):
    """The loss and gradient of TRL's trainer."""
    from datasets import Dataset

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TRL's and transformers' own deprecations
        config = trl.GRPOConfig(
            output_dir=str(tmp_path), use_cpu=True, report_to=[], bf16=False, beta=0.0, epsilon=CLIPS[level][0], epsilon_high=CLIPS[level][1],
            loss_type=loss_type, importance_sampling_level=level, temperature=TEMPERATURE, num_generations=2,
            per_device_train_batch_size=2, gradient_checkpointing=False,
        )  # fmt: skip
        trainer = trl.GRPOTrainer(
            model=model,
            reward_funcs=lambda completions, **_: [0.0] * len(completions),
            args=config,
            train_dataset=Dataset.from_dict({"prompt": ["a", "b"]}),
            processing_class=model.processing_class,
        )
        trainer.beta = beta  # given to the configuration, it would load a reference by the model's name
        trainer.current_gradient_accumulation_steps = 1
        model.train()  # there is no dropout; TRL divides by the accumulation steps in this mode only
        model.zero_grad()
        loss = trainer._compute_loss(model, inputs)
        loss.backward()
    gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
    model.eval()
    return float(loss.detach()), gradient


def our_loss(model, samples, loss, normaliser, terms=None, **policies):
    made = lone(model, **policies)
    learner = Learner(made, Settings(1e-3, 1, normaliser=normaliser), lambda name: loss, 0, terms or {})
    model.zero_grad()
    stats = learner.gradients("p", samples)
    assert stats["clipped"] > 0, "the batch does not exercise the clip"
    return stats["loss"], torch.cat([p.grad.flatten() for p in model.parameters()])


@pytest.mark.parametrize(
    ("loss_type", "level", "surrogate", "normaliser"),
    [
        ("bnpo", "token", grpo, "tokens"),
        ("dapo", "token", grpo, "tokens"),
        ("grpo", "token", grpo, "sequences"),
        ("grpo", "sequence", gspo, "sequences"),
        ("dapo", "sequence", gspo, "tokens"),
    ],
)
def test_loss_and_gradient_equal_trl(model, batch, tmp_path, loss_type, level, surrogate, normaliser):
    samples, inputs = batch
    theirs, their_gradient = trl_loss(model, inputs, tmp_path, loss_type, level)
    ours, our_gradient = our_loss(model, samples, surrogate(*CLIPS[level]), normaliser)
    assert ours == pytest.approx(theirs, abs=1e-5)
    assert torch.allclose(our_gradient, their_gradient, atol=1e-5)


def test_kl_to_a_reference_equals_trl(model, batch, tmp_path):
    """The reference's log-probs are given to TRL, and come from a second model here."""
    samples, inputs = batch
    # only sampled replies are held near the reference: these have an engine's log-probs
    sampled = [s._replace(spans=tuple(x._replace(logprobs=x.old) for x in s.spans)) for s in samples]
    reference = type(model)(model.config).eval()  # a copy would call the original: TRL has wrapped its forward
    reference.load_state_dict(model.state_dict())
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter += 0.03 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2))
    given = inputs | {"ref_per_token_logps": torch.zeros_like(inputs["old_per_token_logps"])}
    for i, (sample, start) in enumerate(zip(samples, PROMPTS, strict=True)):
        ids = torch.tensor([sample.ids])
        with torch.no_grad():
            logp = torch.log_softmax(reference(input_ids=ids[:, :-1]).logits[0, start - 1 :] / TEMPERATURE, -1)
        given["ref_per_token_logps"][i, : REPLIES[i]] = logp.gather(-1, ids[0, start:, None]).squeeze(-1)
    theirs, their_gradient = trl_loss(model, given, tmp_path, "bnpo", "token", beta=0.2)
    terms = {"r": Terms(kl=0.2)}
    kept = {"reference": lambda name: nullcontext(reference)}
    ours, our_gradient = our_loss(model, sampled, grpo(*CLIPS["token"]), "tokens", terms, **kept)
    assert ours == pytest.approx(theirs, abs=1e-5)
    assert torch.allclose(our_gradient, their_gradient, atol=1e-5)
    assert abs(our_loss(model, sampled, grpo(*CLIPS["token"]), "tokens")[0] - theirs) > 1e-3


def test_a_flipped_sign_or_another_normaliser_does_not_agree(model, batch, tmp_path):
    samples, inputs = batch
    theirs, _ = trl_loss(model, inputs, tmp_path, "bnpo", "token")
    flipped = [s._replace(spans=tuple(x._replace(advantage=-x.advantage) for x in s.spans)) for s in samples]
    assert abs(our_loss(model, flipped, grpo(*CLIPS["token"]), "tokens")[0] - theirs) > 1e-3
    assert abs(our_loss(model, samples, grpo(*CLIPS["token"]), "sequences")[0] - theirs) > 1e-4


@pytest.mark.parametrize("std", [False, True])
def test_advantages_equal_trl(std):
    """TRL's formula for scale_rewards 'group' and 'none': (r - mean) / (std + 1e-4), with torch's unbiased std."""
    rewards = torch.tensor([[1.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0], [0.0, 0.25, 0.5, 1.0]])
    expected = rewards - rewards.mean(1, keepdim=True)
    if std:
        expected = expected / (rewards.std(1, keepdim=True) + 1e-4)
    roster = SimpleNamespace(role=lambda agent: "solver")
    session = SimpleNamespace(play=SimpleNamespace(workflow=SimpleNamespace(roster=roster)))
    turns = (Turn(0, "solver_0", "solver", "p", Completion("")),)
    episodes = [
        Episode(session, None, g, 0, turns, None, {"solver_0": float(reward)})  # type: ignore[arg-type]
        for g, row in enumerate(rewards)
        for reward in row
    ]
    credit = group_relative(episodes, std=std)
    assert [credit[i, 0] for i in range(12)] == pytest.approx(expected.flatten().tolist(), abs=1e-5)
