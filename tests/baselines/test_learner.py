"""The learner against gradients taken by hand: micro-batches, masks, conversations, roles, schedule."""

from __future__ import annotations

import dataclasses
import math

import pytest

torch = pytest.importorskip("torch")

from lone import lone  # noqa: E402

from baselines.batch import collate, packed, shared_tokens, to_samples  # noqa: E402
from baselines.chat import Chat  # noqa: E402
from baselines.engines.scripted import Scripted  # noqa: E402
from baselines.engines.transformers import TransformersEngine  # noqa: E402
from baselines.learner import Learner, Settings  # noqa: E402
from baselines.losses import grpo, gspo  # noqa: E402
from baselines.methods import make_method  # noqa: E402
from baselines.output import picked  # noqa: E402
from baselines.policies import PolicyRouter  # noqa: E402
from baselines.rollout import groups, rollout  # noqa: E402
from baselines.types import Sample, Sampling, Span  # noqa: E402
from llm_marl_envs import make_task, make_workflow  # noqa: E402
from llm_marl_envs.errors import ConfigError  # noqa: E402


@pytest.fixture
def model(micro_model):
    return micro_model


@pytest.fixture
def policies(model):
    return lone(model)


@pytest.fixture
def samples():
    """Seven sequences of two roles: several replies in some, prompts and other text between them, one without advantage."""
    generator = torch.Generator().manual_seed(3)
    made = []
    for i in range(7):
        length = 12 + 3 * i
        ids = torch.randint(5, 300, (length,), generator=generator).tolist()
        spans = [(4, 8), (10, 12)] if i % 2 else [(5, length)]
        made.append(
            Sample(
                "p",
                "solver" if i < 4 else "critic",
                tuple(ids),
                tuple(
                    Span(
                        a,
                        b,
                        0.0 if i == 2 else (-1.0) ** i * (i + 1 + k),
                        tuple([-8.0] * (b - a)),
                        old=(-8.0,) * (b - a),
                    )
                    for k, (a, b) in enumerate(spans)
                ),
            )
        )
    return made


def gradient(model):
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def settle(policies, samples, loss, **settings):
    learner = Learner(policies, Settings(1e-3, 10, **settings), lambda name: loss, pad_id=0)
    for p in policies.parameters("p"):
        p.grad = None
    return learner.gradients("p", samples)


@pytest.mark.parametrize("normaliser", ["tokens", "sequences"])
@pytest.mark.parametrize("loss", [grpo, gspo])
def test_micro_batches_change_neither_loss_nor_gradient(policies, model, samples, loss, normaliser):
    whole = settle(policies, samples, loss(), normaliser=normaliser, micro_tokens=10_000)
    expected = gradient(model)
    assert expected.abs().max() > 0
    for size in (1, 60):
        stats = settle(policies, samples, loss(), normaliser=normaliser, micro_tokens=size)
        assert stats["loss"] == pytest.approx(whole["loss"], rel=1e-5)
        assert torch.allclose(gradient(model), expected, rtol=1e-4, atol=1e-7)
        for key in ("grad_square/solver", "grad_square/critic"):
            assert stats[key] == pytest.approx(whole[key], rel=1e-3)


def test_micro_batches_by_hand():
    def cut(lengths, tokens, prompts=(0, 100, 200, 300)):
        """Samples of these lengths whose replies begin after one token."""
        made = [
            Sample("p", "r", (p, *range(n - 1)), (Span(1, n, 1.0, ()),)) for p, n in zip(prompts, lengths, strict=False)
        ]
        return list(packed(made, tokens))

    assert cut([5, 2, 3, 9], 6) == [[1, 2], [0], [3]]
    assert cut([4, 4, 4], 8) == [[0, 1], [2]]
    assert cut([4, 4, 4], 1) == [[0], [1], [2]], "one sequence goes in in any case"
    assert cut([], 8) == []


def test_a_prompt_in_common_counts_once():
    """Four replies of 2 tokens to a prompt of 6: 6 + 4 x 1 = 10 tokens instead of 4 x 8; the last token of each is not read."""
    made = [Sample("p", "r", (*range(6), 50 + i, 60), (Span(6, 8, 1.0, ()),)) for i in range(4)]
    assert list(packed(made, 10)) == [[0, 1, 2, 3]]
    assert list(packed(made, 9)) == [[0, 1, 2], [3]]
    assert shared_tokens([tuple(range(6))] * 4, [8] * 4) == 10


def test_loss_is_the_sum_over_tokens_taken_by_hand(policies, model, samples):
    """With old log-probs far below the new ones every ratio is > 1.28: positive advantages are clipped, negative ones not."""
    stats = settle(policies, samples, grpo(0.2, 0.28))
    total = sum(s.end - s.start for sample in samples for s in sample.spans)
    by_hand = 0.0
    with torch.no_grad():
        for sample in samples:
            ids = torch.tensor([sample.ids])
            logp = torch.log_softmax(model(input_ids=ids).logits[0], -1)
            for span in sample.spans:
                for t in range(span.start, span.end):
                    ratio = math.exp(float(logp[t - 1, ids[0, t]]) + 8.0)
                    bounded = min(max(ratio, 0.8), 1.28)
                    by_hand -= min(ratio * span.advantage, bounded * span.advantage) / total
    assert stats["loss"] == pytest.approx(by_hand, rel=1e-4)


def test_only_sampled_tokens_get_a_gradient(model, samples):
    """d loss / d logits is zero wherever the next token was not sampled: prompts, tool output, padding."""
    batch = collate(samples, "tokens", 10.0, 0, "cpu")
    logits = model(input_ids=batch.ids[:, :-1], attention_mask=batch.mask[:, :-1]).logits.detach().requires_grad_()
    per_token, _ = grpo(1e9, 1e9)(picked(logits, batch.ids[:, 1:], 1.0), None, batch)
    (per_token * batch.weight).sum().backward()
    touched = logits.grad.abs().sum(-1) > 0  # (B, T)
    expected = torch.zeros_like(touched)
    for row, sample in enumerate(samples):
        for span in sample.spans:
            expected[row, span.start - 1 : span.end - 1] = span.advantage != 0
    assert not (touched & ~expected).any()
    assert touched.any(1).tolist() == [i != 2 for i in range(7)]


def test_a_planted_echo_of_a_tool_is_not_trained_on(policies, model):
    """Two samples that differ only in the origin of the middle: sampled by the agent, or returned by a tool."""
    ids = tuple(range(20, 40))
    old = (-5.0,) * 10
    said = Sample("p", "r", ids, (Span(5, 15, 1.0, (), old=old), Span(15, 20, 1.0, (), old=old[:5])))
    tool = Sample("p", "r", ids, (Span(15, 20, 1.0, (), old=old[:5]),))
    assert settle(policies, [said], grpo())["loss"] != settle(policies, [tool], grpo())["loss"]
    batch = collate([tool], "tokens", 5.0, 0, "cpu")
    assert batch.weight[0].nonzero().flatten().tolist() == [14, 15, 16, 17, 18]


def test_a_conversation_is_one_sequence_of_exactly_the_sampled_tokens(micro_tokenizer, model):
    """eval_opt with memory: the generator's drafts are one growing sequence; nothing sampled is tokenised again."""
    task, workflow = make_task("arithmetic"), make_workflow("eval_opt", memory=True)
    made = lone(model)
    route = PolicyRouter.shared(workflow.roster)
    starts = groups(workflow, task.problems("train")[:4], 2, seed=0)
    engine = TransformersEngine(made, Chat(micro_tokenizer))
    episodes = rollout(starts, route, engine, task, sampling=Sampling(1.0, 6))
    samples = to_samples(episodes, {(i, t.index): 1.0 for i, e in enumerate(episodes) for t in e.turns})
    drafts = [s for s in samples if s.role == "generator"]
    assert len(drafts) == len(episodes)
    for sample, episode in zip(drafts, episodes, strict=True):
        turns = [t for t in episode.turns if t.role == "generator"]
        assert len(sample.spans) == len(turns) == 3
        for span, turn in zip(sample.spans, turns, strict=True):
            assert sample.ids[span.start : span.end] == turn.completion.token_ids
            assert sample.ids[: span.start] == turn.completion.prompt_ids
            assert span.logprobs == turn.completion.logprobs


def test_shares_per_role_equal_separate_backward_passes(policies, model, samples):
    squares = {}
    for role in ("solver", "critic"):
        only = [s if s.role == role else _mute(s) for s in samples]  # muted samples still count in the normaliser
        settle(policies, only, grpo())
        squares[role] = float(gradient(model).pow(2).sum())
    learner = Learner(policies, Settings(1e-3, 10), lambda name: grpo(), pad_id=0)
    stats = learner.update(samples, 0)
    assert stats["grad_share/solver"] == pytest.approx(squares["solver"] / sum(squares.values()), rel=1e-3)
    assert stats["grad_share/solver"] + stats["grad_share/critic"] == pytest.approx(1.0)


def _mute(sample):
    return sample._replace(spans=tuple(s._replace(advantage=0.0) for s in sample.spans))


def test_no_gradient_no_step_and_large_gradients_are_clipped(policies, model, samples):
    learner = Learner(policies, Settings(1e-2, 10, clip=1e-3, weight_decay=0.1), lambda name: grpo(), pad_id=0)
    before = [p.clone() for p in model.parameters()]
    learner.update([_mute(s) for s in samples], 0)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    stats = learner.update(samples, 0)
    assert stats["grad_norm/p"] > 1e-3  # as it was before clipping
    assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_schedules_by_hand():
    """The last step of a run of n is n - 1: there the rate is at the floor, as it says."""
    linear = Settings(1.0, 11, schedule="linear", floor=0.1)
    assert [round(linear.rate(s), 4) for s in (0, 5, 10)] == [1.0, 0.55, 0.1]
    cosine = Settings(1.0, 13, schedule="cosine", warmup=2, floor=0.0)
    assert [round(cosine.rate(s), 4) for s in (0, 1, 2, 7, 12)] == [0.5, 1.0, 1.0, 0.5, 0.0]
    assert Settings(1.0, 20).rate(19) == 0.05
    assert Settings(1.0, 1).rate(0) == 1.0
    for steps in (2, 3, 10):
        for warmup in range(steps):
            for schedule in ("linear", "cosine", "constant"):
                rates = [Settings(1.0, steps, schedule, warmup).rate(step) for step in range(steps)]
                assert max(rates) == 1.0, "it reaches its peak"
                assert rates[-1] == pytest.approx(1.0 if schedule == "constant" or warmup == steps - 1 else 0.05)
    with pytest.raises(ConfigError, match=r"warm-up of 10 steps.*a run of 10.*--warmup"):
        Settings(1.0, 10, warmup=10)
    assert Settings(2.0, 10, schedule="constant").rate(9) == 2.0
    assert dataclasses.replace(linear, warmup=4).rate(1) == 0.5


def test_the_clipped_share_is_of_the_tokens_that_were_computed(policies, samples):
    """Old log-probs of -8 make all ratios large: what has a positive advantage is clipped. Sample 2 teaches nothing."""
    stats = settle(policies, samples, grpo(0.2, 0.28))
    lengths = [(s.end - s.start, s.advantage) for i, sample in enumerate(samples) if i != 2 for s in sample.spans]
    assert stats["clipped"] == pytest.approx(sum(n for n, a in lengths if a > 0) / sum(n for n, _ in lengths))


def test_weight_decay_spares_norms_biases_and_embeddings(policies, model, samples):
    learner = Learner(policies, Settings(1e-2, 10, weight_decay=0.5), lambda name: grpo(), pad_id=0)
    names = {id(p): name for name, p in model.named_parameters()}
    groups = {g["weight_decay"]: {names[id(p)] for p in g["params"]} for g in learner.optimizers["p"].param_groups}
    assert groups[0.5] | groups[0.0] == set(names.values())
    assert all(name.endswith("proj.weight") for name in groups[0.5])
    assert all("norm" in name or "embed" in name for name in groups[0.0])
    assert len(groups[0.5]) == 14 and len(groups[0.0]) == 10  # noqa: PT018


def test_scripted_episodes_have_nothing_to_train_on():
    task, workflow = make_task("arithmetic"), make_workflow("eval_opt")
    route = make_method("shared").route(workflow.roster)
    starts = groups(workflow, task.problems("train")[:1], 1, seed=0)
    episodes = rollout(starts, route, Scripted(lambda request: "\\boxed{Correct}"), task)
    samples = to_samples(episodes, {(0, t.index): 1.0 for t in episodes[0].turns})
    assert all(span.start == span.end for s in samples for span in s.spans)


def _spoiled(gradient, value: float):
    spoiled = gradient.clone()
    spoiled.view(-1)[0] = value
    return spoiled


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_gradient_that_is_not_finite_is_no_step_and_is_said(policies, model, samples, value):
    """One infinite entry would make all weights NaN: the norm is inf, and clipping by it is 0 x inf."""
    before = [p.clone() for p in model.parameters()]
    learner = Learner(policies, Settings(1e-2, 10), lambda name: grpo(), pad_id=0)
    hook = next(model.parameters()).register_hook(lambda gradient: _spoiled(gradient, value))
    stats = learner.update(samples, 0)
    hook.remove()
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert stats["skipped_updates/p"] == 1
    assert not learner.optimizers["p"].state, "neither do its moments see it"
    stats = learner.update(samples, 1)
    assert stats["skipped_updates/p"] == 0
    assert all(torch.isfinite(p).all() for p in model.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_each_skipped_update_of_several_counts(policies, model, samples):
    learner = Learner(policies, Settings(1e-2, 10, updates=3), lambda name: grpo(), pad_id=0)
    parameter = next(model.parameters())
    spoiled = iter((math.nan, math.inf, None))
    original = learner._update_policy

    def update(*rest):
        value = next(spoiled)
        handle = parameter.register_hook(lambda gradient: gradient if value is None else _spoiled(gradient, value))
        try:
            return original(*rest)
        finally:
            handle.remove()

    learner._update_policy = update
    stats = learner.update(samples, 0)
    assert stats["skipped_updates/p"] == 2
    assert math.isfinite(stats["grad_norm/p"])
