"""A feature store names what it cannot use, resolves names, and reads only what is asked."""

import subprocess
import sys

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from asmil.bags import load_bags, open_features, read_cohort, seen_in_training, several_scales
from asmil.errors import FeatureError
from asmil.files import safe_name

UUID = "8923A151-A690-40B7-9E5A-FCBEDFC2394F"


def write(path, tiles=8, dim=6, seed=0, dtype=np.float16):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["features"] = np.random.default_rng(seed).standard_normal((tiles, dim)).astype(dtype)
        file["coords"] = np.arange(2 * tiles).reshape(tiles, 2) * 256
    return path


def poison(path, value):
    with h5py.File(path, "r+") as file:
        file["features"][3, 2] = value


def test_bad_files_are_named_and_the_good_one_is_read(tmp_path):
    write(tmp_path / "good.h5")
    write(tmp_path / "other_dim.h5", dim=7, seed=1)
    write(tmp_path / "third.h5", seed=2)
    write(tmp_path / "no_tiles.h5", tiles=0)
    (tmp_path / "zero.h5").touch()
    (tmp_path / "zero_too.pt").touch()
    whole = write(tmp_path / "cut.h5", tiles=500, seed=3).read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.h5").write_text("not HDF5")
    (tmp_path / ".half.h5.partial.h5").touch()
    with h5py.File(tmp_path / "strange.h5", "w") as file:
        file["weights"] = np.zeros((3, 3))
    store = open_features(tmp_path)
    assert store.slides == ["good", "third"]
    expected = {"other_dim", "no_tiles", "zero", "zero_too", "cut", "text", "strange"}
    assert {problem.slide for problem in store.problems} == expected
    assert all(problem.path.exists() and problem.what for problem in store.problems)
    with pytest.raises(FeatureError, match=r"no features of slide 'cut'.*cannot be read"):
        store.load("cut")


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_name_file_and_row(value, dtype, tmp_path):
    write(tmp_path / "fine.h5", seed=1, dtype=dtype)
    poison(write(tmp_path / "extreme.h5", seed=2, dtype=dtype), np.finfo(np.float16).min)
    poison(write(tmp_path / "sick.h5", dtype=dtype), value)
    store = open_features(tmp_path)
    with pytest.raises(FeatureError, match=r"sick\.h5 holds NaN or infinite values.*1 of 8 tiles.*row 3"):
        store.load("sick")
    assert len(store.load("sick", rows=[0, 1])) == 2
    assert [problem.slide for problem in store.check(deep=True)] == ["sick"]
    assert store.check() == []


def test_equal_content_under_two_names_is_found(tmp_path):
    write(tmp_path / "a.h5")
    write(tmp_path / "b.h5")
    (problem,) = open_features(tmp_path).check(deep=True)
    assert (problem.slide, problem.what) == ("b", "has the features of a (100% of the tiles)")


def test_one_name_in_two_folders_is_not_guessed(tmp_path):
    write(tmp_path / "features_uni" / "a.h5")
    write(tmp_path / "features_conch" / "a.h5", seed=1)
    write(tmp_path / "features_uni" / "b.h5", seed=2)
    with pytest.raises(FeatureError, match=r"several encoders.*conch, uni of a\. .*--features-encoder conch"):
        open_features(tmp_path)
    assert open_features(tmp_path, encoder="uni").slides == ["a", "b"]
    write(tmp_path / "features_uni" / "a_features.h5", seed=3)
    store = open_features(tmp_path, encoder="uni")
    assert store.slides == ["b"]
    assert "several feature files" in store.problems[0].what
    with pytest.raises(FeatureError, match="several feature files"):
        store.load("a")


def test_features_and_coordinates_of_different_length(tmp_path):
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        del file["coords"]
        file["coords"] = np.zeros((5, 2), np.int64)
    with pytest.raises(FeatureError, match="differ in their tiles"):
        open_features(path).load("a")


@pytest.mark.parametrize("rows", [[], [8], [-1], [0.5], [True, False]])
def test_rows_outside_the_slide(rows, tmp_path):
    write(tmp_path / "a.h5")
    with pytest.raises(FeatureError, match="rows"):
        open_features(tmp_path).load("a", rows=rows)


def test_nothing_there(tmp_path):
    with pytest.raises(FeatureError, match=r"no \.h5, \.pt, \.zarr, \.npy or \.csv file"):
        open_features(tmp_path)
    with pytest.raises(FeatureError, match="no features at this path"):
        open_features(tmp_path / "missing")


def test_tcga_names_with_and_without_uuid(tmp_path):
    write(tmp_path / f"TCGA-3L-AA1B-01Z-00-DX1.{UUID}.h5")
    write(tmp_path / "TCGA-4N-A93T-01Z-00-DX1__features.h5", seed=1)
    store = open_features(tmp_path)
    assert len(store.load("TCGA-3L-AA1B-01Z-00-DX1")) == 8
    assert len(store.load(f"TCGA-3L-AA1B-01Z-00-DX1.{UUID.lower()}.svs")) == 8
    assert len(store.load(f"TCGA-4N-A93T-01Z-00-DX1.{UUID}")) == 8
    assert "TCGA-3L-AA1B-01Z-00-DX2" not in store
    other = UUID.replace("8923A151", "00000000")
    with pytest.raises(FeatureError, match="no features"):
        store.load(f"TCGA-3L-AA1B-01Z-00-DX1.{other}")
    write(tmp_path / f"TCGA-3L-AA1B-01Z-00-DX1.{other}.h5", seed=2)
    with pytest.raises(FeatureError, match="can be several feature files"):
        open_features(tmp_path).load("TCGA-3L-AA1B-01Z-00-DX1")


def test_bags_carry_label_patient_and_scale(tmp_path):
    for index, slide in enumerate(("s1", "s2", "s3")):
        path = write(tmp_path / f"{slide}.h5", seed=index)
        with h5py.File(path, "r+") as file:
            file.move("features", "feats")
            file.attrs.update(unit="um", tile_size=256.0)
    table = pd.DataFrame({"slide": ["s1", "s2", "s3"], "case": ["p1", "p1", "p2"], "label": list("yny")})
    table["mpp"] = ["0.5", "", "0.25"]
    store = open_features(tmp_path)
    cohort = read_cohort(table, features=store)
    bags = load_bags(store, cohort, ["s3", "s1", "s2"])
    assert [(bag.slide, bag.case, bag.label) for bag in bags] == [
        ("s3", "p2", 1),
        ("s1", "p1", 1),
        ("s2", "p1", 0),
    ]
    assert [bag.tile_level0_px for bag in bags] == [1024, 512, None]
    assert bags[2].level0_xy is None
    assert bags[0].level0_xy[1].tolist() == [2 * 256 * 4, 3 * 256 * 4]
    assert bags[0].features.dtype == torch.float16


def test_tables_and_splits_need_no_torch():
    names = "b.read_cohort, b.make_splits, b.read_splits"
    code = f"import sys, asmil.bags as b; {names}; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_a_slide_read_again_is_the_same_and_a_rewritten_file_is_read_anew(tmp_path):
    path = write(tmp_path / "a.h5")
    store = open_features(tmp_path)
    first, second = store.load("a"), store.load("a")
    assert torch.equal(first.features, second.features)
    assert torch.equal(first.level0_xy, second.level0_xy)
    assert first.tile_level0_px == second.tile_level0_px
    first.features[:] = 0  # what a caller does to a bag stays in the bag
    second.features[:] = 0
    assert store.load("a", rows=[1]).features.abs().sum() > 0
    poison(path, np.nan)
    with pytest.raises(FeatureError, match="NaN"):
        store.load("a")
    write(path, seed=5, tiles=9)
    assert torch.equal(store.load("a").features, open_features(path).load("a").features)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(FeatureError, match=r"a\.h5 cannot be read"):
        store.load("a")


def test_two_stores_of_ours_under_one_folder_are_named(tmp_path):
    for store in ("uni_256px_0.5mpp_0a1b2c", "uni_512px_0.5mpp_3d4e5f"):
        write(tmp_path / store / f"{store}.h5")
        (tmp_path / store / "store.json").write_text("{}")
    with pytest.raises(FeatureError, match=r"several encoders or kinds.*0a1b2c, uni_512px_0.5mpp_3d4e5f\. "):
        open_features(tmp_path)
    assert len(open_features(tmp_path, encoder="uni_256px")) == 1
    assert len(open_features(tmp_path / "uni_512px_0.5mpp_3d4e5f")) == 1


def test_quality_flags_of_our_files_are_named(tmp_path):
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file.attrs["format"] = "asmil"
        file["quality/blur"] = np.zeros(8, bool)
        file["quality/pen"] = np.ones(8, bool)
    assert open_features(tmp_path).info("a").quality == ("blur", "pen")


def test_an_encoder_that_knows_the_slides_is_told_of(tmp_path):
    names = ["TCGA-AA-0001-01Z-00-DX1", "C3L-00001-21", "own"]
    for seed, name in enumerate(names):
        write(tmp_path / f"{name}.h5", seed=seed)
    for encoder, found in (("phikon", 1), ("phikon-v2", 2), ("uni", 0), ("unheard of", 0), ("timm:vit", 0), (None, 0)):
        said = seen_in_training(encoder, names)
        assert said.count("1 of 3 slides are of") == found
        assert bool(said) == bool(found)
    assert open_features(tmp_path).lines(names) == ["tiles: 24 of 3 slides (8 to 8), 6 features"]
    for name in names:
        with h5py.File(tmp_path / f"{name}.h5", "r+") as file:
            file.attrs["encoder"] = "phikon"
    (_, warning) = open_features(tmp_path).lines(names)
    assert warning.startswith("warning: 1 of 3 slides are of TCGA; the encoder phikon was trained on slides")


def test_numbers_too_large_for_a_model_are_infinite(tmp_path):
    poison(write(tmp_path / "huge.h5", dtype=np.float64), 1e300)
    poison(write(tmp_path / "large.h5", dtype=np.float64, seed=1), 1e30)
    (problem,) = open_features(tmp_path).check(deep=True)
    assert problem.slide == "huge"
    assert "holds NaN or infinite values (1 of 8 tiles, the first in row 3)" in problem.what


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "int64", "bool"])
@pytest.mark.parametrize("suffix", [".h5", ".npy", ".pt", ".zarr"])
def test_whole_numbers_are_refused_as_what_they_may_be(kind, suffix, tmp_path):
    values = (100 * np.random.default_rng(0).random((8, 6))).astype(kind)
    path = tmp_path / f"s{suffix}"
    if suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["features"] = values
    elif suffix == ".npy":
        np.save(path, values)
    elif suffix == ".pt":
        torch.save(torch.from_numpy(values), path)
    else:
        zarr = pytest.importorskip("zarr")
        zarr.open_group(path, mode="w").create_array("features", data=values)
    write(tmp_path / "good.h5")
    store = open_features(tmp_path)
    assert [problem.slide for problem in store.check(deep=True)] == ["s"]
    with pytest.raises(FeatureError, match=rf"are whole numbers.*\(8, 6\) of {kind}.*as float16 or float32") as error:
        store.load("s")
    assert "its own" not in str(error.value)


def test_a_scale_beside_whole_numbers_is_named_and_not_applied(tmp_path):
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["features"] = np.ones((8, 6), np.int8)
        file["features"].attrs.update(scale_factor=np.float32(0.25), add_offset=3, units="1")
        file["feature_scale"] = np.ones(6)
        file.attrs["zero_point"] = -3
    write(tmp_path / "good.h5")
    with pytest.raises(FeatureError, match=r"its own: add_offset 3, scale_factor 0.25, zero_point -3, feature_scale"):
        open_features(tmp_path).load("s")


NAMES = {
    "A:1": "A:1",
    "C?2<x>": "C?2<x>",
    "": "file",
    "other": "file",
    "../file": "file",
    ".": "file",
    "a/file": "file",
}


@pytest.mark.parametrize("inside", NAMES)
def test_a_name_that_no_file_can_have_is_the_one_inside(inside, tmp_path):
    stem = safe_name(inside) if NAMES[inside] == inside else "file"
    with h5py.File(write(tmp_path / f"{stem}.h5"), "r+") as file:
        file.attrs.update(format="asmil", slide=inside)
    store = open_features(tmp_path)
    assert store.slides == [NAMES[inside]]
    labels = pd.DataFrame({"slide": [NAMES[inside], "none"], "label": ["a", "b"]})
    assert read_cohort(labels, features=store).slides == [NAMES[inside]]


def test_a_folder_per_slide_of_files_that_are_called_alike_is_told(tmp_path):
    for number in range(6):
        write(tmp_path / f"S{number}" / "features.h5", seed=number)
    with pytest.raises(FeatureError, match=r"6 files of features that are all called 'features.h5'.*as its slide"):
        open_features(tmp_path)


@pytest.mark.parametrize(("other", "told"), [(1.0, True), (0.51, False)])
def test_tiles_of_several_scales_are_told(tmp_path, other, told):
    for number in range(6):
        with h5py.File(write(tmp_path / f"S{number}.h5", seed=number), "r+") as file:
            file.attrs.update(format="asmil", mpp=other if number == 2 else 0.5, name=f"S{number}")
    store = open_features(tmp_path)
    found = several_scales(map(store.info, store.slides))
    assert [("0.5 um/px: 5 slides" in text, "1 um/px: 1 slides (S2)" in text) for text in found] == [
        (True, True)
    ] * told
