"""Several cells of a run trained together: the same files as one by one, and one checkpoint for all of them."""

import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from asmil.bags import Bag
from asmil.errors import AsmilError
from asmil.files import write_json
from asmil.training._cell import Cell, Job, Keep, Progress, Trained, name_of, result_of, train_cell
from asmil.training._checks import check_bags
from asmil.training._fit_together import Member, fit_together
from asmil.training.listeners import AttentionRecorder
from asmil.training.optim import TrainSettings, refit_settings
from asmil.training.recipe import anchors_of

_CELLS, _SELECT, _REFIT = "cells.json", "select.pt", "refit.pt"

Failures = list[tuple[Cell, AsmilError]]


@dataclass(frozen=True)
class Group:
    """Cells that are trained together (one: alone), and the folder of their checkpoints while they are.

    Those that are `done` were kept before the group was interrupted.
    """

    cells: tuple[Cell, ...]
    folder: Path
    done: frozenset[Cell] = frozenset()

    @classmethod
    def of(cls, checkpoints: Path, cells: Sequence[Cell]) -> "Group":
        """A group of these cells."""
        return cls(tuple(cells), checkpoints / f"together_{cells[0].fold}_{cells[0].seed}")


def cell_of(checkpoints: Path, fold: int, seed: int) -> Cell:
    """A cell, with its own folder of checkpoints."""
    return Cell(fold, seed, checkpoints / f"{fold}_{seed}")


def begun_groups(checkpoints: Path, todo: Sequence[Cell]) -> list[Group]:
    """Groups that were interrupted, in the company they had: their checkpoints are of all of them."""
    groups = []
    for path in sorted(checkpoints.glob(f"together_*/{_CELLS}")):
        cells = [cell_of(checkpoints, fold, seed) for fold, seed in json.loads(path.read_text())]
        if set(cells) & set(todo):
            groups.append(Group(tuple(cells), path.parent, frozenset(cells) - set(todo)))
    return groups


def train_group(group: Group, job: Job, bags: dict[str, Bag], *, keep: Keep, progress: Progress) -> Failures:
    """Train the cells of a group; those whose training diverged are named, and the others finish."""
    if len(group.cells) == 1:
        return _train_one(group.cells[0], job, bags, keep=keep, progress=progress)
    write_json(group.folder / _CELLS, [(cell.fold, cell.seed) for cell in group.cells])
    selected = _fit(group, job, bags, settings=[job.recipe.settings] * len(group.cells), progress=progress)
    failures = [(cell, m.error) for cell, m in zip(group.cells, selected, strict=True) if m.error]
    well = [(cell, m) for cell, m in zip(group.cells, selected, strict=True) if not m.error]
    finals = [member for _, member in well]
    if job.recipe.refit and well:
        settings = [refit_settings(job.recipe.settings, m.result.best_epoch + 1) for m in finals]
        rest = Group(tuple(cell for cell, _ in well), group.folder)
        finals = _fit(rest, job, bags, settings=settings, refit=True)
    for (cell, chosen), final in zip(well, finals, strict=True):
        if final.error:
            failures.append((cell, final.error))
        elif cell not in group.done:
            _keep(cell, job, bags, chosen=chosen, final=final, keep=keep)
        progress(name_of(cell), job.epochs, job.epochs)
    if not failures:
        shutil.rmtree(group.folder)
        with suppress(OSError):  # the last one takes the folder of all groups with it
            group.folder.parent.rmdir()
    return failures


def _train_one(cell: Cell, job: Job, bags: dict[str, Bag], *, keep: Keep, progress: Progress) -> Failures:
    try:
        train_cell(cell, job, bags, keep=keep, progress=progress)
    except AsmilError as error:
        return [(cell, error)]
    return []


def _fit(
    group: Group,
    job: Job,
    bags: dict[str, Bag],
    *,
    settings: list[TrainSettings],
    refit: bool = False,
    progress: Progress = lambda *_: None,
) -> list[Member]:
    """The members of a group after training, in the order of its cells."""
    everything = list(bags.values())
    place = {bag.slide: index for index, bag in enumerate(everything)}
    members = []
    for cell, own in zip(group.cells, settings, strict=True):
        parts = job.parts(cell, bags)
        train, val = (parts["train"] + parts["val"], []) if refit else (parts["train"], parts["val"])
        check_bags(train, val, own)
        model = job.build(train, seed=cell.seed)
        anchors = anchors_of(job.recipe, [model], train[0], seeds=[cell.seed])
        learned, watched = ([place[bag.slide] for bag in part] for part in (train, val))
        recorder = None if refit else AttentionRecorder()
        members.append(Member(model, anchors[0] if anchors else None, learned, watched, own, recorder))

    def tell(index: int, epochs: int) -> None:
        progress(name_of(group.cells[index]), epochs, job.epochs)

    checkpoint = group.folder / (_REFIT if refit else _SELECT)
    seed, stabilizer = group.cells[0].seed, job.recipe.stabilizer
    fit_together(members, everything, stabilizer=stabilizer, seed=seed, checkpoint=checkpoint, progress=tell)
    return members


def _keep(cell: Cell, job: Job, bags: dict[str, Bag], *, chosen: Member, final: Member, keep: Keep) -> None:
    selection = Trained(chosen.model, chosen.anchor, chosen.result)
    refit = Trained(final.model, final.anchor, final.result)
    recorder = chosen.recorder or AttentionRecorder()
    keep(result_of(cell, job, job.parts(cell, bags), chosen=selection, final=refit, recorder=recorder))
