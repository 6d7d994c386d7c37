"""The same command trains again what is missing or broken of a run, names it, and leaves the rest as it is."""

import shutil

import pytest


@pytest.fixture(scope="module")
def command(crossval_of, tmp_path_factory):
    return crossval_of(tmp_path_factory.mktemp("resume"))


@pytest.fixture(scope="module")
def trained(asmil, command, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "run"
    asmil(*command, "--out", out)
    return out


@pytest.mark.parametrize(("name", "spoil", "says"), [
    ("model.safetensors", lambda path: path.unlink(), "model.safetensors is missing"),
    ("attention.h5", lambda path: path.write_bytes(b""), "attention.h5 was emptied"),
    ("log.csv", lambda path: path.write_bytes(path.read_bytes()[:-9]), "log.csv was cut"),
])  # fmt: skip
def test_a_broken_model_is_trained_again_and_named(asmil, command, trained, tmp_path, name, spoil, says):
    out = shutil.copytree(trained, tmp_path / "run")
    broken, kept = out / "folds" / "1" / "seed_0", out / "folds" / "0" / "seed_0"
    before = {path: path.stat().st_mtime_ns for path in kept.iterdir()}
    spoil(broken / name)
    assert "1 of 2 models are finished" in asmil("evaluate", out, code=2)
    assert f"note: fold 1 seed 0 is trained again: {says}" in asmil(*command, "--out", out)
    assert {path: path.stat().st_mtime_ns for path in kept.iterdir()} == before
    assert {path.name for path in broken.iterdir()} == {path.name for path in kept.iterdir()}
    assert "trained again" not in asmil(*command, "--out", out)


def test_a_fold_that_is_gone_is_trained_and_evaluated_again(asmil, command, trained, tmp_path):
    out = shutil.copytree(trained, tmp_path / "run")
    shutil.rmtree(out / "folds" / "0")
    output = asmil("evaluate", out, code=2)
    assert "1 of 2 models are finished; 6 slides were never tested" in output
    assert "missing fold 0 seed 0" in output
    asmil(*command, "--out", out)
    asmil("evaluate", out, "--bootstrap", 5)
    assert (out / "metrics.json").is_file()
