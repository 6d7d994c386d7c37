"""Feature files: what is written, who can read it, and what counts as finished."""

import json
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from asmil.bags import open_features
from asmil.encoders import create_encoder
from asmil.errors import FeatureError
from asmil.extraction import is_finished, write_features
from asmil.runs import tiles_of
from asmil.tiles import TileGrid

SETTINGS = {"mpp": 0.5, "tile_px": 32, "min_tissue": 0.5}
SLIDE = SimpleNamespace(name="a slide", objective=None, bounds=(0, 0, 4096, 2048))


def _grid(*, n=6, slide_mpp=0.25):
    xy = np.stack([np.arange(n) * 64, np.zeros(n)], axis=1)
    return TileGrid(xy, 32, 0.5, slide_mpp, (4096, 2048), np.linspace(0.5, 1, n))


def _write(path, **changes):
    arguments = {"encoder": create_encoder("colour-texture"), "slide": SLIDE, "extra": {"settings": SETTINGS}}
    grid = changes.pop("grid", _grid())
    features = changes.pop("features", np.random.default_rng(0).normal(size=(len(grid), 5)))
    return write_features(path, features, grid, **(arguments | changes)), features


def test_layout(tmp_path):
    path, features = _write(tmp_path / "new" / "a.h5")
    with h5py.File(path) as file:
        assert file["features"].dtype == np.float16
        assert file["features"].chunks is None
        np.testing.assert_array_equal(file["features"], features.astype(np.float16))
        assert file["coords"].dtype == np.int64
        np.testing.assert_array_equal(file["coords"], _grid().level0_xy)
        assert file["tissue_fraction"].dtype == np.float32
        for holder in (file, file["coords"], file["features"]):
            facts = dict(holder.attrs)
            assert (facts["patch_size"], facts["patch_size_level0"], facts["overlap"]) == (32, 64, 0)
            assert (facts["level0_width"], facts["level0_height"]) == (4096, 2048)
            assert (facts["level0_magnification"], facts["target_magnification"]) == (40, 20)
            assert (facts["mpp"], facts["slide_mpp"], facts["tile_px"]) == (0.5, 0.25, 32)
            assert facts["precision"] == "fp32"
            assert (facts["format"], facts["name"], facts["encoder"]) == (
                "asmil",
                "a slide",
                "colour-texture",
            )
            assert json.loads(facts["settings"]) == SETTINGS
            assert "patch_level" not in facts  # CLAM would take 32 px for level-0 pixels


def test_clam_may_read_patches_where_tiles_are_of_level_0(tmp_path):
    path, _ = _write(tmp_path / "a.h5", grid=_grid(slide_mpp=0.5))
    with h5py.File(path) as file:
        facts = file["coords"].attrs
        assert (facts["patch_level"], facts["patch_size"], facts["patch_size_level0"]) == (0, 32, 32)


def test_finished_only_with_the_same_settings(tmp_path):
    path, _ = _write(tmp_path / "a.h5")
    assert is_finished(path, settings=dict(reversed(SETTINGS.items())))
    assert not is_finished(path, settings=SETTINGS | {"min_tissue": 0.1})
    assert not is_finished(path, settings=SETTINGS | {"new": 1})
    assert not is_finished(path, settings={})


def test_damaged_and_foreign_files_are_not_finished(tmp_path):
    path, _ = _write(tmp_path / "a.h5")
    content = path.read_bytes()
    for name, data in (("empty", b""), ("text", b"features"), ("half", content[: len(content) // 2])):
        (tmp_path / name).write_bytes(data)
        assert not is_finished(tmp_path / name, settings=SETTINGS), name
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["features"] = np.zeros((2, 3))
    with h5py.File(tmp_path / "unequal.h5", "w") as file:
        file["features"], file["coords"] = np.zeros((2, 3)), np.zeros((3, 2))
        file.attrs["settings"] = json.dumps(SETTINGS)
    for name in ("foreign.h5", "unequal.h5", "absent.h5", "."):
        assert not is_finished(tmp_path / name, settings=SETTINGS), name


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(TypeError):
        _write(tmp_path / "a.h5", extra={"bad": object()})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "features",
    [
        np.zeros((5, 3)),
        np.zeros((6, 0)),
        np.zeros(6),
        np.full((6, 2), np.nan),
        np.full((6, 2), 1e6),
        np.full((6, 2), 1e-6),
    ],
)
def test_features_that_do_not_fit_are_refused(tmp_path, features):
    with pytest.raises(FeatureError), np.errstate(over="ignore"):
        _write(tmp_path / "a.h5", features=features)
    assert not (tmp_path / "a.h5").exists()


def test_our_own_reader_understands_it(tmp_path):
    from asmil.bags import open_features

    path, features = _write(tmp_path / "a.h5")
    bag = open_features(path).load("a")
    np.testing.assert_array_equal(bag.features.numpy(), features.astype(np.float16))
    assert (bag.tile_level0_px, bag.mpp) == (64, 0.5)


def test_the_scanned_part_is_kept_where_it_is_not_all(tmp_path):
    _write(tmp_path / "whole.h5")
    _write(tmp_path / "part.h5", slide=SimpleNamespace(name="part", objective=None, bounds=(128, 64, 2000, 1000)))
    store = open_features(tmp_path)
    assert [store.info(name).bounds for name in ("part", "whole")] == [(128, 64, 2000, 1000), None]
    assert tiles_of(store, "part").bounds == (128, 64, 2000, 1000)
    with h5py.File(tmp_path / "part.h5", "r+") as file:
        file.attrs["level0_bounds"] = "[1, null]"
    assert open_features(tmp_path).info("part").bounds is None
