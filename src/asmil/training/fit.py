"""Train one model, or the seeds of a fold side by side, on bags: the whole loop on one screen."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from asmil.attention import AttentionStabilizer
from asmil.bags import Bag, BagBatch
from asmil.draws import stream
from asmil.errors import AsmilError
from asmil.files import Facts
from asmil.tasks import Task, auroc_of_classes
from asmil.training.batches import Timed, bag_batches, bag_order, tiles_drawn
from asmil.training.checkpoint import load_checkpoint, save_checkpoint
from asmil.training.listeners import Listener
from asmil.training.optim import TrainSettings, check_bags, learning_rate
from asmil.training.predict import Prediction, even_maps, predict_each
from asmil.training.stack import PLACES, Key, Losses, Stack

_log = logging.getLogger(__name__)


@dataclass
class FitResult:
    """What training did. `history` has a row per epoch; the model carries the weights of `best_epoch` (from 0).

    `waiting` of the `seconds` went by until the batches of training were there. `nothing`: at its end the attention
    preferred no tile, and no epoch told the validation part better than the frequencies of its classes do.
    """

    best_epoch: int = -1
    best_value: float = float("inf")
    nothing: bool = False
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    waiting: float = 0.0


@dataclass(eq=False)
class Member:
    """A model in training, its stabiliser, the `key` of its random draws, and how its training went.

    Settings of members that train together differ in `epochs` only. `error` says why there is no result. Before
    `least_epochs`, which follow from the bags, patience ends nothing. `place` (its remainder by PLACES counts) is where
    it stands in a pass of several: members with places of their own, such as 0, 1, 2, share one. `start` counts the
    starts before it, and where `starts_left` follow it, it ends early when it has found nothing (`train_starts`).
    """

    model: nn.Module
    settings: TrainSettings
    stabilizer: AttentionStabilizer | None = None
    key: Key = (0,)
    listeners: Sequence[Listener] = ()
    result: FitResult = field(default_factory=FitResult)
    best: dict[str, Tensor] = field(default_factory=dict)
    moments: dict[str, Tensor] = field(default_factory=dict)
    error: AsmilError | None = None
    least_epochs: int = 0
    place: int = 0
    start: int = 0
    starts_left: int = 0

    @property
    def done(self) -> bool:
        """Whether nothing is left to train: the epochs are over, patience is at its end, or another start is due."""
        epochs = len(self.result.history)
        if self.error is not None or epochs >= self.settings.most_epochs or self.is_to_start_again:
            return True
        if self.settings.select == "last" or epochs < self.least_epochs:
            return False
        return epochs - 1 - self.result.best_epoch >= self.settings.patience

    @property
    def is_to_start_again(self) -> bool:
        """Whether it has found nothing in a third of the least epochs, by which attention forms if it does at all."""
        due = 0 < self.least_epochs <= 3 * len(self.result.history)
        return bool(self.starts_left) and due and self.result.nothing and self.error is None

    def tell(self, event: str, **values: object) -> Facts:
        """What the listeners add to the row of an epoch."""
        return {name: value for listener in self.listeners for name, value in (listener(event, **values) or {}).items()}


def fit(
    model: nn.Module,
    train: Sequence[Bag],
    val: Sequence[Bag],
    *,
    settings: TrainSettings,
    task: Task | None = None,
    stabilizer: AttentionStabilizer | None = None,
    listeners: Sequence[Listener] = (),
    seed: int = 0,
    checkpoint: Path | None = None,
) -> FitResult:
    """Train `model` in place; only `val` decides which epoch is kept and when to stop.

    `task` (None: classification) was fitted to the targets of `train`; the model has `task.outputs` outputs.
    The same arguments give the same weights bit for bit on one kind of machine with the same number of threads. The
    caller's random state is left as it was. With a `checkpoint` path, an interrupted call continues where the file
    left off and ends bit-equal to an unbroken one.
    A model may have three hooks: `before_step(step)`, from 0, which may change buffers in place, and these alone;
    `after_step(progress)`, progress in (0, 1], after each step of the optimiser; and `prepare(train, train_stage)`
    before the first; `train_stage(module)` trains another module alike and returns it. After `prepare` a model may
    `choose(val)` what is no weight by the validation bags; that of a refit, which has none, may `adopt(model)` it.

    Raises:
        CohortError: a bag without a label or target, or no validation bags although an epoch is to be selected.
        ConfigError: settings that the task cannot be trained with, or a model of several types or devices.
        AsmilError: the loss is not finite.
    """
    member = Member(model, settings, stabilizer, key=("seed", seed), listeners=listeners)
    for _ in train_members([member], train, val, task=task, checkpoint=checkpoint):
        pass
    if member.error:
        raise member.error
    return member.result


def train_members(
    members: Sequence[Member],
    train: Sequence[Bag],
    val: Sequence[Bag],
    *,
    task: Task | None = None,
    also: Sequence[Bag] = (),
    checkpoint: Path | None = None,
    one_pass: bool = False,
) -> Iterator[None]:
    """What `fit` is to one model, for several on the same bags, epoch by epoch; done when the iterator ends.

    With `one_pass` several go through a batch at once, where that is possible and pays.

    The order of the bags and the tiles drawn of them are common, all other draws each member's own (`key`, epoch,
    step), and what is computed side by side has the same shape always (`stack`), so that a member's training is the
    same in any company, bit for bit. One whose loss is no number any
    more has its `error`, and the others go on. Listeners are told the predictions of the bags `also`, too.
    """
    for member in members:
        check_bags(train, val, member.settings, task=task)
        member.least_epochs = member.settings.least_epochs(len(train))
        member.settings = member.settings.planned(len(train))
    device = next(members[0].model.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), _compiled(members):
        if checkpoint and checkpoint.exists():
            load_checkpoint(checkpoint, members)
            _log.info("%s: goes on after epoch %s", checkpoint, [len(member.result.history) for member in members])
        else:
            _prepare(members, train, val, task=task)
        saved = time.monotonic()
        for member in members:
            member.tell("start", model=member.model, settings=member.settings)
        while left := [member for member in members if not member.done]:
            crews = _crews(left, train, task=task, one_pass=one_pass)
            while not any(member.done for member in left):
                _epoch(crews, (train, val, also))
                if checkpoint and time.monotonic() - saved >= left[0].settings.checkpoint_seconds:
                    _note_moments(crews)
                    save_checkpoint(checkpoint, members)
                    saved = time.monotonic()
                yield
            _note_moments(crews)
            for crew in crews:
                crew.stack.release()
        if checkpoint:  # what follows may be interrupted too
            save_checkpoint(checkpoint, members)
        for member in members:
            if member.best:
                member.model.load_state_dict(member.best)
            member.tell("end", model=member.model, result=member.result)
            result = member.result
            _log.info("%s: %d epochs, the best is %d", member.key, len(result.history), result.best_epoch)


class Crew(NamedTuple):
    """Members and the stack that they are."""

    members: list[Member]
    stack: Stack


def _crews(left: Sequence[Member], train: Sequence[Bag], *, task: Task | None, one_pass: bool) -> list[Crew]:
    """The members that still train, their optimiser going on where it was; several to a stack where that pays."""
    if one_pass:
        shared: list[list[Member]] = []
        for member in left:
            free = (own for own in shared if all((member.place - other.place) % PLACES for other in own))
            beside = next(free, [])
            beside.append(member)
            if len(beside) == 1:
                shared.append(beside)
        settings = left[0].settings
        first = next(bag_batches(train, [range(min(len(train), settings.batch_size))], settings=settings, epoch=0))
        tiles = sum(tiles_drawn(len(bag), settings) for bag in train) * settings.batch_size / len(train)
        crews = [_crew(own, task=task, places=[member.place % PLACES for member in own]) for own in shared]
        if all(crew.stack.passes(first, tiles_per_step=tiles) for crew in crews):
            return crews
        for crew in crews:
            crew.stack.release()
    return [_crew([member], task=task) for member in left]


def _crew(members: list[Member], *, task: Task | None, places: Sequence[int] = ()) -> Crew:
    stack = Stack(
        [member.model for member in members],
        [member.stabilizer for member in members],
        keys=[member.key for member in members],
        settings=members[0].settings,
        task=task,
        places=places,
    )
    for index, member in enumerate(members):
        stack.optimizer.set_moments(index, member.moments)
    return Crew(members, stack)


def _note_moments(crews: Sequence[Crew]) -> None:
    for members, stack in crews:
        for index, member in enumerate(members):
            member.moments = stack.optimizer.moments(index)


def _epoch(crews: Sequence[Crew], parts: tuple[Sequence[Bag], Sequence[Bag], Sequence[Bag]]) -> None:
    """One pass over the bags in a fresh order, then the validation part: a row in the log of every member."""
    train, val, also = parts
    members = [member for crew in crews for member in crew.members]
    started, settings, epoch = time.monotonic(), members[0].settings, len(members[0].result.history)
    device, task = crews[0].stack.device, crews[0].stack.task
    for member in members:
        if member.stabilizer:
            member.stabilizer.set_epoch(epoch)
            member.stabilizer.begin_when_due()
        member.model.train()
    order = bag_order(train, settings=settings, epoch=epoch)
    steps = [order[start : start + settings.batch_size] for start in range(0, len(order), settings.batch_size)]
    # Summed on the device and read once per epoch: reading a loss in every step would stall a GPU.
    totals: dict[str, Tensor] = {}
    batches = Timed(bag_batches(train, steps, settings=settings, epoch=epoch, device=device))
    for step, batch in enumerate(batches):
        for name, value in _step(crews, batch, at=(epoch, step), steps=len(steps)).items():
            if name in ("task", "extra", "align"):
                totals[name] = totals.get(name, 0) + value * (len(batch) / len(train))
            elif name != "ratio" or step == 0:
                totals[name] = value
    known = {name: value.tolist() for name, value in totals.items()}
    outputs = [crew.stack.outputs for crew in crews]
    nothing: list[list[Prediction]] = [[] for _ in members]
    found, others = (
        predict_each(outputs, part, device=device, models=PLACES, task=task) if part else nothing
        for part in (val, also)
    )
    seconds, waiting = (time.monotonic() - started) / len(members), batches.seconds / len(members)
    for index, (member, predictions, told) in enumerate(zip(members, found, others, strict=True)):
        rate = learning_rate(member.settings, epoch + (len(steps) - 1) / len(steps))
        row = {"epoch": epoch} | _learned(member, {n: v[index] for n, v in known.items()}, rate=rate)
        if _account(member, row, predictions, val, task=task):
            own = {"model": member.model, "stabilizer": member.stabilizer, "val": predictions, "also": told}
            member.result.history.append(row | member.tell("epoch", epoch=epoch, row=row, **own))
        member.result.seconds += seconds
        member.result.waiting += waiting


def _step(crews: Sequence[Crew], batch: BagBatch, *, at: tuple[int, int], steps: int) -> Losses:
    """A step of every member, with the hooks around it; the losses of all, in their order."""
    epoch, step = at
    several = []
    for members, stack in crews:
        for member in members:
            hook = getattr(member.model, "before_step", None)
            if hook:
                hook(epoch * steps + step)
        rates = [learning_rate(member.settings, epoch + step / steps) for member in members]
        several.append(stack.step(batch, rates, at=at, measure=step == 0))
        for member in members:
            hook = getattr(member.model, "after_step", None)
            if hook:
                hook((epoch + (step + 1) / steps) / member.settings.most_epochs)
    return {name: torch.cat([losses[name] for losses in several]) for name in several[0]}


def _learned(member: Member, totals: dict[str, float], *, rate: float) -> dict[str, float]:
    """What the log has of an epoch's training: means over the bags, and the alignment of the last step."""
    row = {"train_loss": totals["task"], "extra_loss": totals["extra"], "lr": rate}
    if member.stabilizer:
        beta = member.stabilizer.beta
        kl, gate = (totals[name] if beta else float("nan") for name in ("kl", "gate"))
        row |= {"align_loss": totals["align"], "kl": kl, "gate": gate, "beta": beta * totals["scale"]}
        row |= {"momentum": member.stabilizer.momentum, "gradient_ratio": totals["ratio"]}
    return row


def _account(
    member: Member, row: Facts, predictions: list[Prediction], val: Sequence[Bag], *, task: Task | None
) -> bool:
    """Add the validation part to an epoch's row, keep the weights of the best so far; False if training diverged."""
    if not np.isfinite(row["train_loss"]) or any(np.isnan(p.loss) for p in predictions):
        member.error = AsmilError(
            "training diverged: the loss is not finite",
            found=f"loss {row['train_loss']} in epoch {row['epoch']}",
            fix="lower the learning rate or run `asmil check` on the features",
        )
        return False
    row |= _validation(predictions, val, task=task)
    value = _selected(row, member.settings)
    losses = [past["val_loss"] for past in [*member.result.history, row] if "val_loss" in past]
    member.result.nothing = task is None and _found_nothing(predictions, val, least=min(losses, default=0.0))
    if member.settings.select == "last" or value < member.result.best_value:
        member.result.best_epoch, member.result.best_value = row["epoch"], value
        member.best = {name: value.detach().clone() for name, value in member.model.state_dict().items()}
    return True


def _validation(predictions: list[Prediction], val: Sequence[Bag], *, task: Task | None) -> dict[str, float]:
    """Loss and AUROC (or the metric of a task) of the validation part, as the log has them; nothing without one."""
    if not predictions:
        return {}
    values = np.stack([p.probabilities for p in predictions])
    row = {"val_loss": float(np.mean([p.loss for p in predictions]))}
    if task is None:
        return row | {"val_auroc": auroc_of_classes(np.array([bag.label for bag in val]), values)}
    return row | {"val_metric": task.select_metric(values, np.array([bag.target for bag in val]))}


CHANCE = 0.9
"""Share of the loss of the class frequencies that a model that learnt anything falls below: those that found a lesion
came to .02 to .16 of it, those that did not by chance to .96 (docs/log.md)."""


def _found_nothing(predictions: list[Prediction], val: Sequence[Bag], *, least: float) -> bool:
    """Whether attention prefers no tile in most of the bags, and the least loss is that of the class frequencies."""
    share = np.unique([bag.label for bag in val], return_counts=True)[1] / max(1, len(val))
    chance = -float(np.sum(share * np.log(share)))
    if least < CHANCE * chance or not chance:
        return False
    return 2 * sum(even_maps(predictions)) > max(1, len(predictions))


def _selected(row: dict[str, float], settings: TrainSettings) -> float:
    """The value to minimise. AUROC ties are common on small validation parts: the loss breaks them."""
    if settings.select == "last":
        return 0.0
    if settings.select in ("val_auroc", "val_metric"):
        quality = row[settings.select]
        return (-quality if np.isfinite(quality) else 0.0) + 1e-3 * row["val_loss"]
    return row["val_loss"]


@contextmanager
def _compiled(members: Sequence[Member]) -> Iterator[None]:
    """Models with a compiled forward, where the settings ask for it. Their hooks, the stabiliser's, run outside."""
    wanted = [member.model for member in members if member.settings.compile]
    if not wanted:
        yield
        return
    for model in wanted:
        model.forward = torch.compile(model.forward, dynamic=True)
    try:
        yield
    finally:
        for model in wanted:
            del model.forward


def _prepare(members: Sequence[Member], train: Sequence[Bag], val: Sequence[Bag], *, task: Task | None) -> None:
    """Let a method with earlier stages train them, on the same parts and like the model itself."""
    for member in members:
        prepare = getattr(member.model, "prepare", None)
        if prepare is None:
            continue
        device = next(member.model.parameters()).device
        torch.manual_seed(stream(*member.key, "prepare"))

        def train_stage(module: nn.Module, member: Member = member, device: torch.device = device) -> nn.Module:
            stage = Member(module.to(device), member.settings, key=(*member.key, "stage"))
            for _ in train_members([stage], train, val, task=task):
                pass
            if stage.error:
                raise stage.error
            return module

        prepare(list(train), train_stage)
        choose = getattr(member.model, "choose", None)
        if choose is not None and val:
            choose(list(val))
