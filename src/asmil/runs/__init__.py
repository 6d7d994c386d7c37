"""Runs: the one owner of a run folder (`Run` and its `Cell`s), and the stages that make a run and put it to use."""

from typing import TYPE_CHECKING, Any

from asmil.registry import load

if TYPE_CHECKING:
    from asmil.runs.cell import Cell as Cell
    from asmil.runs.folder import Run as Run
    from asmil.runs.layout import ATTENTION as ATTENTION
    from asmil.runs.layout import PREDICTIONS as PREDICTIONS
    from asmil.runs.layout import figure_file as figure_file
    from asmil.runs.pipeline import Extracted as Extracted
    from asmil.runs.pipeline import evaluate as evaluate
    from asmil.runs.pipeline import export as export
    from asmil.runs.pipeline import extract as extract
    from asmil.runs.pipeline import heatmap as heatmap
    from asmil.runs.pipeline import predict as predict
    from asmil.runs.pipeline import run as run
    from asmil.runs.pipeline import train as train
    from asmil.runs.pipeline import write_report as write_report
    from asmil.runs.records import environment as environment
    from asmil.runs.slide import RunSlide as RunSlide
    from asmil.runs.slide import SlideTiles as SlideTiles
    from asmil.runs.slide import picture_of as picture_of
    from asmil.runs.slide import spacing as spacing
    from asmil.runs.slide import stated_size as stated_size
    from asmil.runs.slide import tiles_of as tiles_of
    from asmil.runs.whole import Standing as Standing
    from asmil.runs.whole import even as even

_STAGES = ("Extracted", "evaluate", "export", "extract", "heatmap", "predict", "run", "train", "write_report")
_HOME = {
    "ATTENTION": "layout",
    "Cell": "cell",
    "PREDICTIONS": "layout",
    "Run": "folder",
    "RunSlide": "slide",
    "SlideTiles": "slide",
    "Standing": "whole",
    "environment": "records",
    "even": "whole",
    "figure_file": "layout",
    "picture_of": "slide",
    "spacing": "slide",
    "stated_size": "slide",
    "tiles_of": "slide",
    **dict.fromkeys(_STAGES, "pipeline"),
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    return load(__name__, _HOME, name)
