"""Softmax, NSF and the divergence with gradients in closed form: as the general ones, by bags and for many models."""

import pytest
import torch

from asmil.attention import _closed_form, kl_divergence, log_nsf, log_softmax, log_weights, nsf, softmax
from asmil.attention.normalizers import alignment
from asmil.errors import AttentionError

OFFSETS = torch.tensor([0, 9, 10, 40])


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(_closed_form, "CHUNK", 15)  # several to a bag


def scores_of(seed, *shape, scale=3.0):
    return torch.randn(*(shape or (40, 2)), dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * scale


@pytest.mark.parametrize("offsets", [None, OFFSETS])
@pytest.mark.parametrize(("ours", "logarithm"), [(softmax, log_softmax), (nsf, log_nsf)])
def test_weights_and_their_gradients(ours, logarithm, offsets):
    scores, direction = scores_of(1).requires_grad_(), scores_of(2)
    layout = {"dim": 0, "offsets": offsets, "temperature": 0.7}
    found, wanted = ours(scores, **layout), logarithm(scores, **layout).exp()
    torch.testing.assert_close(found, wanted)
    gradients = [torch.autograd.grad(weights, scores, direction)[0] for weights in (found, wanted)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("scale", [1e4, -1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_finite_at_scores_of_ten_thousand(scale, dtype):
    scores = (torch.linspace(0.1, 1, 40)[:, None] * scale).to(dtype).requires_grad_()
    for weights in (softmax(scores, dim=0), nsf(scores, dim=0)):
        assert weights.dtype == torch.float32
        assert float(weights.sum()) == pytest.approx(1)
        assert torch.autograd.grad(weights.square().sum(), scores)[0].isfinite().all()
    loss = alignment(-scores, scores)
    assert loss.isfinite()
    assert torch.autograd.grad(loss, scores)[0].isfinite().all()


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("names", [("nsf", "softmax"), ("sparsemax", "softmax"), ("softmax", "nsf")])
@pytest.mark.parametrize("offsets", [None, OFFSETS])
def test_alignment_is_the_divergence_of_logarithms(names, offsets, reduction):
    anchored, online = scores_of(1), scores_of(2).requires_grad_()
    layout = {"dim": 0, "offsets": offsets}
    target = log_weights(names[0], anchored, temperature=1.3, **layout)
    wanted = kl_divergence(target, log_weights(names[1], online, **layout), reduction=reduction, each=True, **layout)
    options = {"normalizers": names, "temperature": 1.3, "reduction": reduction}
    found = alignment(anchored, online, each=True, **options, **layout)
    torch.testing.assert_close(found.reshape(wanted.shape), wanted)
    torch.testing.assert_close(alignment(anchored, online, **options, **layout), wanted.mean())
    gradients = [torch.autograd.grad(value.sum(), online)[0] for value in (found, wanted)]
    torch.testing.assert_close(*gradients)


def test_equal_distributions_have_no_divergence_but_rounding():
    scores = torch.randn(5000, 4) * 5
    assert abs(float(alignment(scores, scores, normalizers=("softmax", "softmax")))) < 1e-5


def test_many_models_at_once_are_a_loop():
    anchored, online, direction = (
        scores_of(1, 3, 40, 2),
        scores_of(2, 3, 40, 2).requires_grad_(),
        scores_of(3, 3, 40, 2),
    )

    def one(z_anchor, z, d):
        kl = alignment(z_anchor, z, offsets=OFFSETS, each=True)
        return kl.sum() + (softmax(z, dim=0, offsets=OFFSETS) * d).sum() + (nsf(z, dim=0, offsets=OFFSETS) * d).sum()

    together = torch.vmap(one)(anchored, online, direction)
    loop = torch.stack([one(*parts) for parts in zip(anchored, online, direction, strict=True)])
    torch.testing.assert_close(together, loop)
    torch.testing.assert_close(*(torch.autograd.grad(value.sum(), online)[0] for value in (together, loop)))


def test_a_bag_without_tiles_is_left_to_the_general_functions():
    offsets = torch.tensor([0, 3, 3, 5])
    assert _closed_form.bags_of(scores_of(1, 5, 2), dim=0, mask=None, offsets=offsets) is None
    torch.testing.assert_close(
        softmax(scores_of(1, 5, 2), offsets=offsets)[:3].sum(0), torch.ones(2, dtype=torch.float64)
    )


def test_scores_of_other_tiles_are_refused():
    with pytest.raises(AttentionError, match="differ in shape"):
        alignment(scores_of(1), scores_of(2)[:-1])
