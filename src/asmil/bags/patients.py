"""Bags of patients: the tiles of all slides of a patient as one bag, opened slide by slide."""

from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from asmil.bags.bag import Bag, StreamedBag
from asmil.bags.tables import listed
from asmil.errors import CohortError

if TYPE_CHECKING:
    from asmil.bags.cohort import Cohort

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


def require_one_answer(cohort: "Cohort") -> None:
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


def tiles_by_patient(cohort: "Cohort", tiles: dict[str, int]) -> dict[str, int]:
    """Numbers of tiles by the first slide of each patient, of numbers by slide."""
    totals: dict[str, int] = {}
    first: dict[str, str] = {}
    for slide, case in zip(cohort.slides, cohort.cases, strict=True):
        name = first.setdefault(case, slide)
        totals[name] = totals.get(name, 0) + tiles[slide]
    return totals


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
