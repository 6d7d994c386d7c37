"""The trained models of a run, which predict together."""

import hashlib
from dataclasses import dataclass

from torch import nn

from asmil.errors import RunError
from asmil.settings import Settings
from asmil.tasks import Task
from asmil.training import Run
from asmil.training.runs import Cell
from asmil.training.saved import load_model, load_task


@dataclass(frozen=True)
class Member:
    """One trained model of a run, in evaluation mode: its fold, its seed, and the SHA-256 of its weights file.

    `task` is what it predicts, as its own training part taught it; None for classification.
    """

    fold: int
    seed: int
    model: nn.Module
    digest: str
    task: Task | None = None

    @property
    def name(self) -> str:
        """As in the run's folder: `fold 0 seed 1`."""
        return f"fold {self.fold} seed {self.seed}"


def load_members(run: Run, *, config: Settings, classes: int, device: str = "cpu") -> tuple[Member, ...]:
    """The models of all finished cells.

    Raises:
        RunError: no finished cell, or weights that cannot be used (see `load_model`).
    """
    cells = run.cells()
    if not cells:
        raise RunError(f"{run.folder} has no finished fold", fix="let `asmil crossval` or `asmil run` finish")
    return tuple(_member(cell, config, classes=classes, device=device) for cell in cells)


def _member(cell: Cell, config: Settings, *, classes: int, device: str) -> Member:
    model = load_model(
        cell, name=config.model, options=config.model_options, classes=classes,
        standardize=config.standardize, device=device,
    )  # fmt: skip
    digest = hashlib.sha256((cell.folder / "model.safetensors").read_bytes()).hexdigest()
    return Member(cell.fold, cell.seed, model, digest, load_task(cell))
