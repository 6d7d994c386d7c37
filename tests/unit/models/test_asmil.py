"""ASMIL: initialisation, parameters, dropping, precision, and no work that grows with tiles x dim x dim."""

import copy

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from asmil.attention import Packed
from asmil.bags import Bag, BagBatch
from asmil.models import create_model
from asmil.testing import check_model


def one_bag(tiles, in_dim, dtype=torch.float32):
    return BagBatch.from_bags(Bag(torch.randn(tiles, in_dim, generator=torch.Generator().manual_seed(2)).to(dtype)))


@pytest.mark.parametrize("std", [0.02, 1e-6])
def test_token_initialisation(std):
    torch.manual_seed(0)
    model = create_model("asmil", in_dim=1024, n_classes=2, token_std=std)
    assert float(model.feat.tokens.detach().std()) == pytest.approx(std, rel=0.05)
    assert model.feat.tokens.shape == (8, 512)


def test_linear_maps_start_like_nn_linear():
    torch.manual_seed(0)
    ours = create_model("asmil", in_dim=384, n_classes=2, variant="per_token", even_start=False).feat.key
    theirs = torch.nn.Linear(128, 128)
    assert float(ours.weight.detach().abs().max()) == pytest.approx(128**-0.5, rel=0.01)
    assert float(ours.weight.detach().std()) == pytest.approx(float(theirs.weight.detach().std()), rel=0.05)


def test_per_token_has_eight_times_the_attention_parameters():
    def count(variant):
        model = create_model("asmil", in_dim=384, n_classes=2, variant=variant)
        return sum(p.numel() for n, p in model.feat.named_parameters() if n != "tokens")

    assert count("per_token") == 8 * count("shared")


def test_tokens_are_dropped_in_training_only():
    torch.manual_seed(0)
    model = create_model("asmil", in_dim=16, n_classes=2, token_std=1.0, token_drop=0.5, dropout=0)
    batch = one_bag(20, 16)
    model.train()
    drawn = {tuple(model(batch).logits[0].tolist()) for _ in range(20)}
    assert len(drawn) > 10
    model.eval()
    assert len({tuple(model(batch).logits[0].tolist()) for _ in range(3)}) == 1


def test_dropping_nearly_everything_keeps_a_token():
    torch.manual_seed(0)
    model = create_model("asmil", in_dim=16, n_classes=2, token_drop=0.99).train()
    for _ in range(20):
        assert model(one_bag(9, 16)).logits.isfinite().all()


def test_key_bias_moves_scores_but_not_attention():
    """Under softmax the level is free; the anchor's NSF is not, so the scores must carry it."""
    torch.manual_seed(0)
    model = create_model("asmil", in_dim=16, n_classes=2, token_std=1.0).eval()
    moved = copy.deepcopy(model)
    with torch.no_grad():
        moved.feat.key.bias += 1
    batch = one_bag(30, 16)
    before, after = model(batch), moved(batch)
    assert torch.allclose(after.attention, before.attention, atol=1e-6)
    shift = after.scores - before.scores
    assert torch.allclose(shift, shift[:1].expand_as(shift), atol=1e-5)
    assert shift[0].abs().min() > 1e-4


def test_scores_alone_draw_no_random_numbers_in_evaluation():
    model = create_model("asmil", in_dim=16, n_classes=2, feature_dropout=0.5).eval()
    state = torch.get_rng_state()
    model.attention_scores(one_bag(30, 16))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("variant", ["shared", "per_token"])
def test_work_per_tile_is_projection_plus_two_skinny_products(variant):
    """The textbook form does 2 * 2 * dim * dim more per tile (per_token: and token)."""
    model = create_model("asmil", in_dim=64, n_classes=2, dim=128, variant=variant).eval()

    def flops(tiles):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(one_bag(tiles, 64))
        return counter.get_total_flops()

    per_tile = (flops(1500) - flops(500)) / 1000
    rows = 8 * 8
    assert per_tile == 2 * (64 * 128 + 2 * 128 * rows)


def test_exported_forward_gives_the_same_numbers():
    """The forward of a single bag traces: no data-dependent Python in it."""
    model = create_model("asmil", in_dim=16, n_classes=2).eval()

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, features):
            tiles = features.shape[0]
            return self.model(BagBatch(features, Packed([tiles]))).logits

    features = one_bag(30, 16).features
    exported = torch.export.export(Logits(), (features,)).module()
    assert torch.allclose(exported(features), Logits()(features), atol=1e-6)


def test_a_single_token_leaves_the_class_token_no_choice():
    reason = "attention over one token is 1 whatever the query"
    check_model("asmil", tokens=1, expected_failures={"every_parameter_learns": reason}).raise_if_failed()


def test_scores_begin_sharp_and_settle_and_the_factor_is_kept_with_the_weights():
    """At step 0 first_scale, half of the way in logarithms after half of the steps, score_scale from `settling` on."""
    model = create_model("asmil", in_dim=6, n_classes=2, dim=16, score_scale=16, first_scale=64, settling=10)
    assert float(model.feat.scale) == 16  # outside of training
    factors = []
    for step in (0, 5, 10, 11):
        model.before_step(step)
        factors.append(float(model.feat.scale))
    assert factors == pytest.approx([64, 32, 16, 16])
    model.before_step(5)
    other = create_model("asmil", in_dim=6, n_classes=2, dim=16)
    other.load_state_dict(model.state_dict())
    assert float(other.feat.scale) == 32
    before = {name: value for name, value in model.state_dict().items() if not name.endswith("scale")}
    other = create_model("asmil", in_dim=6, n_classes=2, dim=16, score_scale=4)
    other.load_state_dict(before)  # of before it was kept
    assert float(other.feat.scale) == 4
