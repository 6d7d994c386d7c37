"""Bags to a trained run: fit one model, cross-validate a cohort, keep it all in a run folder."""

from asmil.training.cells import CellPlan, CellRecord, train_cells
from asmil.training.crossval import crossval
from asmil.training.fit import FitResult, fit
from asmil.training.listeners import AttentionRecorder
from asmil.training.optim import TrainSettings
from asmil.training.predict import Prediction, predict
from asmil.training.recipe import Recipe
from asmil.training.runs import Run
from asmil.training.standardize import Standardized

__all__ = [
    "AttentionRecorder",
    "CellPlan",
    "CellRecord",
    "FitResult",
    "Prediction",
    "Recipe",
    "Run",
    "Standardized",
    "TrainSettings",
    "crossval",
    "fit",
    "predict",
    "train_cells",
]
