"""The trained models of a run, which predict together."""

from dataclasses import dataclass

from torch import nn

from asmil.runs import Cell, Run
from asmil.tasks import Task


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
        """As its cell is called: `fold 0 seed 1`."""
        return f"fold {self.fold} seed {self.seed}"


def load_members(run: Run, *, device: str = "cpu") -> tuple[Member, ...]:
    """The models of all finished cells.

    Raises:
        RunError: weights that cannot be used, do not fit the settings, or were changed after they were trained.
    """
    return tuple(_member(run, cell, device=device) for cell in run.cells())


def _member(run: Run, cell: Cell, *, device: str) -> Member:
    digest = cell.weights_digest
    model, task = cell.model(run.settings, len(run.classes))
    return Member(cell.fold, cell.seed, model.to(device), digest, task)
