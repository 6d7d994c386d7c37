"""AEM is ABMIL plus minus the entropy of its attention."""

import torch
from scipy.stats import entropy

from asmil.bags import Bag, BagBatch
from asmil.models import create_model

GENERATOR = torch.Generator().manual_seed(0)
BATCH = BagBatch.from_bags(
    [Bag(torch.randn(n, 12, generator=GENERATOR, dtype=torch.float64), label=0) for n in (25, 1, 40)]
)


def make_aem(**options):
    """A model in training mode, without dropout, whose attention is far from uniform."""
    torch.manual_seed(0)
    model = create_model("aem", in_dim=12, n_classes=3, dim=16, dropout=0, **options).double()
    with torch.no_grad():
        model.score.weight.mul_(20)
    return model


def test_aem_is_abmil_and_a_weighted_entropy():
    model = make_aem(entropy_weight=0.3, gated=False)
    host = create_model("abmil", in_dim=12, n_classes=3, dim=16, dropout=0, gated=False).double()
    host.load_state_dict(model.state_dict())
    output, plain = model(BATCH), host(BATCH)
    for name in ("logits", "attention", "embedding", "scores"):
        assert torch.equal(getattr(output, name), getattr(plain, name))
    wanted = [-0.3 * entropy(attention.detach().numpy()) for attention in BATCH.split(plain.attention)]
    torch.testing.assert_close(output.losses["entropy"], torch.tensor(wanted, dtype=torch.float64))
    assert wanted[0] < -0.1 > wanted[2]
    assert not model.eval()(BATCH).losses


def test_gradient_of_the_entropy_term():
    """d/dz_i sum_j a_j log a_j = a_i (log a_i + H)."""
    output = make_aem(entropy_weight=0.3)(BATCH)
    (found,) = torch.autograd.grad(output.losses["entropy"].sum(), output.scores)
    for gradient, attention in zip(BATCH.split(found), BATCH.split(output.attention.detach()), strict=True):
        wanted = 0.3 * attention * (attention.log() + entropy(attention.numpy()))
        torch.testing.assert_close(gradient.squeeze(1), wanted)


def test_weights_that_underflow_have_a_finite_gradient():
    model = make_aem()
    with torch.no_grad():
        model.score.weight.mul_(1e4)
    output = model(BATCH)
    assert (output.attention == 0).any()
    output.losses["entropy"].sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
