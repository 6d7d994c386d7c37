"""Bags to trained models: fit one, or cross-validate a cohort."""

from asmil.training._cell import CellResult
from asmil.training.cells import CellPlan, CellRecord, train_cells
from asmil.training.crossval import crossval
from asmil.training.fit import FitResult, fit
from asmil.training.listeners import EMBEDDINGS, AttentionRecorder
from asmil.training.optim import TrainSettings
from asmil.training.predict import Prediction, predict
from asmil.training.recipe import Recipe
from asmil.training.standardize import Standardized

__all__ = [
    "EMBEDDINGS",
    "AttentionRecorder",
    "CellPlan",
    "CellRecord",
    "CellResult",
    "FitResult",
    "Prediction",
    "Recipe",
    "Standardized",
    "TrainSettings",
    "crossval",
    "fit",
    "predict",
    "train_cells",
]
