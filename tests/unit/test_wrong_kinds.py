"""What a person gives in Python for a path, a name or a cohort, and is none: one clear error, never a TypeError."""

import numpy as np
import pandas as pd
import pytest

import asmil
from asmil.annotations import read_annotations
from asmil.bags import load_dataset, read_splits, read_table
from asmil.errors import AsmilError, ConfigError
from asmil.settings import load_settings
from asmil.study import load_study
from asmil.tasks import create_task

PATHS = {
    "run": asmil.Run.open,
    "evaluate": asmil.evaluate,
    "write_report": asmil.write_report,
    "open_features": asmil.open_features,
    "read_cohort": asmil.read_cohort,
    "read_table": read_table,
    "open_slide": asmil.open_slide,
    "scan_slides": asmil.scan_slides,
    "read_annotations": read_annotations,
    "load_study": load_study,
}
NAMES = {
    "model": lambda name: asmil.create_model(name, in_dim=4, n_classes=2),
    "encoder": asmil.create_encoder,
    "task": create_task,
    "dataset": load_dataset,
    "slide": lambda name: asmil.Run.create("nowhere").slide(name),
}


@pytest.mark.parametrize("value", [None, 3, 2.5, {"a": 1}, ["x"], True, b"x"], ids=repr)
@pytest.mark.parametrize("name", [*PATHS, *NAMES])
def test_what_is_no_path_and_no_name_is_told(name, value):
    kind = "None" if value is None else type(value).__name__
    with pytest.raises(ConfigError, match=rf"cannot be.* {kind}\. Found: .*To fix: give a ") as error:
        (PATHS | NAMES)[name](value)
    assert str(error.value.found) == repr(value)


@pytest.fixture(scope="module")
def cohort():
    table = pd.DataFrame({"slide_id": [f"s{i}" for i in range(12)], "label": ["a", "b"] * 6})
    return asmil.read_cohort(table)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda c: asmil.make_splits("labels.csv"), "a cohort cannot be of the type str"),
        (lambda c: asmil.make_splits(c, folds=2.5), "the number of folds cannot be of the type float"),
        (lambda c: asmil.load_bags("features/", c), "a store of features cannot be of the type str"),
        (lambda c: asmil.read_cohort(c.table, classes="a,b"), "classes cannot be of the type str"),
        (lambda c: asmil.read_cohort(c.table, label=3), "the column of the label cannot be of the type int"),
        (lambda c: asmil.read_cohort(c.table, features=3), "a folder of features cannot be of the type int"),
        (lambda c: asmil.read_cohort(c.table, slides=3), "slides cannot be of the type int"),
        (lambda c: read_splits(3, c), "a file of splits cannot be of the type int"),
        (lambda c: asmil.run({"features": "f"}), r"settings are given by name.*run\(\*\*settings\)"),
        (lambda c: asmil.run(features=3), "features: Input is not a valid path, found 3"),
        (lambda c: asmil.run(labels=["x"], features="f"), "labels: Input is not a valid path"),
        (lambda c: asmil.run(features=None, labels="l.csv"), "there is no such table|there are no slides"),
        (lambda c: asmil.train(features=None, labels="l.csv"), "there are no features"),
    ],
)
def test_other_things_than_are_meant_are_told(cohort, call, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AsmilError, match=says):
        call(cohort)
    assert not list(tmp_path.iterdir())


def test_what_can_be_meant_is_taken(cohort):
    assert len(asmil.make_splits(cohort, folds=np.int64(3)).folds) == 3
    assert asmil.read_cohort(cohort.table, classes=np.array(["b", "a"])).classes == ("b", "a")
    assert asmil.read_cohort(cohort.table, classes=("b", "a"), label=None).classes == ("b", "a")
    assert load_settings(None).folds == 5
