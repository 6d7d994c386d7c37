"""Runs: the one owner of a run folder (`Run` and its `Cell`s), and the stages that make a run and put it to use."""

from typing import TYPE_CHECKING

from asmil.registry import door

if TYPE_CHECKING:
    from asmil.runs.cell import Cell
    from asmil.runs.folder import Run
    from asmil.runs.layout import (
        ENVIRONMENT,
        MAKING,
        PREDICTIONS,
        QUPATH,
        REPORT,
        SETTLED,
        STUDY,
        TRACKED,
        figure_file,
        outlines_file,
        qupath_script,
        verdicts_file,
    )
    from asmil.runs.pipeline import (
        Extracted,
        evaluate,
        export,
        extract,
        heatmap,
        plot,
        predict,
        run,
        train,
        write_report,
    )
    from asmil.runs.predicted import PredictedFolder
    from asmil.runs.slide import RunSlide, TilePlaces, mean_evidence, model_of, picture_of, spacing, tiles_of
    from asmil.runs.whole import Standing, even
else:
    __all__, __getattr__ = door(__name__)
