"""Bags of patients through the whole line: trained, evaluated, drawn; a patient of one slide is that slide."""

import json

import numpy as np
import pandas as pd
import pytest

from asmil.runs import Run

SETTINGS = ["--folds", 2, "--seeds", 1, "--epochs", 2, "--no-refit", "--workers", 1, "--batch-size", 2]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory, write_feature_files):
    """Features of 16 slides; a table of 8 patients with three, one or two slides of the patient's label."""
    folder = tmp_path_factory.mktemp("patients")
    names = write_feature_files(folder / "features", n_slides=16, dim=8)
    rows = pd.DataFrame({"slide_id": names, "case_id": [f"c{i // 2}" for i in range(16)]})
    rows.loc[2, "case_id"] = "c0"
    rows["label"] = [("no", "yes")[int(case[1:]) % 2] for case in rows.case_id]
    rows.to_csv(folder / "labels.csv", index=False)
    rows.assign(case_id=rows.slide_id).to_csv(folder / "alone.csv", index=False)
    return folder


def trained(inside, cohort, out, labels, *flags):
    inside("crossval", "--features", cohort / "features", "--labels", cohort / labels, "--out", out, *SETTINGS, *flags)
    return Run.open(out)


@pytest.fixture(scope="module")
def run(inside, cohort):
    """A run on bags of patients, evaluated."""
    made = trained(inside, cohort, cohort / "run", "labels.csv", "--bag", "patient")
    inside("evaluate", made.folder, "--bootstrap", 20)
    return made


def test_slides_of_a_patient_share_a_prediction_and_divide_the_attention(run):
    table = run.cell_predictions
    assert len(table[table.part == "test"]) == 16
    by_case = table.groupby(["case", "fold", "part"])
    assert (by_case.prob_yes.nunique() == 1).all()
    tiles = run.test_attention()
    sums = pd.Series({slide: attention.sum() for slide, attention in tiles.items()})
    cases = table.drop_duplicates("slide").set_index("slide").case
    assert sums.groupby(cases).sum().to_numpy() == pytest.approx(1, abs=1e-5)
    assert sums[cases.index[cases == "c0"]].between(1e-6, 1 - 1e-6).all()
    slides = pd.read_csv(run.folder / "predictions.csv").set_index("slide")
    assert slides.attention_share.to_numpy() == pytest.approx(sums[slides.index].to_numpy(), abs=1e-5)
    assert (slides.tiles == pd.Series({slide: len(a) for slide, a in tiles.items()})[slides.index]).all()


def test_every_patient_counts_once(run):
    metrics = json.loads((run.folder / "metrics.json").read_text())
    assert (metrics["n_slides"], metrics["n_patients"], metrics["protocol"]["bag"]) == (16, 8, "patient")
    assert sum(map(sum, metrics["confusion"])) == 8
    assert "patients" not in metrics


def test_pictures_and_report_are_by_slide(run, inside):
    inside("heatmap", run.folder)
    assert len(list((run.folder / "figures").glob("*.png"))) == 16
    inside("report", run.folder)
    assert (run.folder / "report.html").stat().st_size > 10_000


def test_a_further_seed_changes_nothing_for_the_first(inside, cohort):
    plain = ("--tile-dropout", 0, "--model", "abmil", "--model-option", "dropout=0")
    both = [
        trained(inside, cohort, cohort / f"{n}_seeds", "labels.csv", "--bag", "patient", "--seeds", n, *plain)
        .cell_predictions.query("seed == 0")
        for n in (1, 2)
    ]  # fmt: skip
    assert both[0].slide.tolist() == both[1].slide.tolist()
    assert both[0].prob_yes.to_numpy() == pytest.approx(both[1].prob_yes.to_numpy(), abs=1e-4)


def test_a_patient_of_one_slide_is_that_slide_to_the_last_bit(inside, cohort):
    patients, slides = (
        trained(inside, cohort, cohort / f"alone-{bag}", "alone.csv", "--bag", bag) for bag in ("patient", "slide")
    )
    pd.testing.assert_frame_equal(patients.cell_predictions, slides.cell_predictions)
    maps = patients.test_attention()
    assert all(np.array_equal(maps[slide], attention) for slide, attention in slides.test_attention().items())


def test_runs_on_slides_also_say_what_patients_get(inside, cohort):
    made = trained(inside, cohort, cohort / "slides", "labels.csv")
    inside("evaluate", made.folder, "--bootstrap", 20)
    metrics = json.loads((made.folder / "metrics.json").read_text())
    table = made.cell_predictions.query("part == 'test'")
    means = table.groupby(["fold", "case"]).agg({"prob_yes": "mean", "label": "first"}).reset_index()
    right = (means.prob_yes > 0.5) == (means.label == "yes")
    assert metrics["patients"]["n_patients"] == 8
    assert metrics["patients"]["test"]["accuracy"]["value"] == pytest.approx(right.groupby(means.fold).mean().mean())
    assert metrics["n_slides"] == 16


def test_another_kind_of_bag_is_another_run(run, inside, cohort):
    flags = ["--features", cohort / "features", "--labels", cohort / "labels.csv", "--out", run.folder, *SETTINGS]
    wrong = inside("crossval", *flags, code=2)
    assert "bag was 'patient'" in wrong.output


def test_prediction_of_new_slides_is_refused(run, inside, cohort):
    wrong = inside("predict", run.folder, "--features", cohort / "features", "--out", cohort / "new", code=2)
    assert "predicts patients" in wrong.output
