"""A slide as training data: its tile features, and several such bags packed into one tensor."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from asmil.errors import FeatureError


@dataclass(frozen=True)
class Bag:
    """The tiles of one slide (or patient) with its label.

    `features` are (tiles, dim), any float type; `level0_xy` the top-left corners in level-0 pixels or None where
    the feature file has none. `label` is a class index, or None at prediction time.
    """

    features: Float[Tensor, "tiles dim"]
    level0_xy: Int[Tensor, "tiles 2"] | None = None
    slide: str = ""
    case: str = ""
    label: int | None = None
    tile_level0_px: float | None = None
    mpp: float | None = None

    def __len__(self) -> int:
        return self.features.shape[0]

    def rows(self, index: Int[Tensor, " rows"]) -> "Bag":
        """The bag with only these tiles, in this order."""
        level0_xy = None if self.level0_xy is None else self.level0_xy[index]
        return replace(self, features=self.features[index], level0_xy=level0_xy)


@dataclass(frozen=True)
class BagBatch:
    """Several bags packed end to end: no padding, so any batch size gives the result of a loop over bags.

    `features` (tiles, dim) hold all tiles of all bags; bag b owns rows `offsets[b]:offsets[b + 1]`. `lengths` is the
    same as Python integers, so that no device is asked for them in a training step.
    """

    features: Float[Tensor, "tiles dim"]
    offsets: Int[Tensor, "bags+1"]
    lengths: tuple[int, ...]
    labels: Int[Tensor, " bags"] | None = None
    level0_xy: Int[Tensor, "tiles 2"] | None = None
    tile_level0_px: tuple[float | None, ...] = ()
    slides: tuple[str, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_bags(cls, bags: Sequence[Bag] | Bag) -> "BagBatch":
        """Pack bags in the given order.

        Raises:
            FeatureError: no bags, an empty bag, or bags of different feature dimension.
        """
        bags = [bags] if isinstance(bags, Bag) else list(bags)
        if not bags:
            raise FeatureError("a batch needs at least one bag")
        for bag in bags:
            if len(bag) == 0:
                raise FeatureError("a bag without tiles cannot be used", found=bag.slide or "unnamed bag")
        dims = {bag.features.shape[1] for bag in bags}
        if len(dims) > 1:
            raise FeatureError("bags of one batch have different feature dimensions", found=sorted(dims))
        lengths = tuple(len(bag) for bag in bags)
        device = bags[0].features.device
        labels = [bag.label for bag in bags]
        known = [label for label in labels if label is not None]
        coordinates = [bag.level0_xy for bag in bags if bag.level0_xy is not None]
        return cls(
            features=bags[0].features if len(bags) == 1 else torch.cat([bag.features for bag in bags]),
            offsets=torch.tensor([0, *lengths], device=device).cumsum(0),
            lengths=lengths,
            labels=torch.tensor(known, device=device) if len(known) == len(bags) else None,
            level0_xy=torch.cat(coordinates) if len(coordinates) == len(bags) else None,
            tile_level0_px=tuple(bag.tile_level0_px for bag in bags),
            slides=tuple(bag.slide for bag in bags),
        )

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """First row of each bag, and the number of rows at the end, as Python integers."""
        total, starts = 0, [0]
        for length in self.lengths:
            total += length
            starts.append(total)
        return tuple(starts)

    @cached_property
    def bag_of_tile(self) -> Int[Tensor, " tiles"]:
        """Index of the bag each row belongs to."""
        index = torch.arange(len(self), device=self.features.device)
        return index.repeat_interleave(self.offsets.diff(), output_size=self.features.shape[0])

    def split(self, packed: Tensor) -> tuple[Tensor, ...]:
        """Cut a tensor whose rows are this batch's tiles into one tensor per bag."""
        return packed.split(list(self.lengths))

    def padded(self) -> tuple[Float[Tensor, "bags longest dim"], Bool[Tensor, "bags longest"]]:
        """Features padded with zeros to the longest bag, and the mask of real tiles (True), for models that need it."""
        return self.pad(self.features), self.mask

    @cached_property
    def mask(self) -> Bool[Tensor, "bags longest"]:
        """True where the padded view holds a real tile."""
        position = torch.arange(max(self.lengths), device=self.features.device)
        return position[None, :] < self.offsets.diff()[:, None]

    def pad(self, packed: Tensor) -> Tensor:
        """Pad a packed tensor (tiles, ...) to (bags, longest, ...) with zeros."""
        padded = packed.new_zeros((len(self), max(self.lengths), *packed.shape[1:]))
        return padded.masked_scatter(
            self.mask.reshape(*self.mask.shape, *([1] * (packed.dim() - 1))).expand_as(padded), packed
        )

    def pack(self, padded: Tensor) -> Tensor:
        """Undo `pad`: (bags, longest, ...) to (tiles, ...)."""
        return padded[self.mask]

    def with_features(self, features: Tensor) -> "BagBatch":
        """The same bags with other features per tile (rows in the same order)."""
        return replace(self, features=features)

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> "BagBatch":
        """Move all tensors; `dtype` applies to the features only."""

        def move(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device, non_blocking=True)

        return replace(
            self,
            features=self.features.to(device, dtype, non_blocking=True),
            offsets=self.offsets.to(device, non_blocking=True),
            labels=move(self.labels),
            level0_xy=move(self.level0_xy),
        )
