"""One cell of a cross-validation: select the epochs on the validation part, train, predict, write."""

import dataclasses
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file
from torch import nn

from asmil.attention import nsf, softmax
from asmil.bags import Bag, BagBatch, Cohort, Splits, by_slide, load_bags, open_features, targets_of
from asmil.files import write_text, written_beside
from asmil.tasks import Task
from asmil.training.fit import FitResult, fit
from asmil.training.listeners import AttentionRecorder, Listener, write_log
from asmil.training.optim import refit_settings
from asmil.training.predict import Prediction, predict
from asmil.training.recipe import Recipe
from asmil.training.runs import Cell, write_attention

Progress = Callable[[str, int, int], None]
"""Called as progress(cell name, epochs done, epochs at most)."""


@dataclass(frozen=True)
class Job:
    """What a worker process needs; small enough to send: it reads the features itself, as one of `processes`.

    `copies` is where features may be copied to that cannot be streamed from their files. `by_patient`: a bag is all
    slides of a patient.
    """

    features: Path
    cohort: Cohort
    splits: Splits
    recipe: Recipe
    processes: int = 1
    copies: Path | None = None
    by_patient: bool = False

    @property
    def epochs(self) -> int:
        """At most, of a cell."""
        return self.recipe.settings.epochs * (2 if self.recipe.refit else 1)

    def bags(self, tell: Callable[[str], None] = lambda line: None) -> dict[str, Bag]:
        """The cohort's bags by slide (the first of a patient's); `tell` hears where their features are."""
        store, recipe = open_features(self.features), self.recipe
        several = load_bags(
            store, self.cohort, device=recipe.device, processes=self.processes, copies=self.copies,
            by_patient=self.by_patient, tell=tell,
        )  # fmt: skip
        return {bag.slide: bag for bag in several}

    def parts(self, cell: Cell, bags: dict[str, Bag]) -> dict[str, list[Bag]]:
        """The bags of a cell's parts: train, val, test."""
        fold = self.splits.fold(cell.fold)
        parts = {"train": fold.train, "val": fold.val, "test": fold.test}
        return {part: [bags[slide] for slide in slides if slide in bags] for part, slides in parts.items()}

    def task(self, train: Sequence[Bag]) -> Task | None:
        """The cohort's task with what it learns from the targets of a training part; None for classification."""
        if self.cohort.task is None:
            return None
        return self.cohort.task.fit_targets(np.array([bag.target for bag in train]))

    def build(self, train: Sequence[Bag], *, seed: int, task: Task | None = None) -> nn.Module:
        """A fresh model for a training part."""
        dim, classes = train[0].features.shape[1], task.outputs if task else len(self.cohort.classes)
        return self.recipe.build(in_dim=dim, n_classes=classes, train=train, seed=seed)


@dataclass(frozen=True)
class Trained:
    """A trained model, its anchor if it has one, how training went, and the task where it is no classification."""

    model: nn.Module
    anchor: nn.Module | None
    result: FitResult
    task: Task | None = None


def train_cell(cell: Cell, job: Job, bags: dict[str, Bag], *, progress: Progress) -> None:
    """Train one fold with one seed; predictions are written last, so that a cell with predictions is complete.

    Log, dynamics and validation predictions are those of the training that selected the epoch. The stored model and the
    test predictions come from the refit, where there is one. What a task learns from targets (bins of time, a scale) is
    learned from the training part only, and kept for the refit.
    """
    recipe, parts = job.recipe, job.parts(cell, bags)
    name, total = name_of(cell), job.epochs
    recorder = AttentionRecorder()

    def tell(event: str, **values: Any) -> None:
        if event == "epoch":
            progress(name, values["epoch"] + 1, total)

    checkpoints = [cell.folder / "checkpoint.pt", cell.folder / "checkpoint_refit.pt"]
    train, val = parts["train"], parts["val"]
    task = job.task(train)
    chosen = _train(job, train, val, task=task, seed=cell.seed, checkpoint=checkpoints[0], listeners=(recorder, tell))
    write_selection(cell, chosen, recorder, val=val)
    final = chosen
    if recipe.refit:
        settings = refit_settings(recipe.settings, chosen.result.best_epoch + 1)
        both = dataclasses.replace(job, recipe=dataclasses.replace(recipe, settings=settings))
        final = _train(both, train + val, [], task=task, seed=cell.seed, checkpoint=checkpoints[1])
    write_result(cell, job, parts, chosen=chosen, final=final)
    for path in checkpoints:
        path.unlink(missing_ok=True)
    progress(name, total, total)


def name_of(cell: Cell) -> str:
    """What a cell is called in front of people."""
    return f"fold {cell.fold} seed {cell.seed}"


def write_selection(cell: Cell, chosen: Trained, recorder: AttentionRecorder, *, val: Sequence[Bag]) -> None:
    """What there is to tell of the training that selected the epoch."""
    write_log(cell.folder / "log.csv", chosen.result.history)
    recorder.save(cell.folder / "dynamics.h5", bags=val)
    if chosen.anchor:
        _write_score_samples(cell.folder / "scores.h5", chosen, bags=val)


def write_result(cell: Cell, job: Job, parts: dict[str, list[Bag]], *, chosen: Trained, final: Trained) -> None:
    """The model, attention and, last of all, predictions."""
    _write_models(cell.folder, final, model=job.recipe.model, best_epoch=chosen.result.best_epoch)
    trained = {"val": chosen, "test": final}
    predictions = {part: _of_slides(one, parts[part]) for part, one in trained.items()}
    write_attention(cell.folder / "attention.h5", {p.slide: p.attention for part in predictions.values() for p in part})
    _write_predictions(cell.folder / "predictions.csv", predictions, job=job, task=final.task)


def _of_slides(trained: Trained, bags: Sequence[Bag]) -> list[Prediction]:
    """A prediction for each slide: those of a patient's bag share its values, and of its attention each has its own."""
    found = zip(bags, predict(trained.model, bags, task=trained.task), strict=True)
    return [
        dataclasses.replace(p, slide=slide, attention=own)
        for bag, p in found
        for slide, own in by_slide(bag, p.attention)
    ]


def _train(
    job: Job, train: list[Bag], val: list[Bag], *, task: Task | None, seed: int, checkpoint: Path,
    listeners: tuple[Listener, ...] = (),
) -> Trained:  # fmt: skip
    model = job.build(train, seed=seed, task=task)
    stabilizer = job.recipe.stabilize(model, train[0], seed=seed)
    result = fit(
        model, train, val, settings=job.recipe.settings, task=task, stabilizer=stabilizer, listeners=listeners,
        seed=seed, checkpoint=checkpoint,
    )  # fmt: skip
    return Trained(model, stabilizer.anchor.module if stabilizer else None, result, task)


def _write_models(folder: Path, trained: Trained, *, model: str, best_epoch: int) -> None:
    # In one key: the file format keeps several in no fixed order, and equal weights should be equal files.
    facts = {"model": model, "best_epoch": best_epoch}
    if trained.task:
        facts["task"] = {"name": trained.task.name, "options": trained.task.options()}
    modules = {"model": trained.model}
    if trained.anchor:
        modules["anchor"] = trained.anchor
    for name, module in modules.items():
        with written_beside(folder / f"{name}.safetensors") as partial:
            weights = {k: v.contiguous().cpu() for k, v in module.state_dict().items()}
            save_file(weights, partial, metadata={"asmil": json.dumps(facts)})


@torch.no_grad()
def _write_score_samples(path: Path, trained: Trained, *, bags: Sequence[Bag]) -> None:
    """Weights x tiles of the online softmax and of the anchor's NSF on up to 8 validation slides (paper, Fig. 3)."""
    weights: dict[str, list[np.ndarray]] = {"softmax": [], "nsf": []}
    if trained.anchor is None:
        return
    modules = {"softmax": (trained.model.eval(), softmax), "nsf": (trained.anchor, nsf)}
    device = next(trained.model.parameters()).device
    for bag in bags[:8]:
        batch = BagBatch.from_bags(bag).to(device)
        for name, (module, normalizer) in modules.items():
            output = module(batch)
            if output.scores is None:
                return
            order, offsets = output.segments(batch.offsets)
            lengths = offsets.diff().repeat_interleave(offsets.diff())
            share = normalizer(output.scores[order].float(), offsets=offsets).mean(1)
            weights[name].append((share * lengths).cpu().numpy())
    with written_beside(path) as partial, h5py.File(partial, "w") as file:
        for name, several in weights.items():
            file[name] = np.concatenate(several).astype(np.float32)


def _write_predictions(path: Path, predictions: dict[str, list[Prediction]], *, job: Job, task: Task | None) -> None:
    rows = job.cohort.table.set_index("slide")
    targets = targets_of(rows)
    values = task.value_names if task else [f"prob_{name}" for name in job.cohort.classes]
    table = pd.DataFrame(
        {"slide": p.slide, "case": rows.case[p.slide], "label": rows.label[p.slide], "part": part}
        | {name: float(rows[name][p.slide]) for name in targets}
        | {name: float(value) for name, value in zip(values, p.probabilities, strict=True)}
        for part, several in predictions.items()
        for p in several
    )
    text = io.StringIO()
    table.to_csv(text, index=False)
    write_text(path, text.getvalue())
