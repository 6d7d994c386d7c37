"""One fold of a cross-validation: its seeds select their epochs, are trained anew, and predict."""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from asmil.attention import nsf, softmax
from asmil.bags import Bag, BagBatch, Cohort, Splits, by_slide, load_bags, open_features
from asmil.errors import AsmilError
from asmil.files import Facts, write_json
from asmil.progress import model_name
from asmil.tasks import Task
from asmil.training.fit import Member, train_members
from asmil.training.listeners import AttentionRecorder, Listener
from asmil.training.optim import TrainSettings, refit_settings
from asmil.training.predict import Prediction, predict
from asmil.training.recipe import Recipe, Standardized
from asmil.training.starts import evenness, seed_of, train_starts

MEMBERS, SELECT, REFIT = "seeds.json", "select.pt", "refit.pt"
"""Of a fold in training: whose checkpoints these are, and the checkpoints of its two trainings, numbered by start."""

SAMPLED = 8
"""Validation slides of which the weights of softmax and NSF are kept (paper, Fig. 3)."""


@dataclass(frozen=True)
class CellResult:
    """One trained model, ready to be kept.

    `history`, `recorder` and validation `predictions` are of the training that selected the epoch; `model`, `anchor`
    and test `predictions` come from the refit, where there is one. `task` (None: classification) was fitted to the
    training part. `score_samples` are weights times tiles of "softmax" and "nsf" on some validation slides, empty
    without an anchor. Predictions are one per slide, by part. `start` counts the starts before the one that was kept.
    """

    fold: int
    seed: int
    model_name: str
    model_options: Facts
    model: nn.Module
    anchor: nn.Module | None
    task: Task | None
    best_epoch: int
    history: list[dict[str, float]]
    recorder: AttentionRecorder
    val: Sequence[Bag]
    score_samples: dict[str, np.ndarray]
    predictions: dict[str, list[Prediction]]
    start: int = 0


class Progress(NamedTuple):
    """How many epochs of a model are done, of all its trainings, and how many there are at most as far as is known."""

    fold: int
    seed: int
    done: int
    total: int


class Trained(NamedTuple):
    """Rows of a model's log that are new, and at the end of its training the values of the epoch that was chosen.

    Those of another start begin with epoch 0 again.
    """

    model: str
    rows: list[Facts]
    result: Facts | None = None


class Failure(NamedTuple):
    """A model whose training diverged."""

    fold: int
    seed: int
    error: AsmilError


@dataclass(frozen=True)
class Job:
    """What a process needs to train folds; small enough to send: it reads the features itself, as one of `processes`.

    `copies` is where features may be copied to that cannot be streamed from their files. `by_patient`: a bag is all
    slides of a patient. `encoder` chooses among features of several.
    """

    features: Path
    cohort: Cohort
    splits: Splits
    recipe: Recipe
    processes: int = 1
    copies: Path | None = None
    by_patient: bool = False
    encoder: str | None = None

    def epochs(self, fold: int) -> int:
        """At most, of a model of this fold, with its refit."""
        part = self.cohort.subset(self.splits.fold(fold).train)
        bags = len({*part.cases}) if self.by_patient else len(part)
        return self.recipe.settings.planned(bags).most_epochs * (2 if self.recipe.refit else 1)

    def bags(self, tell: Callable[[str], None] = lambda line: None) -> dict[str, Bag]:
        """The cohort's bags by slide (the first of a patient's); `tell` hears where their features are."""
        load = partial(load_bags, device=self.recipe.device, processes=self.processes, copies=self.copies)
        store = open_features(self.features, encoder=self.encoder)
        several = load(store, self.cohort, by_patient=self.by_patient, tell=tell)
        return {bag.slide: bag for bag in several}

    def parts(self, fold: int, bags: dict[str, Bag]) -> tuple[list[Bag], list[Bag], list[Bag]]:
        """The bags of a fold's parts: train, val, test."""
        own = self.splits.fold(fold)
        train, val, test = ([bags[slide] for slide in part if slide in bags] for part in (own.train, own.val, own.test))
        return train, val, test

    def task(self, train: Sequence[Bag]) -> Task | None:
        """The cohort's task with what it learns from the targets of a training part; None for classification."""
        if self.cohort.task is None:
            return None
        return self.cohort.task.fit_targets(np.array([bag.target for bag in train]))


@dataclass(frozen=True)
class Fold:
    """The seeds of a fold that train side by side, those among them whose results are `wanted`, and their folder."""

    fold: int
    seeds: tuple[int, ...]
    wanted: tuple[int, ...]
    folder: Path

    @property
    def cells(self) -> list[tuple[int, int]]:
        """Fold and seed of each model that is wanted."""
        return [(self.fold, seed) for seed in self.wanted]

    @property
    def name(self) -> str:
        """What its models are called in front of people."""
        return f"fold {self.fold} seed {', '.join(map(str, self.wanted))}"


def folds_of(cells: Sequence[tuple[int, int]], checkpoints: Path) -> list[Fold]:
    """The cells by fold. Seeds whose training was begun go on in the company that they had, before others join."""
    left, folds = list(cells), []
    for path in sorted(checkpoints.glob(f"*/{MEMBERS}")):
        known = json.loads(path.read_text(encoding="utf-8"))
        wanted = tuple(seed for seed in known["seeds"] if (known["fold"], seed) in left)
        if not wanted:  # killed after its last model was kept, and before this was tidied up
            rmtree(path.parent)
        else:
            folds.append(Fold(known["fold"], tuple(known["seeds"]), wanted, path.parent))
            left = [cell for cell in left if cell not in folds[-1].cells]
    for fold in sorted({fold for fold, _ in left}):
        seeds = tuple(seed for other, seed in left if other == fold)
        folds.append(Fold(fold, seeds, seeds, checkpoints / f"{fold}_{seeds[0]}"))
    return folds


def train_fold(
    fold: Fold, job: Job, bags: dict[str, Bag], *, keep: Callable[[CellResult], None]
) -> Iterator[Progress | Trained | Failure]:
    """Train the seeds of a fold and `keep` what is wanted; tells every epoch, and whose training diverged.

    Of a training that goes on all rows of its log are told again.

    What a task learns from targets (bins of time, a scale) is learned from the training part only, and kept for the
    refit, which trains on training and validation part for as long as the latter selected.
    """
    train, val, test = job.parts(fold.fold, bags)
    task, total = job.task(train), job.epochs(fold.fold)
    fold.folder.mkdir(parents=True, exist_ok=True)
    write_json(fold.folder / MEMBERS, {"fold": fold.fold, "seeds": fold.seeds})

    def begin(seed: int, start: int) -> Member:
        return _member(job, fold, seed, train, start=start, task=task, listeners=[AttentionRecorder()])

    yield from (Progress(fold.fold, seed, 0, total) for seed in fold.wanted)
    chosen, told = dict[int, Member](), dict[int, tuple[int, int]]()  # of which start, and how many epochs
    done: Counter[int] = Counter()  # epochs of starts that found nothing, and then of all that selected
    checkpoints = partial(_numbered, fold.folder / SELECT)
    for chosen in train_starts(
        begin, fold.seeds, train=train, val=val, task=task, checkpoints=checkpoints, one_pass=True
    ):
        for seed in fold.wanted:
            history, start = chosen[seed].result.history, chosen[seed].start
            known, epochs = told.get(seed, (start, 0))
            if known != start:
                done[seed] += epochs
                epochs = 0
            if history[epochs:]:
                yield Trained(model_name(fold.fold, seed), history[epochs:])
            told[seed] = start, len(history)
            yield Progress(fold.fold, seed, done[seed] + len(history), done[seed] + total)
    done.update({seed: len(member.result.history) for seed, member in chosen.items()})
    final = whole = {seed: member for seed, member in chosen.items() if member.error is None}
    if job.recipe.refit and whole:
        for final in _refit(job, fold, whole, (train, val), task=task):
            for seed in set(fold.wanted) & set(final):
                epochs = len(final[seed].result.history)
                yield Progress(fold.fold, seed, done[seed] + epochs, done[seed] + final[seed].settings.most_epochs)
        done.update({seed: len(member.result.history) for seed, member in final.items()})
    for seed in fold.wanted:
        error = chosen[seed].error or final[seed].error
        if error:
            yield Failure(fold.fold, seed, error)
        else:
            parts = {"val": (chosen[seed], val), "test": (final[seed], test)}
            keep(_result(job, fold.fold, seed, parts, task=task))
            best = chosen[seed].result.best_epoch
            result = {"best_epoch": best} | chosen[seed].result.history[best]
            yield Trained(model_name(fold.fold, seed), [], result)
        yield Progress(fold.fold, seed, done[seed], done[seed])
    # of one that diverged too: there is nothing to go on from, and it must not bind --out to its settings
    rmtree(fold.folder)


def _refit(
    job: Job, fold: Fold, chosen: dict[int, Member], parts: tuple[list[Bag], list[Bag]], *, task: Task | None
) -> Iterator[dict[int, Member]]:
    """Train the chosen members anew on both parts, and again from another start whose attention got lost in that.

    There is no validation part to tell whether a refit found what was found before it; an attention that prefers no
    tile in nine of ten bags, where that of the chosen member did in as many, says that it did not.
    """
    train, val = parts
    final, left, start = dict(chosen), [*chosen], 0
    while left:
        own = {}
        for seed in left:
            member = chosen[seed]
            settings = refit_settings(member.settings, member.result.best_epoch + 1)
            own[seed] = _member(job, fold, seed, train + val, start=member.start + start, task=task, refit=settings)
            adopt = getattr(own[seed].model, "adopt", None)
            if adopt is not None:
                adopt(member.model)
        path = _numbered(fold.folder / REFIT, start)
        for _ in train_members(list(own.values()), train + val, [], task=task, checkpoint=path, one_pass=True):
            yield final | own
        final |= own
        left, start = [], start + 1
        if task is None and start <= job.recipe.settings.restarts:
            whole = {seed: member for seed, member in own.items() if member.error is None}
            left = [seed for seed, m in whole.items() if evenness(m, val) > 0.9 and evenness(chosen[seed], val) < 0.1]
    yield final


def _numbered(path: Path, start: int) -> Path:
    return path.with_name(f"{path.stem}.{start}{path.suffix}")


def _member(
    job: Job,
    fold: Fold,
    seed: int,
    train: Sequence[Bag],
    *,
    start: int,
    task: Task | None,
    listeners: Sequence[Listener] = (),
    refit: TrainSettings | None = None,
) -> Member:
    """A fresh model for a training part; with the settings of a `refit`, for that."""
    recipe, drawn = job.recipe, seed_of(seed, start)
    classes = task.outputs if task else len(job.cohort.classes)
    model = recipe.build(in_dim=train[0].features.shape[1], n_classes=classes, train=train, seed=drawn)
    stabilizer = recipe.stabilize(model, train[0], seed=drawn)
    key = ("fold", fold.fold, "seed", drawn, "refit" if refit else "select")
    settings = refit or recipe.settings
    return Member(model, settings, stabilizer, key=key, listeners=listeners, place=seed, start=start)


def _result(
    job: Job,
    fold: int,
    seed: int,
    parts: dict[str, tuple[Member, list[Bag]]],
    *,
    task: Task | None,
) -> CellResult:
    (chosen, val), (final, _) = parts["val"], parts["test"]
    recorder = next(one for one in chosen.listeners if isinstance(one, AttentionRecorder))
    return CellResult(
        fold=fold,
        seed=seed,
        model_name=job.recipe.model,
        model_options=job.recipe.model_options,
        model=final.model,
        anchor=anchor_of(final),
        task=task,
        best_epoch=chosen.result.best_epoch,
        history=chosen.result.history,
        recorder=recorder,
        val=val,
        score_samples=_score_samples(chosen, val),
        predictions={part: _by_slide(one, bags, task=task) for part, (one, bags) in parts.items()},
        start=final.start,
    )


def _by_slide(member: Member, bags: Sequence[Bag], *, task: Task | None) -> list[Prediction]:
    """A prediction for each slide: those of a patient's bag share its values, and of its attention each has its own."""
    found = zip(bags, predict(member.model, bags, task=task), strict=True)
    return [
        Prediction(slide, p.probabilities, own, p.embedding, p.loss)
        for bag, p in found
        for slide, own in by_slide(bag, p.attention)
    ]


def anchor_of(member: Member) -> nn.Module | None:
    """The anchor of a trained model as a model of its own, which takes the same features."""
    if member.stabilizer is None:
        return None
    anchor, model = member.stabilizer.anchor.module, member.model
    return model.around(anchor).eval() if isinstance(model, Standardized) else anchor


@torch.no_grad()
def _score_samples(member: Member, bags: Sequence[Bag]) -> dict[str, np.ndarray]:
    """Weights x tiles of the online softmax and of the anchor's NSF on up to 8 validation slides (paper, Fig. 3)."""
    online, anchor = member.model.eval(), anchor_of(member)
    if anchor is None:
        return {}
    device = next(online.parameters()).device
    weights: dict[str, list[np.ndarray]] = {"softmax": [], "nsf": []}
    for bag in bags[:SAMPLED]:
        batch = BagBatch.from_bags(bag).to(device)
        for name, module, normalizer in (("softmax", online, softmax), ("nsf", anchor, nsf)):
            output = module(batch)
            order, layout = output.segments(batch.layout)
            share = normalizer(output.scores[order].float(), layout).mean(1)
            weights[name].append((share * layout.counts(share)[layout.bag_of_tile]).cpu().numpy())
    return {name: np.concatenate(parts).astype(np.float32) for name, parts in weights.items() if parts}


@contextmanager
def one_thread() -> Iterator[None]:
    """Within, torch computes with one thread, or as many as OMP_NUM_THREADS says: the same in every process.

    How many threads share a sum decides in which order it is added up, and so the last bits of every result.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or 1))
    try:
        yield
    finally:
        torch.set_num_threads(before)
