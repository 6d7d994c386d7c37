"""A slide as training data: its tile features, and several such bags packed into one tensor."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from asmil.attention import Packed, on_device
from asmil.errors import FeatureError
from asmil.files import Facts


@dataclass(frozen=True)
class Bag:
    """The tiles of one slide (or patient) with its label.

    `features` are (tiles, dim), any float type; `level0_xy` the top-left corners in level-0 pixels or None where
    the feature file has none. `label` is a class index, or None at prediction time and in other tasks than
    classification: what these learn is the `target`, as many numbers as the task has (NaN for an unknown one).
    `tiles_of` are the slides of a patient's bag in order, each with its number of tiles; empty for the bag of a slide.
    """

    features: Float[Tensor, "tiles dim"]
    level0_xy: Int[Tensor, "tiles 2"] | None = None
    slide: str = ""
    case: str = ""
    label: int | None = None
    tile_level0_px: float | None = None
    mpp: float | None = None
    target: tuple[float, ...] | None = None
    tiles_of: tuple[tuple[str, int], ...] = ()

    def __len__(self) -> int:
        return self.features.shape[0]

    def rows(self, index: Int[Tensor, " rows"]) -> "Bag":
        """The bag with only these tiles, in this order; or with those of a mask, which only truth values are."""
        index = on_device(index.long() if index.dtype == torch.uint8 else index, self.features.device)
        level0_xy = None if self.level0_xy is None else self.level0_xy[index]
        return replace(self, features=self.features[index], level0_xy=level0_xy)

    def opened(self) -> "Bag":
        """The bag itself; one that stays in its file is opened."""
        return self

    def to(self, device: torch.device | str) -> "Bag":
        """The bag with its tensors on a device."""
        level0_xy = None if self.level0_xy is None else self.level0_xy.to(device)
        return replace(self, features=self.features.to(device), level0_xy=level0_xy)

    @cached_property
    def moments(self) -> Float[Tensor, "2 dim"]:
        """Means over the tiles of the features and of their squares, in float64; computed once."""
        x = self.features.to(torch.float64)
        return torch.stack([x.mean(0), x.square().mean(0)])


@dataclass(frozen=True)
class BagBatch:
    """Several bags packed end to end: no padding, so any batch size gives the result of a loop over bags.

    `features` (tiles, dim) hold all tiles of all bags, and `layout` says which rows are whose: bag b owns rows
    `offsets[b]:offsets[b + 1]`.
    """

    features: Float[Tensor, "tiles dim"]
    layout: Packed
    labels: Int[Tensor, " bags"] | None = None
    targets: Float[Tensor, "bags width"] | None = None
    level0_xy: Int[Tensor, "tiles 2"] | None = None
    tile_level0_px: tuple[float | None, ...] = ()
    slides: tuple[str, ...] = ()
    extra: Facts = field(default_factory=dict)

    @classmethod
    def from_bags(cls, bags: Sequence[Bag] | Bag, *, out: Tensor | None = None) -> "BagBatch":
        """Pack bags in the given order, their features into `out` (tiles, dim) where it is given.

        Raises:
            FeatureError: no bags, an empty bag, or bags of different feature dimension.
        """
        bags = [bag.opened() for bag in ([bags] if isinstance(bags, Bag) else bags)]
        if not bags:
            raise FeatureError("a batch needs at least one bag")
        for bag in bags:
            if len(bag) == 0:
                raise FeatureError("a bag without tiles cannot be used", found=bag.slide or "unnamed bag")
        dims = {bag.features.shape[1] for bag in bags}
        if len(dims) > 1:
            raise FeatureError("bags of one batch have different feature dimensions", found=sorted(dims))
        device = bags[0].features.device
        known = [bag.label for bag in bags if bag.label is not None]
        targets = [bag.target for bag in bags if bag.target is not None]
        coordinates = [bag.level0_xy for bag in bags if bag.level0_xy is not None]
        return cls(
            features=_joined([bag.features for bag in bags], out=out),
            layout=Packed([len(bag) for bag in bags], device=device),
            labels=on_device(torch.tensor(known), device) if len(known) == len(bags) else None,
            targets=on_device(torch.tensor(targets), device) if len(targets) == len(bags) else None,
            level0_xy=torch.cat(coordinates) if len(coordinates) == len(bags) else None,
            tile_level0_px=tuple(bag.tile_level0_px for bag in bags),
            slides=tuple(bag.slide for bag in bags),
        )

    def __len__(self) -> int:
        return len(self.layout)

    @property
    def lengths(self) -> tuple[int, ...]:
        """The number of tiles of each bag, as Python integers."""
        return self.layout.lengths

    @property
    def offsets(self) -> Int[Tensor, " bags+1"]:
        """First row of each bag, and the number of rows at the end."""
        return self.layout.offsets

    @property
    def starts(self) -> tuple[int, ...]:
        """The same as Python integers, so that no device is asked for them in a training step."""
        return self.layout.starts

    @property
    def bag_of_tile(self) -> Int[Tensor, " tiles"]:
        """Index of the bag that each row belongs to."""
        return self.layout.bag_of_tile

    def split(self, packed: Tensor) -> tuple[Tensor, ...]:
        """Cut a tensor whose rows are this batch's tiles into one tensor per bag."""
        return self.layout.split(packed)

    def between(self, first: int, last: int) -> "BagBatch":
        """The bags from `first` to before `last`, as views."""
        bags, rows = slice(first, last), slice(self.starts[first], self.starts[last])
        return replace(
            self,
            features=self.features[rows],
            layout=Packed(self.lengths[bags], device=self.layout.device),
            labels=None if self.labels is None else self.labels[bags],
            targets=None if self.targets is None else self.targets[bags],
            level0_xy=None if self.level0_xy is None else self.level0_xy[rows],
            tile_level0_px=self.tile_level0_px[bags],
            slides=self.slides[bags],
        )

    def padded(self) -> tuple[Float[Tensor, "bags longest dim"], Bool[Tensor, "bags longest"]]:
        """Features padded with zeros to the longest bag, and the mask of real tiles (True), for models that need it."""
        return self.layout.pad(self.features), self.layout.real

    def with_features(self, features: Tensor) -> "BagBatch":
        """The same bags with other features per tile (rows in the same order)."""
        return replace(self, features=features)

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> "BagBatch":
        """Move all tensors; `dtype` applies to the features only."""
        device = torch.device(device)
        return replace(
            self,
            features=on_device(self.features, device).to(dtype or self.features.dtype),
            layout=self.layout if self.layout.device == device else Packed(self.lengths, device=device),
            labels=None if self.labels is None else on_device(self.labels, device),
            targets=None if self.targets is None else on_device(self.targets, device),
            level0_xy=None if self.level0_xy is None else on_device(self.level0_xy, device),
        )


def _joined(parts: list[Tensor], *, out: Tensor | None) -> Tensor:
    if out is not None:
        return torch.cat(parts, out=out)
    return parts[0] if len(parts) == 1 else torch.cat(parts)


class StreamedBag(Bag):
    """A bag whose features and coordinates are read at each use; where the file allows it, they are mapped.

    Nothing of them is kept: what is taken from `features` stays valid, but asking again reads again. `rows` reads only
    these rows. `nbytes` is the size of the features, `mapped` whether they lie in one piece of a file.
    """

    nbytes: int
    mapped: bool
    _read: Callable[[np.ndarray | None], Bag]
    _tiles: int

    def __new__(cls, *arguments: object, **fields: Any) -> Any:
        # `dataclasses.replace` gives all fields with what it read: a bag like any other.
        return Bag(**fields) if "features" in fields else super().__new__(cls)

    def __init__(self, read: Callable[[np.ndarray | None], Bag], *, tiles: int, **facts: object):
        vars(self).update(facts, _read=read, _tiles=tiles)

    def __len__(self) -> int:
        return self._tiles

    @property
    def features(self) -> Float[Tensor, "tiles dim"]:  # type: ignore[override]
        return self._read(None).features

    @property
    def level0_xy(self) -> Int[Tensor, "tiles 2"] | None:  # type: ignore[override]
        return self._read(None).level0_xy

    def rows(self, index: Int[Tensor, " rows"]) -> Bag:
        """A bag in memory with only these tiles, in this order; no others are read."""
        return self._labelled(self._read(index.numpy()))

    def opened(self) -> Bag:
        """The bag with its file mapped (or read, where it cannot be) for as long as the result lives."""
        return self._labelled(self._read(None))

    def loaded(self) -> Bag:
        """The bag in memory."""
        bag = self.opened()
        return replace(bag, features=bag.features.clone()) if self.mapped else bag

    def _labelled(self, bag: Bag) -> Bag:
        return Bag(**{**vars(bag), "case": self.case, "label": self.label, "target": self.target})


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
