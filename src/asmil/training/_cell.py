"""One cell of a cross-validation: select the epochs on the validation part, train, predict, write."""

import dataclasses
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file
from torch import nn

from asmil.attention import AttentionStabilizer, nsf, softmax
from asmil.bags import Bag, BagBatch, Cohort, Splits
from asmil.files import write_text, written_beside
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
    """What a worker process needs; small enough to send: it reads the features itself."""

    features: Path
    cohort: Cohort
    splits: Splits
    recipe: Recipe


@dataclass(frozen=True)
class _Trained:
    """A trained model, its stabiliser if it has one, and how training went."""

    model: nn.Module
    stabilizer: AttentionStabilizer | None
    result: FitResult


def train_cell(cell: Cell, job: Job, bags: dict[str, Bag], *, progress: Progress) -> None:
    """Train one fold with one seed; predictions are written last, so that a cell with predictions is complete.

    Log, dynamics and validation predictions are those of the training that selected the epoch. The stored model and the
    test predictions come from the refit, where there is one.
    """
    recipe, fold = job.recipe, job.splits.fold(cell.fold)
    train, val, test = ([bags[s] for s in part if s in bags] for part in (fold.train, fold.val, fold.test))
    name, total = f"fold {cell.fold} seed {cell.seed}", recipe.settings.epochs * (2 if recipe.refit else 1)
    recorder = AttentionRecorder()

    def tell(event: str, **values: Any) -> None:
        if event == "epoch":
            progress(name, values["epoch"] + 1, total)

    checkpoints = [cell.folder / "checkpoint.pt", cell.folder / "checkpoint_refit.pt"]
    chosen = _train(job, train, val, seed=cell.seed, checkpoint=checkpoints[0], listeners=(recorder, tell))
    write_log(cell.folder / "log.csv", chosen.result.history)
    recorder.save(cell.folder / "dynamics.h5")
    if chosen.stabilizer:
        _write_score_samples(cell.folder / "scores.h5", chosen, bags=val)
    final = chosen
    if recipe.refit:
        settings = refit_settings(recipe.settings, chosen.result.best_epoch + 1)
        both = Job(job.features, job.cohort, job.splits, dataclasses.replace(recipe, settings=settings))
        final = _train(both, train + val, [], seed=cell.seed, checkpoint=checkpoints[1])
    _write_models(cell.folder, final, model=recipe.model, best_epoch=chosen.result.best_epoch)
    predictions = {"val": predict(chosen.model, val), "test": predict(final.model, test)}
    write_attention(cell.folder / "attention.h5", {p.slide: p.attention for part in predictions.values() for p in part})
    _write_predictions(cell.folder / "predictions.csv", predictions, job=job)
    for path in checkpoints:
        path.unlink(missing_ok=True)
    progress(name, total, total)


def _train(
    job: Job, train: list[Bag], val: list[Bag], *, seed: int, checkpoint: Path, listeners: tuple[Listener, ...] = ()
) -> _Trained:
    recipe = job.recipe
    model = recipe.build(in_dim=train[0].features.shape[1], n_classes=len(job.cohort.classes), train=train, seed=seed)
    stabilizer = recipe.stabilize(model, train[0], seed=seed)
    result = fit(
        model, train, val, settings=recipe.settings, stabilizer=stabilizer, listeners=listeners,
        seed=seed, checkpoint=checkpoint,
    )  # fmt: skip
    return _Trained(model, stabilizer, result)


def _write_models(folder: Path, trained: _Trained, *, model: str, best_epoch: int) -> None:
    # One key: the file format keeps several in no fixed order, and equal weights should be equal files.
    facts = {"asmil": json.dumps({"model": model, "best_epoch": best_epoch})}
    modules = {"model": trained.model}
    if trained.stabilizer:
        modules["anchor"] = trained.stabilizer.anchor.module
    for name, module in modules.items():
        with written_beside(folder / f"{name}.safetensors") as partial:
            save_file({k: v.contiguous().cpu() for k, v in module.state_dict().items()}, partial, metadata=facts)


@torch.no_grad()
def _write_score_samples(path: Path, trained: _Trained, *, bags: list[Bag]) -> None:
    """Weights x tiles of the online softmax and of the anchor's NSF on up to 8 validation slides (paper, Fig. 3)."""
    weights: dict[str, list[np.ndarray]] = {"softmax": [], "nsf": []}
    if trained.stabilizer is None:
        return
    modules = {"softmax": (trained.model.eval(), softmax), "nsf": (trained.stabilizer.anchor.module, nsf)}
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


def _write_predictions(path: Path, predictions: dict[str, list[Prediction]], *, job: Job) -> None:
    rows = job.cohort.table.set_index("slide")
    table = pd.DataFrame(
        {"slide": p.slide, "case": rows.case[p.slide], "label": rows.label[p.slide], "part": part}
        | {f"prob_{c}": float(q) for c, q in zip(job.cohort.classes, p.probabilities, strict=True)}
        for part, several in predictions.items()
        for p in several
    )
    text = io.StringIO()
    table.to_csv(text, index=False)
    write_text(path, text.getvalue())
