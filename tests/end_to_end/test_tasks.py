"""A survival run from a real table of patients, by its commands. The features are generated, with a planted risk."""

import json

import h5py
import numpy as np
import pandas as pd
import pytest

from .conftest import flags

SETTINGS = {
    "task": "survival", "model": "abmil", "folds": 2, "seeds": 1, "epochs": 8, "patience": 8, "workers": 1,
    "learning_rate": 0.005, "device": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module")
def survival_run(tmp_path_factory, data_dir, inside):
    """A run of the first 60 slides of SurvPath's bladder cancer table, as it comes, and its folder."""
    folder = tmp_path_factory.mktemp("tcga")
    table = pd.read_csv(data_dir / "tables/tcga/survpath/metadata/tcga_blca.csv", nrows=60)
    table.to_csv(folder / "labels.csv", index=False)
    rng = np.random.default_rng(0)
    (folder / "features").mkdir()
    rank = table["survival_months"].rank(pct=True)
    for slide, share in zip(table["slide_id"], 1 - rank, strict=True):
        features = rng.normal(size=(20, 6))
        features[: round(20 * share), 0] += 4
        with h5py.File(folder / "features" / f"{slide.removesuffix('.svs')}.h5", "w") as file:
            file["features"], file["coords"] = features.astype(np.float16), np.arange(40).reshape(20, 2) * 256
            for part in (file, file["features"], file["coords"]):
                part.attrs.update(patch_size=256, patch_size_level0=256, mpp=0.5, slide_mpp=0.5)
            file.attrs.update(format="asmil", encoder="generated")
    inputs = {"features": folder / "features", "labels": folder / "labels.csv", "out": folder / "run"}
    # The risk is the share of tiles, which even attention reads: the paper's anchor pulls towards that.
    inside("crossval", *flags(inputs | SETTINGS), "--no-anchor-gated")
    shown = inside("evaluate", folder / "run", "--bootstrap", 50).stdout
    return folder, shown, table


def test_a_planted_risk_is_found_again_in_a_real_table(survival_run):
    folder, shown, table = survival_run
    assert "c_index" in shown
    metrics = json.loads((folder / "run" / "metrics.json").read_text())
    assert metrics["task"] == "survival"
    assert metrics["target"] == ["survival_months", "censorship"]
    assert metrics["n_patients"] == table["case_id"].nunique() < metrics["n_slides"] == 60
    assert metrics["test"]["c_index"]["value"] > 0.65
    assert metrics["n_events"] == (table.drop_duplicates("case_id")["censorship"] == 0).sum()


def test_predictions_are_by_slide_and_by_patient(survival_run):
    folder, _, table = survival_run
    slides, patients = (pd.read_csv(folder / "run" / f"predictions{name}.csv") for name in ("", "_patients"))
    assert len(slides) == 60
    assert patients["case"].tolist() == sorted(table["case_id"].unique())
    mean = slides.groupby("case")["risk"].mean()
    assert patients["risk"].to_numpy() == pytest.approx(mean.to_numpy())


def test_new_slides_are_predicted_with_the_spread_of_the_members(survival_run, inside):
    folder, _, _ = survival_run
    shown = inside("predict", folder / "run", "--features", folder / "features", "--out", folder / "new").stdout
    assert "risk: " in shown
    table = pd.read_csv(folder / "new" / "predictions.csv").set_index("slide")
    assert {"risk", "std_risk"} <= set(table)
    ours = pd.read_csv(folder / "run" / "predictions.csv").set_index("slide")  # by the members that never saw a slide
    assert table["risk"].to_numpy() == pytest.approx(ours.loc[table.index, "risk"].to_numpy(), abs=1e-4)


def test_report_export_and_viewer(survival_run, inside):
    folder, _, _ = survival_run
    inside("report", folder / "run", "--heatmaps", 1)
    assert "oncordance" in (folder / "run" / "report.html").read_text()
    for command in (("export", folder / "run", "--out", folder / "m.onnx"), ("view", folder / "run")):
        assert "survival" in inside(*command, code=2).stderr


def test_a_run_is_not_continued_with_other_targets(survival_run, inside):
    folder, _, table = survival_run
    other = table.assign(survival_months=table["survival_months"] * 1.0001)
    before = (folder / "labels.csv").read_text()
    other.to_csv(folder / "labels.csv", index=False)
    inputs = {"features": folder / "features", "labels": folder / "labels.csv", "out": folder / "run"}
    done = inside("crossval", *flags(inputs | SETTINGS), code=2)
    (folder / "labels.csv").write_text(before)
    assert "targets" in done.stderr
    done = inside("crossval", *flags(inputs | SETTINGS | {"task": "regression", "target": "age"}), code=2)
    assert "task was 'survival', is 'regression'" in done.stderr


def test_classification_takes_no_target(survival_run, inside, tmp_path):
    folder, _, _ = survival_run
    inputs = {"features": folder / "features", "labels": folder / "labels.csv", "label": "is_female", "target": "age"}
    done = inside("crossval", *flags(inputs | {"out": tmp_path}), code=2)
    assert "classification has no options of a task" in done.stderr
