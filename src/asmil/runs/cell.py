"""One trained model of a run: what its folder holds, read and written here alone."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pandas as pd

from asmil.errors import RunError
from asmil.files import Facts, file_stamp, new_hdf5, safe_name, write_csv, write_text
from asmil.progress import model_name
from asmil.runs import layout
from asmil.runs.reading import open_h5, read_table, vector, with_numbers
from asmil.runs.whole import State, digest, seal, state_of, unseal

if TYPE_CHECKING:
    from torch import nn

    from asmil.settings import Settings
    from asmil.tasks import Task
    from asmil.training import CellResult

AGAIN = "run the command that made the run again: it trains this model anew"


@dataclass(frozen=True)
class Cell:
    """The model of a fold and a seed, finished or not, and its folder."""

    fold: int
    seed: int
    folder: Path

    @property
    def name(self) -> str:
        """What it is called in front of people: `fold 0 seed 1`."""
        return model_name(self.fold, self.seed)

    def state(self, *, deep: bool = False, sealed: bool = False, of: Facts | None = None) -> State:
        """Whether it is whole, or what is wrong with which file.

        `deep` compares their content too; `sealed` says that the run seals its cells: one without a seal is damaged.
        `of` is what the run is made of: a cell that was copied from another place or run is not this one.
        """
        return state_of(self.folder, deep=deep, sealed=sealed, of=of and self._place | of)

    @property
    def _place(self) -> Facts:
        return {"fold": self.fold, "seed": self.seed}

    # What it left.

    def predictions(self) -> pd.DataFrame:
        """Validation and test rows: slide, case, label, part, prob_<class>..., fold, seed.

        Of a task: the stratum is the label, and there are target_<name>... and the values instead of probabilities.

        Raises:
            RunError: the file is missing or damaged, as with everything that is read here.
        """
        path = self.folder / layout.PREDICTIONS
        table = read_table(path, columns=("slide", "label"), fix=AGAIN)
        table = with_numbers(table, path=path, gaps=("target_",), fix=AGAIN)
        table = table if "part" in table else table.assign(part="test")
        return table.assign(fold=self.fold, seed=self.seed)

    def log(self) -> pd.DataFrame:
        """One row per epoch of the training that selected the epoch; what was not measured is NaN.

        `start` is a column of models that found nothing before so many starts.
        """
        path = self.folder / layout.LOG
        return _log(path, *file_stamp(path) or ()).copy()

    def logged(self, column: str) -> np.ndarray:
        """A column of the log as float (epochs,), NaN where it is blank; empty where the log has no such column."""
        log = self.log()
        return log[column].to_numpy(float) if column in log else np.empty(0)

    def attention(self, slide: str) -> np.ndarray | None:
        """The attention float32 (tiles,) on a test or validation slide, rows as in the feature file; None of others."""
        with self._opened(layout.ATTENTION) as file:
            return vector(file[safe_name(slide)]) if safe_name(slide) in file else None

    def attentions(self) -> dict[str, np.ndarray]:
        """The attention on every test and validation slide."""
        slide_of = {safe_name(slide): slide for slide in self.predictions()["slide"]}
        with self._opened(layout.ATTENTION) as file:
            return {slide_of.get(name, name): vector(file[name]) for name in file}

    def recorded(self) -> dict[str, int]:
        """The slides whose attention was kept in every epoch, and how many epochs these are."""
        with self._opened(layout.DYNAMICS) as file:
            return {name: len(file[name]["attention"]) for name in file if not name.startswith(".")}

    def epochs(self, slide: str) -> np.ndarray:
        """The attention float32 (epochs, tiles) on a recorded slide."""
        with self._opened(layout.DYNAMICS) as file:
            return vector(file[slide]["attention"], dims=2)

    def embeddings(self) -> tuple[np.ndarray, np.ndarray, list[str]] | None:
        """Epochs (recorded,), embeddings (recorded, slides, dim), validation slides; None where none were kept."""
        from asmil.training import EMBEDDINGS

        with self._opened(layout.DYNAMICS) as file:
            if EMBEDDINGS not in file:
                return None
            group = file[EMBEDDINGS]
            names = [name.decode() for name in vector(group["slide"], kind=np.object_)]
            return vector(group["epoch"], kind=np.integer), vector(group["embedding"], dims=3), names

    def score_samples(self) -> dict[str, np.ndarray]:
        """Weight times tiles of `softmax` and `nsf`, some validation tiles each; empty without a stabiliser."""
        if not (self.folder / layout.SCORES).is_file():
            return {}
        with self._opened(layout.SCORES) as file:
            return {name: np.ravel(vector(file[name], dims=None)) for name in ("softmax", "nsf") if name in file}

    @property
    def stabilized(self) -> bool:
        """Whether it was trained with an anchor, which lies beside the model."""
        return (self.folder / layout.ANCHOR).is_file()

    @property
    def best_epoch(self) -> int | None:
        """The epoch (from 0) that was chosen on the validation part; None where the weights do not say it."""
        from asmil.runs.weights import read_facts

        epoch = read_facts(self.folder / layout.MODEL).get("best_epoch")
        return epoch if isinstance(epoch, int) else None

    def rows(self) -> list[Facts]:
        """The rows of the log, by name."""
        return [{str(name): value for name, value in row.items()} for row in self.log().to_dict("records")]

    @property
    def chosen(self) -> Facts:
        """The row of the log that is of the chosen epoch, and `best_epoch`; nothing where that is not known."""
        best = self.best_epoch
        return next(({"best_epoch": best} | row for row in self.rows() if row["epoch"] == best), {})

    def model(
        self, settings: "Settings", classes: int, *, in_dim: int | None = None
    ) -> "tuple[nn.Module, Task | None]":
        """The trained model, in evaluation mode and without gradients, and its task (None: classification).

        Raises:
            RunError: weights that cannot be used, or do not fit the settings, or (with `in_dim`) the features.
        """
        from asmil.runs.weights import read_model

        return read_model(
            self.folder / layout.MODEL,
            name=settings.model,
            options=settings.model_options,
            classes=classes,
            standardize=settings.standardize,
            in_dim=in_dim,
        )

    @property
    def weights(self) -> Path:
        """Where its weights are."""
        return self.folder / layout.MODEL

    @property
    def weights_digest(self) -> str:
        """The SHA-256 of the weights file.

        Raises:
            RunError: it is missing, or not the one that the seal is of.
        """
        path, sealed = self.folder / layout.MODEL, self.state().digests or {}
        if not path.is_file():
            raise RunError(f"{path} is missing", fix="copy the whole run folder")
        found = digest(path)
        if sealed.get(layout.MODEL, found) != found:
            raise RunError(f"{path} was changed after it was trained", found=f"SHA-256 {found[:12]}...", fix=AGAIN)
        return found

    # How it is written.

    def write(self, result: "CellResult", *, cohort: pd.DataFrame, classes: Sequence[str], of: Facts) -> None:
        """Write what a training left, and the seal last of all.

        `cohort` has slide, case, label and a task's targets; `classes` name the probabilities; `of` is what the run is
        made of.
        """
        from asmil.runs.weights import write_model

        self.folder.mkdir(parents=True, exist_ok=True)
        unseal(self.folder)
        facts: Facts = {"model": result.model_name, "options": result.model_options}
        facts |= {"best_epoch": result.best_epoch, "task": result.task}
        write_model(self.folder / layout.MODEL, result.model, **facts)
        if result.anchor is not None:
            write_model(self.folder / layout.ANCHOR, result.anchor, **facts)
        started: Facts = {"start": result.start} if result.start else {}
        log: list[dict[str, object]] = [{**row, **started} for row in result.history]
        write_csv(self.folder / layout.LOG, list(dict.fromkeys(name for row in log for name in row)), log)
        result.recorder.save(self.folder / layout.DYNAMICS, bags=result.val)
        if result.score_samples:
            _write_arrays(self.folder / layout.SCORES, result.score_samples)
        maps = {p.slide: p.attention for several in result.predictions.values() for p in several}
        _write_arrays(self.folder / layout.ATTENTION, {safe_name(slide): own for slide, own in maps.items()})
        table = _prediction_rows(result, cohort.set_index("slide"), classes)
        write_text(self.folder / layout.PREDICTIONS, table.to_csv(index=False))
        seal(self.folder, self._place | of)

    @contextmanager
    def _opened(self, name: str) -> Iterator[h5py.File]:
        with open_h5(self.folder / name, fix=AGAIN) as file:
            yield file


@lru_cache(maxsize=64)  # a report asks for one column after the other
def _log(path: Path, *stamp: int) -> pd.DataFrame:
    """The log of a cell from a file that has this stamp."""
    return with_numbers(read_table(path, columns=("epoch",), fix=AGAIN), path=path, gaps=("",), fix=AGAIN)


def _write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    with new_hdf5(path) as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=np.asarray(values, dtype=np.float32))


def _prediction_rows(result: "CellResult", cohort: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    values = result.task.value_names if result.task else [f"prob_{name}" for name in classes]
    targets = [str(name) for name in cohort if str(name).startswith("target_")]
    return pd.DataFrame(
        {"slide": p.slide, "case": cohort["case"][p.slide], "label": cohort["label"][p.slide], "part": part}
        | {name: float(cohort[name][p.slide]) for name in targets}
        | {name: float(value) for name, value in zip(values, p.probabilities, strict=True)}
        for part, several in result.predictions.items()
        for p in several
    )
