"""What a role's loss has beside its method's, mini-batches, layers that are computed again, and bfloat16 with float32 masters."""

from __future__ import annotations

import copy
import math
from contextlib import contextmanager, nullcontext

import pytest

torch = pytest.importorskip("torch")

from lone import lone  # noqa: E402

from baselines.batch import gradient_mass  # noqa: E402
from baselines.learner import Learner, Settings  # noqa: E402
from baselines.losses import estimated_kl, grpo  # noqa: E402
from baselines.output import picked  # noqa: E402
from baselines.policies import Policies  # noqa: E402
from baselines.settings import Terms, Tuning, plan  # noqa: E402
from baselines.types import Sample, Sampling, Span  # noqa: E402
from llm_marl_envs.errors import ConfigError  # noqa: E402

SAID = (-2.0, -3.0)
COOL = Sampling(0.5, top_k=30)
SAMPLES = [
    Sample("p", "a", tuple(range(20, 30)), (Span(3, 5, 1.0, SAID), Span(8, 10, -0.5, SAID, sampling=COOL))),
    Sample("p", "b", tuple(range(40, 47)), (Span(4, 6, 0.0, SAID),)),
    Sample("p", "a", tuple(range(50, 56)), (Span(2, 4, -1.0, SAID),)),
    Sample("p", "b", tuple(range(60, 66)), (Span(2, 4, 0.5, ()),)),  # a lesson
]


def gradient(policies, name: str = "p") -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in policies.parameters(name) if p.grad is not None])


@contextmanager
def saved():
    """The sizes of what is kept for the backward pass."""
    sizes: list[int] = []

    def keep(tensor):
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield sizes


def settle(policies, terms=None, samples=SAMPLES, **settings) -> tuple[dict[str, float], torch.Tensor]:
    """Figures and gradient."""
    learner = Learner(policies, Settings(1e-3, 10, **settings), lambda name: grpo(), 0, terms or {})
    for parameter in policies.parameters("p"):
        parameter.grad = None
    return learner.gradients("p", samples), gradient(policies)


def test_the_estimate_of_kl_by_hand():
    """r = reference / policy: 1 -> 0; 1/2 -> -1/2 + log 2; 2 -> 1 - log 2. Its mean over what is sampled is the divergence."""
    logp = torch.tensor([-1.0, -1.0, -1.0])
    reference = logp + torch.tensor([0.0, -math.log(2), math.log(2)])
    assert estimated_kl(logp, reference).tolist() == pytest.approx([0, math.log(2) - 0.5, 1 - math.log(2)])
    p, q = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.3, 0.3, 0.4])
    mean = float((p * estimated_kl(p.log(), q.log())).sum())
    assert mean == pytest.approx(float((p * (p / q).log()).sum()), abs=1e-6)


def test_entropy_by_hand():
    """Logits 0, 0 and log 2 at temperature 1: 1/4, 1/4, 1/2 -> 1.5 log 2. Cut to the two likeliest it is that of 1/3, 2/3."""
    from baselines.distribution import Truncation

    logits = torch.tensor([[0.0, math.log(2), -1e-6]])
    ids = torch.tensor([1])
    assert picked(logits, ids, 1.0, entropy=True)[0].tolist() == pytest.approx(
        [-math.log(2), 1.5 * math.log(2)], abs=1e-5
    )
    cut = Truncation(torch.tensor([2]), torch.tensor([1.0]))
    two = math.log(3) - 2 / 3 * math.log(2)
    said = picked(logits.requires_grad_(), ids, torch.tensor([1.0]), cut, entropy=True)
    assert said[0].tolist() == pytest.approx([math.log(2 / 3), two], abs=1e-5)
    said[0, 1].backward()
    assert torch.isfinite(logits.grad).all()


def by_autograd(model, reference, terms, total: int = 10) -> torch.Tensor:
    """The gradient of the two terms alone from the full logits of each sequence."""
    model.zero_grad()
    for sample in SAMPLES[:3]:
        term = terms.get(sample.role, Terms())
        ids = torch.tensor([sample.ids])
        for span in sample.spans:
            here = slice(span.start - 1, span.end - 1)
            rows = []
            for of in (model, reference):
                scaled = of(input_ids=ids).logits[0, here] / span.sampling.temperature
                if span.sampling.top_k:
                    least = scaled.topk(span.sampling.top_k).values[:, -1:]
                    said = ids[0, span.start : span.end, None]
                    allowed = (scaled >= least).scatter(-1, said, True)
                    scaled = scaled.masked_fill(~allowed, -1e9)
                rows.append(torch.log_softmax(scaled, -1))
            said = ids[0, span.start : span.end, None]
            logp, ref = (row.gather(-1, said).squeeze(-1) for row in rows)
            entropy = -(rows[0].exp() * rows[0].clamp(min=-80)).sum(-1)
            kl = (ref.detach() - logp).exp() - 1 - (ref.detach() - logp)
            loss = term.kl * ((logp - logp.detach()).exp() * kl).sum() - term.entropy * entropy.sum()
            (loss / total).backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()])


@pytest.mark.parametrize("most", [None, 1])
def test_terms_equal_those_of_the_full_logits_and_are_each_roles_own(micro_model, monkeypatch, most):
    """Also in pieces, at a temperature, cut, on samples without credit, and not on lessons."""
    from baselines import output

    if most:
        monkeypatch.setattr(output, "LOGITS_ON_CPU", most)
    reference = copy.deepcopy(micro_model)
    with torch.no_grad():
        for parameter in micro_model.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))

    policies = lone(micro_model, reference=lambda name: nullcontext(reference))
    terms = {"a": Terms(kl=0.3), "b": Terms(kl=0.1, entropy=0.2)}
    _, without = settle(policies)
    stats, with_terms = settle(policies, terms)
    expected = by_autograd(micro_model, reference, terms)
    assert expected.abs().max() > 1e-4
    assert torch.allclose(with_terms - without, expected, atol=2e-6)
    assert stats["kl/a"] > 0
    assert stats["kl/b"] > 0
    assert stats["kl"] == pytest.approx((6 * stats["kl/a"] + 2 * stats["kl/b"]) / 8)
    only_b, _ = settle(policies, {"b": Terms(kl=0.1)})
    assert "kl/a" not in only_b


def test_the_gradient_of_the_term_is_that_of_the_divergence():
    """Over all tokens of a small vocabulary, each as often as it is sampled."""
    torch.manual_seed(0)
    logits, reference = torch.randn(5, dtype=torch.float64, requires_grad=True), torch.randn(5, dtype=torch.float64)
    p, q = torch.softmax(logits, 0), torch.softmax(reference, 0)
    (exact,) = torch.autograd.grad((p * (p / q).log()).sum(), logits, retain_graph=True)
    logp = p.log()
    term = (logp - logp.detach()).exp() * estimated_kl(logp, q.log())
    (ours,) = torch.autograd.grad((p.detach() * term).sum(), logits, retain_graph=True)
    (plain,) = torch.autograd.grad((p.detach() * estimated_kl(logp, q.log())).sum(), logits)
    assert torch.allclose(ours, exact, atol=1e-9)
    assert not torch.allclose(plain, exact, atol=1e-2)


def test_a_role_is_held_near_what_it_was(micro_folder):
    """With a strong KL term a policy that is pushed stays; without one it leaves."""
    moved = {}
    for kl in (0.0, 30.0):
        policies = Policies(str(micro_folder), ("p",), reference=True)
        learner = Learner(policies, Settings(3e-3, 9, schedule="constant"), lambda name: grpo(), 0, {"a": Terms(kl=kl)})
        pushed = [s for s in SAMPLES if s.role == "a"]
        for step in range(8):
            stats = learner.update(pushed, step)
        probe = Learner(policies, Settings(1e-3, 9), lambda name: grpo(), 0, {"a": Terms(kl=1e-9)})
        moved[kl] = probe.gradients("p", pushed)["kl/a"]
        assert ("kl/a" in stats) == (kl > 0)
    assert moved[30.0] < 0.1 * moved[0.0]


def test_the_reference_of_an_adapter_is_its_backbone(micro_folder):
    policies = Policies(str(micro_folder), ("p", "q"), lora_rank=2)
    ids = torch.tensor([[1, 2, 3, 4]])
    with torch.no_grad():
        plain = policies.model("p")(input_ids=ids).logits
        for parameter in policies.parameters("p"):
            parameter.normal_(std=0.3)
        with policies.reference("p") as model:
            assert torch.equal(model(input_ids=ids).logits, plain)
        assert not torch.allclose(policies.model("p")(input_ids=ids).logits, plain, atol=1e-2)


def test_settings_of_terms():
    given = {"by_role": {"a": "shared", "b": "shared", "gate": "gates"}, "trained": ("shared",), "adapters": False}
    common = {"tuning": Tuning(1e-3), "sampling": Sampling(), **given}
    made = plan({"kl": 0.1, "b.kl": 0.0, "a.entropy": 0.01}, {"b.entropy": 0.5}, **common)
    assert made.terms == {"a": Terms(0.1, 0.01), "b": Terms(0.0, 0.5)}
    assert [bool(terms) for terms in (Terms(), Terms(kl=0.1), Terms(entropy=0.1))] == [False, True, True]
    with pytest.raises(ConfigError, match=r"gate.*is not trained by gradients"):
        plan({"gate.kl": 0.1}, {}, **common)
    with pytest.raises(ConfigError, match="a number from 0"):
        plan({"kl": -1}, {}, **common)


def test_two_mini_batches_are_two_steps_on_halves_compared_with_what_was(micro_folder):
    """Against a learner that is led through the halves by hand, with old log-probs from before the first."""
    pushed = [s for s in SAMPLES if s.role == "a"]

    def made():
        policies = Policies(str(micro_folder), ("p",))
        return policies, Learner(
            policies, Settings(1e-2, 9, minibatches=2, schedule="constant"), lambda name: grpo(), 0
        )

    policies, learner = made()
    calls = []
    original = learner._update_policy
    learner._update_policy = lambda name, part, step: calls.append(part) or original(name, part, step)
    stats = learner.update(pushed, 0)
    assert [len(part) for part in calls] == [1, 1]
    assert {s.ids for part in calls for s in part} == {s.ids for s in pushed}
    first, second = calls
    assert all(not span.old for span in first[0].spans), "the first step's policy is the one it is compared with"
    assert all(len(span.old) == 2 for span in second[0].spans)

    again, by_hand = made()
    remembered = by_hand._remembering("p", pushed)
    assert [s.ids for s in remembered] == [s.ids for s in pushed]
    whole = [next(s for s in pushed if s.ids == first[0].ids)]
    rest = [next(s for s in remembered if s.ids == second[0].ids)]
    figures = [by_hand._update_policy("p", part, 0) for part in (whole, rest)]
    for a, b in zip(policies.parameters("p"), again.parameters("p"), strict=True):
        assert torch.equal(a, b)
    assert stats["loss/p"] == pytest.approx(sum(f["loss/p"] for f in figures) / 2)
    assert figures[1]["clipped/p"] > 0, "the second step's ratios have left 1"
    # another order the next time, the same in a run that is repeated
    orders = []
    for step in range(6):
        calls.clear()
        learner.update(pushed, step)
        orders.append(calls[0][0].ids)
    assert len(set(orders)) == 2


@pytest.mark.parametrize("lora_rank", [0, 2])
def test_layers_that_are_computed_again_change_nothing_but_memory(micro_folder, lora_rank):
    found, kept = {}, {}
    for checkpointing in (False, True):
        policies = Policies(str(micro_folder), ("p",), lora_rank=lora_rank, checkpointing=checkpointing)
        with torch.no_grad():
            for i, parameter in enumerate(policies.parameters("p") if lora_rank else ()):
                parameter.normal_(std=0.1, generator=torch.Generator().manual_seed(i))
        with saved() as sizes:
            found[checkpointing] = settle(policies)
        kept[checkpointing] = sum(sizes)
        assert not any(m.training for m in policies.model("p").modules())
    assert found[True][0] == pytest.approx(found[False][0], abs=1e-7)
    assert torch.allclose(found[True][1], found[False][1], atol=1e-7)
    assert kept[True] < 0.7 * kept[False]


@pytest.mark.parametrize("lora_rank", [0, 2])
def test_bfloat16_trains_float32_masters_and_comes_back_bit_for_bit(micro_folder, tmp_path, lora_rank):
    def made():
        return Policies(str(micro_folder), ("p", "q"), lora_rank=lora_rank, critics=("p",), dtype=torch.bfloat16)

    policies = made()
    assert {p.dtype for p in policies.model("p").parameters()} == {torch.bfloat16}
    masters = policies.named_parameters("p")
    assert {p.dtype for p in masters.values()} == {torch.float32}
    assert len(masters) == len(
        Policies(str(micro_folder), ("p", "q"), lora_rank=lora_rank, critics=("p",)).parameters("p")
    )
    rate = 1e-5  # a bfloat16 weight above 0.004 would not move by it
    learner = Learner(policies, Settings(rate, 9, schedule="constant"), lambda name: grpo(), 0)
    samples = [s for s in SAMPLES if s.role == "a"]
    before = {k: p.detach().clone() for k, p in masters.items()}
    for step in range(3):
        stats = learner.update(samples, step)
        assert stats["grad_norm/p"] > 0
    moved = {k: float((p.detach() - before[k]).abs().max()) for k, p in masters.items() if "value_head" not in k}
    assert max(moved.values()) == pytest.approx(3 * rate, rel=0.1)
    assert all(p.grad is None for p in policies.model("p").parameters())
    own = dict(policies.model("p").named_parameters())
    assert all(torch.equal(own[k], p.bfloat16()) for k, p in masters.items() if "value_head" not in k)

    policies.save(tmp_path)
    again = made()
    again.restore(tmp_path)
    for name in "pq":
        for (k, a), b in zip(policies.named_parameters(name).items(), again.parameters(name), strict=True):
            assert torch.equal(a, b), k
    for (k, a), b in zip(policies.model("p").named_parameters(), again.model("p").parameters(), strict=True):
        assert torch.equal(a, b), k


def test_micro_batches_add_up_in_float32(micro_folder):
    """In bfloat16 the sum of many small gradients would stand still; here it is the same in one batch and in three."""
    found = []
    for tokens in (4096, 1):
        policies = Policies(str(micro_folder), ("p",), dtype=torch.bfloat16)
        found.append(settle(policies, micro_tokens=tokens)[1])
    exact = settle(Policies(str(micro_folder), ("p",)))[1]
    assert found[0].dtype == torch.float32
    assert all(float((f - exact).norm() / exact.norm()) < 0.05 for f in found)


def test_gradient_mass_by_hand():
    """By tokens, of 12: role a has 2 x 1 + 2 x .5 + 2 x 1 = 5, role b 0 + 2 x .5 = 1. By replies, of 5 with 2 tokens each: alike."""
    expected = {"grad_mass/a": pytest.approx(5 / 6), "grad_mass/b": pytest.approx(1 / 6)}
    assert gradient_mass(SAMPLES, {"p": "tokens"}) == expected
    assert gradient_mass(SAMPLES, {"p": "sequences"}) == expected
    longer = [*SAMPLES, Sample("p", "b", tuple(range(9)), (Span(1, 9, (0.5,) * 8, ()),))]
    assert gradient_mass(longer, {"p": "tokens"})["grad_mass/b"] == pytest.approx(5 / 10)
    assert gradient_mass(longer, {"p": "sequences"})["grad_mass/b"] == pytest.approx(1 / 3.5)


def test_entropy_is_the_mean_surprise_of_each_role(micro_model):
    learner = Learner(lone(micro_model), Settings(1e-3, 9), lambda name: grpo(), 0)
    stats = learner.update(SAMPLES, 0)
    assert stats["entropy/a"] == stats["entropy/b"] == pytest.approx(2.5)
    assert {"clipped/a", "clipped/b", "logprob_gap/a", "grad_share/a"} <= stats.keys()
