"""Models of other people: a plain module for the tiles of one slide, and a file of one."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import asmil
from asmil.attention import AttentionStabilizer
from asmil.bags import BagBatch, make_bags
from asmil.cli import app
from asmil.errors import AttentionError, ConfigError, RunError
from asmil.models import create_model, model_info, trust, try_out
from asmil.runs.weights import read_model, write_model
from asmil.testing import check_model
from asmil.training import TrainSettings, fit

BAGS = make_bags(6, tiles=(3, 9), dim=5)[0]
FILE = '''
import torch
from torch import nn
import asmil


class Plain(nn.Module):
    """Gated attention, as its author wrote it."""

    def __init__(self, in_dim: int, n_classes: int, hidden: int = 8):
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(in_dim, hidden), nn.ReLU())
        self.attention = nn.Sequential(nn.Linear(hidden, 4), nn.Tanh(), nn.Linear(4, 1))
        self.head = nn.Linear(hidden, n_classes)

    def forward(self, x):
        h = self.embed(x)
        weights = torch.softmax(self.attention(h).T, -1)
        return self.head(weights @ h), weights


MODEL = asmil.wrap(Plain, scores="attention")
'''


class Plain(nn.Module):
    """Two rows of attention, (1, tiles, dim) in, a dictionary out."""

    def __init__(self, input_dim: int, num_classes: int, *, rows: int = 2):
        super().__init__()
        self.scorer, self.head = nn.Linear(input_dim, rows), nn.Linear(rows * input_dim, num_classes)

    def forward(self, tiles):
        scores = self.scorer(tiles)
        pooled = (scores.softmax(1).transpose(1, 2) @ tiles).flatten(1)
        return {"logits": self.head(pooled), "A": scores}


def wrapped(**how):
    torch.manual_seed(0)
    return asmil.wrap(Plain, batched=True, **{"scores": "scorer"} | how)


@pytest.mark.parametrize(
    "how", [{}, {"scores": lambda result: result["A"]}, {"scores": None}], ids=["part", "function", "none"]
)
def test_a_class_that_is_wrapped_keeps_the_contract_of_a_model(how):
    check_model(wrapped(**how)).raise_if_failed()


def test_its_output_is_that_of_the_module_bag_by_bag():
    model = wrapped()(5, 2).eval()
    output = model(BagBatch.from_bags(BAGS))
    for index, (bag, own) in enumerate(zip(BAGS, BagBatch.from_bags(BAGS).split(output.attention), strict=True)):
        alone = model.module(bag.features[None])
        torch.testing.assert_close(output.logits[index], alone["logits"][0])
        torch.testing.assert_close(own, alone["A"][0].softmax(0).mean(1))
    assert output.scores.shape == (sum(map(len, BAGS)), 2)


def test_a_module_that_is_made_already_is_trained_and_stabilised():
    model = asmil.wrap(Plain(5, 2), n_classes=2, scores="scorer", batched=True)
    before = model.module.head.weight.clone()
    stabilizer = AttentionStabilizer(model, beta=0.5)
    result = fit(
        model, BAGS, BAGS[:2], settings=TrainSettings(epochs=2, min_steps=0, batch_size=3), stabilizer=stabilizer
    )
    assert result.history[-1]["kl"] > 0
    assert not torch.equal(model.module.head.weight, before)


class Turned(Plain):
    def forward(self, tiles):
        return super().forward(tiles)["logits"], self.scorer(tiles).transpose(1, 2)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: asmil.wrap(Plain, scores="scorrer", batched=True)(5, 2), AttentionError, "scorer"),
        (lambda: asmil.wrap(Plain(5, 2)), ConfigError, "number of classes"),
        (lambda: asmil.wrap(lambda width: Plain(width, 2)), ConfigError, "parameters width"),
        (lambda: wrapped(output=lambda result: result["A"])(5, 2), ConfigError, "no logits of 2 classes"),
        (lambda: wrapped(scores=lambda result: None)(5, 2), ConfigError, "no tensor"),
        (lambda: asmil.wrap(Turned, batched=True, scores=lambda r: r[1])(5, 2), ConfigError, r"not \(tiles, rows\)"),
        (lambda: wrapped(scores="head")(5, 2), ConfigError, r"not \(tiles, rows\)"),
    ],
    ids=["part", "classes", "maker", "logits", "scores", "turned", "wrong part"],
)
def test_what_cannot_be_understood_is_asked_for(make, error, words):
    with pytest.raises(error, match=words):
        make()(BagBatch.from_bags(BAGS[:1]))


FAULTS = {
    "raise KeyError('boom')": "mine.py line .*KeyError: 'boom'",
    "return self.head(torch.tanh(x)), coords": r"cannot be trained.*NameError: name 'coords'",
    "return self.head(x)": r"no logits of 2 classes.*\(24, 2\)",
    "return self.head(x.mean(0)).detach()": "cannot be trained.*does not require grad",
    "return self.head(x.mul_(2).mean(0))": "changes the features",
    "return self.head(x.mean(0)) * float('nan')": "not finite",
    "return self.head(x.mean(0) + torch.randn(5))": "other logits for the same bag again",
    "self.n += 1; return self.head(x.mean(0)) * self.n": "other logits for the same bag again",
    "return self.head(x[torch.randperm(len(x))[:64]].mean(0))": "bag of 1,500 tiles again",
    "self.n += self.training; return self.head(x.mean(0)) * self.n": "answers by what is not saved",
    "return self.head(x.mean(0)).softmax(-1)": "probabilities, which add up to 1",
    "y = self.head(x.mean(0)); return {'logits': y, 'aux_loss': y.sum()}": "'aux_loss' too, which nothing would train",
    "self.embed = self.head; return self.head(x.mean(0))": "the same weights under two names",
}


@pytest.mark.parametrize("forward", FAULTS)
def test_what_a_model_of_a_file_does_wrong_is_said_before_anything_is_read(forward, tmp_path, monkeypatch):
    path = tmp_path / "mine.py"
    path.write_text(
        "import torch\nfrom torch import nn\n\n\nclass Mine(nn.Module):\n"
        "    def __init__(self, in_dim, n_classes):\n        super().__init__()\n"
        f"        self.n, self.head = 1, nn.Linear(in_dim, n_classes)\n\n    def forward(self, x):\n        {forward}\n"
    )
    monkeypatch.setenv("ASMIL_TRUST", str(path))
    before = torch.get_rng_state()
    with pytest.raises(ConfigError, match=FAULTS[forward]):
        try_out(f"{path}:Mine", in_dim=5, n_classes=2)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_module_that_takes_a_mask_beside_the_tiles_is_told_of_a_function_around_it(tmp_path, monkeypatch):
    path = tmp_path / "padded.py"
    path.write_text(
        "from torch import nn\n\n\nclass Padded(nn.Module):\n    def __init__(self, in_dim, n_classes):\n"
        "        super().__init__()\n        self.head = nn.Linear(in_dim, n_classes)\n\n"
        "    def forward(self, bags, mask):\n        return self.head((bags * mask[..., None]).mean(1))\n"
    )
    monkeypatch.setenv("ASMIL_TRUST", str(path))
    with pytest.raises(ConfigError, match=r"'mask'.*\n?.*more than the tiles gets it from a function"):
        try_out(f"{path}:Padded", in_dim=5, n_classes=2)


def test_a_model_of_small_bags_alone_is_tried_out_with_those(tmp_path, monkeypatch):
    path = tmp_path / "mine.py"
    path.write_text(
        "import torch\nfrom torch import nn\n\n\nclass Mine(nn.Module):\n"
        "    def __init__(self, in_dim, n_classes):\n        super().__init__()\n"
        "        self.head, self.where = nn.Linear(in_dim, n_classes), nn.Embedding(100, in_dim)\n\n"
        "    def forward(self, x):\n        return self.head((x + self.where(torch.arange(len(x)))).mean(0))\n"
    )
    monkeypatch.setenv("ASMIL_TRUST", str(path))
    try_out(f"{path}:Mine", in_dim=5, n_classes=2)


@pytest.mark.parametrize("name", ["abmil", "asmil", "clam_sb", "camil", "dtfd", "transmil"])
def test_a_sound_model_has_nothing_to_be_said(name):
    try_out(name, in_dim=16, n_classes=2)


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.delenv("ASMIL_TRUST", raising=False)
    path = tmp_path / "mine.py"
    path.write_text(FILE, encoding="utf-8")
    return path


def test_a_model_of_a_file_is_made_once_a_person_named_it(file, monkeypatch):
    name = f"{file}:MODEL"
    with pytest.raises(ConfigError, match="only if you say so"):
        create_model(name, in_dim=5, n_classes=2)
    monkeypatch.setenv("ASMIL_TRUST", str(file))
    assert create_model(name, in_dim=5, n_classes=2, hidden=3).module.head.in_features == 3
    assert model_info(name).description == "Gated attention, as its author wrote it."
    with pytest.raises(ConfigError, match="hidden=8"):
        create_model(name, in_dim=5, n_classes=2, hiden=3)
    with pytest.raises(ConfigError, match="no model 'Plane'"):
        create_model(f"{file}:Plane", in_dim=5, n_classes=2)


def test_a_file_that_uses_its_own_model_while_it_is_read_is_told_how(file, monkeypatch):
    """A script without `if __name__ == "__main__":` around its call; it was read again until Python gave up."""
    monkeypatch.setenv("ASMIL_TRUST", str(file))
    call = f'from asmil import create_model\ncreate_model("{file}:MODEL", in_dim=5, n_classes=2)\n'
    file.write_text(FILE + call, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"while it is read.*below `if __name__"):
        create_model(f"{file}:MODEL", in_dim=5, n_classes=2)


def test_a_file_that_imports_one_beside_it_is_told_that_it_has_to_be_whole(tmp_path, monkeypatch):
    (tmp_path / "layers_of_mine.py").write_text("WIDTH = 3", encoding="utf-8")
    (tmp_path / "mine.py").write_text("import layers_of_mine", encoding="utf-8")
    monkeypatch.setenv("ASMIL_TRUST", str(tmp_path / "mine.py"))
    with pytest.raises(ConfigError, match="this one file") as told:
        create_model(f"{tmp_path / 'mine.py'}:MODEL", in_dim=5, n_classes=2)
    assert "layers_of_mine" in str(told.value)


def test_weights_are_read_with_the_code_they_were_trained_with_or_not_at_all(file, tmp_path):
    name, weights = f"{file}:MODEL", tmp_path / "model.safetensors"
    trust(name)
    try:
        model = create_model(name, in_dim=5, n_classes=2)
        write_model(weights, model, model=name, options={}, best_epoch=0)
        read, _ = read_model(weights, name=name, options={}, classes=2, standardize=False)
        assert torch.equal(read.module.head.weight, model.module.head.weight)
        file.write_text(FILE.replace("Tanh", "Sigmoid"), encoding="utf-8")
        with pytest.raises(RunError, match="changed after"):
            read_model(weights, name=name, options={}, classes=2, standardize=False)
    finally:
        os.environ.pop("ASMIL_TRUST")
    with pytest.raises(ConfigError, match="only if you say so"):
        read_model(weights, name=name, options={}, classes=2, standardize=False)


def test_the_whole_line_with_a_model_of_a_file(file, tmp_path, monkeypatch):
    """Trained by two processes, then predicted with and exported: only when the file is named again."""
    rng = np.random.default_rng(0)
    (tmp_path / "features").mkdir()
    rows = ["slide,label"]
    for index in range(12):
        np.save(tmp_path / "features" / f"s{index}.npy", rng.normal(index % 2, 1, (20, 6)).astype(np.float32))
        rows.append(f"s{index},{'ab'[index % 2]}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))

    given = ["--features", "features", "--labels", "labels.csv", "--folds", 2, "--seeds", 1, "--epochs", 2]
    command = ["crossval", *given, "--workers", 2, "--model", "mine.py:MODEL", "--out", "run"]
    begun = [sys.executable, "-c", "from asmil.cli import main; main()", *map(str, command)]
    done = subprocess.run(begun, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    def ended(*args):
        done = CliRunner().invoke(app, [str(text) for text in args])
        return done.exit_code, done.output

    monkeypatch.chdir(tmp_path)
    code, said = ended("predict", "run", "--features", "features", "--out", "new")
    assert code == 2
    assert "only if you say so" in said
    assert not Path("new", "predictions.csv").exists()
    monkeypatch.setenv("ASMIL_TRUST", str(file))
    for put_to_use in (
        ("predict", "run", "--features", "features", "--out", "new"),
        ("evaluate", "run", "--bootstrap", 50),
        ("export", "run", "--out", "model.onnx"),
    ):
        code, said = ended(*put_to_use)
        assert code == 0, said
