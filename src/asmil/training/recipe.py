"""What is trained: a model by name, the stabiliser's options and the settings, as plain values."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import nn

from asmil.attention import AttentionStabilizer
from asmil.bags import Bag, BagBatch
from asmil.errors import ConfigError
from asmil.models import MODELS, create_model
from asmil.tasks import Task
from asmil.training.optim import TrainSettings, check_task
from asmil.training.standardize import Standardized


@dataclass(frozen=True)
class Recipe:
    """A model by name with its options, the stabiliser's options (None: without), and the training settings.

    With `refit`, the validation part selects the epoch, and the model that is tested is then trained anew on the
    training and validation parts for as long (`refit_settings`). Plain values: it can be sent to a process, or
    written down.
    """

    model: str
    model_options: dict[str, Any] = field(default_factory=dict)
    stabilizer: dict[str, Any] | None = field(default_factory=dict)
    settings: TrainSettings = field(default_factory=TrainSettings)
    standardize: bool = True
    refit: bool = True
    device: str = "cpu"

    def identity(self) -> dict[str, Any]:
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
