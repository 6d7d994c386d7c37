"""Bags to trained models: fit one, or the seeds of a fold side by side; cross-validate a cohort."""

from asmil.training.batches import bag_order
from asmil.training.cell import CellResult
from asmil.training.crossval import crossval, most_epochs
from asmil.training.fit import FitResult, Member, fit, train_members
from asmil.training.listeners import EMBEDDINGS, AttentionRecorder, map_statistics
from asmil.training.optim import EPOCHS, TrainSettings, check_task, weight_decay_of
from asmil.training.predict import Prediction, predict
from asmil.training.recipe import Recipe, Standardized, has_scores
from asmil.training.stack import Stack
from asmil.training.starts import seed_of, train_starts

__all__ = [
    "EMBEDDINGS",
    "EPOCHS",
    "AttentionRecorder",
    "CellResult",
    "FitResult",
    "Member",
    "Prediction",
    "Recipe",
    "Stack",
    "Standardized",
    "TrainSettings",
    "bag_order",
    "check_task",
    "crossval",
    "fit",
    "has_scores",
    "map_statistics",
    "most_epochs",
    "predict",
    "seed_of",
    "train_members",
    "train_starts",
    "weight_decay_of",
]
