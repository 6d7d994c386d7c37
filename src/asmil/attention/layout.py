"""Where the tiles of a tensor lie: along one axis (`Dense`), or those of several bags end to end (`Packed`).

What is defined over the tiles of a bag (a softmax, a divergence, a sum) is written once, for tiles along an axis; a
layout brings tensors into that form and the result back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from asmil.errors import AttentionError

FEW = 4096
"""Places of padding that cost less than the operations of a loop over bags."""

OverTiles = Callable[..., Tensor]
"""function(*tensors, dim): of tensors whose tiles lie along `dim`."""


@dataclass(frozen=True)
class Dense:
    """Tiles along `dim`, all other axes are rows. `mask` (True: a real tile) broadcasts to the tensor."""

    dim: int = -1
    mask: Tensor | None = None

    def map(self, function: OverTiles, *tensors: Tensor, padding: float = 0.0) -> Tensor:
        """A function that keeps the tiles. It sees padding at the lowest finite number, and `padding` comes out."""
        result = function(*(self._filled(t) for t in tensors), dim=self.dim)
        return result if self.mask is None else result.masked_fill(~self.mask, padding)

    def reduce(self, function: OverTiles, *tensors: Tensor) -> Tensor:
        """A function that leaves one value per row; 0 for a row of padding only."""
        result = function(*(self._filled(t) for t in tensors), dim=self.dim)
        return result if self.mask is None else result.masked_fill(self.counts(tensors[0]) == 0, 0)

    def counts(self, like: Tensor) -> Tensor:
        """The number of real tiles of each row, in the type of the tensor."""
        real = torch.ones_like(like) if self.mask is None else self.mask.expand_as(like).to(like.dtype)
        return real.sum(self.dim)

    def sum(self, values: Tensor) -> Tensor:
        """Sum over the real tiles of each row."""
        return (values if self.mask is None else values.masked_fill(~self.mask, 0)).sum(self.dim)

    def split(self, values: Tensor) -> tuple[Tensor, ...]:
        """The tensor with its tiles first, as the only bag."""
        return (values.movedim(self.dim, 0),)

    def _filled(self, values: Tensor) -> Tensor:
        # A finite floor, not -inf: a row of padding only then gives numbers and not NaN, in gradients too.
        return values if self.mask is None else values.masked_fill(~self.mask, torch.finfo(values.dtype).min)


class Packed:
    """The tiles of several bags end to end along dim 0; bag b has `lengths[b]` of them, at least one.

    Small bags are worked on padded, in one operation for all; large ones one by one where they differ in size. `mask`
    (True: a tile that counts), (tiles,) or (tiles, rows), as in `Dense`.

    Raises:
        AttentionError: a bag without tiles, of which nothing over its tiles is defined.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        *,
        device: torch.device | str = "cpu",
        mask: Tensor | None = None,
        offsets: Int[Tensor, "bags+1"] | None = None,
    ):
        self.lengths, self.device, self.mask = tuple(lengths), torch.device(device), mask
        if offsets is not None:
            self.offsets = offsets
        if 0 in self.lengths:
            raise AttentionError("a bag without tiles has no attention", found=f"bags of {self.lengths} tiles")

    @classmethod
    def of(cls, offsets: Int[Tensor, "bags+1"]) -> "Packed":
        """The layout that these offsets say; asks their device for them."""
        return cls(offsets.diff().tolist(), device=offsets.device, offsets=offsets)

    def __len__(self) -> int:
        return len(self.lengths)

    def masked(self, mask: Tensor) -> "Packed":
        """The same bags, of which only some tiles count."""
        other = Packed(self.lengths, device=self.device, mask=mask)
        other.__dict__ |= {name: value for name, value in self.__dict__.items() if name in ("offsets", "places")}
        return other

    @cached_property
    def offsets(self) -> Int[Tensor, "bags+1"]:
        """First row of each bag, and the number of rows at the end; on the device."""
        return on_device(torch.tensor(self.starts), self.device)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """The same as Python integers, so that no device is asked for them in a training step."""
        return (0, *accumulate(self.lengths))

    @cached_property
    def bag_of_tile(self) -> Int[Tensor, " tiles"]:
        """Index of the bag that each row belongs to."""
        index = torch.arange(len(self), device=self.device)
        return index.repeat_interleave(self.offsets.diff(), output_size=self.starts[-1])

    @cached_property
    def places(self) -> Int[Tensor, " tiles"]:
        """Where each row lies in the padded form, bags and tiles as one axis. A mask would be counted on the host."""
        first = torch.arange(len(self), device=self.device) * max(self.lengths) - self.offsets[:-1]
        return first[self.bag_of_tile] + torch.arange(self.starts[-1], device=self.device)

    @cached_property
    def real(self) -> Bool[Tensor, "bags longest"]:
        """True where the padded form holds a tile."""
        position = torch.arange(max(self.lengths), device=self.device)
        return position[None, :] < self.offsets.diff()[:, None]

    def split(self, packed: Float[Tensor, "tiles *rows"]) -> tuple[Tensor, ...]:
        """One tensor per bag."""
        return packed.split(list(self.lengths))

    def pad(self, packed: Float[Tensor, "tiles *rows"], value: float = 0.0) -> Float[Tensor, "bags longest *rows"]:
        """Padded to the longest bag."""
        if len(self) * max(self.lengths) == self.starts[-1]:  # bags of one size are padded as they are
            return packed.unflatten(0, (len(self), -1))
        padded = packed.new_full((len(self) * max(self.lengths), *packed.shape[1:]), value)
        return padded.index_put((self.places,), packed).unflatten(0, (len(self), -1))

    def pack(self, padded: Float[Tensor, "bags longest *rows"]) -> Float[Tensor, "tiles *rows"]:
        """Undo `pad`."""
        flat = padded.flatten(0, 1)
        return flat if flat.shape[0] == self.starts[-1] else flat.index_select(0, self.places)

    @property
    def padding_pays(self) -> bool:
        """Whether the padded form is not much larger than the packed one."""
        tiles = self.starts[-1]
        return len(self) > 1 and len(self) * max(self.lengths) - tiles <= max(tiles, FEW)

    def map(self, function: OverTiles, *tensors: Tensor, padding: float = 0.0) -> Tensor:
        """A function that keeps the tiles, bag by bag; `padding` comes out where the mask is False."""
        tensors = tuple(self._filled(t) for t in tensors)
        if len(self) == 1:
            result = function(*tensors, dim=0)
        elif self.padding_pays:
            result = self.pack(function(*(self._floored(t) for t in tensors), dim=1))
        else:
            result = torch.cat([function(*bag, dim=0) for bag in zip(*map(self.split, tensors), strict=True)])
        return result if self.mask is None else result.masked_fill(~self._mask_of(result), padding)

    def reduce(self, function: OverTiles, *tensors: Float[Tensor, "tiles *rows"]) -> Float[Tensor, "bags *rows"]:
        """A function that leaves one value per bag and row. Padding is at the lowest finite number."""
        tensors = tuple(self._filled(t) for t in tensors)
        if len(self) == 1:
            return function(*tensors, dim=0).unsqueeze(0)
        if self.padding_pays:
            return function(*(self._floored(t) for t in tensors), dim=1)
        return torch.stack([function(*bag, dim=0) for bag in zip(*map(self.split, tensors), strict=True)])

    def _floored(self, packed: Tensor) -> Tensor:
        return self.pad(packed, torch.finfo(packed.dtype).min)

    def _filled(self, packed: Tensor) -> Tensor:
        return (
            packed if self.mask is None else packed.masked_fill(~self._mask_of(packed), torch.finfo(packed.dtype).min)
        )

    def _mask_of(self, packed: Tensor) -> Tensor:
        mask = torch.ones((), dtype=torch.bool) if self.mask is None else self.mask
        return mask if mask.dim() == packed.dim() else mask[:, None]

    def counts(self, like: Float[Tensor, "tiles *rows"]) -> Tensor:
        """The number of tiles of each bag (and row) that count, in the type of the tensor."""
        if self.mask is not None:
            return self.sum(self._mask_of(like).expand_as(like).to(like.dtype))
        counts = self.offsets.diff().to(like.dtype)
        return counts.view(-1, *[1] * (like.dim() - 1))

    def sum(self, values: Float[Tensor, "tiles *rows"]) -> Float[Tensor, "bags *rows"]:
        """Sum over the tiles of each bag."""
        if len(self) > 1 and self.padding_pays:
            return self.pad(values).sum(1)
        return torch.stack([bag.sum(0) for bag in self.split(values)])

    def spread(self, per_bag: Float[Tensor, "bags *rows"]) -> Float[Tensor, "tiles *rows"]:
        """Give every tile the value of its bag. With one bag the result keeps one row, which broadcasts."""
        return per_bag if len(self) == 1 else per_bag.index_select(0, self.bag_of_tile)


Layout = Dense | Packed

LAST = Dense()
"""Tiles along the last axis, all of them real."""


def on_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device; by way of pinned memory, because copies from other memory wait for a CUDA device."""
    if device.type == "cuda" and tensor.device.type == "cpu" and not tensor.is_pinned():
        tensor = torch.empty_like(tensor, pin_memory=True).copy_(tensor)
    return tensor.to(device, non_blocking=True)
