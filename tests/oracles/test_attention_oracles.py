"""The attention room against the entmax package, and against plain numpy written from the formulas."""

import entmax as entmax_package
import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.stats import spearmanr

from asmil.attention import (
    Dense,
    Packed,
    agreement,
    alignment,
    drop_tokens,
    effective_tiles,
    entmax,
    entropy,
    jsd,
    jsd_between_epochs,
    kl_divergence,
    log_nsf,
    log_softmax,
    normalized_entropy,
    nsf,
    sparsemax,
    top_k_overlap,
    top_mass,
    unevenness,
)
from asmil.errors import AttentionError


@pytest.mark.parametrize(("ours", "theirs"), [(sparsemax, entmax_package.sparsemax), (entmax, entmax_package.entmax15)])
@pytest.mark.parametrize("scale", [0.1, 1, 30])
@pytest.mark.parametrize("tiles", [1, 2, 37, 5000])
def test_sparse_normalizers_and_their_gradients(ours, theirs, scale, tiles):
    generator = torch.Generator().manual_seed(tiles)
    scores = (torch.randn(3, tiles, generator=generator) * scale).requires_grad_()
    direction = torch.randn(3, tiles, generator=generator)
    mine, reference = ours(scores), theirs(scores, dim=-1)
    torch.testing.assert_close(mine, reference, atol=1e-6, rtol=1e-4)
    gradients = [torch.autograd.grad(weights, scores, direction)[0] for weights in (mine, reference)]
    torch.testing.assert_close(*gradients, atol=3e-6, rtol=1e-4)


@pytest.mark.parametrize(("ours", "theirs"), [(sparsemax, entmax_package.sparsemax), (entmax, entmax_package.entmax15)])
@pytest.mark.parametrize("scale", [0.01, 1, 1000])
@pytest.mark.parametrize("lengths", [(1, 40, 300, 2), (1, 40, 9000, 2)], ids=["padded", "bag by bag"])
def test_sparse_normalizers_of_packed_bags(ours, theirs, scale, lengths):
    generator, layout = torch.Generator().manual_seed(7), Packed(lengths)
    assert layout.padding_pays == (max(lengths) < 1000)
    scores = (torch.randn(sum(lengths), 3, generator=generator) * scale).requires_grad_()
    direction = torch.randn(scores.shape, generator=generator)
    mine = ours(scores, layout)
    reference = torch.cat([theirs(bag, dim=0) for bag in scores.split(lengths)])
    torch.testing.assert_close(mine, reference, atol=2e-6, rtol=1e-4)
    gradients = [torch.autograd.grad(weights, scores, direction)[0] for weights in (mine, reference)]
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("ours", [sparsemax, entmax, nsf])
def test_gradients_by_finite_differences(ours):
    scores = torch.randn(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: ours(z, Packed((4, 2)), temperature=0.7), scores)


def test_nsf_and_the_divergence_in_numpy():
    rng = np.random.default_rng(0)
    online, anchored = rng.normal(size=(2, 4, 60)) * 3
    sigma = 1 / (1 + np.exp(-anchored / 1.3))
    target = sigma / sigma.sum(1, keepdims=True)
    weights = np.exp(online) / np.exp(online).sum(1, keepdims=True)
    expected = (target * np.log(target / weights)).sum(1).mean()
    scores = torch.from_numpy(anchored)
    np.testing.assert_allclose(nsf(scores, temperature=1.3).numpy(), target, rtol=1e-12)
    loss = kl_divergence(log_nsf(scores, temperature=1.3), log_softmax(torch.from_numpy(online)))
    assert float(loss) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("lengths", [(5,), (1, 4, 2), (2, 2, 2), (1, 9000)], ids=str)
def test_packed_bags_in_numpy(lengths):
    """One bag, padded bags, bags of one size, and bags that are worked on one by one."""
    layout = Packed(lengths)
    values = torch.randn(sum(lengths), 2, 3, dtype=torch.float64)
    bags = [bag.numpy() for bag in values.split(list(lengths))]
    sums = np.stack([bag.sum(0) for bag in bags])
    np.testing.assert_allclose(layout.sum(values), sums)
    np.testing.assert_allclose(layout.spread(layout.sum(values)) + 0 * values, np.repeat(sums, lengths, axis=0))
    np.testing.assert_allclose(layout.reduce(torch.amax, values), [bag.max(0) for bag in bags])
    np.testing.assert_array_equal(layout.pack(layout.pad(values)), values)
    assert layout.offsets.tolist() == list(layout.starts) == [0, *np.cumsum(lengths)]
    assert layout.real.sum(1).tolist() == list(lengths)
    assert layout.bag_of_tile.tolist() == np.repeat(np.arange(len(lengths)), lengths).tolist()
    assert Packed.of(layout.offsets).lengths == layout.lengths


def test_a_mask_of_packed_tiles_is_a_bag_without_them():
    scores, mask = torch.randn(7, 2), torch.tensor([1, 0, 1, 1, 0, 1, 1], dtype=torch.bool)
    layout, fewer = Packed((4, 3)).masked(mask), Packed((3, 2))
    torch.testing.assert_close(nsf(scores, layout)[mask], nsf(scores[mask], fewer))
    assert (nsf(scores, layout)[~mask] == 0).all()
    anchored = torch.randn(7, 2)
    for reduction in ("sum", "mean"):
        of_real = alignment(anchored[mask], scores[mask], fewer, reduction=reduction)
        torch.testing.assert_close(alignment(anchored, scores, layout, reduction=reduction), of_real)


def test_a_bag_without_tiles_is_refused():
    with pytest.raises(AttentionError, match="without tiles"):
        Packed((3, 0, 2))


def test_diagnostics_in_numpy_and_scipy():
    rng = np.random.default_rng(1)
    p, q = rng.dirichlet(np.full(250, 0.05), size=(2, 3))
    p[0, :100] = 0
    p /= p.sum(1, keepdims=True)
    np.testing.assert_allclose(jsd(p, q), jensenshannon(p, q, axis=1) ** 2, rtol=1e-9)
    positive = np.where(p > 0, p, 1)
    expected = -(p * np.log(positive)).sum(1)
    np.testing.assert_allclose(entropy(p), expected, rtol=1e-12)
    np.testing.assert_allclose(normalized_entropy(p), expected / np.log(250), rtol=1e-12)
    np.testing.assert_allclose(effective_tiles(p), np.exp(expected), rtol=1e-12)
    # ceil(1 % of 250) = 3 tiles
    np.testing.assert_allclose(top_mass(p), np.sort(p, 1)[:, -3:].sum(1), rtol=1e-12)
    assert isinstance(entropy(p), np.ndarray)
    assert isinstance(entropy(torch.from_numpy(p)), torch.Tensor)


def test_diagnostics_packed_are_a_loop():
    rng = np.random.default_rng(2)
    bags = [rng.dirichlet(np.ones(n), size=2).T for n in (1, 130, 7)]
    packed, offsets = np.concatenate(bags), np.array([0, 1, 131, 138])
    for measure in (entropy, normalized_entropy, effective_tiles, top_mass):
        loop = [measure(bag, dim=0) for bag in bags]
        np.testing.assert_allclose(measure(packed, offsets=offsets), loop, rtol=1e-12)
    assert (normalized_entropy(packed, offsets=offsets)[0] == 1).all()  # one tile: uniform by definition
    padded = np.zeros((3, 140))
    for row, bag in zip(padded, bags, strict=True):
        row[: len(bag)] = bag[:, 0]
    mask = np.arange(140) < np.array([[1], [130], [7]])
    for measure in (normalized_entropy, top_mass):
        loop = [measure(bag[:, 0]) for bag in bags]
        np.testing.assert_allclose(measure(padded, mask=mask), loop, rtol=1e-12)


def test_known_diagnostics():
    uniform, one, other = np.full(4, 0.25), np.eye(4)[0], np.eye(4)[1]
    assert float(jsd(one, other)) == pytest.approx(np.log(2))
    assert float(effective_tiles(uniform)) == pytest.approx(4)
    assert float(effective_tiles(one)) == 1
    assert float(top_mass(np.full(100, 0.01), share=0.07)) == pytest.approx(0.07)
    assert top_k_overlap(np.array([5, 4, 0, 1.0]), np.array([5, 0, 4, 1.0]), k=2) == 0.5
    tiny = uniform + np.array([1e-7, -1e-7, 0, 0])  # second order: sum d^2 / (8 p)
    assert float(jsd(uniform, tiny)) == pytest.approx(2e-14 / 2, rel=1e-2)
    history = np.stack([uniform, uniform, one, other])
    np.testing.assert_allclose(jsd_between_epochs(history), [0, jsd(uniform, one), np.log(2)])


def test_agreement_of_seeds():
    maps = list(np.random.default_rng(3).dirichlet(np.ones(40), size=3))
    pairs = [(0, 1), (0, 2), (1, 2)]
    found = agreement(maps)
    assert found["jsd"] == pytest.approx(np.mean([jensenshannon(maps[i], maps[j]) ** 2 for i, j in pairs]))
    assert found["spearman"] == pytest.approx(np.mean([spearmanr(maps[i], maps[j])[0] for i, j in pairs]))
    assert np.isnan(agreement([np.full(40, 1 / 40), maps[0]])["spearman"])


def test_number_of_tokens_kept_is_binomial_with_one_at_least():
    torch.manual_seed(0)
    keep = drop_tokens(torch.zeros(200_000, 3, 1), 0.6, training=True)
    counts = torch.bincount(keep.sum(1), minlength=4) / len(keep)
    binomial = np.array([0.6**3, 3 * 0.4 * 0.6**2, 3 * 0.4**2 * 0.6, 0.4**3])
    expected = [0, binomial[0] + binomial[1], binomial[2], binomial[3]]
    np.testing.assert_allclose(counts.numpy(), expected, atol=0.005)
    np.testing.assert_allclose(keep.float().mean(0), np.full(3, 0.4 + 0.6**3 / 3), atol=0.005)


def test_a_gated_row_counts_by_how_uneven_the_anchor_is():
    """By hand, in double precision; a row of an even anchor does not count at all."""
    rng = np.random.default_rng(0)
    anchored, online = rng.normal(size=(9, 3)) * [3.0, 1.0, 0.0], rng.normal(size=(9, 3))
    target = 1 / (1 + np.exp(-anchored))
    target /= target.sum(0)
    softmax = np.exp(online) / np.exp(online).sum(0)
    share = np.exp(anchored) / np.exp(anchored).sum(0)
    uneven = 1 + (share * np.log(share)).sum(0) / np.log(9)
    assert uneven[2] == pytest.approx(0, abs=1e-12)
    wanted = (uneven * (target * np.log(target / softmax)).sum(0)).mean()
    layout = Dense(0)
    gate = unevenness(torch.from_numpy(anchored), layout)
    found = alignment(torch.from_numpy(anchored), torch.from_numpy(online), layout, gate=gate)
    assert float(found) == pytest.approx(wanted, rel=1e-9)


def test_an_even_anchor_holds_nothing_back_where_it_is_gated():
    scores = torch.randn(30, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    anchored, pulls = 1e-4 * scores.detach(), []
    for gate in (None, unevenness(anchored, Dense(0))):
        pulls += torch.autograd.grad(alignment(anchored, scores, Dense(0), gate=gate), scores)
    assert pulls[1].norm() < 1e-6 * pulls[0].norm()


@pytest.mark.parametrize("lengths", [(5, 12, 30), (40, 41), (1, 9)], ids=str)
def test_how_uneven_a_bag_is_does_not_depend_on_the_bags_beside_it(lengths):
    """Nor does a mask differ from leaving the tiles out: padding is no tile."""
    scores = torch.randn(sum(lengths), 3, generator=torch.Generator().manual_seed(1)) * torch.tensor([3.0, 1e-3, 0.0])
    packed = unevenness(scores, Packed(lengths))
    alone = torch.stack([unevenness(bag, Dense(0)) for bag in scores.split(lengths)])
    torch.testing.assert_close(packed, alone, rtol=1e-5, atol=1e-9)
    mask = torch.arange(len(scores)) % 4 > 0
    kept = [int(part.sum()) for part in mask.split(lengths)]
    if min(kept):
        left = unevenness(scores[mask], Packed(kept))
        torch.testing.assert_close(unevenness(scores, Packed(lengths, mask=mask)), left, rtol=1e-5, atol=1e-9)
