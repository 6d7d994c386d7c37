"""Train one model on bags: the whole loop on one screen."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from asmil.attention import AttentionStabilizer
from asmil.bags import Bag, BagBatch
from asmil.errors import AsmilError
from asmil.tasks import Task
from asmil.training._checkpoint import load_checkpoint, save_checkpoint
from asmil.training._checks import check_bags
from asmil.training._ledger import auroc_of_classes
from asmil.training.batches import Timed, bag_batches, bag_order
from asmil.training.listeners import Listener
from asmil.training.optim import TrainSettings, autocast, learning_rate, make_optimizer
from asmil.training.predict import Prediction, predict


@dataclass
class FitResult:
    """What training did. `history` has a row per epoch; the model carries the weights of `best_epoch` (from 0).

    `waiting` of the `seconds` went by until the batches of training were there.
    """

    best_epoch: int = -1
    best_value: float = float("inf")
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    waiting: float = 0.0


def fit(
    model: nn.Module, train: Sequence[Bag], val: Sequence[Bag], *, settings: TrainSettings, task: Task | None = None,
    stabilizer: AttentionStabilizer | None = None, listeners: Sequence[Listener] = (), seed: int = 0,
    checkpoint: Path | None = None,
) -> FitResult:  # fmt: skip
    """Train `model` in place; only `val` decides which epoch is kept and when to stop.

    `task` (None: classification) was fitted to the targets of `train`; the model has `task.outputs` outputs.
    The same arguments give the same weights bit for bit on one kind of machine with the same number of threads. The
    caller's random state is left as it was. With a `checkpoint` path, an interrupted call continues where the file
    left off and ends bit-equal to an unbroken one.
    A model may have two hooks: `after_step(progress)`, progress in (0, 1], after each step of the optimiser, and
    `prepare(train, train_stage)` before the first; `train_stage(module)` trains another module alike and returns it.

    Raises:
        CohortError: a bag without a label or target, or no validation bags although an epoch is to be selected.
        ConfigError: settings that the task cannot be trained with.
        AsmilError: the loss is not finite.
    """
    check_bags(train, val, settings, task=task)
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), _compiled(model, settings):
        torch.manual_seed(seed)
        if not (checkpoint and checkpoint.exists()):
            _prepare(model, train, val, settings=settings, seed=seed, task=task)
        optimizer = make_optimizer(model, settings)
        result, best = FitResult(), _weights(model)
        parts = _parts(model, optimizer, stabilizer, listeners=listeners)
        if checkpoint and checkpoint.exists():
            result, best = load_checkpoint(checkpoint, parts, seed=seed)
        train_epoch = partial(_train_epoch, model, train, optimizer=optimizer, stabilizer=stabilizer, settings=settings)
        started, saved = time.monotonic() - result.seconds, time.monotonic()
        _tell(listeners, "start", model=model, settings=settings)
        for epoch in range(len(result.history), settings.epochs):
            if should_stop(result, settings):
                break
            learned, waiting = train_epoch(epoch=epoch, task=task)
            row = {"epoch": epoch} | learned
            predictions = predict(model, val, task=task)
            row |= validation(predictions, val, task=task)
            if is_better(row, result, settings):
                result.best_epoch, result.best_value, best = epoch, selected(row, settings), _weights(model)
            row |= _tell(listeners, "epoch", epoch=epoch, model=model, stabilizer=stabilizer, row=row, val=predictions)
            result.history.append(row)
            result.seconds, result.waiting = time.monotonic() - started, result.waiting + waiting
            if checkpoint and time.monotonic() - saved >= settings.checkpoint_seconds:
                save_checkpoint(checkpoint, parts, result=result, best=best, seed=seed)
                saved = time.monotonic()
        if checkpoint:  # what follows may be interrupted too
            save_checkpoint(checkpoint, parts, result=result, best=best, seed=seed)
        model.load_state_dict(best)
        _tell(listeners, "end", model=model, result=result)
    return result


def _train_epoch(
    model: nn.Module,
    bags: Sequence[Bag],
    *,
    optimizer: torch.optim.Optimizer,
    stabilizer: AttentionStabilizer | None,
    settings: TrainSettings,
    task: Task | None,
    epoch: int,
) -> tuple[dict[str, float], float]:
    """One pass over the bags in a fresh order: its row of the log, and the seconds of waiting for batches."""
    model.train()
    device = next(model.parameters()).device
    if stabilizer:
        stabilizer.set_epoch(epoch)
    order = bag_order(bags, settings=settings, epoch=epoch)
    steps = [order[start : start + settings.batch_size] for start in range(0, len(order), settings.batch_size)]
    # Summed on the device and read once per epoch: reading a loss in every step would stall a GPU.
    total, ratio = torch.zeros(3, device=device), None
    after_step = getattr(model, "after_step", lambda progress: None)
    batches = Timed(bag_batches(bags, steps, settings=settings, epoch=epoch, device=device))
    for step, batch in enumerate(batches):
        rate = learning_rate(settings, epoch + step / len(steps))
        for group in optimizer.param_groups:
            group["lr"] = rate
        losses, measured = _step(
            model, batch, optimizer=optimizer, stabilizer=stabilizer, settings=settings, task=task, measure=step == 0
        )
        ratio = measured if step == 0 else ratio
        after_step((epoch + (step + 1) / len(steps)) / settings.epochs)
        total += losses * (len(batch) / len(bags))
    loss, extra, align = total.tolist()
    row = {"train_loss": loss, "extra_loss": extra, "lr": rate}
    if stabilizer:
        row |= {"align_loss": align, **{k: float(v) for k, v in stabilizer.statistics().items()}}
        row["gradient_ratio"] = float(ratio) if ratio is not None else float("nan")
    if not np.isfinite(row["train_loss"]):
        raise diverged(row["train_loss"], epoch)
    return row, batches.seconds


def diverged(loss: float, epoch: int) -> AsmilError:
    """The error of a training whose loss is no number any more."""
    return AsmilError(
        "training diverged: the loss is not finite",
        found=f"loss {loss} in epoch {epoch}",
        fix="lower the learning rate or run `asmil check` on the features",
    )


def _step(
    model: nn.Module,
    batch: BagBatch,
    *,
    optimizer: torch.optim.Optimizer,
    stabilizer: AttentionStabilizer | None,
    settings: TrainSettings,
    task: Task | None = None,
    measure: bool,
) -> tuple[Float[Tensor, "3"], float | None]:
    """One step of the optimiser: its losses, and the gradient ratio to `measure`. The host waits for no device."""
    device = batch.features.device
    with autocast(device, settings):
        output = model(batch)
        logits = output.logits.float()
        loss = F.cross_entropy(logits, batch.labels) if task is None else task.loss(logits, batch.targets).mean()  # type: ignore[arg-type]
        extra = sum((each.mean() for each in output.losses.values()), torch.zeros((), device=device))
        align = stabilizer.loss(loss + extra) if stabilizer else torch.zeros((), device=device)
    ratio = stabilizer.gradient_ratio(loss + extra) if stabilizer and measure else None
    optimizer.zero_grad(set_to_none=True)
    (loss + extra + align).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
    optimizer.step()
    if stabilizer:
        stabilizer.update()
    return torch.stack([loss, extra, align]).detach(), ratio


@contextmanager
def _compiled(model: nn.Module, settings: TrainSettings) -> Iterator[None]:
    """The model with a compiled forward, where the settings ask for it. Its hooks, the stabiliser's, run outside."""
    if not settings.compile:
        yield
        return
    from torch._functorch import config

    model.forward = torch.compile(model.forward, dynamic=True)
    try:
        with config.patch(donated_buffer=False):  # the gradient ratio needs the graph twice
            yield
    finally:
        del model.forward


def _prepare(
    model: nn.Module, train: Sequence[Bag], val: Sequence[Bag], *, settings: TrainSettings, seed: int, task: Task | None
) -> None:
    """Let a method with earlier stages train them, on the same parts and like the model itself."""
    device = next(model.parameters()).device

    def train_stage(module: nn.Module) -> nn.Module:
        fit(module.to(device), train, val, settings=settings, seed=seed, task=task)
        return module

    getattr(model, "prepare", lambda *_: None)(list(train), train_stage)


def validation(predictions: list[Prediction], val: Sequence[Bag], *, task: Task | None = None) -> dict[str, float]:
    """Loss and AUROC (or the metric of a task) of the validation part, as the log has them; nothing without one."""
    if not predictions:
        return {}
    row, values = (
        {"val_loss": float(np.mean([p.loss for p in predictions]))},
        np.stack([p.probabilities for p in predictions]),
    )
    if task is None:
        return row | {"val_auroc": auroc_of_classes(np.array([bag.label for bag in val]), values)}
    return row | {"val_metric": task.select_metric(values, np.array([bag.target for bag in val]))}


def selected(row: dict[str, float], settings: TrainSettings) -> float:
    """The value to minimise. AUROC ties are common on small validation parts: the loss breaks them."""
    if settings.select == "last":
        return 0.0
    if settings.select in ("val_auroc", "val_metric"):
        quality = row[settings.select]
        return (-quality if np.isfinite(quality) else 0.0) + 1e-3 * row["val_loss"]
    return row["val_loss"]


def is_better(row: dict[str, float], result: FitResult, settings: TrainSettings) -> bool:
    """Whether this epoch is to be kept instead of the best so far."""
    return settings.select == "last" or selected(row, settings) < result.best_value


def _parts(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    stabilizer: AttentionStabilizer | None,
    *,
    listeners: Sequence[Listener],
) -> dict[str, Any]:
    """Whatever has a state that a resumed training needs."""
    recorded = {f"listener{i}": x for i, x in enumerate(listeners) if hasattr(x, "state_dict")}
    return {"model": model, "optimizer": optimizer, "stabilizer": stabilizer} | recorded


def should_stop(result: FitResult, settings: TrainSettings) -> bool:
    """Whether patience is at its end."""
    epochs = len(result.history)
    if settings.select == "last" or epochs < settings.min_epochs:
        return False
    return epochs - 1 - result.best_epoch >= settings.patience


def _weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _tell(listeners: Sequence[Listener], event: str, **values: Any) -> dict[str, Any]:
    added: dict[str, Any] = {}
    for listener in listeners:
        added |= listener(event, **values) or {}
    return added
