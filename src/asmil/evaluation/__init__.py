"""Predictions to numbers with intervals: metrics, patient bootstrap, annotations, localisation, FROC."""

from typing import Any

from asmil._lazy import load
from asmil.evaluation._errors import AnnotationError, MetricError
from asmil.evaluation.annotations import Annotations, MaskLabels, find_annotation, read_annotations, require_classes
from asmil.evaluation.calibration import calibrate, fit_temperature
from asmil.evaluation.compare import compare_predictions
from asmil.evaluation.decision import decision_curve, net_benefit
from asmil.evaluation.froc import Findings, Lesions, find_lesions, froc_curve, local_maxima, score_findings
from asmil.evaluation.intervals import Interval, bootstrap_ci, mean_over_folds
from asmil.evaluation.localization import (
    best_dice_threshold,
    chance_average_precision,
    dice_at,
    scaled,
    tile_metrics,
    tile_scores,
    tile_truth,
)
from asmil.evaluation.metrics import LOWER_IS_BETTER, METRICS, best_threshold, youden_threshold
from asmil.evaluation.subgroups import by_subgroup
from asmil.evaluation.summary import evaluate_predictions

__all__ = [
    "LOWER_IS_BETTER",
    "METRICS",
    "AnnotationError",
    "Annotations",
    "Findings",
    "Interval",
    "Lesions",
    "MaskLabels",
    "MetricError",
    "best_dice_threshold",
    "best_threshold",
    "bootstrap_ci",
    "by_subgroup",
    "calibrate",
    "chance_average_precision",
    "compare_predictions",
    "decision_curve",
    "dice_at",
    "evaluate",
    "evaluate_predictions",
    "evaluate_task",
    "find_annotation",
    "find_lesions",
    "fit_temperature",
    "froc_curve",
    "local_maxima",
    "mean_over_folds",
    "net_benefit",
    "read_annotations",
    "require_classes",
    "scaled",
    "score_findings",
    "stated_size",
    "tile_metrics",
    "tile_scores",
    "tile_truth",
    "youden_threshold",
]


# "evaluate" reads runs, whose room imports torch; "evaluate_task" needs scipy.stats: loaded when used.
_HOMES = {"evaluate": "run_metrics", "evaluate_task": "task_summary", "stated_size": "truth"}


def __getattr__(name: str) -> Any:
    return load(__name__, _HOMES, name)
