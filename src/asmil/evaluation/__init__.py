"""Predictions to numbers with intervals: metrics, patient bootstrap, annotations, localisation, FROC."""

from typing import TYPE_CHECKING, Any

from asmil.errors import AnnotationError, MetricError
from asmil.registry import load

if TYPE_CHECKING:
    from asmil.evaluation.annotations import Annotations as Annotations
    from asmil.evaluation.annotations import MaskLabels as MaskLabels
    from asmil.evaluation.annotations import find_annotation as find_annotation
    from asmil.evaluation.annotations import read_annotations as read_annotations
    from asmil.evaluation.annotations import require_classes as require_classes
    from asmil.evaluation.calibration import Calibration as Calibration
    from asmil.evaluation.calibration import DecisionCurve as DecisionCurve
    from asmil.evaluation.calibration import at_temperature as at_temperature
    from asmil.evaluation.calibration import calibrate as calibrate
    from asmil.evaluation.calibration import decision_curve as decision_curve
    from asmil.evaluation.calibration import fit_temperature as fit_temperature
    from asmil.evaluation.calibration import net_benefit as net_benefit
    from asmil.evaluation.froc import Findings as Findings
    from asmil.evaluation.froc import Lesions as Lesions
    from asmil.evaluation.froc import find_lesions as find_lesions
    from asmil.evaluation.froc import froc_curve as froc_curve
    from asmil.evaluation.froc import local_maxima as local_maxima
    from asmil.evaluation.froc import score_findings as score_findings
    from asmil.evaluation.intervals import Interval as Interval
    from asmil.evaluation.intervals import bootstrap_ci as bootstrap_ci
    from asmil.evaluation.intervals import compare_predictions as compare_predictions
    from asmil.evaluation.intervals import mean_over_folds as mean_over_folds
    from asmil.evaluation.intervals import percentile_interval as percentile_interval
    from asmil.evaluation.intervals import resample_counts as resample_counts
    from asmil.evaluation.localization import best_dice_threshold as best_dice_threshold
    from asmil.evaluation.localization import chance_average_precision as chance_average_precision
    from asmil.evaluation.localization import dice_at as dice_at
    from asmil.evaluation.localization import scaled as scaled
    from asmil.evaluation.localization import tile_metrics as tile_metrics
    from asmil.evaluation.localization import tile_scores as tile_scores
    from asmil.evaluation.localization import tile_truth as tile_truth
    from asmil.evaluation.metrics import LOWER_IS_BETTER as LOWER_IS_BETTER
    from asmil.evaluation.metrics import METRICS as METRICS
    from asmil.evaluation.metrics import best_threshold as best_threshold
    from asmil.evaluation.metrics import youden_threshold as youden_threshold
    from asmil.evaluation.paired import CorrectedMean as CorrectedMean
    from asmil.evaluation.paired import corrected_mean as corrected_mean
    from asmil.evaluation.run_metrics import evaluate as evaluate
    from asmil.evaluation.subgroups import FEW_PATIENTS as FEW_PATIENTS
    from asmil.evaluation.subgroups import Share as Share
    from asmil.evaluation.subgroups import Subgroup as Subgroup
    from asmil.evaluation.subgroups import by_subgroup as by_subgroup
    from asmil.evaluation.summary import evaluate_predictions as evaluate_predictions
    from asmil.evaluation.task_scores import kaplan_meier as kaplan_meier
    from asmil.evaluation.tasks import evaluate_task as evaluate_task

_HOMES = {
    "annotations": (
        "Annotations",
        "MaskLabels",
        "find_annotation",
        "read_annotations",
        "require_classes",
    ),
    "calibration": (
        "Calibration",
        "DecisionCurve",
        "at_temperature",
        "calibrate",
        "decision_curve",
        "fit_temperature",
        "net_benefit",
    ),
    "froc": (
        "Findings",
        "Lesions",
        "find_lesions",
        "froc_curve",
        "local_maxima",
        "score_findings",
    ),
    "intervals": (
        "Interval",
        "bootstrap_ci",
        "compare_predictions",
        "mean_over_folds",
        "percentile_interval",
        "resample_counts",
    ),
    "localization": (
        "best_dice_threshold",
        "chance_average_precision",
        "dice_at",
        "scaled",
        "tile_metrics",
        "tile_scores",
        "tile_truth",
    ),
    "metrics": (
        "LOWER_IS_BETTER",
        "METRICS",
        "best_threshold",
        "youden_threshold",
    ),
    "paired": (
        "CorrectedMean",
        "corrected_mean",
    ),
    "run_metrics": ("evaluate",),
    "subgroups": (
        "FEW_PATIENTS",
        "Share",
        "Subgroup",
        "by_subgroup",
    ),
    "summary": ("evaluate_predictions",),
    "task_scores": ("kaplan_meier",),
    "tasks": ("evaluate_task",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted([*_HOME_OF, "AnnotationError", "MetricError"])


def __getattr__(name: str) -> Any:
    return load(__name__, _HOME_OF, name)
