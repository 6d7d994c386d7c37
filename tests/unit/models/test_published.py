"""Files of the authors' weights that are refused, and what is said then; what is loaded is compared in `oracles`."""

import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from asmil.attention import AttentionStabilizer
from asmil.bags import Bag, BagBatch
from asmil.errors import ConfigError, WeightsError
from asmil.models import load_published
from asmil.models.parts import published


@pytest.fixture
def state():
    """Weights of 2 tokens, 5 features to 4, 3 classes."""
    shapes = {"dimreduction.fc1.weight": (4, 5), "q": (1, 2, 4), "cls": (1, 1, 4)}
    shapes |= {"Slide_classifier.fc.weight": (3, 4), "Slide_classifier.fc.bias": (3,)}
    shapes |= {"dimreduction.bn.weight": (4,), "classifier.0.fc.weight": (3, 4), "classifier.1.fc.bias": (3,)}
    for block in ("sub_attention.0", "sub_attention.1", "bag_attention"):
        for layer in ("q_proj", "k_proj", "v_proj", "out_proj", "layer_norm"):
            shapes[f"{block}.{layer}.weight"] = (4,) if layer == "layer_norm" else (4, 4)
            shapes[f"{block}.{layer}.bias"] = (4,)
    return {name: torch.randn(shape) for name, shape in shapes.items()}


@pytest.fixture
def load(tmp_path):
    def load(content, **options):
        torch.save(content, tmp_path / "w.pt")
        return load_published(tmp_path / "w.pt", **options)

    return load


def test_sizes_are_those_of_the_weights(state, load):
    model = load(state, heads=2)
    assert model.feat.query.weight.shape == (2, 4, 4)
    output = model(BagBatch.from_bags(Bag(torch.randn(6, 5))))
    assert output.logits.shape == (1, 3)
    assert output.scores.shape == (6, 4)


def test_half_weights_become_single(state, load):
    model = load({name: value.half() for name, value in state.items()}, heads=1)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_the_model_does_not_hang_on_the_file(state, load, tmp_path):
    model = load(state, heads=1)
    (tmp_path / "w.pt").write_bytes(b"\0" * (tmp_path / "w.pt").stat().st_size)
    assert torch.equal(model.projection.linear.weight.detach(), state["dimreduction.fc1.weight"])


def test_a_loaded_model_trains_on_with_the_stabiliser(state, load):
    model = load(state, heads=2).train()
    stabilizer = AttentionStabilizer(model)
    (model(BagBatch.from_bags(Bag(torch.randn(6, 5)))).logits.sum() + stabilizer.loss()).backward()
    assert all(p.grad is not None for p in model.parameters())


CHANGES = {
    "missing": ("bag_attention.q_proj.bias", None, r"bag_attention.q_proj.bias is missing, expected \(4,\)"),
    "no bag": ("cls", None, r"cls is missing, expected \(1, 1, 4\)"),
    "extra": ("anchor.q", torch.ones(1, 2, 4), r"anchor.q is \(1, 2, 4\), expected none"),
    "third token": ("q", torch.ones(1, 3, 4), r"q is \(1, 3, 4\), expected \(1, 2, 4\)"),
    "half a token": ("sub_attention.2.q_proj.bias", torch.ones(4), "tokens 3, classes 3; q is"),
    "narrow": ("sub_attention.1.k_proj.weight", torch.ones(2, 4), r"k_proj.weight is \(2, 4\), expected \(4, 4\)"),
    "no first layer": ("dimreduction.fc1.weight", None, "does not hold the weights of the authors' ASMIL"),
    "flat": ("dimreduction.fc1.weight", torch.ones(4), "does not hold the weights of the authors' ASMIL"),
    "empty": ("Slide_classifier.fc.weight", torch.ones(0, 4), "does not hold the weights of the authors' ASMIL"),
    "nan": ("cls", torch.full((1, 1, 4), torch.nan), "NaN or infinite weights. Found: cls"),
    "whole numbers": ("cls", torch.ones(1, 1, 4, dtype=torch.int64), "something else than weights. Found: cls"),
    "no tensor": ("epoch", 3, "something else than weights. Found: epoch"),
    "sparse": ("cls", torch.ones(1, 1, 4).to_sparse(), "something else than weights. Found: cls"),
    "nowhere": ("cls", torch.ones(1, 1, 4, device="meta"), "something else than weights. Found: cls"),
    "vast": ("dimreduction.fc1.weight", torch.ones(1, 1).expand(10**6, 10**6), "too large. Found: the tensors"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_weights_of_another_model_are_refused(state, load, change):
    name, value, message = CHANGES[change]
    state = {key: old for key, old in state.items() if key != name} | ({} if value is None else {name: value})
    with pytest.raises(WeightsError, match=message) as caught:
        load(state, heads=1)
    assert caught.value.found is not None
    assert caught.value.fix


@pytest.mark.parametrize("heads", [3, 0, 8])
def test_heads_that_do_not_fit_are_refused(state, load, heads):
    with pytest.raises(ConfigError, match=f"dim=4, heads={heads}"):
        load(state, heads=heads)


@pytest.mark.parametrize("content", [[1], torch.ones(2), {3: torch.ones(2)}], ids=["list", "tensor", "numbered"])
def test_what_has_no_names_is_refused(load, content):
    with pytest.raises(WeightsError, match="no tensors with names"):
        load(content)


def test_our_own_weights_are_sent_to_their_run(load):
    with pytest.raises(WeightsError, match="models of asmil itself open as a run"):
        load({"projection.linear.weight": torch.ones(4, 5)})


class Planted:
    """Touches a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "pickle"])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_planted_pickle_does_not_run(state, tmp_path, suffix, legacy):
    file, touched = tmp_path / f"w{suffix}", tmp_path / "touched"
    content = {"model": state, "config": Planted(touched)}
    if legacy:
        file.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, file)
    with pytest.raises(WeightsError, match="no file of tensors alone") as caught:
        load_published(file)
    assert "save" in caught.value.fix
    assert not touched.exists()


def test_what_a_file_holds_beside_tensors_is_named(state, load):
    with pytest.raises(WeightsError, match=r"UnpicklingError: Unsupported global: GLOBAL \S*pathlib\S*"):
        load({"model": state, "config": Path("config.yml")})


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", b"\x80\x02", b"\xff" * 64], ids=repr)
def test_what_is_no_weights_file_is_refused(tmp_path, damage):
    (tmp_path / "w.pt").write_bytes(damage)
    with pytest.raises(WeightsError, match="no file of tensors alone"):
        load_published(tmp_path / "w.pt")


@pytest.mark.parametrize("form", ["pt", "safetensors"])
def test_a_file_cut_short_is_refused(state, tmp_path, form):
    file = tmp_path / f"w.{form}"
    save_file(state, file) if form == "safetensors" else torch.save(state, file)
    content = file.read_bytes()
    for share in (0.1, 0.5, 0.99):
        file.write_bytes(content[: int(share * len(content))])
        with pytest.raises(WeightsError):
            load_published(file, heads=1)


def test_a_file_that_is_not_there_is_named(tmp_path):
    for path in (tmp_path / "none.pt", tmp_path):
        with pytest.raises(WeightsError, match="there is no file"):
            load_published(path)


def test_large_files_are_refused_before_they_are_read(tmp_path, monkeypatch):
    file = tmp_path / "w.pt"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("w/data.pkl", b"\0" * 10**6)
    monkeypatch.setattr(published, "LIMIT", 10**5)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(WeightsError, match="unpacked: 1,000,000 bytes"):
        load_published(file)
    file.write_bytes(b"\0" * (10**5 + 1))
    with pytest.raises(WeightsError, match="the file: 100,001 bytes"):
        load_published(file)
