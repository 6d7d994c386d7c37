"""A weights file says how its model was made, whatever the defaults have become since."""

import json

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from asmil.errors import RunError
from asmil.models import create_model
from asmil.runs.weights import read_model, write_model

SHAPE = {"name": "asmil", "classes": 2, "standardize": False}


@pytest.fixture
def weights(tmp_path):
    """Weights of ASMIL with scores of scale 8."""
    model = create_model("asmil", in_dim=6, n_classes=2, dim=16, score_scale=8)
    write_model(
        tmp_path / "model.safetensors", model, model="asmil", options={"dim": 16, "score_scale": 8}, best_epoch=3
    )
    return tmp_path / "model.safetensors"


def test_options_that_are_in_no_weight_come_back(weights):
    model, _ = read_model(weights, options={"dim": 16}, **SHAPE)
    assert model.feat.scale == 8


def test_settings_that_say_other_options_than_the_weights_are_refused(weights):
    with pytest.raises(RunError, match="does not fit the run's settings"):
        read_model(weights, options={"dim": 16, "score_scale": 64}, **SHAPE)


def test_weights_that_say_no_options_had_the_defaults_of_their_time(weights):
    with safe_open(weights, framework="pt") as file:
        said = json.loads(file.metadata()["asmil"])
    del said["options"]
    of_then = {name: value for name, value in load_file(weights).items() if not name.endswith(".scale")}
    save_file(of_then, weights, metadata={"asmil": json.dumps(said)})
    model, _ = read_model(weights, options={"dim": 16}, **SHAPE)
    assert model.feat.scale == 1
