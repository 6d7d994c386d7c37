"""Cross-validation: one cell per fold and seed, each resumable, run side by side in processes."""

import io
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file
from torch import nn

from asmil.attention import AttentionStabilizer, nsf, softmax
from asmil.bags import Bag, BagBatch, Cohort, FeatureStore, Splits, load_bags, open_features
from asmil.errors import RunError
from asmil.files import write_text, written_beside
from asmil.models import create_model
from asmil.training.fit import FitResult, fit
from asmil.training.listeners import AttentionRecorder, write_log
from asmil.training.optim import TrainSettings
from asmil.training.predict import Prediction, predict
from asmil.training.runs import Cell, Run, write_attention
from asmil.training.standardize import Standardized

Progress = Callable[[str, int, int], None]
"""Called as progress(cell name, epochs done, epochs at most)."""


@dataclass(frozen=True)
class Recipe:
    """What is trained in every cell: a model by name with its options, the stabiliser's options (None: without), and
    the training settings. Plain values, so that it can be sent to a process and written to a file."""

    model: str
    model_options: dict[str, Any] = field(default_factory=dict)
    stabilizer: dict[str, Any] | None = field(default_factory=dict)
    settings: TrainSettings = field(default_factory=TrainSettings)
    standardize: bool = True
    device: str = "cpu"

    def identity(self) -> dict[str, Any]:
        """Everything that decides the result."""
        return {k: v for k, v in asdict(self).items() if k != "device"}

    def build(self, *, in_dim: int, n_classes: int, train: Sequence[Bag], seed: int) -> nn.Module:
        """A freshly initialised model for this training part."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = create_model(self.model, in_dim=in_dim, n_classes=n_classes, **self.model_options)
        if self.standardize:
            model = Standardized(model, in_dim).fit_statistics(train)
        return model.to(self.device)

    def stabilize(self, model: nn.Module, bag: Bag) -> AttentionStabilizer | None:
        """The stabiliser attached to a model; None where none is wanted or the model has no attention (mean, max)."""
        if self.stabilizer is None:
            return None
        with torch.no_grad():
            scores = model.eval()(BagBatch.from_bags(bag).to(self.device)).scores
        return None if scores is None else AttentionStabilizer(model, **self.stabilizer)


def crossval(
    cohort: Cohort,
    store: FeatureStore,
    splits: Splits,
    *,
    recipe: Recipe,
    run: Run,
    seeds: Sequence[int] = (0,),
    workers: int = 1,
    progress: Progress | None = None,
) -> Run:
    """Train one model per fold and seed and write each cell into the run; finished cells are kept as they are.

    A cell's result does not depend on `workers`: every process trains with one thread unless `workers` is 1.

    Raises:
        RunError: a worker process died; the finished cells are kept and the same call continues.
    """
    todo = [run.cell(f, s) for f in splits.folds for s in seeds if not run.cell(f, s).finished]
    job = _Job(store.path, cohort, splits, recipe)
    tell = progress or (lambda *_: None)
    if workers <= 1:
        bags = _bags_by_slide(job)
        for cell in todo:
            train_cell(cell, job, bags, progress=tell)
    else:
        for _ in _in_processes(todo, job, workers=workers, progress=tell):
            pass
    return run


@dataclass(frozen=True)
class _Job:
    """What a worker needs; small enough to send: it reads the features itself."""

    features: Path
    cohort: Cohort
    splits: Splits
    recipe: Recipe


def _bags_by_slide(job: _Job) -> dict[str, Bag]:
    return {bag.slide: bag for bag in load_bags(open_features(job.features), job.cohort)}


def train_cell(cell: Cell, job: _Job, bags: dict[str, Bag], *, progress: Progress) -> None:
    """Train one fold with one seed; predictions are written last, so that a cell with predictions is complete."""
    recipe, fold = job.recipe, job.splits.fold(cell.fold)
    train, val, test = ([bags[s] for s in part if s in bags] for part in (fold.train, fold.val, fold.test))
    model = recipe.build(
        in_dim=train[0].features.shape[1], n_classes=len(job.cohort.classes), train=train, seed=cell.seed
    )
    stabilizer = recipe.stabilize(model, train[0])
    recorder, name = AttentionRecorder(), f"fold {cell.fold} seed {cell.seed}"

    def tell(event: str, **values: Any) -> None:
        if event == "epoch":
            progress(name, values["epoch"] + 1, recipe.settings.epochs)

    checkpoint = cell.folder / "checkpoint.pt"
    result = fit(
        model, train, val, settings=recipe.settings, stabilizer=stabilizer, listeners=(recorder, tell),
        seed=cell.seed, checkpoint=checkpoint,
    )  # fmt: skip
    write_log(cell.folder / "log.csv", result.history)
    recorder.save(cell.folder / "dynamics.h5")
    _write_models(cell.folder, model, stabilizer, recipe=recipe, result=result)
    if stabilizer:
        _write_score_samples(cell.folder / "scores.h5", model, stabilizer, bags=val)
    predictions = {"val": predict(model, val), "test": predict(model, test)}
    write_attention(cell.folder / "attention.h5", {p.slide: p.attention for part in predictions.values() for p in part})
    _write_predictions(cell.folder / "predictions.csv", predictions, job=job)
    checkpoint.unlink(missing_ok=True)
    progress(name, recipe.settings.epochs, recipe.settings.epochs)


def _write_models(
    folder: Path,
    model: nn.Module,
    stabilizer: AttentionStabilizer | None,
    *,
    recipe: Recipe,
    result: FitResult,
) -> None:
    # One key: the file format keeps several in no fixed order, and equal weights should be equal files.
    facts = {"asmil": json.dumps({"model": recipe.model, "best_epoch": result.best_epoch})}
    with written_beside(folder / "model.safetensors") as partial:
        save_file({k: v.contiguous().cpu() for k, v in model.state_dict().items()}, partial, metadata=facts)
    if stabilizer:
        with written_beside(folder / "anchor.safetensors") as partial:
            anchor = stabilizer.anchor.module.state_dict()
            save_file({k: v.contiguous().cpu() for k, v in anchor.items()}, partial, metadata=facts)


@torch.no_grad()
def _write_score_samples(path: Path, model: nn.Module, stabilizer: AttentionStabilizer, *, bags: list[Bag]) -> None:
    """Weights x tiles of the online softmax and of the anchor's NSF on up to 8 validation slides (paper, Fig. 3)."""
    weights: dict[str, list[np.ndarray]] = {"softmax": [], "nsf": []}
    modules = {"softmax": (model.eval(), softmax), "nsf": (stabilizer.anchor.module, nsf)}
    device = next(model.parameters()).device
    for bag in bags[:8]:
        batch = BagBatch.from_bags(bag).to(device)
        for name, (module, normalizer) in modules.items():
            scores = module(batch).scores
            if scores is None:
                return
            share = normalizer(scores.float(), offsets=batch.offsets).mean(1)
            weights[name].append((share * len(bag)).cpu().numpy())
    with written_beside(path) as partial, h5py.File(partial, "w") as file:
        for name, several in weights.items():
            file[name] = np.concatenate(several).astype(np.float32)


def _write_predictions(path: Path, predictions: dict[str, list[Prediction]], *, job: _Job) -> None:
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


_worker: dict[str, Any] = {}


def _start_worker(job: _Job, queue: Any) -> None:
    torch.set_num_threads(1)
    _worker.update(job=job, queue=queue, bags=_bags_by_slide(job))


def _run_in_worker(cell: Cell) -> Cell:
    train_cell(cell, _worker["job"], _worker["bags"], progress=lambda *event: _worker["queue"].put(event))
    return cell


def _in_processes(cells: list[Cell], job: _Job, *, workers: int, progress: Progress) -> Iterator[Cell]:
    if not cells:
        return
    context = get_context("spawn")  # forking after torch has started threads can dead-lock
    with context.Manager() as manager:
        queue = manager.Queue()
        with ProcessPoolExecutor(
            min(workers, len(cells)), mp_context=context, initializer=_start_worker, initargs=(job, queue)
        ) as pool:
            pending = {pool.submit(_run_in_worker, cell): cell for cell in cells}
            try:
                while pending:
                    for future in _done_within(pending, seconds=0.3):
                        pending.pop(future)
                        yield future.result()
                    while not queue.empty():
                        progress(*queue.get())
            except BrokenProcessPool as error:
                raise RunError(
                    "a training process died (out of memory, or killed)",
                    found=f"{len(cells) - len(pending)} of {len(cells)} cells finished",
                    fix="run the same command again: finished cells are kept and started ones continue",
                ) from error


def _done_within(pending: Any, *, seconds: float) -> list[Any]:
    done = []
    try:
        for future in as_completed(list(pending), timeout=seconds):
            done.append(future)
    except TimeoutError:
        pass
    return done
