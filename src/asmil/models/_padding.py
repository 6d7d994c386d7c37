"""Bags of similar size side by side, so that one operation serves them all, and the way back to packed tiles."""

from collections.abc import Sequence

import torch
from torch import Tensor

from asmil.bags import BagBatch, on_device

FREE = 192  # tokens of padding that cost less than the operations of one more group
AT_ONCE = 16_384  # tokens of a group, padding included, unless a single bag has more


def similar(sizes: Sequence[int], *, copies: Sequence[int] | None = None) -> list[list[int]]:
    """Indices of bags in groups, the longest first: padding adds at most half a bag's tokens, or `FREE` of them.

    A bag has `copies` times its size of tokens, once its size unless given.
    """
    copies = copies or [1] * len(sizes)
    groups: list[list[int]] = []
    for index in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        longest = sizes[groups[-1][0]] if groups else 0
        padding = (longest - sizes[index]) * copies[index]
        fits = groups and padding <= max(FREE, sizes[index] * copies[index] / 2)
        if fits and longest * sum(copies[i] for i in (*groups[-1], index)) <= AT_ONCE:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def pack(padded: Sequence[Tensor], batch: BagBatch, groups: Sequence[Sequence[int]]) -> Tensor:
    """One tensor (bags, width, ...) per group to (tiles, ...), in the order of the batch."""
    rows = torch.cat([part.flatten(0, 1) for part in padded])
    first, start = [0] * len(batch), 0
    for part, group in zip(padded, groups, strict=True):
        for place, index in enumerate(group):
            first[index] = start + place * part.shape[1]
        start += part.shape[0] * part.shape[1]
    if tuple(first) == batch.starts[:-1] and start == batch.starts[-1]:
        return rows
    places = torch.cat([torch.arange(f, f + n) for f, n in zip(first, batch.lengths, strict=True)])
    return rows.index_select(0, on_device(places, rows.device))


def stack(bags: Sequence[Tensor], groups: Sequence[Sequence[int]]) -> Tensor:
    """One tensor (bags, ...) per group to (bags, ...), in the order of the batch."""
    order = [index for group in groups for index in group]
    rows = torch.cat(list(bags))
    if order == sorted(order):
        return rows
    return rows.index_select(0, on_device(torch.tensor(order).argsort(), rows.device))
