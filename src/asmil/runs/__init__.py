"""Runs: the one owner of a run folder (`Run` and its `Cell`s), and the stages that make a run and put it to use."""

from typing import TYPE_CHECKING

from asmil.registry import load

if TYPE_CHECKING:
    from asmil.runs.cell import Cell
    from asmil.runs.folder import Run
    from asmil.runs.layout import ATTENTION, PREDICTIONS, figure_file
    from asmil.runs.pipeline import Extracted, evaluate, export, extract, heatmap, predict, run, train, write_report
    from asmil.runs.records import environment
    from asmil.runs.slide import (
        RunSlide,
        SlideTiles,
        evidence_of,
        mean_evidence,
        picture_of,
        spacing,
        stated_size,
        tiles_of,
    )
    from asmil.runs.whole import Standing, even

_HOMES = {
    "cell": ("Cell",),
    "folder": ("Run",),
    "layout": ("ATTENTION", "PREDICTIONS", "figure_file"),
    "pipeline": ("Extracted", "evaluate", "export", "extract", "heatmap", "predict", "run", "train", "write_report"),
    "records": ("environment",),
    "slide": (
        "RunSlide",
        "SlideTiles",
        "evidence_of",
        "mean_evidence",
        "picture_of",
        "spacing",
        "stated_size",
        "tiles_of",
    ),
    "whole": ("Standing", "even"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> object:
    return load(__name__, _HOME_OF, name)
