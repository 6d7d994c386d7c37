"""What a training run is told: epochs, optimiser, schedule, precision and when to stop."""

import math
import re
from dataclasses import dataclass, replace

import torch
from torch import nn

from asmil.errors import ConfigError


@dataclass(frozen=True)
class TrainSettings:
    """Settings of `fit`.

    `batch_size` counts bags; batches are packed, so any size is exact. The learning rate rises linearly for
    `warmup_epochs` and falls as a half cosine to zero at `epochs`. `select` names the epoch whose weights are kept:
    "val_loss", "val_auroc" and, of another task than classification, "val_metric" look at the inner validation part
    only, "last" looks at nothing. Training stops when the selected value has not improved for `patience` epochs (never
    with "last"), but not before `min_epochs`.
    `tile_dropout` leaves out a fresh random share of each training bag's tiles in every epoch, and `tiles_per_bag` caps
    what is left. `data_seed` decides the order of the bags and which tiles are drawn: the seeds of a run, which are
    those of weights and dropout, have it in common, so that their models can be trained together.
    `compile` compiles the model's forward and backward while it is trained.
    """

    epochs: int = 40
    learning_rate: float = 3e-4
    weight_decay: float = 1e-2
    batch_size: int = 4
    clip_norm: float = 5.0
    warmup_epochs: int = 2
    patience: int = 15
    min_epochs: int = 10
    select: str = "val_loss"
    tile_dropout: float = 0.5
    tiles_per_bag: int | None = None
    data_seed: int = 0
    precision: str = "auto"
    compile: bool = False
    checkpoint_seconds: float = 10.0

    def __post_init__(self) -> None:
        ways = ("val_loss", "val_auroc", "val_metric", "last")
        if self.select not in ways:
            raise ConfigError("unknown way to select an epoch", found=self.select, fix=f"one of {', '.join(ways)}")
        if self.precision not in ("auto", "fp32", "bf16"):
            raise ConfigError("unknown precision", found=self.precision, fix="auto, fp32 or bf16")
        if not 0 <= self.tile_dropout < 1:
            raise ConfigError("tile_dropout is a share in [0, 1)", found=self.tile_dropout)
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1", found=getattr(self, name))


def make_optimizer(model: nn.Module, settings: TrainSettings) -> torch.optim.AdamW:
    """AdamW; weight decay acts on weights of linear maps, not on biases, norms and tokens."""
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    decayed = decayed_names(model)
    groups = [
        {"params": [p for name, p in named.items() if name in decayed], "weight_decay": settings.weight_decay},
        {"params": [p for name, p in named.items() if name not in decayed], "weight_decay": 0.0},
    ]
    # One pass over the moments instead of some fifteen, where torch has it.
    fused = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in named.values())
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=settings.learning_rate, fused=fused)


def decayed_names(model: nn.Module) -> set[str]:
    """Names of the parameters that weight decay acts on."""
    return {n for n, p in model.named_parameters() if p.dim() >= 2 and not _NOT_DECAYED.search(n)}


_NOT_DECAYED = re.compile(r"(bias|norm[^.]*|tokens?)$|norm[^.]*\.[^.]*$")


def learning_rate(settings: TrainSettings, progress: float) -> float:
    """The learning rate at `progress` epochs (fractional): linear warm-up, then half cosine to zero."""
    if progress < settings.warmup_epochs:
        return settings.learning_rate * (progress + 1e-2) / (settings.warmup_epochs + 1e-2)
    span = max(settings.epochs - settings.warmup_epochs, 1e-9)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * (progress - settings.warmup_epochs) / span))


def refit_settings(settings: TrainSettings, epochs: int) -> TrainSettings:
    """Settings to train anew for as long as `epochs` epochs of the schedule, measured by the sum of learning rates.

    Stopping in mid-schedule leaves the weights noisy; this schedule has the same sum and ends at zero.
    """
    budget = sum(learning_rate(settings, epoch + 0.5) for epoch in range(epochs)) / settings.learning_rate
    return replace(settings, select="last", epochs=max(1, round(2 * budget)))


def autocast(device: torch.device, settings: TrainSettings) -> torch.autocast:
    """bf16 autocast where it is faster (CUDA); on CPUs bf16 products are ten times slower than fp32."""
    wanted = settings.precision == "bf16" or (settings.precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=wanted)
