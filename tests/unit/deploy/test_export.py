"""ONNX files agree with torch or do not exist, and the card says what the run knows."""

import copy
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from asmil.attention import Packed
from asmil.bags import BagBatch, make_bags, open_features
from asmil.deploy import OnnxModel, card, load_ensemble, onnx_file
from asmil.deploy.profile import Preprocessing
from asmil.errors import AsmilError, FeatureError
from asmil.models import create_model
from asmil.training import Standardized

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def standardized(name, in_dim=12, **options):
    bags, _ = make_bags(3, tiles=(20, 30), dim=in_dim, shift=1.0, seed=0)
    torch.manual_seed(0)
    model = create_model(name, in_dim=in_dim, n_classes=2, **options)
    return Standardized(model, in_dim).fit_statistics(bags).eval()


@pytest.fixture(scope="module")
def exported(asmil, trained, tmp_path_factory):
    """The whole run as one file, with its card."""
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    return path, asmil("export", trained / "run", "--out", path).stdout


def test_the_file_is_the_ensemble_on_real_slides(exported, trained):
    session = onnxruntime.InferenceSession(str(exported[0]))
    ensemble, store = load_ensemble(trained / "run"), open_features(trained / "features")
    for number, slide in enumerate(store.slides[:4]):
        bag = store.load(slide)
        features = bag.features.float() + 0.01 * (number + 1)  # no slide of the run: all members predict it
        expected = ensemble.predict(type(bag)(features))
        found = session.run(None, {"features": features.numpy()})
        assert len(expected.members) == 4
        assert found[0] == pytest.approx(expected.probabilities, abs=1e-5)
        assert found[1] == pytest.approx(expected.attention, rel=1e-4)
        assert found[2].shape == (4, 2)


def test_the_file_says_what_it_needs(exported):
    path, said = exported
    model = onnxruntime.InferenceSession(str(path))
    facts = model.get_modelmeta().custom_metadata_map
    beside = json.loads(path.with_suffix(".json").read_text())
    assert json.loads(facts["classes"]) == beside["classes"] == ["benign", "tumour"]
    assert json.loads(facts["features"])["mpp"] == beside["features"]["mpp"] == [0.5]
    assert facts["asmil_version"]
    assert [value.name for value in model.get_inputs()] == beside["inputs"] == ["features"]
    assert set(beside["largest_difference_by_tiles"]) == {"1", "2", "17", "500", "20000"}
    assert max(beside["largest_difference_by_tiles"].values()) <= 1e-4
    assert "largest difference from torch" in said


def test_the_card_has_the_runs_facts_and_says_what_is_not_known(exported, trained):
    stem = exported[0].with_name("model_card")
    facts, text = json.loads(stem.with_suffix(".json").read_text()), stem.with_suffix(".md").read_text()
    metrics = json.loads((trained / "run" / "metrics.json").read_text())
    assert facts["validation"]["auroc"] == metrics["test"]["auroc"]
    assert facts["calibration"]["ece"] == metrics["test"]["ece"]
    assert facts["data"]["classes"]["tumour"] == {"slides": 8, "cases": 8}
    assert facts["data"]["sites"] is None
    assert "| sites | not known |" in text
    assert facts["encoder"]["name"] == "synthetic"
    assert facts["encoder"]["licence"] is None
    assert len(facts["weights_sha256"]) == 4
    assert "not a medical device" in text
    low, high = metrics["test"]["auroc"]["ci95"]
    assert f"| auroc | {metrics['test']['auroc']['value']:.4g} ({low:.4g} to {high:.4g}) |" in text
    # no setting that decides the models is left out, and what was not given is said as it was done
    assert {"min_steps", "patience", "epochs"} <= facts["training"].keys()
    assert facts["training"]["weight_decay"] == 0.01


def test_what_was_extracted_without_is_known_in_the_card():
    stated = Preprocessing({"exclude": [[], ["fold"]], "tissue_threshold": [None], "encoder": ["x"]})
    run = SimpleNamespace(settings=SimpleNamespace(features=None, stain="macenko"))
    assert card._preprocessing(SimpleNamespace(preprocessing=stated, run=run)) == {
        "exclude": ["none", ["fold"]],
        "tissue_threshold": ["none"],
        "stain_normalisation": "macenko",
    }


def test_the_card_alone(asmil, run, trained):
    asmil("export", run, "--card", "--run-features", trained / "features")
    assert (run / "card.md").read_text().startswith("# Model card: abmil")
    assert json.loads((run / "card.json").read_text())["model"]["members"] == 4
    assert not list(run.glob("*.onnx"))


def test_attention_of_three_axes_is_translated(tmp_path):
    """ILRA's: the exporter itself knows four axes only."""
    model = standardized("ilra", dim=8, latents=4, layers=1, heads=2)
    made = onnx_file.export_onnx([model], tmp_path / "m.onnx", in_dim=12, name="ilra", sizes=(1, 40))
    assert max(made.differences.values()) <= 1e-4


@pytest.fixture(scope="module")
def mean(tmp_path_factory):
    """A model one of whose features was constant in training, and its file."""
    model, path = standardized("mean"), tmp_path_factory.mktemp("mean") / "m.onnx"
    model.std[2] = torch.inf
    return model, onnx_file.export_onnx([model], path, in_dim=12, name="mean", sizes=(2,)).path


def test_constant_features_stay_zero(mean):
    session, features = onnxruntime.InferenceSession(str(mean[1])), np.ones((3, 12), np.float32)
    before = session.run(None, {"features": features})[0]
    features[:, 2] = 1e6
    assert np.array_equal(before, session.run(None, {"features": features})[0])
    features[:, 1] = 1e6
    assert not np.array_equal(before, session.run(None, {"features": features})[0])


def test_a_file_that_does_not_agree_is_not_left(mean, tmp_path, monkeypatch):
    """The file of one model, made for another one: the difference is measured and named."""
    other = copy.deepcopy(mean[0])
    other.model.classifier.bias.data += 1.0
    wrong = SimpleNamespace(
        model=SimpleNamespace(metadata_props={}), save=lambda path, external_data: shutil.copy(mean[1], path)
    )
    monkeypatch.setattr(onnx_file, "_program", lambda *arguments: wrong)
    with pytest.raises(AsmilError, match=r"does not agree.*1\.0e\+00 on 5 tiles"):
        onnx_file.export_onnx([other], tmp_path / "m.onnx", in_dim=12, name="mean", sizes=(5,))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", sorted(onnx_file.NOT_EXPORTABLE))
def test_models_without_a_fixed_graph_are_refused_with_the_reason(name, tmp_path):
    with pytest.raises(AsmilError, match="depend"):
        onnx_file.export_onnx([standardized("mean")], tmp_path / "m.onnx", in_dim=12, name=name)


@pytest.mark.parametrize("name", ["abmil", "dsmil", "mean"])  # every export asks its own file the same
def test_a_bag_of_no_tiles_has_no_answer(name, tmp_path):
    """Before, ABMIL's graph answered with the softmax of its classifier's bias."""
    path = onnx_file.export_onnx([standardized(name)], tmp_path / "m.onnx", in_dim=12, name=name, sizes=(3,)).path
    session = onnxruntime.InferenceSession(str(path))
    nothing = {"features": np.empty((0, 12), np.float32)}
    if name == "dsmil":  # it asks for the tile of the highest score, and ONNX Runtime refuses by itself
        with pytest.raises(Exception, match="ArgMax"):
            session.run(None, nothing)
    else:
        probabilities, _, logits = session.run(None, nothing)
        assert np.isnan(probabilities).all()
        assert np.isnan(logits).all()
    with pytest.raises(FeatureError, match="0 tiles"):
        OnnxModel(path).predict(np.empty((0, 12), np.float32))


def test_a_graph_that_answers_without_tiles_is_not_left(tmp_path, monkeypatch):
    def forward(self, features):
        output = self.models[0](BagBatch(features, Packed([features.shape[0]]), tile_level0_px=(None,)))
        return output.logits.softmax(1).mean(0), output.attention, output.logits

    monkeypatch.setattr(onnx_file.Deployed, "forward", forward)
    with pytest.raises(AsmilError, match="answers a bag of no tiles"):
        onnx_file.export_onnx([standardized("abmil")], tmp_path / "m.onnx", in_dim=12, name="abmil", sizes=(3,))
    assert list(tmp_path.iterdir()) == []


def test_our_loader_takes_half_precision_and_says_what_does_not_fit(mean):
    model, features = OnnxModel(mean[1]), np.random.default_rng(0).normal(size=(7, 12)).astype(np.float16)
    for found, expected in zip(model.predict(features), model.predict(features.astype(np.float32)), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert model.predict(features)[1].sum() == pytest.approx(1, abs=1e-6)
    wrong = [(features[:, :5], r"float16 \(7, 5\)"), (features[0], r"\(12,\)"), (np.ones((2, 12), int), "int64")]
    for other, says in [*wrong, (np.full((2, 12), np.nan), "NaN")]:
        with pytest.raises(FeatureError, match=says):
            model.predict(other)


def test_other_files_are_no_models_of_ours(tmp_path, mean):
    (tmp_path / "a.onnx").write_bytes(b"no model")
    with pytest.raises(AsmilError, match="cannot be opened by ONNX Runtime"):
        OnnxModel(tmp_path / "a.onnx")


def test_a_run_that_was_not_evaluated_is_refused_before_a_file_is_written(asmil, run, trained):
    (run / "metrics.json").unlink()
    (run / "predictions.csv").unlink()
    said = asmil("export", run, "--run-features", trained / "features", code=2).stderr
    assert "was not evaluated yet" in said
    assert "asmil evaluate" in said
    assert not list(run.glob("*.onnx"))
    assert not list(run.glob("model*"))


WRONG = [(("--out", "a.pt"), "--out"), (("--out", "a.onnx", "--fold", 9), "fold 0 seed 0")]


@pytest.mark.parametrize(("arguments", "word"), WRONG)
def test_wrong_flags(asmil, run, arguments, word):
    assert word in asmil("export", run, *arguments, code=2).stderr
