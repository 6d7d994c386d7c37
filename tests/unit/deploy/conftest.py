"""A small run on synthetic features, made once, and copies of it to break."""

import json
import shutil

import pandas as pd
import pytest
from typer.testing import CliRunner

from asmil.cli import app

SETTINGS = ("--model", "abmil", "--no-stabilize", "--folds", 2, "--seeds", 2, "--epochs", 2, "--workers", 1)


@pytest.fixture(scope="session")
def asmil():
    """A function that runs `asmil ARGUMENTS` in this process and returns its result."""

    def run(*arguments, code=0):
        done = CliRunner().invoke(app, [str(text) for text in arguments])
        assert done.exit_code == code, f"exit {done.exit_code}\n{done.output}\n{done.exception!r}"
        return done

    return run


@pytest.fixture(scope="session")
def trained(asmil, write_feature_files, tmp_path_factory):
    """A folder with `features/` of 16 slides, `labels.csv` and the evaluated run `run/`; nobody writes into it."""
    folder = tmp_path_factory.mktemp("trained")
    slides = write_feature_files(folder / "features", n_slides=16, dim=12)
    labels = pd.DataFrame({"slide_id": slides, "label": [("benign", "tumour")[i % 2] for i in range(len(slides))]})
    labels.to_csv(folder / "labels.csv", index=False)
    data = ("--features", folder / "features", "--labels", folder / "labels.csv")
    asmil("crossval", *data, *SETTINGS, "--out", folder / "run")
    asmil("evaluate", folder / "run", "--bootstrap", 20)
    return folder


@pytest.fixture
def run(trained, tmp_path):
    """A copy of the run's folder, without what was measured on it."""
    copy = shutil.copytree(trained / "run", tmp_path / "run")
    (copy / "profile.json").unlink(missing_ok=True)
    return copy


@pytest.fixture
def unsealed(run):
    """That copy without the seals of its models, as a run of an older version has none, or a stranger's."""
    for seal in run.glob("folds/*/*/sealed.json"):
        seal.unlink()
    identity = json.loads((run / "identity.json").read_text())
    del identity["code"]  # by which a run is known to seal its models
    (run / "identity.json").write_text(json.dumps(identity))
    return run
