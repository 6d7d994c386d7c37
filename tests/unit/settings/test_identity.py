"""Who a run is: what is compared, what is not, and in which words it is told."""

import json
from pathlib import Path

import numpy as np
import pytest

from asmil.bags import make_splits, open_features, read_cohort
from asmil.errors import RunError
from asmil.settings import Settings
from asmil.settings.identity import compare, data_identity, lacks_data, require_same, settings_identity


def write_bag(path: Path, *, seed: int, tiles: int = 20) -> None:
    """An array of features whose values are decided by `seed`."""
    np.save(path, np.random.default_rng(seed).normal(size=(tiles, 6)).astype(np.float32))


def _texts(before: dict, now: dict) -> list[tuple[str, str]]:
    return [tuple(change) for change in compare(json.loads(json.dumps(before)), now)]


def test_settings_that_decide_nothing_may_change():
    now = Settings(workers=7, device="cpu", out="elsewhere", heatmaps=3, bootstrap=9, tile_batch=4, labels="moved.csv")
    assert _texts(settings_identity(Settings()), settings_identity(now)) == []


def test_a_changed_setting_is_told_by_name_and_kind():
    now = settings_identity(Settings(tile_px=96, beta=0.2, label="grade"))
    assert _texts(settings_identity(Settings()), now) == [
        ("training", "label was 'label', is 'grade'"),
        ("extraction", "tile_px was 224, is 96"),
        ("training", "beta was 0.1, is 0.2"),
    ]


def test_a_setting_younger_than_a_run_had_its_default_then():
    before = {"epochs": 40, "tile_px": 224, "mpp": 0.5}
    then = {"epochs": 40, "min_steps": 0, "restarts": 0, "anchor_gated": False}
    assert _texts(before, settings_identity(Settings(**then))) == []
    assert _texts(before, settings_identity(Settings(**then, reduction="mean"))) == [
        ("training", "reduction was 'sum', is 'mean'")
    ]
    assert ("training", "anchor_gated was False, is True") in _texts(before, settings_identity(Settings(epochs=40)))


def test_settings_that_have_ended_or_are_no_more_compared_are_passed_over():
    before = settings_identity(Settings()) | {"together": "off", "features": "a", "slides": "b", "nonsense": 1}
    assert _texts(before, settings_identity(Settings())) == []


def test_with_given_features_those_of_extraction_decide_nothing():
    before = settings_identity(Settings(features="a", tile_px=64))
    assert "tile_px" not in before
    assert _texts(before | {"tile_px": 64}, settings_identity(Settings(features="a"))) == []


def test_a_run_of_given_features_is_not_continued_from_slides():
    before = settings_identity(Settings(features="a"))
    ((kind, text),) = _texts(before, settings_identity(Settings(slides="b", tile_px=64)))
    assert (kind, text) == ("extraction", "its features were given, and are to be extracted from slides now")


@pytest.fixture
def data(tmp_path):
    """A function that returns the identity of what is in a folder of nine slides, and the folder."""
    for number in range(9):
        write_bag(tmp_path / f"s{number}.npy", seed=number)

    def of(labels: str = "ababababb", slides: int = 9, seed: int = 0):
        rows = [f"s{i},P{i},{labels[i]},{'xy'[i % 2]}" for i in range(slides)]
        (tmp_path / "labels.csv").write_text("\n".join(["slide,case,label,site", *rows]))
        cohort, store = read_cohort(tmp_path / "labels.csv"), open_features(tmp_path)
        return {"data": data_identity(cohort, make_splits(cohort, folds=2, seed=seed), store)}

    return of, tmp_path


def test_the_same_slides_in_another_order_of_rows_are_the_same(data):
    of, folder = data
    before = of()
    lines = (folder / "labels.csv").read_text().splitlines()
    (folder / "labels.csv").write_text("\n".join([lines[0], *reversed(lines[1:])]))
    cohort, store = read_cohort(folder / "labels.csv"), open_features(folder)
    now = {"data": data_identity(cohort, make_splits(cohort, folds=2), store)}
    assert _texts(before, now) == []


def test_what_changed_of_slides_labels_folds_and_features_is_told(data):
    of, folder = data
    before = of()
    assert not lacks_data(before)
    assert lacks_data({})
    assert _texts(before, of(seed=1)) == [("cohort", "slides are in other folds or parts than they were")]
    gone = _texts(before, of(slides=8))
    assert gone == [("cohort", "gone: 1 slide: s8")]
    assert _texts(of(slides=8), before) == [("cohort", "new: 1 slide: s8")]
    (first, *_) = _texts(before, of(labels="bababaabb"))
    head = (
        "other patient, label, site or targets: 6 slides: s0, s1, s2, s3, s4 and 1 more (s0 was P0, a, x; is P0, b, x)"
    )
    assert first[1] == head
    write_bag(folder / "s1.npy", seed=70)
    write_bag(folder / "s4.npy", seed=4, tiles=19)
    write_bag(folder / "s6.npy", seed=6)  # the same features in a new file
    assert _texts(before, of()) == [("features", "the features of 2 slides changed after training: s1, s4")]


FIXES = [
    ("tile_px", 96, "run/features/x", "choose another --out: other tiles"),
    ("epochs", 3, "run/features/x", "--features run/features/x --out NEW trains on the same features"),
    ("epochs", 3, None, "choose another --out"),
]


@pytest.mark.parametrize(("name", "value", "features", "fix"), FIXES)
def test_what_to_do_never_loses_features(tmp_path, name, value, features, fix):
    changes = compare(settings_identity(Settings()), settings_identity(Settings(**{name: value})))
    with pytest.raises(RunError) as caught:
        require_same(tmp_path, changes, features=features)
    assert caught.value.fix.startswith(fix)
    assert "delete" not in caught.value.fix


def test_many_changes_are_counted(tmp_path):
    now = Settings(
        epochs=1, beta=1, folds=2, seeds=1, batch_size=1, patience=1, momentum=0.5, refit=False, model="abmil"
    )
    with pytest.raises(RunError, match="and 1 more"):
        require_same(tmp_path, compare(settings_identity(Settings()), settings_identity(now)), features=None)
    require_same(tmp_path, [], features=None)
