"""Where weights are looked for, what is read of them, and what is said when they are not there."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from asmil.encoders import card, create_encoder
from asmil.encoders.weights import find_weights, fitted, read_weights
from asmil.errors import EncoderError

UNI = card("uni")


class _Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.norm = nn.Linear(3, 2), nn.LayerNorm(2)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return _Net()


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """An empty hub cache on a machine without network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


@pytest.mark.parametrize(
    "place", ["uni2-h.safetensors", "uni2_h.pth", "uni2-h.bin", "uni2_h.pt", "uni2-h/pytorch_model.bin"]
)
def test_a_folder_is_searched_by_name(tmp_path, place):
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).touch()
    (tmp_path / "uni.safetensors").touch()
    assert find_weights(card("uni2-h"), tmp_path) == tmp_path / place


def test_names_of_a_hub_are_searched_by_their_last_part(tmp_path):
    (tmp_path / "model.x.pth").touch()
    assert find_weights(replace(UNI, name="hf-hub:org/model.x"), tmp_path) == tmp_path / "model.x.pth"


def test_a_folder_without_the_encoder_says_what_to_put_there(tmp_path):
    with pytest.raises(EncoderError, match=r"put uni\.safetensors .* or uni/model\.safetensors"):
        find_weights(UNI, tmp_path)


def test_a_map_is_relative_to_where_it_lies(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.bin").touch()
    weights = tmp_path / "weights.json"
    weights.write_text(json.dumps({"uni2_h": "deep/a.bin", "uni": "absent.bin"}))
    assert find_weights(card("uni2-h"), weights) == tmp_path / "deep" / "a.bin"
    with pytest.raises(EncoderError, match="does not exist"):
        find_weights(UNI, weights)
    with pytest.raises(EncoderError, match="no entry for virchow"):
        find_weights(card("virchow"), weights)


@pytest.mark.parametrize("content", ["[1]", "{", '{"uni": 3}'])
def test_a_map_that_is_none(tmp_path, content):
    (tmp_path / "weights.json").write_text(content)
    with pytest.raises(EncoderError, match="no map of weights"):
        find_weights(UNI, tmp_path / "weights.json")


def test_a_path_that_is_nothing(tmp_path):
    with pytest.raises(EncoderError, match="does not exist"):
        find_weights(UNI, tmp_path / "absent.safetensors")


def test_what_was_downloaded_is_used_without_network(hub):
    snapshot = hub / "models--MahmoodLab--UNI" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    (snapshot / "pytorch_model.bin").touch()
    assert find_weights(UNI, None) == snapshot / "pytorch_model.bin"


def test_gated_weights_say_where_to_accept_and_to_log_in(hub):
    with pytest.raises(EncoderError, match=r"https://huggingface\.co/MahmoodLab/UNI and log in .*--weights FILE"):
        create_encoder("uni")


def test_open_weights_do_not_ask_for_a_login(hub):
    with pytest.raises(EncoderError, match="--weights FILE") as caught:
        create_encoder("phikon")
    assert "log in" not in str(caught.value)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"model": state, "epoch": 3},
        lambda state: {"state_dict": {f"module.{k}": v for k, v in state.items()}},
        lambda state: {"student": {k: v + 1 for k, v in state.items()}, "teacher": state},
        lambda state: (
            {f"teacher.backbone.{k}": v for k, v in state.items()}
            | {f"student.backbone.{k}": v + 1 for k, v in state.items()}
            | {"teacher.head.weight": torch.zeros(1)}
        ),
    ],
)
def test_wrappers_and_prefixes_are_taken_off(net, tmp_path, wrap):
    torch.save(wrap(net.state_dict()), tmp_path / "net.pth")
    found = fitted(read_weights(tmp_path / "net.pth"), net, card=UNI, file="net.pth")
    assert found.keys() == net.state_dict().keys()
    assert all(torch.equal(found[name], value) for name, value in net.state_dict().items())


def test_half_precision_files_are_read_as_float32(net):
    state = {name: value.half() for name, value in net.state_dict().items()}
    assert {value.dtype for value in fitted(state, net, card=UNI, file="net").values()} == {torch.float32}


def test_a_mismatch_names_the_keys(net):
    state = dict(net.state_dict())
    state["layer.weight"] = torch.zeros(5, 3)
    state["extra.weight"] = state.pop("norm.bias")
    with pytest.raises(EncoderError) as caught:
        fitted(state, net, card=UNI, file="net.pth")
    for text in ("1 missing: norm.bias", "1 unexpected: extra.weight", "layer.weight (5, 3) instead of (2, 3)"):
        assert text in str(caught.value)


def test_what_the_card_ignores_may_be_there(net):
    state = net.state_dict() | {"head.weight": torch.zeros(1)}
    fitted(state, net, card=replace(UNI, ignored=("head.",)), file="net")
    with pytest.raises(EncoderError, match=r"unexpected: head\.weight"):
        fitted(state, net, card=UNI, file="net")


def test_weights_of_one_card_do_not_fit_another(tmp_path):
    save_file({"layer.weight": torch.zeros(2, 3)}, tmp_path / "phikon.safetensors")
    with pytest.raises(EncoderError, match=r"phikon\.safetensors does not fit phikon.*150 missing: blocks"):
        create_encoder("phikon", weights=tmp_path)
