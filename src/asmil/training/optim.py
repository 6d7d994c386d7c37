"""What a training run is told: epochs, optimiser, schedule, precision and when to stop."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import accumulate, pairwise
from numbers import Real
from typing import get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim.adamw import adamw

from asmil.bags import Bag
from asmil.errors import CohortError, ConfigError
from asmil.tasks import Task

EPOCHS = 40
"""At most, of cohorts so large that these are more steps than needed."""


_LEAST = dict.fromkeys(("epochs", "batch_size", "tiles_per_bag"), 1) | dict.fromkeys(
    ("weight_decay", "clip_norm", "warmup_epochs", "patience", "min_steps", "restarts", "data_seed"), 0
)


@dataclass(frozen=True)
class TrainSettings:
    """Settings of `fit`.

    `batch_size` counts bags; batches are packed, so any size is exact. The learning rate rises linearly for
    `warmup_epochs` and falls as a half cosine to zero at `epochs`. `select` names the epoch whose weights are kept:
    "val_loss", "val_auroc" and, of another task than classification, "val_metric" look at the inner validation part
    only, "last" looks at nothing. Without `epochs` training lasts 40, or as many as `min_steps` of the optimiser take
    where these are more: attention to a small lesion forms late, and in steps, not in passes over a small cohort
    (docs/log.md). It stops when the selected value has not improved for `patience` epochs (never with "last"), but not
    before `min_steps`. A classifier of a cross-validation or a study that has found nothing after a third of them
    (`FitResult.nothing`) begins again from other random numbers, at most `restarts` times (`train_starts`).
    `tile_dropout` leaves out a fresh random share of each training bag's tiles in every epoch, and `tiles_per_bag` caps
    what is left. `data_seed` decides the order of the bags and which tiles are drawn: the seeds of a run, which are
    those of weights and dropout, have it in common, so that their models can be trained together.
    `weight_decay` None is the model's own (`weight_decay_of`).
    `compile` compiles the model's forward and backward while it is trained; the ratio of gradients is not known then.
    """

    epochs: int | None = None
    learning_rate: float = 1e-3
    weight_decay: float | None = None
    batch_size: int = 4
    clip_norm: float = 5.0
    warmup_epochs: int = 2
    patience: int = 15
    min_steps: int = 1800
    restarts: int = 3
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
        for part in fields(self):
            value, kinds = getattr(self, part.name), get_args(part.type) or (part.type,)
            known = type(value) in kinds or (isinstance(value, Real) and not isinstance(value, bool))
            if not known and (int in kinds or float in kinds):
                raise ConfigError(f"{part.name} must be a number", found=repr(value))
        if not 0 <= self.tile_dropout < 1:
            raise ConfigError("tile_dropout is a share in [0, 1)", found=self.tile_dropout)
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and not value >= least:  # nor is NaN
                raise ConfigError(f"{name} must be at least {least}", found=value)
        if not 0 < self.learning_rate < math.inf:
            raise ConfigError("learning_rate must be a number above 0", found=self.learning_rate)

    def least_epochs(self, bags: int) -> int:
        """Epochs of so many bags that `min_steps` take."""
        return math.ceil(self.min_steps / max(1, math.ceil(bags / self.batch_size)))

    def planned(self, bags: int) -> "TrainSettings":
        """These settings with the epochs that a training of so many bags takes at most."""
        return self if self.epochs else replace(self, epochs=max(EPOCHS, self.least_epochs(bags)))

    @property
    def most_epochs(self) -> int:
        """The epochs at most; of settings that are not `planned` yet, the least that they may become."""
        return self.epochs or EPOCHS


WEIGHT_DECAY = 1e-2
"""Where neither settings nor model say another."""


def weight_decay_of(model: nn.Module, given: float | None) -> float:
    """The weight decay that was given, else that which the model's class asks for as `WEIGHT_DECAY`, else .01."""
    if given is not None:
        return given
    inner = getattr(model, "model", model)  # behind standardised features
    return float(getattr(inner, "WEIGHT_DECAY", WEIGHT_DECAY))


def decayed_names(model: nn.Module) -> set[str]:
    """Names of the parameters that weight decay acts on."""
    return {n for n, p in model.named_parameters() if p.dim() >= 2 and not _NOT_DECAYED.search(n)}


_NOT_DECAYED = re.compile(r"(bias|norm[^.]*|tokens?)$|norm[^.]*\.[^.]*$")


def learning_rate(settings: TrainSettings, progress: float) -> float:
    """The learning rate at `progress` epochs (fractional): linear warm-up, then half cosine to zero."""
    if progress < settings.warmup_epochs:
        return settings.learning_rate * (progress + 1e-2) / (settings.warmup_epochs + 1e-2)
    span = max(settings.most_epochs - settings.warmup_epochs, 1e-9)
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


def check_task(settings: TrainSettings, task: Task | None) -> None:
    """Raise a `ConfigError` where a task cannot be trained with these settings."""
    wrong = "val_auroc" if task else "val_metric"
    if settings.select == wrong:
        right = "val_metric" if task else "val_auroc"
        found = f"select={wrong} of {task.name if task else 'classification'}"
        raise ConfigError("this way to select an epoch is of another task", found=found, fix=f"{right}, or val_loss")
    if task and settings.batch_size < task.smallest_batch:
        raise ConfigError(
            f"the loss of {task.name} compares the bags of a batch",
            found=f"batch_size {settings.batch_size}",
            fix=f"at least {task.smallest_batch}, better 16 or more",
        )


def check_bags(train: Sequence[Bag], val: Sequence[Bag], settings: TrainSettings, *, task: Task | None = None) -> None:
    """Raise a `CohortError` unless these bags can be trained on, a `ConfigError` unless the settings suit the task."""
    check_task(settings, task)
    if not len(train):
        raise CohortError("there are no training bags")
    if not len(val) and settings.select != "last":
        raise CohortError(
            "no validation bags, so no epoch can be selected", fix="give a validation part, or select='last'"
        )
    what = "label" if task is None else "target"
    unlabelled = [bag.slide for part in (train, val) for bag in part if getattr(bag, what) is None]
    if unlabelled:
        raise CohortError(f"bags without a {what} cannot be trained on", found=", ".join(unlabelled[:5]))


# The weights of models of one shape as rows of one matrix, and AdamW on these rows.


class Rows:
    """Parameters of models of one shape as rows of one matrix, into which the models' own parameters then look.

    `named` are the same numbers by name, (rows, ...) each. `taken` are the models' rows, of `count` (their own numbers
    in order, where not said); the others hold the first model's numbers, for nobody.

    Raises:
        ConfigError: the parameters have several types, or lie on several devices.
    """

    def __init__(self, models: Sequence[nn.Module], names: Sequence[str], *, taken: Sequence[int] = (), count: int = 0):
        self.models, self.names, self.taken = list(models), list(names), list(taken or range(len(models)))
        at = dict(zip(self.taken, models, strict=True))
        several = [dict(at.get(row, models[0]).named_parameters()) for row in range(count or len(models))]
        kinds = {(several[0][name].dtype, several[0][name].device) for name in names}
        if len(kinds) > 1:
            raise ConfigError(
                "a model is trained whose parameters have one type and one device",
                found=", ".join(sorted(f"{dtype} on {device}" for dtype, device in kinds)),
                fix="model.to(device, torch.float32)",
            )
        ends = [0, *accumulate(several[0][name].numel() for name in names)]
        self.spans = {name: slice(*span) for name, span in zip(names, pairwise(ends), strict=True)}
        self.matrix = torch.stack([torch.cat([own[name].detach().flatten() for name in names]) for own in several])
        self.named = {
            name: self.matrix[:, span].view(len(several), *several[0][name].shape) for name, span in self.spans.items()
        }
        for index in self.taken:
            for name in names:
                several[index][name].data = self.named[name][index]

    def release(self) -> None:
        """Give the models parameters of their own again, with the same numbers."""
        for model in self.models:
            for parameter in model.parameters():
                parameter.data = parameter.data.clone()


def trained_names(model: nn.Module) -> tuple[list[str], int]:
    """The names of the trained parameters, those that decay first, and how many numbers these are."""
    decayed = decayed_names(model)
    trained = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    border = sum(count for name, count in trained.items() if name in decayed)
    return sorted(trained, key=lambda name: name not in decayed), border


class RowAdamW:
    """AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) on the row of every model, with a learning rate for each.

    Of a row the first `border` weights decay, the others do not.
    """

    def __init__(self, rows: Rows, border: int, settings: TrainSettings):
        self.rows, self.clip_norm = rows, settings.clip_norm
        decayed = weight_decay_of(rows.models[0], settings.weight_decay)
        self.parts = (slice(border), decayed), (slice(border, None), 0.0)
        self.weights = [rows.matrix[row] for row in rows.taken]
        self.first, self.second = ([torch.zeros_like(row) for row in self.weights] for _ in range(2))
        self.steps = [torch.zeros(2, device=rows.matrix.device) for _ in self.weights]  # of both parts, which agree
        # One pass over the moments instead of some fifteen, where torch has it.
        self.fused = rows.matrix.device.type in ("cpu", "cuda")

    @torch.no_grad()
    def step(
        self, gradient: Float[Tensor, "models weights"], rates: Sequence[float], *, without: Sequence[str] = ()
    ) -> None:
        """Clip every model's own gradient, and step; parameters `without` a gradient stay as they are."""
        for row in gradient:  # one by one: summed side by side, their last bits would depend on how many there are
            row.mul_((self.clip_norm / (row.norm() + 1e-6)).clamp(max=1))
        before = {name: self.rows.named[name].clone() for name in without}
        for rate in dict.fromkeys(rates):
            own = [index for index, other in enumerate(rates) if other == rate]
            for part, (cut, decay) in enumerate(self.parts):
                # the function alone: the optimiser around it makes torch import its compiler, and takes longer than
                # what it does for a small model
                adamw(
                    [self.weights[index][cut] for index in own],
                    [gradient[index][cut] for index in own],
                    [self.first[index][cut] for index in own],
                    [self.second[index][cut] for index in own],
                    [],
                    [self.steps[index][part] for index in own],
                    fused=self.fused,
                    amsgrad=False,
                    beta1=0.9,
                    beta2=0.999,
                    lr=rate,
                    weight_decay=decay,
                    eps=1e-8,
                    maximize=False,
                )
        for name, values in before.items():
            self.rows.named[name].copy_(values)

    def moments(self, index: int) -> dict[str, Tensor]:
        """What AdamW remembers of a model: its number of steps, first and second moments; empty before the first."""
        if not self.steps[index][0]:
            return {}
        return {"step": self.steps[index][0].clone(), "first": self.first[index], "second": self.second[index]}

    def set_moments(self, index: int, moments: dict[str, Tensor]) -> None:
        """Put back what `moments` returned."""
        if moments:
            self.steps[index].fill_(moments["step"])
            self.first[index].copy_(moments["first"])
            self.second[index].copy_(moments["second"])
