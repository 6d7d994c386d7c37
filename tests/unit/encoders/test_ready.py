"""What an encoder is said to lack is what it lacks; what is downloaded."""

import hashlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar

import pytest

from asmil.encoders import card, readiness
from asmil.encoders.weights import find_weights

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


class _Hub(BaseHTTPRequestHandler):
    """Files of one repository as the hub gives them; others are absent, as it says it."""

    files: ClassVar[dict[str, bytes]] = {}

    def do_GET(self):
        content = self.files.get(self.path.rpartition("/resolve/main/")[2])
        self.send_response(200 if content is not None else 404)
        self.send_header("ETag", f'"{hashlib.sha256(content or b"").hexdigest()}"')
        self.send_header("X-Repo-Commit", "a" * 40)
        self.send_header("Content-Length", str(len(content or b"")))
        if content is None:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content or b"")

    do_HEAD = do_GET
    log_message = staticmethod(lambda *_: None)


def test_with_weights_comes_what_their_repository_says_of_pixels(hub, monkeypatch):
    _Hub.files = {"model.safetensors": b"weights", "config.json": b"{}"}
    with ThreadingHTTPServer(("127.0.0.1", 0), _Hub) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        file = find_weights(card("resnet18"), None)
        server.shutdown()
    assert file.read_bytes() == b"weights"
    assert (file.parent / "config.json").read_bytes() == b"{}"
    assert find_weights(card("resnet18"), None) == file
