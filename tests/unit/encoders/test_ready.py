"""What an encoder is said to lack is what it lacks."""

import pytest

from asmil.encoders import card, readiness

GIB = 1024**3


@pytest.fixture(autouse=True)
def hub(monkeypatch, tmp_path):
    """An empty hub cache, network, and nobody logged in."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    return tmp_path / "hub"


def _cache(hub, repository):
    snapshot = hub / f"models--{repository.replace('/', '--')}" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    (snapshot / "pytorch_model.bin").touch()
    return snapshot / "pytorch_model.bin"


def test_an_encoder_without_weights_is_ready():
    assert readiness(card("colour-texture")).state == "ready"


def test_open_weights_are_downloaded():
    found = readiness(card("phikon"))
    assert (found.state, found.detail) == ("downloads", "https://huggingface.co/owkin/phikon")
    assert found.weights_gib == pytest.approx(0.32, abs=0.01)


def test_gated_weights_want_a_login(monkeypatch):
    found = readiness(card("uni"))
    assert found.state == "missing"
    assert "hf auth login" in found.detail
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_x")
    assert readiness(card("uni")).state == "downloads"


def test_offline_nothing_is_downloaded(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    found = readiness(card("phikon"))
    assert found.state == "missing"
    assert "--weights" in found.detail


def test_weights_of_the_cache_and_of_a_folder_are_ready(hub, tmp_path):
    cached = _cache(hub, "MahmoodLab/UNI")
    assert readiness(card("uni")).detail == str(cached)
    (tmp_path / "uni.safetensors").touch()
    assert readiness(card("uni"), weights=tmp_path).detail == str(tmp_path / "uni.safetensors")
    assert readiness(card("virchow"), weights=tmp_path).state == "missing"
    assert "no weights of virchow" in readiness(card("virchow"), weights=tmp_path).detail


def test_a_small_gpu_is_too_small_for_a_large_encoder(hub):
    _cache(hub, "prov-gigapath/prov-gigapath")
    large = card("prov-gigapath")
    assert readiness(large, gpu_bytes=16 * GIB).state == "ready"
    assert "4.0 GiB" in readiness(large, gpu_bytes=4 * GIB).detail


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("asmil.encoders.weights.PACKAGES", ("timm", "no_such_package"))
    found = readiness(card("uni"))
    assert found.state == "missing"
    assert found.detail == "no_such_package: pip install 'asmil[encoders]'"
