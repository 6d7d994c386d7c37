"""Bags that stay in their files: for cohorts that are larger than the memory."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from asmil.bags.bag import Bag


class StreamedBag(Bag):
    """A bag whose features and coordinates are read at each use; where the file allows it, they are mapped.

    Nothing of them is kept: what is taken from `features` stays valid, but asking again reads again. `rows` reads only
    these rows. `nbytes` is the size of the features, `mapped` whether they lie in one piece of a file.
    """

    nbytes: int
    mapped: bool
    _read: Callable[[np.ndarray | None], Bag]
    _tiles: int

    def __new__(cls, *arguments: Any, **fields: Any) -> Any:
        # `dataclasses.replace` gives all fields with what it read: a bag like any other.
        return Bag(**fields) if "features" in fields else super().__new__(cls)

    def __init__(self, read: Callable[[np.ndarray | None], Bag], *, tiles: int, **facts: Any):
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
