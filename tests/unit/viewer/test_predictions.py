"""Predictions of new slides, opened to be looked at: found from any folder, with warnings, attention and evidence."""

import shutil

import h5py
import numpy as np
import pandas as pd
import pytest

pytest.importorskip("starlette")
from starlette.testclient import TestClient

from asmil.bags import open_features
from asmil.deploy import load_ensemble
from asmil.errors import RunError
from asmil.runs import PredictedFolder, predict
from asmil.viewer import PredictionsView, Pyramid, make_app


@pytest.fixture(scope="module")
def predicted(tmp_path_factory, run_folder):
    """Predictions of four of the run's slides under other names, so that nobody has seen them."""
    folder = tmp_path_factory.mktemp("predicted")
    (folder / "features").mkdir()
    for number, name in enumerate(["region", "plain-1", "plain-2"]):
        shutil.copy(run_folder.parent / "features" / f"{name}.h5", folder / "features" / f"new-{number}.h5")
        with h5py.File(folder / "features" / f"new-{number}.h5", "r+") as file:
            file["features"][...] += 40  # far from what was trained on: it is warned of
    (folder / "features" / "damaged.h5").write_bytes(b"nothing")
    predict(run_folder, features=folder / "features", out=folder / "out")
    return folder / "out"


def client_of(view) -> TestClient:
    app = make_app([view], pyramid=view.pyramid)
    return TestClient(app, base_url="http://127.0.0.1:8765", client=("127.0.0.1", 5000))


def test_the_page_gets_rows_warnings_and_attention(predicted):
    client = client_of(PredictionsView(predicted, pyramid=Pyramid()))
    (heading,) = client.get("/api/runs").json()["runs"]
    assert heading["predicts_new"]
    assert "damaged" in heading["says"]
    table = pd.read_csv(predicted / "predictions.csv")
    rows = client.get(f"/api/{heading['id']}/slides").json()
    assert [row["slide"] for row in rows] == table.slide.tolist() == ["new-0", "new-1", "new-2"]
    assert [row["predicted"] for row in rows] == table.prediction.tolist()
    assert rows[0]["warnings"] == table.warnings[0].split("; ")
    assert rows[0]["label"] == ""
    assert rows[0]["error"] is None
    facts = client.get(f"/api/{heading['id']}/0").json()
    assert facts["tiles"] == 234
    assert [layer["id"] for layer in facts["layers"]] == ["mean"]
    values = np.frombuffer(client.get(f"/api/{heading['id']}/0/layer/mean").content, "<f4")
    with h5py.File(predicted / "attention.h5") as file:
        np.testing.assert_array_equal(values, file["new-0"][:])
    for path in ("0/layer/disagreement", "0/layer/evidence-1", "0/training/0-0", "0/rows/0-0", "0/layer/cell-0-0", "3"):
        assert client.get(f"/api/{heading['id']}/{path}").status_code == 404


def test_evidence_is_that_of_the_models_that_predicted(predicted, run_folder):
    ensemble, store = load_ensemble(run_folder), open_features(predicted.parent / "features")
    view = PredictionsView(
        predicted, pyramid=Pyramid(), evidence=lambda slide, file: ensemble.evidence(store.load(slide))
    )
    expected = ensemble.evidence(store.load("new-1"))[view.classes[1]]
    assert [layer["id"] for layer in view.layers.offered("new-1")] == ["mean", "evidence-1"]
    np.testing.assert_allclose(view.values("new-1", "evidence-1"), expected, rtol=1e-6)


def test_the_command_asks_the_run_for_evidence_and_refuses_other_models(predicted, tmp_path):
    from asmil.cli.view import evidence_of

    own = PredictedFolder(predicted)
    evidence = evidence_of(own)
    assert evidence is not None
    assert set(evidence("new-1", None)) == set(own.classes)
    moved = shutil.copytree(predicted, tmp_path / "moved")
    note = (moved / "made_of.json").read_text()
    (moved / "made_of.json").write_text(note.replace(own.models, "0" * 64))
    with pytest.raises(RunError, match="other models"):
        evidence_of(PredictedFolder(moved))("new-1", None)


def test_what_lies_in_the_folder_is_found_after_a_move(predicted, tmp_path):
    """As `asmil predict --slides` leaves it, features within; and one from before there was a note."""
    moved = shutil.copytree(predicted, tmp_path / "moved")
    shutil.copytree(predicted.parent / "features", moved / "features")
    (moved / "made_of.json").write_text('{"features": "features", "run": null, "slides": null}')
    assert PredictedFolder(moved).features == moved / "features"
    (moved / "made_of.json").unlink()
    view = PredictionsView(moved, pyramid=Pyramid())
    assert len(view.sheet("new-0").level0_xy) == 234
    assert PredictedFolder(moved).run is None


def test_without_features_the_page_says_so(predicted, tmp_path):
    moved = shutil.copytree(predicted, tmp_path / "moved")
    (moved / "made_of.json").unlink()
    view = PredictionsView(moved, pyramid=Pyramid())
    assert "features are not at hand" in " ".join(view.sheet("new-0").says)


def test_other_folders_are_refused(predicted, run_folder, tmp_path):
    assert PredictedFolder(predicted).there
    assert not PredictedFolder(run_folder).there
    (tmp_path / "predictions.csv").write_text("slide,value,std_value\na,1.0,0.1\n")
    with pytest.raises(RunError, match="not of classes"):
        PredictionsView(tmp_path, pyramid=Pyramid())
    (tmp_path / "predictions.csv").write_text("slide\n")
    with pytest.raises(RunError, match="holds no prediction"):
        PredictionsView(tmp_path, pyramid=Pyramid())
    (tmp_path / "predictions.csv").write_text("slide,prob_a,prob_b,prediction\ns,,0.5,b\n")
    with pytest.raises(RunError, match="no number in column prob_a"):
        PredictionsView(tmp_path, pyramid=Pyramid())
