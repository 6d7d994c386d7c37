"""What is trained: a model by name, the stabiliser's options and the settings, as plain values."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from asmil.attention import AttentionStabilizer
from asmil.bags import Bag, BagBatch, StreamedBag
from asmil.errors import ConfigError
from asmil.files import Facts
from asmil.models import MODELS, MILOutput, create_model
from asmil.tasks import Task
from asmil.training.optim import TrainSettings, check_task

# Per-dimension standardisation of features as part of the model, fitted on the training part only.


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
        # hardtanh_ is clamp_, in place, for which vmap has a rule
        return batch.with_features(F.hardtanh_(x.div_(self.std), -self.limit, self.limit))

    def forward(self, batch: BagBatch) -> MILOutput:
        return self.model(self._scaled(batch))

    @property
    def baseline(self) -> Tensor:
        """Features of a tile that says nothing: the mean of the training part."""
        return self.mean

    def __getattr__(self, name: str) -> Any:
        # Hooks exist where the wrapped model has them: `fit` looks for them by name.
        if name in ("before_step", "after_step"):
            return getattr(self.model, name)
        if name in ("prepare", "choose", "adopt") and hasattr(self.model, name):
            return {"prepare": self._prepare, "choose": self._choose, "adopt": self._adopt}[name]
        if name == "evidence" and hasattr(self.model, name):
            return self._evidence
        return super().__getattr__(name)

    def _evidence(self, batch: BagBatch) -> Float[Tensor, "tiles classes"]:
        return getattr(self.model, "evidence")(self._scaled(batch))  # noqa: B009

    def _prepare(self, train: Sequence[Bag], train_stage: Callable[[nn.Module], nn.Module]) -> None:
        """The wrapped model's preparation: it sees standardised features, and so do the stages it trains."""

        def standardized_stage(module: nn.Module) -> nn.Module:
            train_stage(self.around(module.to(self.mean.device)))
            return module

        prepare: Any = self.model.prepare
        prepare(self._all_scaled(train), standardized_stage)

    def _choose(self, val: Sequence[Bag]) -> None:
        getattr(self.model, "choose")(self._all_scaled(val))  # noqa: B009

    def _adopt(self, other: "Standardized") -> None:
        getattr(self.model, "adopt")(other.model)  # noqa: B009

    def _all_scaled(self, bags: Sequence[Bag]) -> list[Bag]:
        return [self._stream_scaled(bag) if isinstance(bag, StreamedBag) else self._scaled_bag(bag) for bag in bags]

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


@dataclass(frozen=True)
class Recipe:
    """A model by name with its options, the stabiliser's options (None: without), and the training settings.

    With `refit`, the validation part selects the epoch, and the model that is tested is then trained anew on the
    training and validation parts for as long (`refit_settings`). Plain values: it can be sent to a process, or
    written down.
    """

    model: str
    model_options: Facts = field(default_factory=dict)
    stabilizer: Facts | None = field(default_factory=dict)
    settings: TrainSettings = field(default_factory=TrainSettings)
    standardize: bool = True
    refit: bool = True
    device: str = "cpu"

    def identity(self) -> Facts:
        """Everything that decides the result."""
        return {k: v for k, v in asdict(self).items() if k != "device"}

    def check(self, task: Task | None) -> None:
        """Raise a `ConfigError` where the model or the settings are not for a task (None: classification)."""
        check_task(self.settings, task)
        why = getattr(MODELS.module(self.model), "NEEDS_CLASSES", "")
        if task and why:
            found, fix = f"{self.model}, {task.name}", "use another model, for example abmil, asmil or transmil"
            raise ConfigError(f"this model is for classification alone: {why}", found=found, fix=fix)

    def build(self, *, in_dim: int, n_classes: int, train: Sequence[Bag], seed: int) -> nn.Module:
        """A freshly initialised model for this training part."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = create_model(self.model, in_dim=in_dim, n_classes=n_classes, **self.model_options)
        if self.standardize:
            model = Standardized(model, in_dim).fit_statistics(train)
        return model.to(self.device)

    def stabilize(self, model: nn.Module, bag: Bag, *, seed: int = 0) -> AttentionStabilizer | None:
        """The stabiliser attached to a model; None where none is wanted or the model has no attention (mean, max).

        It sees a standardised model from within: the features are standardised once for both branches. The weights of
        an anchor with `init="independent"` depend on `seed` alone.
        """
        if self.stabilizer is None or not has_scores(model, bag):
            return None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + _ANCHOR_SEED)
            return AttentionStabilizer(model.model if isinstance(model, Standardized) else model, **self.stabilizer)


@torch.no_grad()
def has_scores(model: nn.Module, bag: Bag) -> bool:
    """Whether a model has attention to align; it is run on a bag, and its mode is restored."""
    was_training = model.training
    device = next(model.parameters()).device
    scores = model.eval()(BagBatch.from_bags(bag).to(device)).scores
    model.train(was_training)
    return scores is not None


_ANCHOR_SEED = 1_000_003
"""Apart from the seeds of models: an independent anchor drawn from its model's seed would be its equal."""
