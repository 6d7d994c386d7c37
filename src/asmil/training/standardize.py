"""Per-dimension standardisation of features as part of the model, fitted on the training part only."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from asmil.bags import Bag, BagBatch, StreamedBag
from asmil.models import MILOutput


class Standardized(nn.Module):
    """A MIL model behind (x - mean) / std; the statistics are buffers, so they travel with the weights.

    Bags count equally, whatever their number of tiles. Dimensions that are constant over the training part pass as
    zeros. The wrapped model sees features clamped to +-`limit` standard deviations: one broken tile of a new slide
    cannot dominate.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, dim: int, *, limit: float = 8.0):
        super().__init__()
        self.model, self.limit = model, limit
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    def fit_statistics(self, bags: Iterable[Bag]) -> "Standardized":
        """Set mean and standard deviation from the bags' `moments`, which no other fold or seed has to read again."""
        total, count = torch.zeros((2, len(self.mean)), dtype=torch.float64, device=self.mean.device), 0
        for bag in bags:
            total += bag.moments.to(total.device)
            count += 1
        mean, square = total / max(count, 1)
        std = (square - mean.square()).clamp(min=0).sqrt()
        constant = std <= 1e-6 * mean.abs().clamp(min=1e-6)
        self.mean.copy_(mean)
        self.std.copy_(torch.where(constant, torch.inf, std))
        return self

    def around(self, model: nn.Module) -> "Standardized":
        """Another model behind the same statistics."""
        other = Standardized(model, len(self.mean), limit=self.limit).to(self.mean.device)
        other.mean.copy_(self.mean)
        other.std.copy_(self.std)
        return other

    def _scaled(self, batch: BagBatch) -> BagBatch:
        x: Float[Tensor, "tiles dim"] = batch.features.to(self.mean.dtype) - self.mean
        return batch.with_features(x.div_(self.std).clamp_(-self.limit, self.limit))

    def forward(self, batch: BagBatch) -> MILOutput:
        return self.model(self._scaled(batch))

    def __getattr__(self, name: str) -> Any:
        # Hooks exist where the wrapped model has them: `fit` looks for them by name.
        if name == "after_step":
            return getattr(self.model, name)
        if name == "prepare" and hasattr(self.model, name):
            return self._prepare
        return super().__getattr__(name)

    def _prepare(self, train: Sequence[Bag], train_stage: Callable[[nn.Module], nn.Module]) -> None:
        """The wrapped model's preparation: it sees standardised features, and so do the stages it trains."""

        def standardized_stage(module: nn.Module) -> nn.Module:
            train_stage(self.around(module.to(self.mean.device)))
            return module

        scaled = [self._stream_scaled(bag) if isinstance(bag, StreamedBag) else self._scaled_bag(bag) for bag in train]
        prepare: Any = self.model.prepare
        prepare(scaled, standardized_stage)

    def _scaled_bag(self, bag: Bag, rows: np.ndarray | None = None) -> Bag:
        """A bag (only these rows of it) as the wrapped model sees it, on the device where it is."""
        part = bag.opened() if rows is None else bag.rows(torch.from_numpy(rows))
        scaled = self._scaled(BagBatch.from_bags(part).to(self.mean.device)).features
        return replace(part, features=scaled.to(part.features.device))

    def _stream_scaled(self, bag: StreamedBag) -> StreamedBag:
        """The same for a bag that stays in its file: scaled at each use."""
        facts = {f.name: getattr(bag, f.name) for f in fields(bag) if f.name not in ("features", "level0_xy")}
        read = partial(self._scaled_bag, bag)
        return StreamedBag(read, tiles=len(bag), nbytes=bag.nbytes, mapped=bag.mapped, **facts)

    def attention_scores(self, batch: BagBatch) -> Float[Tensor, "tiles rows"]:
        """The wrapped model's scores (the anchor runs only this part); through its whole forward if it has none."""
        part = getattr(self.model, "attention_scores", None)
        return part(self._scaled(batch)) if part else self.model(self._scaled(batch)).scores
