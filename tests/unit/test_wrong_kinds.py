"""What a person gives in Python for a path, a name or a cohort, and is none: one clear error, never a TypeError."""

from typing import Annotated

import numpy as np
import pandas as pd
import pytest

import asmil
from asmil.annotations import read_annotations
from asmil.bags import load_dataset, read_splits, read_table
from asmil.errors import AsmilError, ConfigError
from asmil.models import create_model, list_models, model_options
from asmil.registry import FolderRegistry
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


def _plain(kind: type) -> list[tuple[str, str]]:
    """The options of all models whose default is of this kind."""
    return [(name, option) for name in list_models() for option, d in model_options(name).items() if type(d) is kind]


@pytest.mark.parametrize(
    ("kind", "value", "says"),
    [
        (bool, "no", "true or false"),
        (bool, 1, "true or false"),
        (int, 2.5, "a whole number"),
        (int, True, "a whole number"),
        (float, "x", "a number"),
        (float, True, "a number"),
        (str, 5, "a text"),
    ],
)
def test_options_of_models_are_of_their_kind(kind, value, says):
    """'no' is true to Python, and a model with gates where none were wanted trains without a word."""
    options = _plain(kind)
    assert options
    for name, option in options:
        with pytest.raises(ConfigError, match=f"{option} of the model '{name}' must be {says}"):
            create_model(name, in_dim=8, n_classes=2, **{option: value})


def test_numpys_numbers_and_whole_numbers_for_others_are_taken():
    model = create_model("abmil", in_dim=8, n_classes=2, dim=np.int64(4), gated=np.bool_(False), dropout=0)
    assert model.projection.linear.out_features == 4


def test_options_of_tasks_are_of_their_kind():
    with pytest.raises(ConfigError, match="bins of the task 'survival' must be a whole number"):
        create_task("survival", bins="four")


def test_annotations_that_are_no_plain_kinds_are_left_alone():
    """Of other people's parts: a text, or what has no hash."""

    def part(first: "int" = 1, second: Annotated[int, []] = 2, third: list[int] = [3]):  # noqa: B006
        return first, second, third

    parts = FolderRegistry("part", "asmil.tasks", "TASK", other=lambda name: part)
    parts.check_kinds("any", {"first": "x", "second": "y", "third": 5})
