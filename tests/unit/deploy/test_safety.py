"""A run from a stranger: nothing in it is executed, and what does not fit is refused."""

import json
import pickle
import shutil

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from asmil.deploy import load_ensemble
from asmil.errors import AsmilError, RunError


class _Planted:
    """A pickle that leaves a mark when it is loaded."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (open, (str(self.mark), "w"))


def weights_of(run):
    return run / "folds" / "0" / "seed_0" / "model.safetensors"


@pytest.mark.parametrize("write", [lambda value, path: path.write_bytes(pickle.dumps(value)), torch.save])
def test_a_planted_pickle_is_refused_and_never_run(unsealed, tmp_path, write):
    run = unsealed
    mark = tmp_path / "executed"
    for name in ("model.safetensors", "anchor.safetensors", "checkpoint.pt"):
        write(_Planted(mark), weights_of(run).parent / name)
    with pytest.raises(RunError, match="not a safetensors file"):
        load_ensemble(run)
    assert not mark.exists()
    pickle.loads(pickle.dumps(_Planted(mark)))
    assert mark.exists(), "the pickle would have left its mark"


def forge(run, **settings):
    """Other settings in both files that say them, and in seals that do not, as a stranger's run may have."""
    config, identity = run / "config.yaml", run / "identity.json"
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | settings))
    identity.write_text(json.dumps(json.loads(identity.read_text()) | settings))
    for seal in run.glob("folds/*/*/sealed.json"):
        seal.write_text(json.dumps({"files": json.loads(seal.read_text())["files"]}))


def test_weights_of_other_settings_are_refused(run):
    forge(run, model_options={"hidden": 99})
    with pytest.raises(RunError, match=r"does not fit the run's settings.*hidden 99"):
        load_ensemble(run)


def test_settings_of_an_enormous_model_allocate_nothing(run):
    forge(run, model_options={"dim": 10_000_000, "hidden": 90_000_000})
    with pytest.raises(RunError, match="does not fit"):
        load_ensemble(run)


def test_weights_that_were_changed_are_refused(run):
    state = load_file(weights_of(run))
    with safe_open(weights_of(run), framework="pt") as file:
        facts = file.metadata()
    state["model.classifier.bias"] += 0.5  # as many bytes
    save_file(state, weights_of(run), metadata=facts)
    with pytest.raises(RunError, match="was changed after it was trained"):
        load_ensemble(run)


def test_weights_of_another_model_are_refused(run):
    forge(run, model="mean")
    with pytest.raises(RunError, match=r"weights of abmil, the settings say mean"):
        load_ensemble(run)


def test_weights_that_are_not_finite_are_refused(unsealed):
    run = unsealed
    state = load_file(weights_of(run))
    state["model.classifier.bias"][0] = torch.nan
    save_file(state, weights_of(run))
    with pytest.raises(RunError, match="NaN"):
        load_ensemble(run)


def test_yaml_that_makes_objects_is_refused(run, tmp_path):
    (run / "config.yaml").write_text(f"slides: !!python/object/apply:os.mkdir ['{tmp_path / 'made'}']\n")
    with pytest.raises(AsmilError):
        load_ensemble(run)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("missing", ["config.yaml", "folds/0/seed_0/model.safetensors", "identity.json"])
def test_what_is_missing_is_named(run, missing):
    (run / missing).unlink()
    with pytest.raises(RunError, match=r"config\.yaml|model\.safetensors|identity\.json"):
        load_ensemble(run)


def test_a_run_without_a_finished_fold_is_refused(run):
    shutil.rmtree(run / "folds")
    with pytest.raises(RunError, match="0 of 4 models are finished; 16 slides were never tested"):
        load_ensemble(run)
