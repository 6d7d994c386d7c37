"""Making models by name, their defaults, and what they refuse."""

import subprocess
import sys

import pytest
import torch

import asmil.models as room
from asmil.bags import Bag, BagBatch
from asmil.errors import AsmilError, ConfigError, FeatureError, UnknownPartError
from asmil.models import create_model, list_models, model_info, model_options


def batch_of(in_dim, *lengths):
    generator = torch.Generator().manual_seed(1)
    return BagBatch.from_bags([Bag(torch.randn(n, in_dim, generator=generator), label=0) for n in lengths])


def test_listing_and_describing_import_no_torch():
    code = (
        "import sys, asmil.models as m; names = m.list_models(); [m.model_info(n) for n in names];"
        "assert {'asmil', 'abmil', 'mean', 'max'} <= set(names), names; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_model_info_names_paper():
    info = model_info("ABMIL")
    assert (info.name, info.paper.startswith("Attention-based Deep Multiple Instance Learning")) == (
        "abmil",
        True,
    )
    with pytest.raises(UnknownPartError, match="did you mean 'abmil'"):
        model_info("abmill")


def test_model_info_tells_what_is_aligned():
    assert model_info("abmil").aligned == "The attention over the tiles, one row."
    assert model_info("mean").aligned == ""


@pytest.mark.parametrize("name", list_models())
def test_what_is_said_to_be_aligned_are_the_scores(name):
    corners = 256 * torch.cartesian_prod(torch.arange(3), torch.arange(3))
    bag = Bag(torch.randn(9, 6), label=0, level0_xy=corners, tile_level0_px=256.0)
    output = create_model(name, in_dim=6, n_classes=2)(BagBatch.from_bags(bag))
    assert bool(model_info(name).aligned) == (output.scores is not None)


def test_output_type_is_exported():
    assert type(create_model("mean", in_dim=4, n_classes=2)(batch_of(4, 3))) is room.MILOutput
    with pytest.raises(AttributeError):
        _ = room.nothing


def test_unknown_option_lists_options_and_suggests():
    with pytest.raises(ConfigError, match=r"did you mean 'token_drop'\?.*heads=8.*variant='shared'"):
        create_model("asmil", in_dim=8, n_classes=2, tokendrop=0.5)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("asmil", {"variant": "both"}),
        ("asmil", {"tokens": 0}),
        ("asmil", {"dim": 20, "heads": 8}),
        ("asmil", {"heads": 0}),
        ("asmil", {"dim": 0}),
        ("asmil", {"token_drop": 1.0}),
        ("asmil", {"dropout": 1.0}),
        ("asmil", {"feature_dropout": -0.1}),
        ("asmil", {"attention_normalizer": "softmin"}),
        ("abmil", {"hidden": 0}),
        ("max", {"level": "tile"}),
        ("mean", {"dropout": 2}),
    ],
)
def test_options_out_of_range(name, options):
    with pytest.raises(AsmilError, match="To fix:"):
        create_model(name, in_dim=8, n_classes=2, **options)


@pytest.mark.parametrize("sizes", [{"in_dim": 0, "n_classes": 2}, {"in_dim": 8, "n_classes": 0}])
@pytest.mark.parametrize("name", list_models())
def test_sizes_out_of_range(name, sizes):
    with pytest.raises(ConfigError):
        create_model(name, **sizes)


@pytest.mark.parametrize("name", list_models())
def test_features_of_another_encoder(name):
    with pytest.raises(FeatureError, match=r"10 per tile.*in_dim=8"):
        create_model(name, in_dim=8, n_classes=2)(batch_of(10, 3))


def test_options_with_defaults():
    assert model_options("mean") == {"dim": None, "dropout": 0.25}


@pytest.mark.parametrize(
    ("in_dim", "dim"), [(55, 64), (300, 64), (384, 128), (512, 256), (768, 384), (1024, 512), (2560, 512)]
)
def test_default_width(in_dim, dim):
    for name in ("asmil", "abmil"):
        assert create_model(name, in_dim=in_dim, n_classes=2).classifier.weight.shape == (2, dim)


def test_max_shares_attention_among_ties():
    model = create_model("max", in_dim=6, n_classes=2, dim=10, dropout=0.0)
    tile = torch.randint(-4, 5, (1, 6), generator=torch.Generator().manual_seed(0)).float()
    with torch.no_grad():  # whole numbers: a product's last bits depend on the place of a row
        for parameter in model.projection.parameters():
            parameter.copy_(torch.randint_like(parameter, -4, 5))
    output = model(BagBatch.from_bags(Bag(tile.expand(4, 6))))
    assert torch.allclose(output.attention, torch.full((4,), 0.25), atol=1e-6)


@pytest.mark.parametrize("name", ["asmil", "abmil"])
def test_attention_follows_scores_of_each_bag(name):
    model = create_model(name, in_dim=16, n_classes=2).eval()
    batch = batch_of(16, 5, 1, 12)
    output = model(batch)
    for scores, attention in zip(batch.split(output.scores), batch.split(output.attention), strict=True):
        assert torch.allclose(scores.softmax(0).mean(1), attention, atol=1e-6)
