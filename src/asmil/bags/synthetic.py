"""Made-up bags with planted positive tiles, so that attention can be scored against the truth."""

import torch
from torch import Tensor

from asmil.bags.bag import Bag

TILE_LEVEL0_PX = 256


def make_bags(
    n_bags: int,
    *,
    tiles: tuple[int, int] = (20, 100),
    dim: int = 32,
    n_classes: int = 2,
    positive_fraction: float = 0.2,
    shift: float = 2.0,
    seed: int = 0,
) -> tuple[list[Bag], list[Tensor]]:
    """Make bags of Gaussian tiles and the truth per tile, bool (tiles,), of each bag.

    Labels cycle through the classes. Class 0 has noise N(0, 1) only; in a bag of class c > 0, a compact
    region of `positive_fraction` of its tiles (at least one) has its mean moved by `shift` along a random
    unit vector of that class. Tiles fill a square grid row by row.
    """
    generator = torch.Generator().manual_seed(seed)
    directions = torch.nn.functional.normalize(torch.randn(n_classes, dim, generator=generator), dim=1)
    bags, truths = [], []
    for index in range(n_bags):
        n = int(torch.randint(tiles[0], tiles[1] + 1, (), generator=generator))
        label = index % n_classes
        width = int(n**0.5 + 0.999)
        xy = torch.stack([torch.arange(n) % width, torch.arange(n) // width], dim=1)
        features = torch.randn(n, dim, generator=generator)
        truth = torch.zeros(n, dtype=torch.bool)
        if label > 0:
            centre = xy[torch.randint(n, (), generator=generator)]
            nearest = (xy - centre).square().sum(1).argsort(stable=True)
            truth[nearest[: max(round(positive_fraction * n), 1)]] = True
            features[truth] += shift * directions[label]
        name = f"synthetic_{index:04d}"
        bag = Bag(features, xy * TILE_LEVEL0_PX, name, name, label, float(TILE_LEVEL0_PX))
        bags.append(bag)
        truths.append(truth)
    return bags, truths
