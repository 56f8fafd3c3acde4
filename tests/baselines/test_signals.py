"""What a reply is trained with, against sums taken by hand: signals per token, replies without credit, lessons, critics."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from lone import lone  # noqa: E402

from baselines.batch import collate, to_samples  # noqa: E402
from baselines.learner import Learner, Settings  # noqa: E402
from baselines.losses import corrected, grpo, gspo, ppo  # noqa: E402
from baselines.policies import Policies  # noqa: E402
from baselines.types import Completion, Sample, Sampling, Signal, Span, Turn  # noqa: E402


def turn(index: int, prompt: tuple[int, ...], reply: tuple[int, ...], agent: str = "a_0", **more) -> Turn:
    return Turn(index, agent, agent[:-2], "p", Completion("", prompt, reply, (-2.0,) * len(reply)), **more)


def episode(*turns: Turn) -> SimpleNamespace:
    return SimpleNamespace(turns=turns)


FIRST = turn(0, (1, 2), (3, 4))
AGAIN = turn(2, (1, 2, 3, 4, 5), (6, 7, 8))  # the same conversation goes on
LAST = turn(4, (1, 2, 3, 4, 5, 6, 7, 8, 9), (10,))
OTHER = turn(1, (20, 21), (22,), "b_0")
SILENT = turn(3, (30,), ())


def test_a_turn_without_credit_is_context_and_no_more():
    made = episode(FIRST, OTHER, AGAIN, SILENT, LAST)
    (sample,) = to_samples([made], {(0, 2): 1.5})
    assert sample.ids == (1, 2, 3, 4, 5, 6, 7, 8), "it ends with the last reply that is trained on"
    assert [(s.start, s.end, s.advantage) for s in sample.spans] == [(5, 8, 1.5)]
    both = to_samples([made], {(0, 0): 1.0, (0, 4): 2.0, (0, 1): 3.0, (0, 3): 4.0})
    assert [[(s.start, s.end, s.advantage) for s in sample.spans] for sample in both] == [
        [(2, 4, 1.0), (9, 10, 2.0)],
        [(2, 3, 3.0)],
    ]
    assert to_samples([made], {}) == []


def test_signals_that_do_not_fit_are_refused():
    for signal, said in [
        (Signal((1.0,)), "reply 2 has 1 advantage; its reply has 3 tokens"),
        (Signal(1.0, (0.0,) * 2, (0.0,) * 3), "has 2 values"),
        (Signal(1.0, returns=(0.0,) * 3), "values or returns alone"),
    ]:
        with pytest.raises(ValueError, match=said):
            to_samples([episode(AGAIN)], {(0, 2): signal})


def test_an_advantage_for_each_token_by_hand(micro_model):
    """Ratios of 1 (no log-probs of an engine): the loss is minus the mean of the advantages, its gradient their weights'."""
    ids = tuple(range(20, 30))
    one = Sample("p", "r", ids, (Span(4, 7, (1.0, -2.0, 0.5), ()), Span(8, 10, 0.25, ())))
    learner = Learner(lone(micro_model), Settings(1e-3, 1), lambda name: grpo(), pad_id=0)  # type: ignore[arg-type]
    micro_model.zero_grad()
    stats = learner.gradients("p", [one])
    assert stats["loss"] == pytest.approx(-(1.0 - 2.0 + 0.5 + 0.25 + 0.25) / 5, abs=1e-6)
    ours = torch.cat([p.grad.flatten() for p in micro_model.parameters()])
    micro_model.zero_grad()
    logp = torch.log_softmax(micro_model(input_ids=torch.tensor([ids])).logits[0], -1)
    weights = {4: 1.0, 5: -2.0, 6: 0.5, 8: 0.25, 9: 0.25}
    (-sum(w * logp[t - 1, ids[t]] for t, w in weights.items()) / 5).backward()
    theirs = torch.cat([p.grad.flatten() for p in micro_model.parameters()])
    assert torch.allclose(ours, theirs, atol=1e-7)
    assert theirs.abs().max() > 1e-3


def test_log_probs_are_those_of_each_replys_own_sampling(micro_model):
    """One conversation sampled at two temperatures and truncated in one: the learner's log-probs are taken as the engine's."""
    ids = tuple(range(20, 32))
    warm, cut = Sampling(0.5), Sampling(2.0, top_k=3)
    sample = Sample("p", "r", ids, (Span(4, 6, 1.0, (), sampling=warm), Span(9, 11, 1.0, (), sampling=cut)))
    learner = Learner(lone(micro_model), Settings(1e-3, 1), lambda name: grpo(), pad_id=0)  # type: ignore[arg-type]
    with torch.no_grad():
        logp, value = learner._forward("p", collate([sample], "tokens", 4.0, 0, "cpu"))
        logits = micro_model(input_ids=torch.tensor([ids])).logits[0]
    assert value is None
    for t in (4, 5):
        assert float(logp[0, t - 1]) == pytest.approx(
            float(torch.log_softmax(logits[t - 1] / 0.5, -1)[ids[t]]), abs=1e-5
        )
    for t in (9, 10):  # the three likeliest, and the token that was sampled if it is not one of them any more
        kept = sorted({*logits[t - 1].topk(3).indices.tolist(), ids[t]})
        own = torch.log_softmax(logits[t - 1][kept] / 2.0, -1)[kept.index(ids[t])]
        assert float(logp[0, t - 1]) == pytest.approx(float(own), abs=1e-5)


def test_replies_of_no_tokens_count_for_nothing(micro_model):
    """An empty reply, alone and beside another one: neither normaliser divides by its length."""
    ids = tuple(range(20, 30))
    full, empty = Span(4, 8, 1.0, ()), Span(9, 9, 1.0, ())
    for normaliser in ("tokens", "sequences"):
        settings = Settings(1e-3, 1, normaliser=normaliser)
        learner = Learner(lone(micro_model), settings, lambda name: grpo(), pad_id=0)  # type: ignore[arg-type]
        losses = [
            learner.gradients("p", samples)["loss"]
            for samples in (
                [Sample("p", "r", ids, (full,))],
                [Sample("p", "r", ids, (full, empty))],
                [Sample("p", "r", ids, (full,)), Sample("p", "r", ids, (empty,))],
                [Sample("p", "r", ids, (empty,))],
            )
        ]
        assert losses == [pytest.approx(-1.0), pytest.approx(-1.0), pytest.approx(-1.0), 0.0]


def test_the_value_loss_by_hand():
    """V = .5, was .1, should be 1: clipped to .3, so the miss is .7^2 and not .5^2; half of it is added to the surrogate."""
    batch = SimpleNamespace(
        segment=torch.tensor([[0, 1, 1]]), advantage=torch.tensor([[0.0, 2.0, -1.0]]), old=torch.tensor([[0.0, -1.0, -1.0]]),
        values=torch.tensor([[0.0, 0.1, 0.1]]), returns=torch.tensor([[0.0, 1.0, 1.0]]),
    )  # fmt: skip
    logp = torch.tensor([[-9.0, -1.0 + math.log(1.5), -1.0]])
    per_token, clipped = ppo(0.2, 0.2, 0.5)(logp, torch.tensor([[9.0, 0.5, 0.0]]), batch)  # type: ignore[arg-type]
    assert per_token.tolist() == [pytest.approx([0.0, -1.2 * 2.0 + 0.5 * 0.49, 1.0 + 0.5 * 1.0])]
    assert clipped.tolist() == [[0.0, 1.0, 0.0]]


def test_ppo_equals_a_second_implementation():
    """TRL's PPO (which its present release no longer has) on the same tensors: the masked means of
    max(-A rho, -A clip(rho)) and of half the larger square, the latter times its coefficient."""
    generator = torch.Generator().manual_seed(0)
    shape = (4, 9)
    logp, old, advantage, value, was, due = (torch.randn(shape, generator=generator) for _ in range(6))
    segment = (torch.rand(shape, generator=generator) < 0.7).long()
    mask, clip, near, coefficient = segment.bool(), 0.2, 0.3, 0.1
    batch = SimpleNamespace(segment=segment, advantage=advantage, old=old, values=was, returns=due)
    found = []
    for ours in (True, False):
        x, v = logp.clone().requires_grad_(), value.clone().requires_grad_()
        if ours:
            per_token, _ = ppo(clip, near, coefficient / 2)(x, v, batch)  # type: ignore[arg-type]
            loss = per_token[mask].mean()
        else:
            ratio = torch.exp(x - old)
            policy = torch.max(-advantage * ratio, -advantage * torch.clamp(ratio, 1.0 - clip, 1.0 + clip))
            kept = torch.clamp(v, was - near, was + near)
            critic = torch.max(torch.square(v - due), torch.square(kept - due))
            loss = (policy * mask).sum() / mask.sum() + coefficient * 0.5 * (critic * mask).sum() / mask.sum()
        loss.backward()
        found.append(torch.cat([loss.detach().flatten(), x.grad.flatten(), (v.grad * mask).flatten()]))  # type: ignore[union-attr]
    assert torch.allclose(*found, atol=1e-6)
    assert ((v.grad == 0) & mask).any(), "the value clip is exercised"
    assert not v.grad[~mask].any()


def test_a_lesson_teaches_the_critic_nothing():
    """It has no returns: the value on it is neither right nor wrong, whereas a return of 0 is a return."""
    lesson, due = Span(2, 4, 0.5, ()), Span(4, 6, 0.0, (-1.0, -1.0), (0.0, 0.0), (0.0, 0.0))
    batch = collate([Sample("p", "r", tuple(range(6)), (lesson, due))], "tokens", 4.0, 0, "cpu")
    logp, value = torch.zeros(1, 5), torch.ones(1, 5, requires_grad=True)
    batch = replace(batch, old=logp)
    per_token, _ = ppo(value_weight=0.5)(logp, value, batch)
    per_token.sum().backward()
    assert per_token.tolist() == [[0.0, -0.5, -0.5, 0.5, 0.5]]
    assert value.grad.tolist() == [[0.0, 0.0, 0.0, 1.0, 1.0]]


def test_the_engines_log_probs_clip_nothing(micro_model):
    """They are off by half a nat, as no rounding is: on-policy the ratio is 1 all the same, and the gap is what it is."""
    ids = tuple(range(20, 30))
    with torch.no_grad():
        logp = torch.log_softmax(micro_model(input_ids=torch.tensor([ids])).logits[0], -1)
    said = tuple(float(logp[t - 1, ids[t]]) + (0.5 if t < 6 else -0.25) for t in range(4, 8))
    lesson = Sample("p", "r", ids, (Span(8, 10, 0.5, ()),))
    for make, normaliser in [(grpo, "tokens"), (gspo, "sequences")]:
        for updates in (1, 3):
            settings = Settings(1e-3, 9, normaliser=normaliser, updates=updates)
            learner = Learner(lone(micro_model), settings, lambda name, make=make: make(), pad_id=0)  # type: ignore[arg-type]
            one = Sample("p", "r", ids, (Span(4, 8, 1.0, said),))
            first = learner.gradients("p", [one])
            assert first["clipped"] == 0
            assert first["loss"] == pytest.approx(-1.0)
            assert first["logprob_gap"] == pytest.approx((0.5 + 0.5 + 0.25 + 0.25) / 4, abs=1e-5)
    silent = one._replace(spans=(Span(4, 8, 0.0, said),))
    assert learner.gradients("p", [silent, lesson])["logprob_gap"] == pytest.approx(0.375, abs=1e-5), (
        "though it is not trained"
    )
    assert "logprob_gap" not in learner.gradients("p", [lesson])


def test_later_updates_of_a_batch_are_compared_with_the_policy_before_the_first(micro_model):
    """A large step, then the ratio is what the weights have moved by; a lesson's stays 1."""
    ids = tuple(range(20, 30))
    settings = Settings(2e-2, 9, updates=2, schedule="constant")
    ratios = []

    def loss(logp, value, batch):
        ratios.append((logp - batch.old).detach()[batch.segment > 0].tolist())
        return grpo()(logp, value, batch)

    def logp_of():
        with torch.no_grad():
            found = torch.log_softmax(micro_model(input_ids=torch.tensor([ids])).logits[0], -1)
        return [float(found[t - 1, ids[t]]) for t in range(4, 6)]

    learner = Learner(lone(micro_model), settings, lambda name: loss, pad_id=0)  # type: ignore[arg-type]
    before, original, after = logp_of(), learner._update_policy, []

    def update(*rest):
        after.append(logp_of())
        return original(*rest)

    learner._update_policy = update  # type: ignore[method-assign]
    sampled = Sample("p", "r", ids, (Span(4, 6, 1.0, (-9.0, -9.0)),))
    lesson = Sample("p", "s", ids, (Span(4, 6, 1.0, ()),))
    stats = learner.update([sampled, lesson], 0)
    first, first_lesson, second, second_lesson = ratios
    assert first == first_lesson == second_lesson == [0.0, 0.0]
    assert second == pytest.approx([b - a for a, b in zip(before, after[1], strict=True)], abs=1e-5)
    assert min(second) > 0.01
    assert stats["logprob_gap/p"] == pytest.approx(sum(abs(a + 9) for a in before) / 2, abs=1e-5), "of the first update"


def test_an_engine_with_an_old_adapter_shows_in_the_gap(micro_folder):
    """Replies sampled from the adapter as it was a few steps ago: the gap tells, and the weight by hand is capped."""
    from baselines.chat import Chat
    from baselines.engines.transformers import TransformersEngine
    from baselines.policies import load_tokenizer
    from baselines.types import Request
    from llm_marl_envs import Ask

    policies = Policies(str(micro_folder), ("p", "stale"), lora_rank=2)
    engine = TransformersEngine(policies, Chat(load_tokenizer(str(micro_folder))))
    for parameter in policies.parameters("p"):
        torch.nn.init.normal_(parameter, std=0.3)
    learner = Learner(policies, Settings(1e-3, 9), lambda name: grpo(), pad_id=0)
    gaps = {}
    for speaks in ("p", "stale"):
        chat = ({"role": "user", "content": "What is 1 + 2?"},)
        requests = [
            Request(speaks, chat, seed, Ask("a_0", ""), sampling=Sampling(0.7, 6, top_p=0.9)) for seed in range(4)
        ]
        turns = [
            Turn(0, "a_0", "a", "p", c, r.sampling) for c, r in zip(engine.generate(requests), requests, strict=True)
        ]
        stats = learner.update(to_samples([episode(t) for t in turns], {(i, 0): 0.0 for i in range(4)}), 0)
        gaps[speaks] = stats["logprob_gap/p"]
    assert gaps["p"] < 1e-4 < 0.05 < gaps["stale"]


def test_importance_weights_by_hand():
    batch = SimpleNamespace(
        segment=torch.tensor([[0, 1, 1, 1, 2]]), advantage=torch.ones(1, 5), old=torch.tensor([[0.0, -1.0, -1.0, -1.0, -1.0]]),
        sampled=torch.tensor([[math.nan, -1.0 - math.log(1.5), -1.0 - math.log(9.0), -1.0 + math.log(2.0), math.nan]]),
    )  # fmt: skip
    per_token, clipped = corrected(grpo(), 2.0)(batch.old, None, batch)  # type: ignore[arg-type]
    assert per_token[0, 1:].tolist() == pytest.approx([-1.5, -2.0, -0.5, -1.0])
    assert not clipped.any()


def test_critics_learn_even_where_the_advantage_is_nothing(micro_folder, tmp_path):
    policies = Policies(str(micro_folder), ("p", "q"), critics=("p",))
    settings = {"p": Settings(1e-2, 9, weight_decay=0.0), "q": Settings(1e-4, 9)}
    learner = Learner(policies, settings, lambda name: ppo() if name == "p" else grpo(), pad_id=0)
    talk = [episode(FIRST, OTHER, AGAIN), episode(turn(0, (1, 2), (5,)))]
    before = learner.values(talk)
    assert before == {(0, 0): (0.0,) * 2, (0, 1): (0.0,), (0, 2): (0.0,) * 3, (1, 0): (0.0,)}, "heads begin at zero"
    credit = {place: Signal(0.0, values, (1.0,) * len(values)) for place, values in before.items()}
    frozen = [p.clone() for p in policies.parameters("q")]
    for step in range(3):
        stats = learner.update(to_samples(talk, credit), step)
        assert stats["lr/p"] == pytest.approx(100 * stats["lr/q"])
    after = learner.values(talk)
    assert all(value > 0 for values in after.values() for value in values)
    assert all(torch.equal(a, b) for a, b in zip(frozen, policies.parameters("q"), strict=True))
    # alone and in one sequence with what follows, a reply's values are the same
    alone = learner.values([episode(FIRST), episode(AGAIN)])
    assert alone[0, 0] == pytest.approx(after[0, 0], abs=1e-6)
    assert alone[1, 2] == pytest.approx(after[0, 2], abs=1e-6)
    policies.save(tmp_path)
    again = Policies(str(micro_folder), ("p", "q"), critics=("p",))
    again.restore(tmp_path)
    assert Learner(again, settings, lambda name: ppo(), pad_id=0).values(talk) == after


def test_each_policy_learns_at_its_own_rate(micro_folder):
    """AdamW's first step moves a weight by the learning rate, whatever its gradient."""
    policies = Policies(str(micro_folder), ("p", "q"))
    settings = {"p": Settings(1e-2, 2, schedule="constant"), "q": Settings(1e-3, 2, schedule="constant")}
    learner = Learner(policies, settings, lambda name: grpo(), pad_id=0)
    before = {name: [p.detach().clone() for p in policies.parameters(name)] for name in "pq"}
    spans = (Span(2, 4, 1.0, ()),)
    learner.update([Sample(name, "r", (1, 2, 3, 4), spans) for name in "pq"], 0)
    moved = {
        name: max(
            float((a - b).detach().abs().max()) for a, b in zip(before[name], policies.parameters(name), strict=True)
        )
        for name in "pq"
    }
    assert moved == {"p": pytest.approx(1e-2, rel=1e-3), "q": pytest.approx(1e-3, rel=1e-3)}


def test_alpha_and_dropout_are_each_adapters_own(micro_folder):
    policies = Policies(str(micro_folder), ("p", "q"), lora_rank=2, alpha={"p": 6}, dropout={"q": 0.5})
    model = policies.model("p")
    scaling = {name: {m.scaling[name] for m in model.modules() if hasattr(m, "lora_A")} for name in "pq"}
    assert scaling == {"p": {3.0}, "q": {2.0}}
    for name in "pq":
        for parameter in policies.parameters(name):
            torch.nn.init.normal_(parameter, std=0.3)
    ids = torch.tensor([[1, 2, 3]])

    def logits(name: str, seed: int | None = None):
        with torch.no_grad(), nullcontext() if seed is None else policies.dropping(name, seed):
            return policies.model(name)(input_ids=ids).logits

    state = torch.random.get_rng_state()
    for name, drops in [("p", False), ("q", True)]:
        assert torch.equal(logits(name), logits(name)), "nothing is dropped when it is not being trained"
        assert torch.equal(logits(name, 3), logits(name, 3))
        assert torch.equal(logits(name, 3), logits(name)) is not drops
        assert torch.equal(logits(name, 3), logits(name, 4)) is not drops
    assert torch.equal(state, torch.random.get_rng_state())
