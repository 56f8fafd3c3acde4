"""Log-probs at sampled positions, in pieces, against the whole matrix of logits."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from lone import lone  # noqa: E402

from baselines import output  # noqa: E402
from baselines.batch import collate  # noqa: E402
from baselines.distribution import truncation_of  # noqa: E402
from baselines.learner import Learner, Settings  # noqa: E402
from baselines.losses import grpo  # noqa: E402
from baselines.output import picked  # noqa: E402
from baselines.types import Sample, Sampling, Span  # noqa: E402


@pytest.mark.parametrize("most", [1, 3 * 50, 10_000])
def test_pieces_equal_the_whole_with_their_gradients(most):
    """40 rows of a vocabulary of 50: one row at a time, three, and all at once."""
    generator = torch.Generator().manual_seed(0)
    layer = torch.nn.Linear(8, 50)
    hidden, ids = torch.randn(40, 8, generator=generator), torch.randint(0, 50, (40,), generator=generator)
    ways = [Sampling(1.0), Sampling(0.5), Sampling(2.0, top_k=7), Sampling(0.7, top_p=0.8)] * 10
    temperature, cut = torch.tensor([s.temperature for s in ways]), truncation_of(ways)
    weights = torch.randn(40, generator=generator)
    found = []
    for compute in (
        lambda h: output.picked_in_pieces(h, layer, ids, temperature, cut, most),
        lambda h: output.picked(layer(h), ids, temperature, cut),
    ):
        layer.zero_grad()
        given = hidden.clone().requires_grad_()
        logp = compute(given)
        (logp * weights).sum().backward()
        found.append([logp.detach(), given.grad, layer.weight.grad.clone(), layer.bias.grad.clone()])
    for ours, whole in zip(*found, strict=True):
        assert torch.allclose(ours, whole, atol=1e-6)
        assert whole.abs().max() > 0.01


class Capped(torch.nn.Module):
    """A model that caps its logits after the output layer, as Gemma does."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.get_output_embeddings = model.get_output_embeddings

    def forward(self, **given):
        out = self.model(**given)
        out.logits = 0.3 * torch.tanh(out.logits / 0.3)
        return out


@pytest.mark.parametrize("capped", [False, True])
def test_a_step_computes_no_logits_but_those_of_sampled_tokens(micro_model, monkeypatch, capped):
    model = Capped(micro_model) if capped else micro_model
    monkeypatch.setattr(output, "LOGITS_ON_CPU", 1)
    samples = [
        Sample("p", "r", tuple(range(20, 32)), (Span(4, 6, 1.0, ()), Span(9, 11, -1.0, (), sampling=Sampling(0.5)))),
        Sample("p", "r", tuple(range(40, 49)), (Span(3, 9, 0.5, ()),)),
    ]
    named = dict(micro_model.named_parameters())
    policies = lone(model, parameters=lambda name: list(named.values()), named_parameters=lambda name: named)
    learner = Learner(policies, Settings(1e-3, 1), lambda name: grpo(), pad_id=0)  # type: ignore[arg-type]
    rows = []
    hook = micro_model.get_output_embeddings().register_forward_hook(
        lambda layer, given, logits: rows.append(logits.shape[:-1].numel())
    )
    micro_model.zero_grad()
    loss = learner.gradients("p", samples)["loss"]
    hook.remove()
    ours = torch.cat([p.grad.flatten() for p in micro_model.parameters()])
    assert max(rows) <= 10, "ten tokens were sampled, of 2 x 12 positions"
    assert learner.forward._plain == {"p": not capped}

    batch = collate(samples, "tokens", 10.0, 0, "cpu")
    micro_model.zero_grad()
    logits = model(input_ids=batch.ids[:, :-1], attention_mask=batch.mask[:, :-1]).logits
    logp = picked(logits, batch.ids[:, 1:], batch.temperature)
    taught = batch.segment > 0
    whole = -(torch.exp(logp - logp.detach()) * batch.advantage * batch.weight)[taught].sum()
    whole.backward()
    theirs = torch.cat([p.grad.flatten() for p in micro_model.parameters()])
    assert loss == pytest.approx(float(whole.detach()), abs=1e-6)
    assert torch.allclose(ours, theirs, atol=1e-6)
    assert theirs.abs().max() > 1e-3
    with torch.no_grad():
        found = learner._forward("p", batch)[0][..., 0]
    assert torch.allclose(found[taught], logp.detach()[taught], atol=1e-6)
