"""The batches of one epoch: the order of the bags, the tiles drawn of each, packed and moved to the device."""

from collections.abc import Iterator, Sequence
from hashlib import blake2b

import numpy as np
import torch

from asmil.bags import Bag, BagBatch
from asmil.training.optim import TrainSettings


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
    device: torch.device | str,
) -> Iterator[BagBatch]:
    """The batches of these bags (indexes of `bags`), each with a fresh sample of its bags' tiles, on the device.

    The tiles that are drawn of a bag depend on the same three things as its place, not on the bags beside it.
    """
    for batch in batches:
        chosen = [_sampled(bags[index], index, settings=settings, epoch=epoch) for index in batch]
        yield BagBatch.from_bags(chosen).to(device)


def _sampled(bag: Bag, index: int, *, settings: TrainSettings, epoch: int) -> Bag:
    """The tiles of a bag that one training step sees, in their order."""
    kept = max(1, round(len(bag) * (1 - settings.tile_dropout)))
    kept = min(kept, settings.tiles_per_bag or kept)
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
