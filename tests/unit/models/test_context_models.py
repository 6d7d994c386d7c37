"""Models in which tiles see other tiles: neighbours on the grid, the class token's map, the anchor's loss."""

import pytest
import torch

from asmil.bags import Bag, BagBatch
from asmil.errors import ConfigError
from asmil.models import create_model
from asmil.models.parts.neighbours import STEPS, neighbours
from asmil.models.parts.nystrom import Factors, pseudo_inverse
from asmil.models.transmil import _cls_map

NO_DROPOUT = {
    "transmil": {"dropout": 0, "feature_dropout": 0},
    "camil": {"dropout": 0},
    "rrt": {"dropout": 0, "feature_dropout": 0},
}


def batch_of(*places, side=256, step=256, far=0):
    bags = [Bag(torch.zeros(len(xy), 2), level0_xy=far + step * torch.tensor(xy), tile_level0_px=side) for xy in places]
    return BagBatch.from_bags(bags)


def pairs(batch):
    """{(tile, neighbour)} as positions in steps of 256, and a check that missing ones point to the tile itself."""
    index, there = neighbours(batch)
    rows = torch.arange(len(index))[:, None].expand_as(index)
    assert torch.equal(index[~there], rows[~there])
    return {(int(i), int(j)) for i, j in zip(rows[there], index[there], strict=True)}


@pytest.mark.parametrize("side", [256, 256.0, None])
@pytest.mark.parametrize("far", [0, 100_003])
def test_neighbours_are_the_eight_around(side, far):
    """Two bags with the same places: no neighbours in the other bag, none around the end of a row."""
    xy = [(0, 0), (3, 0), (1, 1), (0, 1), (3, 2), (0, 2), (2, 0)]
    wanted = {
        (i, j)
        for i, a in enumerate(xy)
        for j, b in enumerate(xy)
        if i != j and max(abs(a[0] - b[0]), abs(a[1] - b[1])) == 1
    }
    found = pairs(batch_of(xy, xy, [(5, 5)], side=side, far=far))
    assert found == wanted | {(i + 7, j + 7) for i, j in wanted}


def test_each_direction_has_its_column():
    xy = [(1, 1), *[(1 + x, 1 + y) for x, y in STEPS]]
    index, there = neighbours(batch_of(xy))
    assert there[0].all()
    assert index[0].tolist() == list(range(1, 9))


def test_positions_rounded_to_pixels_are_neighbours_in_a_long_row():
    """Tiles of 223.6 px lie 223 or 224 px apart: 300 of them must not drift out of the grid."""
    xy = torch.stack([(torch.arange(300) * 223.6).round().long(), torch.zeros(300).long()], 1)
    batch = BagBatch.from_bags(Bag(torch.zeros(300, 2), level0_xy=xy, tile_level0_px=223.6))
    assert pairs(batch) == {(i, j) for i in range(300) for j in (i - 1, i + 1) if 0 <= j < 300}


def test_overlapping_tiles_do_not_depend_on_their_order():
    xy = torch.cartesian_prod(torch.arange(6), torch.arange(6)) * 100
    order = torch.randperm(36, generator=torch.Generator().manual_seed(0))
    plain, shuffled = (
        pairs(BagBatch.from_bags(Bag(torch.zeros(36, 2), level0_xy=places, tile_level0_px=256)))
        for places in (xy, xy[order])
    )
    assert plain
    assert plain == {(int(order[i]), int(order[j])) for i, j in shuffled}


def test_without_coordinates_there_are_no_neighbours():
    assert not pairs(BagBatch.from_bags([Bag(torch.zeros(4, 2)), Bag(torch.zeros(2, 2))]))


def test_cls_map_is_uniform_where_nothing_is_positive():
    def factors(row):
        one = torch.ones(1, 1, 1, 1)
        return Factors(one, one, torch.tensor([[[row]]]), torch.tensor([[[row]]]))

    negative = _cls_map(factors([0.5, -1.0, -2.0, 0.0]), tiles=torch.tensor([[3]]), longest=3)[0]
    torch.testing.assert_close(negative, torch.full((3,), 1 / 3))
    repeated = _cls_map(factors([0.5, 1.0, -1.0, 2.0, 3.0]), tiles=torch.tensor([[3]]), longest=3)[
        0
    ]  # the fourth repeats the first
    torch.testing.assert_close(repeated, torch.tensor([4 / 6, 0, 2 / 6]))


def test_pseudo_inverse_inverts_also_under_autocast():
    generator = torch.Generator().manual_seed(0)
    matrix = (8 * torch.eye(12) + torch.randn(2, 12, 12, generator=generator)).softmax(-1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inverse = pseudo_inverse(matrix)
    assert inverse.dtype == torch.float32
    torch.testing.assert_close(matrix @ inverse, torch.eye(12).expand(2, -1, -1), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", NO_DROPOUT)
def test_several_models_train_at_once(name):
    """Stacked parameters under vmap give each model's own gradients."""
    torch.manual_seed(0)
    models = [create_model(name, in_dim=12, n_classes=2, **NO_DROPOUT[name]).train() for _ in range(2)]
    xy = torch.stack([torch.arange(30) % 6, torch.arange(30) // 6], 1)
    batch = BagBatch.from_bags(Bag(torch.randn(30, 12), level0_xy=xy, label=1))

    def loss(parameters):
        return torch.func.functional_call(models[0], parameters, (batch,)).logits.logsumexp(1).sum()

    stacked, _ = torch.func.stack_module_state(models)
    gradients = torch.func.vmap(torch.func.grad(loss), randomness="different")(stacked)
    for index, model in enumerate(models):
        model(batch).logits.logsumexp(1).sum().backward()
        for key, parameter in model.named_parameters():
            if parameter.grad is not None:
                torch.testing.assert_close(gradients[key][index], parameter.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("transmil", {"heads": 3}),
        ("transmil", {"landmarks": 0}),
        ("transmil", {"dropout": 1.0}),
        ("camil", {"hidden": 0}),
        ("rrt", {"kernel": 4}),
        ("rrt", {"slots": 0}),
        ("rrt", {"heads": 3}),
    ],
    ids=str,
)
def test_wrong_options_are_refused(name, options):
    with pytest.raises(ConfigError):
        create_model(name, in_dim=12, n_classes=2, **options)
