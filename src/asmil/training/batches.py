"""The batches of one epoch: the order of the bags, the tiles drawn of each, packed and moved to the device."""

import time
from collections.abc import Iterable, Iterator, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from hashlib import blake2b
from itertools import pairwise
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from asmil.bags import Bag, BagBatch, StreamedBag
from asmil.training.optim import TrainSettings

TILES_AT_ONCE, ON_CPU = 65_536, 4_096
"""Tiles of a computation. On a GPU for all models at work together, without gradients: 128 MB of 1024 float16 features.
A CPU is up to twice as fast with what its caches hold, in training too (docs/log.md)."""

Tiles = TypeVar("Tiles", bound=Sized)


def bag_order(bags: Sequence[Bag], *, settings: TrainSettings, epoch: int) -> list[int]:
    """Indexes of the bags in this epoch's order.

    The place of a bag depends on `settings.data_seed`, the epoch and the slide's name alone, so that the order of a
    part of a cohort is the cohort's order without the others.
    """
    places = [_stream(bag, index, settings=settings, epoch=epoch).random() for index, bag in enumerate(bags)]
    return np.argsort(places, kind="stable").tolist()


def bag_batches(
    bags: Sequence[Bag],
    batches: Sequence[Sequence[int]],
    *,
    settings: TrainSettings,
    epoch: int,
    device: torch.device | str = "cpu",
) -> Iterator[BagBatch]:
    """The batches of these bags (indexes of `bags`), each with a fresh sample of its bags' tiles, on the device.

    The tiles that are drawn of a bag depend on the same three things as its place, not on the bags beside it. A batch
    is valid until the next one is asked for (see `packed`).
    """
    drawn = ([_sampled(bags[i], i, settings=settings, epoch=epoch) for i in batch] for batch in batches)
    return packed(drawn, device=device, ahead=is_elsewhere(bags, device))


def packed(lists: Iterable[list[Bag]], *, device: torch.device | str, ahead: bool) -> Iterator[BagBatch]:
    """Lists of bags as batches on the device.

    With `ahead`, a thread reads, packs and moves the next batch while the caller works on this one. The memory of a
    batch is then used again for the next but one: a batch is valid until the next one is asked for.
    """
    if not ahead:
        yield from map(BagBatch.from_bags, lists)
        return
    packer = _Packer(torch.device(device))
    made = map(packer.pack, lists)
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as thread:
        following = thread.submit(next, made, None)
        while (current := following.result()) is not None:
            following = thread.submit(next, made, None)
            yield packer.received(*current)


def parts_of(batch: BagBatch, *, most_tiles: int) -> list[BagBatch]:
    """A batch cut between its bags, each part of up to a number of tiles; a larger bag stands alone."""
    if len(batch) == 1 or len(batch.features) <= most_tiles:
        return [batch]
    parts, first = [], 0
    for chosen in lists_of([range(*rows) for rows in pairwise(batch.starts)], most_tiles=most_tiles):
        parts.append(batch.between(first, first + len(chosen)))
        first += len(chosen)
    return parts


def lists_of(bags: Sequence[Tiles], *, most_tiles: int, most_bags: int | None = None) -> Iterator[list[Tiles]]:
    """Bags in order, up to a number of tiles and of bags at once; a larger bag stands alone."""
    chosen: list[Tiles] = []
    for bag in bags:
        if chosen and (len(chosen) == most_bags or sum(map(len, chosen)) + len(bag) > most_tiles):
            yield chosen
            chosen = []
        chosen.append(bag)
    if chosen:
        yield chosen


def is_elsewhere(bags: Iterable[Bag], device: torch.device | str) -> bool:
    """Whether features have to be read from files or moved to the device before a model can see them."""
    kind = torch.device(device).type
    return any(isinstance(bag, StreamedBag) or bag.features.device.type != kind for bag in bags)


class Timed:
    """Batches, and the `seconds` that were spent waiting for them."""

    def __init__(self, batches: Iterator[BagBatch]):
        self._batches, self.seconds = batches, 0.0

    def __iter__(self) -> Iterator[BagBatch]:
        while True:
            started = time.perf_counter()
            batch = next(self._batches, None)
            self.seconds += time.perf_counter() - started
            if batch is None:
                return
            yield batch


class _Packer:
    """Packs bags into two pieces of memory in turn: fresh memory costs more than what is written into it.

    For a CUDA device the memory is pinned and batches move on a stream of their own, beside the work of the caller's.
    """

    def __init__(self, device: torch.device):
        self.device, self.turn = device, 0
        self.memory = [torch.empty(0, dtype=torch.uint8) for _ in range(2)]
        self.moved: list[torch.Event | None] = [
            None,
            None,
        ]  # when the memory of a turn was on the device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def pack(self, bags: list[Bag]) -> tuple[BagBatch, torch.Event | None]:
        """The batch on the device, and the event after which it is there."""
        bags, self.turn = [bag.opened() for bag in bags], 1 - self.turn
        if (moved := self.moved[self.turn]) is not None:
            moved.synchronize()
        batch = BagBatch.from_bags(bags, out=self._room(bags))
        if self.stream is None:
            return batch, None
        with torch.cuda.stream(self.stream):
            batch = batch.to(self.device)
            self.moved[self.turn] = self.stream.record_event()
        return batch, self.moved[self.turn]

    def received(self, batch: BagBatch, event: torch.Event | None) -> BagBatch:
        """The batch, for work on the caller's stream."""
        if event is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_event(event)
            for tensor in (batch.features, batch.labels, batch.targets, batch.level0_xy):
                if tensor is not None:
                    tensor.record_stream(current)
        return batch

    def _room(self, bags: list[Bag]) -> Tensor:
        """Memory for the features of these bags (tiles, dim)."""
        dtype = reduce(torch.promote_types, [bag.features.dtype for bag in bags])
        shape = (sum(map(len, bags)), bags[0].features.shape[1])
        size = shape[0] * shape[1] * dtype.itemsize
        if len(self.memory[self.turn]) < size:
            self.memory[self.turn] = torch.empty(size, dtype=torch.uint8, pin_memory=self.stream is not None)
        return self.memory[self.turn][:size].view(dtype).view(shape)


def tiles_drawn(tiles: int, settings: TrainSettings) -> int:
    """How many of a bag's tiles a training step sees."""
    kept = max(1, round(tiles * (1 - settings.tile_dropout)))
    return min(kept, settings.tiles_per_bag or kept)


def _sampled(bag: Bag, index: int, *, settings: TrainSettings, epoch: int) -> Bag:
    """The tiles of a bag that one training step sees, in their order; of a bag in a file only these are read."""
    kept = tiles_drawn(len(bag), settings)
    if kept == len(bag):
        return bag
    stream = _stream(bag, index, settings=settings, epoch=epoch)
    stream.random()  # its first number is the bag's place
    return bag.rows(torch.from_numpy(np.sort(stream.choice(len(bag), kept, replace=False))))


def _stream(bag: Bag, index: int, *, settings: TrainSettings, epoch: int) -> np.random.Generator:
    """Random numbers of a bag in an epoch; bags without a name are known by their index."""
    name = bag.slide or str(index)
    key = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little")
    return np.random.default_rng((settings.data_seed, epoch, key))
