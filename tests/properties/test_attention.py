"""Properties of the normalizers, the divergence, dropping and the diagnostics, for all inputs."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from asmil.attention import (
    NORMALIZERS,
    Dense,
    Packed,
    alignment,
    drop_tokens,
    effective_tiles,
    entropy,
    jsd,
    kl_divergence,
    log_nsf,
    log_softmax,
    normalized_entropy,
    nsf,
    softmax,
    top_mass,
)

few = settings(max_examples=60, deadline=None)
moderate = st.floats(-30, 30, width=32)
extreme = st.floats(-1e4, 1e4, width=32)


def score_rows(elements):
    return st.integers(1, 12).flatmap(lambda m: arrays(np.float32, (m,), elements=elements)).map(torch.from_numpy)


def bags_of_scores(elements=moderate, *, rows=2):
    lengths = st.lists(st.integers(1, 7), min_size=1, max_size=4)
    return lengths.flatmap(
        lambda n: st.tuples(
            arrays(np.float32, (sum(n), rows), elements=elements).map(torch.from_numpy), st.just(tuple(n))
        )
    )


@few
@given(
    high=st.lists(st.floats(0, 20), min_size=1, max_size=8),
    low=st.lists(st.floats(0, 20), max_size=8),
    tau=st.floats(1e-3, 15),
)
def test_theorem_1_a(high, low, tau):
    """z >= tau on H, z <= -tau on L: flat among the high, suppressed on the low."""
    scores = torch.tensor([tau + x for x in high] + [-tau - x for x in low], dtype=torch.float64)
    weights = nsf(scores)
    top, bottom = weights[: len(high)], weights[len(high) :]
    assert top.max() / top.min() <= (1 + math.exp(-tau)) * (1 + 1e-12)
    if len(low):
        assert bottom.max() <= math.exp(-tau) / len(high) * (1 + 1e-12)


@few
@given(gamma=st.floats(0.1, 20), tau=st.floats(0.5, 5), depth=st.floats(0, 2), lows=st.integers(1, 50))
def test_theorem_1_b(gamma, tau, depth, lows):
    """Softmax with one temperature: flat among the highs only where lows are let in; NSF has both."""
    scores = torch.tensor([tau + gamma, tau] + [-tau - depth] * lows, dtype=torch.float64)
    needed = gamma / math.log1p(math.exp(-tau))
    just_below = softmax(scores, temperature=needed * 0.999)
    assert just_below[0] / just_below[1] > 1 + math.exp(-tau)
    flat = softmax(scores, temperature=needed)
    assert flat[0] / flat[1] == pytest.approx(1 + math.exp(-tau), rel=1e-9)
    # There a low is below a high only by exp(-(gap between them) / T), where sigma gives e^-tau.
    assert flat[2] / flat[1] == pytest.approx(math.exp(-(2 * tau + depth) / needed), rel=1e-9)
    if gamma >= 2 * (2 * tau + depth):
        assert flat[2] / flat[1] > (1 + math.exp(-tau)) ** -0.5  # barely suppressed
    assert nsf(scores)[2] <= math.exp(-tau) / 2


@few
@given(score_rows(extreme), st.sampled_from(sorted(NORMALIZERS.names())), st.floats(0.1, 10))
def test_weights_are_a_distribution(scores, name, temperature):
    weights = NORMALIZERS[name](scores, temperature=temperature)
    assert (weights >= 0).all()
    assert weights.isfinite().all()
    assert float(weights.sum()) == pytest.approx(1, abs=1e-5)


@few
@given(score_rows(moderate), st.sampled_from(sorted(NORMALIZERS.names())), st.integers(0, 2**30))
def test_weights_follow_the_order_and_the_places_of_the_scores(scores, name, seed):
    weights = NORMALIZERS[name](scores)
    order = scores.argsort()
    assert (weights[order].diff() >= -1e-6).all()
    places = torch.randperm(len(scores), generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(NORMALIZERS[name](scores[places]), weights[places], atol=1e-6, rtol=1e-5)


@few
@given(bags_of_scores(), st.sampled_from(sorted(NORMALIZERS.names())))
def test_packed_is_a_loop_of_dense_with_gradients(case, name):
    scores, lengths = case
    packed, loop = scores.clone().requires_grad_(), scores.clone().requires_grad_()
    direction = torch.linspace(-1, 1, scores.numel()).reshape(scores.shape)
    together = NORMALIZERS[name](packed, Packed(lengths))
    one_by_one = torch.cat([NORMALIZERS[name](bag, Dense(0)) for bag in loop.split(list(lengths))])
    torch.testing.assert_close(together, one_by_one, atol=1e-6, rtol=1e-5)
    (together * direction).sum().backward()
    (one_by_one * direction).sum().backward()
    torch.testing.assert_close(packed.grad, loop.grad, atol=1e-6, rtol=1e-4)


@few
@given(bags_of_scores(), st.sampled_from(sorted(NORMALIZERS.names())), st.sampled_from([0.0, 1e4, -1e4]))
def test_padding_changes_nothing_and_gets_nothing(case, name, filler):
    """Claims 4 and 10: a padded batch is the loop over its bags, whatever lies in the padding."""
    scores, lengths = case
    mask = torch.arange(max(lengths) + 2)[None] < torch.tensor(lengths)[:, None]
    mask = torch.cat([mask, torch.zeros_like(mask[:1])])  # and a bag of padding only
    padded = torch.full((*mask.shape, scores.shape[1]), filler)
    padded[mask] = scores
    padded.requires_grad_()
    weights = NORMALIZERS[name](padded, Dense(1, mask[..., None]))
    packed = NORMALIZERS[name](scores, Packed(lengths))
    torch.testing.assert_close(weights[mask], packed, atol=1e-6, rtol=1e-5)
    assert (weights[~mask] == 0).all()
    (weights * torch.linspace(-1, 1, weights.numel()).reshape(weights.shape)).sum().backward()
    assert padded.grad.isfinite().all()
    assert (padded.grad[~mask] == 0).all()


@few
@given(bags_of_scores(), st.sampled_from(["sum", "mean"]))
def test_divergence_packed_padded_and_looped_agree(case, reduction):
    scores, lengths = case
    online, anchored = scores[:, :1] - 0.5, scores[:, 1:]
    layout, tiles = Packed(lengths), Dense(0)
    packed = kl_divergence(log_nsf(anchored, layout), log_softmax(online, layout), layout, reduction=reduction)
    looped = [
        kl_divergence(log_nsf(a, tiles), log_softmax(z, tiles), tiles, reduction=reduction)
        for a, z in zip(anchored.split(list(lengths)), online.split(list(lengths)), strict=True)
    ]
    assert float(packed) == pytest.approx(float(torch.stack(looped).mean()), abs=1e-5)
    mask = torch.arange(max(lengths) + 1)[None] < torch.tensor([*lengths, 0])[:, None]
    pad = [torch.zeros(mask.shape).masked_scatter(mask, values) for values in (anchored, online)]
    real = Dense(-1, mask)
    padded = kl_divergence(log_nsf(pad[0], real), log_softmax(pad[1], real), real, reduction=reduction)
    assert float(packed) == pytest.approx(float(padded), abs=1e-5)
    assert float(packed) == pytest.approx(float(alignment(anchored, online, layout, reduction=reduction)), abs=1e-5)


@few
@given(bags_of_scores(extreme), st.sampled_from(sorted(NORMALIZERS.names())))
def test_gradient_of_the_divergence_is_softmax_minus_target(case, name):
    """dL/dz_i = softmax(z)_i - NSF(z')_i, over the number of rows and bags that are averaged."""
    scores, lengths = case
    layout = Packed(lengths)
    online = scores.flip(1).clone().requires_grad_()
    loss = alignment(scores, online, layout, normalizers=(name, "softmax"))
    loss.backward()
    assert loss.isfinite()
    assert loss >= -1e-5
    target = NORMALIZERS[name](scores, layout)
    expected = (softmax(online.detach(), layout) - target) / (len(lengths) * scores.shape[1])
    torch.testing.assert_close(online.grad, expected, atol=2e-6, rtol=1e-4)


@few
@given(st.integers(1, 5), st.integers(1, 9), st.floats(0, 0.99), st.integers(0, 2**30))
def test_never_all_tokens_are_dropped(bags, tokens, probability, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        keep = drop_tokens(torch.zeros(bags, tokens, 3), probability, training=True)
    assert keep.shape == (bags, tokens)
    assert keep.any(1).all()


@few
@given(score_rows(moderate), st.data())
def test_diagnostics_stay_within_their_bounds(scores, data):
    p = softmax(scores.double())
    q = softmax(data.draw(arrays(np.float64, (len(scores),), elements=moderate).map(torch.from_numpy)))
    assert 0 <= float(jsd(p, q)) <= math.log(2) + 1e-12
    assert float(jsd(p, p)) == 0
    assert float(jsd(p, q)) == pytest.approx(float(jsd(q, p)), abs=1e-15)
    assert -1e-12 <= float(entropy(p)) <= math.log(len(p)) + 1e-9
    assert -1e-12 <= float(normalized_entropy(p)) <= 1 + 1e-9
    assert 1 - 1e-9 <= float(effective_tiles(p)) <= len(p) * (1 + 1e-9)
    assert float(p.max()) - 1e-12 <= float(top_mass(p)) <= float(top_mass(p, share=1)) + 1e-12
    assert float(top_mass(p, share=1)) == pytest.approx(1)
