"""Slides and patients: patients scored by the mean of their slides, and the maps of runs whose bags are patients."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from asmil.evaluation.summary import evaluate_predictions
from asmil.runs import Cell, Run


def bags_are_patients(run: Run) -> bool:
    """Whether the run learned from bags of all slides of a patient."""
    return run.unit == "case"


def one_row_per_patient(table: pd.DataFrame) -> pd.DataFrame:
    """The predictions of bags of patients, which stand in the row of each slide, once each."""
    return table.drop_duplicates([name for name in ("case", "fold", "seed", "part") if name in table])


def patient_summary(
    table: pd.DataFrame, classes: Sequence[str], *, n_boot: int, seed: int = 0
) -> dict[str, Any] | None:
    """The metrics of patients, whose probabilities are the means over their slides.

    `table` has the test rows that `evaluate_predictions` takes. None where no patient has several slides, or where
    slides of one patient have different labels, so that a patient has none.

    Returns:
        `{"test", "test_is", "n_patients", "how"}`, the first two as `evaluate_predictions`.
    """
    slides, labels = (table.groupby("case")[column].nunique().max() for column in ("slide", "label"))
    if not slides > 1 or labels > 1:
        return None
    columns = {f"prob_{name}": "mean" for name in classes}
    patients = table.groupby(["case", "fold", "seed"]).agg({"label": "first", **columns}).reset_index()
    found = evaluate_predictions(patients.assign(slide=patients["case"]), classes, n_boot=n_boot, seed=seed)
    how = "the probabilities of a patient are the means over the patient's slides"
    return {**{name: found[name] for name in ("test", "test_is", "n_patients")}, "how": how}


def own_maps(maps: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Maps that each sum to 1, of maps (tiles,) that sum to 1 over a patient; even where a slide got no attention."""
    return {
        slide: attention / attention.sum() if attention.sum() > 0 else np.full(len(attention), 1 / len(attention))
        for slide, attention in maps.items()
    }


def test_maps(run: Run, cells: Sequence[Cell]) -> dict[str, np.ndarray]:
    """The test attention of some models by slide, mean over seeds; of a patient's bag, the map of the slide alone."""
    maps = run.test_attention(cells)
    return own_maps(maps) if bags_are_patients(run) else maps


def attention_shares(maps: Mapping[str, np.ndarray], cases: pd.Series) -> pd.Series:
    """What each slide has of its patient's attention; `cases` and the result go by slide."""
    own = pd.Series({slide: float(maps[slide].sum()) for slide in cases.index})
    return own / own.groupby(cases).transform("sum")
