"""Runs: the one owner of a run folder. `Run` and its `Cell`s read and write every file in it."""

from typing import TYPE_CHECKING, Any

from asmil._lazy import load

if TYPE_CHECKING:
    from asmil.runs.cell import Cell as Cell
    from asmil.runs.folder import Run as Run
    from asmil.runs.layout import ATTENTION as ATTENTION
    from asmil.runs.layout import PREDICTIONS as PREDICTIONS
    from asmil.runs.layout import figure_file as figure_file
    from asmil.runs.records import Settings as Settings
    from asmil.runs.records import environment as environment
    from asmil.runs.slide import RunSlide as RunSlide
    from asmil.runs.slide import SlideTiles as SlideTiles
    from asmil.runs.slide import picture_of as picture_of
    from asmil.runs.slide import spacing as spacing
    from asmil.runs.slide import stated_size as stated_size
    from asmil.runs.slide import tiles_of as tiles_of
    from asmil.runs.whole import Standing as Standing
    from asmil.runs.whole import even as even

_HOMES = {
    "ATTENTION": "layout",
    "Cell": "cell",
    "PREDICTIONS": "layout",
    "Run": "folder",
    "RunSlide": "slide",
    "Settings": "records",
    "SlideTiles": "slide",
    "Standing": "whole",
    "environment": "records",
    "even": "whole",
    "figure_file": "layout",
    "picture_of": "slide",
    "spacing": "slide",
    "stated_size": "slide",
    "tiles_of": "slide",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    return load(__name__, _HOMES, name)
