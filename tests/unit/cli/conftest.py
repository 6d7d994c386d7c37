"""What tests of the command line share: a command in this process, and a small cohort to train on."""

import pandas as pd
import pytest
from typer.testing import CliRunner

from asmil.cli import app


@pytest.fixture(scope="session")
def asmil():
    """Call a command; what it printed, if it ended with this code."""

    def call(*arguments, code=0):
        done = CliRunner().invoke(app, [str(text) for text in arguments])
        assert done.exit_code == code, f"exit {done.exit_code}\n{done.output}\n{done.exception!r}"
        return done.output

    return call


@pytest.fixture(scope="session")
def crossval_of(write_feature_files):
    """Write twelve slides of two classes into a folder; the command that trains two small models of them."""

    def write(folder, **columns):
        slides = write_feature_files(folder / "features", n_slides=12, dim=8)
        rows = {"slide_id": slides, "label": ["no", "yes"] * 6, **columns}
        pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
        return ["crossval", "--features", folder / "features", "--labels", folder / "labels.csv", "--model", "abmil",
                "--folds", 2, "--seeds", 1, "--epochs", 2, "--workers", 1]  # fmt: skip

    return write
