"""Patients by their slides: means of predictions, and maps that sum to 1 over a patient."""

import numpy as np
import pandas as pd
import pytest

from asmil.evaluation import evaluate_predictions
from asmil.evaluation.summary import attention_shares, one_row_per_patient, own_maps, patient_summary


def table(labels="nnyynnyy", cases="aabbccdd"):
    """Two folds, one seed, eight slides of four patients."""
    prob = np.linspace(0.1, 0.9, 8)
    return pd.DataFrame(
        {"slide": [f"s{i}" for i in range(8)], "case": list(cases), "label": [int(x == "y") for x in labels],
         "fold": [0] * 4 + [1] * 4, "seed": 0, "part": "test", "prob_n": 1 - prob, "prob_y": prob}
    )  # fmt: skip


def test_a_patient_gets_the_mean_of_its_slides():
    found = patient_summary(table(), ["n", "y"], n_boot=20)
    means = (
        table()
        .groupby("case", as_index=False)
        .agg({"label": "first", "fold": "first", "prob_n": "mean", "prob_y": "mean"})
    )
    expected = evaluate_predictions(means.assign(slide=means.case), ["n", "y"], n_boot=20)
    assert found["n_patients"] == 4
    assert found["test"] == expected["test"]


def test_without_several_slides_or_one_label_a_patient_has_no_answer_of_its_own():
    assert patient_summary(table(cases="abcdefgh"), ["n", "y"], n_boot=5) is None
    assert patient_summary(table(labels="nyyynnyy"), ["n", "y"], n_boot=5) is None


def test_bags_of_patients_count_once_in_every_fold_seed_and_part():
    twice = pd.concat([table(), table().assign(seed=1), table().assign(part="val", fold=1)])
    assert len(one_row_per_patient(twice)) == 3 * 4


def test_maps_of_slides_by_themselves_and_their_shares():
    maps = {"a1": np.array([0.1, 0.3]), "a2": np.array([0.6]), "a3": np.zeros(4), "b": np.array([0.5, 0.5])}
    own = own_maps(maps)
    assert own["a1"] == pytest.approx([0.25, 0.75])
    assert own["a3"] == pytest.approx([0.25] * 4), "without attention: even"
    assert all(attention.sum() == pytest.approx(1) for attention in own.values())
    shares = attention_shares(maps, pd.Series({"b": "b", "a3": "a", "a2": "a", "a1": "a"}))
    assert shares[["a1", "a2", "a3", "b"]].tolist() == pytest.approx([0.4, 0.6, 0, 1])
