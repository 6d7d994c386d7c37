"""Attention of every token and head of a trained model, computed again from the features of a slide."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from asmil.bags import Bag
from asmil.errors import NotOfferedError, RunError
from asmil.runs import Cell, Run

KEPT_BYTES = 256 * 2**20
"""Memory for computed maps: a slide of 50 000 tiles under 64 rows takes 13 MB."""


class Heads:
    """The maps of single rows (token x head, class ...) of the run's models; `load` gives the bag of a slide."""

    def __init__(self, run: Run, *, load: Callable[[str], Bag]):
        self._run, self._load = run, load
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, int, str], np.ndarray] = OrderedDict()

    def kept(self, cell: Cell) -> bool:
        """Whether the model of a cell takes slides one by one."""
        return self._run.unit == "slide"

    def shape(self, cell: Cell, slide: str) -> dict[str, Any]:
        """What the rows are: `tokens` and `heads` by name; a list is empty where there is one or none."""
        rows = self.weights(cell, slide).shape[1]
        tokens, heads = self._grid(rows)
        classes = self._run.classes
        named = classes if tokens == rows == len(classes) else [str(i + 1) for i in range(tokens)]
        return {"tokens": named if tokens > 1 else [], "heads": [str(i + 1) for i in range(heads)] if heads > 1 else []}

    def mean_of(self, cell: Cell, slide: str, *, token: str, head: str) -> np.ndarray:
        """Attention (tiles,) of one token and head; the mean over those that are `all`.

        Raises:
            NotOfferedError: the model has no such token or head.
            RunError: the model has no scores, or does not fit the features.
        """
        weights = self.weights(cell, slide)
        tokens, heads = self._grid(weights.shape[1])
        chosen = weights.reshape(len(weights), tokens, heads)
        for axis, (index, count) in enumerate(((token, tokens), (head, heads)), start=1):
            if index == "all":
                continue
            if not index.isdecimal() or len(index) > 9 or int(index) >= count:
                raise NotOfferedError("the model has no such token or head", found=f"{index[:20]}, of {count}")
            chosen = chosen.take([int(index)], axis=axis)
        return chosen.mean(axis=(1, 2))

    def weights(self, cell: Cell, slide: str) -> np.ndarray:
        """Attention (tiles, rows): each column sums to 1."""
        key = cell.fold, cell.seed, slide
        with self._lock:  # one at a time: each may take much memory
            if key not in self._kept:
                self._kept[key] = _row_weights(self._run, cell, self._load(slide))
                while len(self._kept) > 1 and sum(w.nbytes for w in self._kept.values()) > KEPT_BYTES:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]

    def _grid(self, rows: int) -> tuple[int, int]:
        """Tokens and heads of the model, if they make up its rows; else every row counts as a token."""
        from asmil.models import model_options

        settings = self._run.settings
        options = model_options(settings.model) | settings.model_options
        tokens, heads = (options.get(name) for name in ("tokens", "heads"))
        if isinstance(tokens, int) and isinstance(heads, int) and tokens * heads == rows:
            return tokens, heads
        return (1, rows) if heads == rows else (rows, 1)


def _row_weights(run: Run, cell: Cell, bag: Bag) -> np.ndarray:
    import torch

    from asmil.attention import softmax
    from asmil.bags import BagBatch

    model, _ = cell.model(run.settings, len(run.classes), in_dim=bag.features.shape[1])
    normalizer = getattr(getattr(model, "model", model), "normalizer", softmax)
    with torch.inference_mode():
        batch = BagBatch.from_bags(bag)
        output = model(batch)
        if output.scores is None:
            raise RunError(f"{run.settings.model} has no attention by token or head")
        order, layout = output.segments(batch.layout)
        weights = torch.empty_like(output.scores, dtype=torch.float32)
        weights[order] = normalizer(output.scores[order].float(), layout) / len(layout)
    return weights.numpy()
