"""A run: its folder, and the stages that make it and put it to use."""

from typing import TYPE_CHECKING, Any

from asmil._lazy import load

if TYPE_CHECKING:
    from asmil.runs.pipeline import Extracted as Extracted
    from asmil.runs.pipeline import evaluate as evaluate
    from asmil.runs.pipeline import export as export
    from asmil.runs.pipeline import extract as extract
    from asmil.runs.pipeline import heatmap as heatmap
    from asmil.runs.pipeline import predict as predict
    from asmil.runs.pipeline import run as run
    from asmil.runs.pipeline import train as train
    from asmil.runs.pipeline import write_report as write_report
    from asmil.runs.seam import Run as Run

_STAGES = ("Extracted", "evaluate", "export", "extract", "heatmap", "predict", "run", "train", "write_report")
_HOME = {"Run": "seam", **dict.fromkeys(_STAGES, "pipeline")}  # at merge: Run in folder
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    return load(__name__, _HOME, name)
