"""A cohort's bags, of slides or of patients: in memory where they fit, else left in their files."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from asmil.bags.bag import Bag, StreamedBag
from asmil.bags.cohort import Cohort
from asmil.bags.store import FeatureStore
from asmil.bags.tables import listed
from asmil.errors import CohortError, require_kind

# Bags of patients: the tiles of all slides of a patient as one bag, opened slide by slide.

GAP = 4
"""Tiles that would fit between two slides laid side by side: no neighbourhood reaches across."""


def patient_bags(slides: Sequence[StreamedBag]) -> list[StreamedBag]:
    """One bag for each patient, in the order of their first slides, by which they are named.

    The bag of a patient with one slide is that slide's, so that cohorts of such patients give the results of slides. In
    the others `tiles_of` says which tiles are of which slide; positions are of a sheet on which the slides lie side by
    side, in steps of the first one's tiles: neighbours stay neighbours and none reach across slides.
    """
    by_case: dict[str, list[StreamedBag]] = {}
    for bag in slides:
        by_case.setdefault(bag.case, []).append(bag)
    return [several[0] if len(several) == 1 else _joined(several) for several in by_case.values()]


def require_one_answer(cohort: Cohort) -> None:
    """Check that the slides of each patient have one label, or one target.

    Raises:
        CohortError: patients that have several; they are named.
    """
    answers = ["label", *(column for column in cohort.table if str(column).startswith("target_"))]
    several = cohort.table.groupby("case")[answers].nunique(dropna=False).max(axis=1) > 1
    if several.any():
        raise CohortError(
            "a bag of a patient has one label, and some patients have slides of different ones",
            found=f"{several.sum()} patients: {listed(several.index[several])}",
            fix="give the patient's label to all slides (a --slide-table and labels by patient), or use --bag slide",
        )


def by_slide(bag: Bag, rows: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Each slide of a bag with its part of values whose last axis is the bag's tiles."""
    if not bag.tiles_of:
        yield bag.slide, rows
        return
    names, lengths = zip(*bag.tiles_of, strict=True)
    yield from zip(names, np.split(rows, np.cumsum(lengths)[:-1], axis=-1), strict=True)


def _joined(slides: list[StreamedBag]) -> StreamedBag:
    first, patient = slides[0], _Patient(slides)
    return StreamedBag(
        partial(_Patient.read, patient),
        tiles=patient.starts[-1],
        slide=first.slide,
        case=first.case,
        label=first.label,
        target=first.target,
        tile_level0_px=first.tile_level0_px,
        mpp=first.mpp,
        tiles_of=patient.tiles_of,
        nbytes=sum(bag.nbytes for bag in slides),
        mapped=False,
    )


class _Patient:
    """The slides of a patient in their files."""

    def __init__(self, slides: list[StreamedBag]):
        self.slides = slides
        self.tiles_of = tuple((bag.slide, len(bag)) for bag in slides)
        self.starts = [0, *np.cumsum([len(bag) for bag in slides]).tolist()]

    def read(self, rows: np.ndarray | None) -> Bag:
        """All tiles, or these in this order; of each slide only its own are read."""
        if rows is None:
            parts, order = [bag.opened() for bag in self.slides], None
            places = range(len(parts))
        else:
            slide = np.searchsorted(self.starts, rows, side="right") - 1
            places = np.unique(slide).tolist()
            own = [torch.from_numpy(rows[slide == place] - self.starts[place]) for place in places]
            parts = [self.slides[place].rows(index) for place, index in zip(places, own, strict=True)]
            order = torch.from_numpy(np.argsort(np.argsort(slide, kind="stable"), kind="stable"))
        features = torch.cat([part.features for part in parts])
        level0_xy = None
        if self._sheet is not None:
            level0_xy = torch.cat(
                [self._on_sheet(part.level0_xy, place) for part, place in zip(parts, places, strict=True)]
            )
        if order is not None:
            features, level0_xy = features[order], None if level0_xy is None else level0_xy[order]
        first = self.slides[0]
        return Bag(
            features,
            level0_xy,
            slide=first.slide,
            tile_level0_px=first.tile_level0_px,
            mpp=first.mpp,
            tiles_of=self.tiles_of,
        )

    @cached_property
    def _sheet(self) -> list[tuple[np.ndarray, float, float]] | None:
        """Of each slide: its upper left corner, its scale to the first one's tiles, and its left edge on the sheet.

        None where a slide has no coordinates. Edges are whole steps, so that steps can be counted across the sheet.
        """
        side, places, left = self.slides[0].tile_level0_px, [], 0.0
        for bag in self.slides:
            xy = bag.level0_xy
            if xy is None or side is None or bag.tile_level0_px is None:
                return None
            low, high = xy.amin(0).numpy(), xy.amax(0).numpy()
            scale = side / bag.tile_level0_px
            places.append((low, scale, left))
            left += (np.ceil((high[0] - low[0]) * scale / side) + GAP) * side
        return places

    def _on_sheet(self, xy: Int[Tensor, "tiles 2"] | None, place: int) -> Int[Tensor, "tiles 2"]:
        low, scale, left = self._sheet[place]  # type: ignore[index]  # asked for only where there is a sheet
        moved = (xy - torch.from_numpy(low)) * scale + torch.tensor([left, 0.0])  # type: ignore[operator]
        return moved.round().long()


_SHARE = 0.5
"""Of the memory that is free: the other half is for the training, and for whoever else is on the machine."""


def load_bags(
    store: FeatureStore,
    cohort: Cohort,
    slides: Sequence[str] | None = None,
    *,
    device: torch.device | str = "cpu",
    processes: int = 1,
    copies: Path | None = None,
    budget: int | None = None,
    by_patient: bool = False,
    tell: Callable[[str], None] = lambda text: None,
) -> list[Bag]:
    """Bags with label and patient, in the order of `slides` (all of the cohort if None); `by_patient`, a bag holds the
    tiles of all slides of a patient (`patient_bags`).

    Features are put on a CUDA `device`, or else into memory, where those of all `processes` that load them fit into
    half of what is free there (`budget` bytes, where given). Else they stay in their files (`StreamedBag`), which are
    mapped: processes share what the system keeps of them in memory. Files that cannot be mapped are copied once into
    the folder `copies`, where it is given and has room for them. Types are as stored, and so the results do not depend
    on where the features are. `tell` hears where.

    Where the cohort has an `mpp` column, coordinates in micrometres become level-0 pixels by it.

    Raises:
        FeatureError: a slide without usable features. What is wrong with values that stay in a file is found when they
            are read.
        CohortError: a slide that the cohort does not have, or `by_patient` a patient with several labels.
    """
    require_kind(store, FeatureStore, called="a store of features", fix="give what open_features returns")
    require_kind(cohort, Cohort, called="a cohort", fix="give what read_cohort returns")
    cohort = cohort if slides is None else cohort.subset(slides)
    stored, device = _streamed(store, cohort), torch.device(device)
    if by_patient:
        require_one_answer(cohort)
    bags = patient_bags(stored) if by_patient else stored
    size = sum(bag.nbytes for bag in bags)
    if device.type == "cuda" and size * processes <= _budget(budget, torch.cuda.mem_get_info(device)[0]):
        tell(f"features ({_text(size)}) on {device}")
        return [bag.opened().to(device) for bag in bags]
    memory = _budget(budget, available_memory())
    if size * processes <= memory:
        tell(f"features ({_text(size)}) in memory")
        return [bag.loaded() for bag in bags]
    tell(f"features ({_text(size)}, {processes} x) stay in their files: {_text(memory)} of memory may be used for them")
    chunked = [bag for bag in stored if not bag.mapped]
    if chunked and _has_room(copies, sum(bag.nbytes for bag in chunked)):
        tell(f"features of {len(chunked)} slides are copied to {copies} once, because their files cannot be mapped")
        for bag in chunked:
            store.repack(bag.slide, cast(Path, copies))
    elif chunked:
        tell(
            f"{len(chunked)} slides are decoded in every epoch, which is slow: asmil convert them to asmil's own files"
        )
    return list(bags)


def _streamed(store: FeatureStore, cohort: Cohort) -> list[StreamedBag]:
    mpps = cohort.table["mpp"] if "mpp" in cohort.table else [None] * len(cohort)
    nothing, learned = [None] * len(cohort), cohort.targets
    # what a model learns of each slide: its class, or the numbers of another task
    labels = cohort.labels.tolist() if learned is None else nothing
    targets = nothing if learned is None else [tuple(row) for row in learned.tolist()]
    return [
        store.stream(
            slide, case=case, label=label, target=target, slide_mpp=None if mpp is None or np.isnan(mpp) else float(mpp)
        )
        for slide, case, label, target, mpp in zip(cohort.slides, cohort.cases, labels, targets, mpps, strict=True)
    ]


def _budget(given: int | None, free: int) -> int:
    return int(_SHARE * free) if given is None else given


def _has_room(folder: Path | None, size: int) -> bool:
    """Whether copies of this size, those that are there already among them, leave a tenth of the disk's room free."""
    if folder is None:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    there = sum(path.stat().st_size for path in folder.glob("*.npy"))
    return size <= 0.9 * (shutil.disk_usage(folder).free + there)


def _text(size: float) -> str:
    return f"{size / 1e9:.1f} GB"


_GROUPS = Path("/sys/fs/cgroup")
_V2 = ("memory.max", "memory.current", "inactive_file")
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def available_memory() -> int:
    """Bytes that can be used without swapping.

    Containers and schedulers (SLURM) limit a job by control groups, which the system's own numbers do not know.
    """
    return min([_of_system(), *memory_of_groups(Path("/proc/self/cgroup"), _GROUPS)])


def _of_system() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):  # not Linux: half of what is built in
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def memory_of_groups(own: Path, root: Path) -> Iterator[int]:
    """What is left in this process's control group and in those around it, where they have a limit."""
    try:
        memberships = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        return
    for _, controllers, path in memberships:
        top, names = (root / "memory", _V1) if "memory" in controllers.split(",") else (root, _V2)
        if controllers and names is _V2:
            continue
        group = top / path.strip("/")
        for folder in (group, *group.parents):
            if not folder.is_relative_to(top):
                break
            yield from _left(folder, names)


def _left(folder: Path, names: tuple[str, str, str]) -> Iterator[int]:
    limit, used, cached = names
    try:
        most, now = int((folder / limit).read_text()), int((folder / used).read_text())
        facts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        yield max(0, most - now + int(facts[cached]))  # cached files make room when memory is asked for
    except (OSError, ValueError, KeyError):  # no such group, or "max": no limit
        return
