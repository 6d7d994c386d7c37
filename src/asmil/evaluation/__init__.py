"""Predictions to numbers with intervals: metrics, patient bootstrap, localisation, FROC."""

from typing import TYPE_CHECKING

from asmil.registry import door

if TYPE_CHECKING:
    from asmil.errors import MetricError
    from asmil.evaluation.calibration import (
        RATES,
        UNDECIDED,
        Calibration,
        DecisionCurve,
        against_the_rest,
        at_temperature,
        calibrate,
        choose_threshold,
        decision_curve,
        decision_rates,
        fit_temperature,
        net_benefit,
        operating_point,
    )
    from asmil.evaluation.froc import Findings, Lesions, find_lesions, froc_curve, local_maxima, score_findings
    from asmil.evaluation.intervals import (
        Interval,
        bootstrap_ci,
        compare_predictions,
        mean_over_folds,
        of_folds,
        percentile_interval,
        resample_counts,
    )
    from asmil.evaluation.localization import (
        best_dice_threshold,
        chance_average_precision,
        dice_at,
        scaled,
        slide_metrics,
        tile_metrics,
        tile_scores,
        tile_truth,
    )
    from asmil.evaluation.metrics import LOWER_IS_BETTER, METRICS, best_threshold
    from asmil.evaluation.paired import (
        CorrectedMean,
        Ranking,
        corrected_mean,
        effect_sizes,
        holm,
        rank_correlation,
        rank_methods,
        signed_rank_p,
    )
    from asmil.evaluation.run_metrics import evaluate
    from asmil.evaluation.subgroups import FEW_PATIENTS, Share, Subgroup, by_subgroup, wilson
    from asmil.evaluation.summary import evaluate_predictions
    from asmil.evaluation.task_scores import SurvivalCurve, kaplan_meier
    from asmil.evaluation.tasks import evaluate_task
else:
    __all__, __getattr__ = door(__name__)
