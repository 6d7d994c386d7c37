"""What `fit` is to one model, for several at once: each selects its own epoch and stops for itself."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import log_softmax
from torch import nn

from asmil.bags import Bag
from asmil.errors import AsmilError
from asmil.files import written_beside
from asmil.training._stack import load_row
from asmil.training._steps import own_steps
from asmil.training._together import Together
from asmil.training.batches import bag_order
from asmil.training.fit import FitResult, diverged, is_better, selected, should_stop, validation
from asmil.training.listeners import AttentionRecorder
from asmil.training.optim import TrainSettings, learning_rate
from asmil.training.predict import Prediction


@dataclass
class Member:
    """A model in company: its parts as indexes of the common bags, and how its training went.

    Settings of members differ in the number of epochs only. In the end `model` has the weights of the best epoch and
    `anchor`, where there is a stabiliser, those of the last; `error` says why there is no result.
    """

    model: nn.Module
    anchor: nn.Module | None
    train: list[int]
    val: list[int]
    settings: TrainSettings
    recorder: AttentionRecorder | None = None
    result: FitResult = field(default_factory=FitResult)
    error: AsmilError | None = None

    @property
    def done(self) -> bool:
        """Whether nothing is left to train."""
        ended = len(self.result.history) >= self.settings.epochs or should_stop(self.result, self.settings)
        return self.error is not None or ended


def fit_together(
    members: Sequence[Member],
    bags: Sequence[Bag],
    *,
    stabilizer: dict[str, Any] | None,
    seed: int,
    checkpoint: Path,
    progress: Callable[[int, int], None],
) -> None:
    """Train every member; `progress(member, epochs done)`.

    Each sees its own bags in the order and batches of `fit`, and ends with what `fit` would give it, within rounding
    and but for the draws of dropout and other random masks, which are common to the company. A member that is done
    leaves the stack. The checkpoint is of the whole company; continued from it, the training ends bit-equal to an
    unbroken one.
    """
    device = next(members[0].model.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        company = _Company(members, bags, stabilizer=stabilizer)
        if checkpoint.exists():
            company.load(checkpoint)
        saved = time.monotonic()
        while company.left:
            company.train_epoch()
            for index in company.left:
                progress(index, len(members[index].result.history))
            company.dismiss()
            if time.monotonic() - saved >= members[0].settings.checkpoint_seconds:
                company.save(checkpoint)
                saved = time.monotonic()
        company.save(checkpoint)  # what follows may be interrupted too


class _Company:
    """The members that still train (`left`), as rows of a stack in this order, and their best weights so far."""

    def __init__(self, members: Sequence[Member], bags: Sequence[Bag], *, stabilizer: dict[str, Any] | None):
        self.members, self.bags = members, bags
        self.left = list(range(len(members)))
        anchors = [m.anchor for m in members if m.anchor is not None]
        self.together = Together(
            [m.model for m in members],
            bags,
            settings=members[0].settings,
            stabilizer=stabilizer if anchors else None,
            anchors=anchors,
        )
        self.best = self.together.stack.weights.clone()

    def train_epoch(self) -> None:
        """One epoch of everybody, and the rows of their logs."""
        started = time.monotonic()
        members = [self.members[index] for index in self.left]
        epoch = len(members[0].result.history)
        trains = np.zeros((len(members), len(self.bags)), dtype=bool)
        for learns, member in zip(trains, members, strict=True):
            learns[member.train] = True
        batch_size = members[0].settings.batch_size
        order = bag_order(self.bags, settings=members[0].settings, epoch=epoch)
        steps = own_steps(order, trains, batch_size=batch_size)
        sizes = np.array([step.sizes for step in steps])
        rates = _rates(members, sizes, epoch=epoch)
        losses = self.together.train_epoch(epoch, steps, rates=rates)
        predictions = self._predictions()
        seconds = (time.monotonic() - started) / len(members)
        better = []
        for row, member in enumerate(members):
            own = slice(0, int((sizes[:, row] > 0).sum()))
            learned = {name: value[own, row] for name, value in losses.items()}
            logged = {"epoch": epoch} | self._logged(learned, sizes[own, row], rate=rates[own, row][-1])
            if self._account(member, logged, predictions[row]):
                better.append(row)
            member.result.seconds += seconds
        self.best[better] = self.together.stack.weights[better]

    def dismiss(self) -> None:
        """Give those that are done their weights, and go on with the others."""
        leaving = [row for row, index in enumerate(self.left) if self.members[index].done]
        for row in leaving:
            member = self.members[self.left[row]]
            load_row(member.model, self.best[row])
            if member.anchor is not None and self.together.anchors is not None:
                load_row(member.anchor, self.together.anchors[row])
        if leaving:
            self._keep([row for row in range(len(self.left)) if row not in leaving])

    def save(self, path: Path) -> None:
        """Write everything that goes on, and what those that are done have become."""
        members = [
            {
                "model": m.model.state_dict(),
                "anchor": m.anchor and m.anchor.state_dict(),
                "recorder": m.recorder and m.recorder.state_dict(),
                "result": dataclasses.asdict(m.result),
                "error": m.error and {"what": m.error.what, "found": str(m.error.found), "fix": m.error.fix},
            }
            for m in self.members
        ]
        state = {
            "members": members,
            "left": self.left,
            "together": self.together.state_dict() if self.left else None,
            "best": self.best,
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }
        with written_beside(path) as partial:
            torch.save(state, partial)

    def load(self, path: Path) -> None:
        """Continue; tensors and plain values only are read."""
        state = torch.load(path, map_location="cpu", weights_only=True)
        for member, known in zip(self.members, state["members"], strict=True):
            member.model.load_state_dict(known["model"])
            member.result = FitResult(**known["result"])
            member.error = AsmilError(**known["error"]) if known["error"] else None
            if member.anchor is not None:
                member.anchor.load_state_dict(known["anchor"])
            if member.recorder is not None:
                member.recorder.load_state_dict(known["recorder"])
        self._keep(state["left"])
        if self.left:
            self.together.load_state_dict(state["together"])
        self.best.copy_(state["best"])
        torch.set_rng_state(state["random"])
        if state["random_cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["random_cuda"])

    def _keep(self, rows: list[int]) -> None:
        self.left = [self.left[row] for row in rows]
        self.best = self.best[rows]
        self.together.keep(rows)

    def _logged(self, losses: dict[str, np.ndarray], sizes: np.ndarray, *, rate: float) -> dict[str, float]:
        """The row that `fit` writes: sums over the bags, and the alignment of the last step."""
        schedule = self.together.schedule
        totals = {name: float((losses[name] * sizes).sum() / sizes.sum()) for name in ("task", "extra", "align")}
        row = {"train_loss": totals["task"], "extra_loss": totals["extra"], "lr": float(rate)}
        if schedule:
            kl = float(losses["kl"][-1]) if schedule.beta else float("nan")
            beta = schedule.beta * float(losses["scale"][-1])
            row |= {"align_loss": totals["align"], "kl": kl, "beta": beta, "momentum": schedule.momentum}
            row["gradient_ratio"] = float(losses["ratio"][0])
        return row

    def _account(self, member: Member, row: dict[str, Any], predictions: list[Prediction]) -> bool:
        """Take in an epoch; whether it is the member's best so far."""
        if not np.isfinite(row["train_loss"]) or any(np.isnan(p.loss) for p in predictions):
            member.error = diverged(row["train_loss"], row["epoch"])
            return False
        row |= validation(predictions, [self.bags[i] for i in member.val])
        better = is_better(row, member.result, member.settings)
        if better:
            member.result.best_epoch, member.result.best_value = row["epoch"], selected(row, member.settings)
        if member.recorder:
            row |= member.recorder("epoch", epoch=row["epoch"], val=predictions) or {}
        member.result.history.append(row)
        return better

    def _predictions(self) -> list[list[Prediction]]:
        """Of every member on its validation bags; members of one fold share the passes."""
        found: list[list[Prediction]] = [[] for _ in self.left]
        parts: dict[tuple[int, ...], list[int]] = {}
        for row, index in enumerate(self.left):
            parts.setdefault(tuple(self.members[index].val), []).append(row)
        for part, rows in parts.items():
            if part:
                bags = [self.bags[i] for i in part]
                for row, arrays in zip(rows, zip(*self.together.predict(rows, bags), strict=True), strict=True):
                    found[row] = _as_predictions(bags, *arrays)
        return found


def _rates(members: Sequence[Member], sizes: np.ndarray, *, epoch: int) -> np.ndarray:
    """(steps, models): each member's schedule over as many steps as it has."""
    counts = (sizes > 0).sum(0)
    rates = np.zeros(sizes.shape)
    for column, (member, count) in enumerate(zip(members, counts, strict=True)):
        rates[:count, column] = [learning_rate(member.settings, epoch + step / count) for step in range(count)]
    return rates


def _as_predictions(
    bags: Sequence[Bag], logits: np.ndarray, attention: np.ndarray, embedding: np.ndarray
) -> list[Prediction]:
    log_probabilities = log_softmax(logits, axis=1)
    maps = np.split(attention, np.cumsum([len(bag) for bag in bags])[:-1])
    rows = zip(bags, log_probabilities, maps, embedding, strict=True)
    return [
        Prediction(bag.slide, np.exp(logs), own, vector, float(-logs[bag.label])) for bag, logs, own, vector in rows
    ]
