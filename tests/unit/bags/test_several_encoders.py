"""Features of several encoders, or of tiles of several sizes: one is named, and nothing is read before."""

import shutil
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from asmil.bags import open_features
from asmil.errors import FeatureError

LAZYSLIDE = Path(__file__).parents[2] / "contracts" / "formats" / "wsidata_v2.zarr.zip"
SIZES = "20x_256px_0px_overlap", "20x_512px_0px_overlap"


def write(path: Path, value: float, *, encoder: str | None = None) -> None:
    """A file as TRIDENT and CLAM write it, of which every number is the value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["features"] = np.full((4, 6), value, np.float32) + np.arange(6, dtype=np.float32)
        file["coords"] = np.arange(8).reshape(4, 2) * 256
        if encoder is not None:
            file["features"].attrs["encoder"] = encoder


def value_of(folder: Path, encoder: str | None, slide: str = "a") -> float:
    store = open_features(folder, encoder=encoder)
    assert store.problems == []
    return float(store.load(slide).features[0, 0])


@pytest.fixture
def trident(tmp_path):
    """A run of two encoders on tiles of two sizes; 1 and 2 are the encoders on the small, 3 and 4 on the large."""
    numbers = iter(range(1, 5))
    for size in SIZES:
        for encoder in ("uni_v1", "virchow2"):
            write(tmp_path / size / f"features_{encoder}" / "a.h5", next(numbers), encoder=encoder)
    return tmp_path


@pytest.mark.parametrize(
    ("encoder", "value"),
    [
        (f"{SIZES[0]}/uni_v1", 1),
        (f"{SIZES[0]}/features_virchow2", 2),
        (f"{SIZES[1]}/uni", 3),
        ("20x_512px/virchow2", 4),
    ],
)
def test_a_size_of_tiles_and_an_encoder_are_named_together(encoder, value, trident):
    assert value_of(trident, encoder) == value


@pytest.mark.parametrize(
    ("encoder", "said"),
    [
        (None, rf"several encoders.*{SIZES[0]}/uni_v1, {SIZES[0]}/virchow2, {SIZES[1]}/uni_v1.*--features-encoder 20x"),
        ("uni", rf"Found: {SIZES[0]}/uni_v1, {SIZES[1]}/uni_v1 of a"),
        ("20x", rf"'20x' can be several in .*{SIZES[0]}, {SIZES[1]}"),
        (f"{SIZES[1]}", rf"{SIZES[1]}/uni_v1, {SIZES[1]}/virchow2 of a"),
        ("vrchow2", "nothing in .* is of encoder 'vrchow2'"),
        ("", "nothing in .* is of encoder ''"),
    ],
)
def test_what_is_not_one_is_asked_about(encoder, said, trident):
    with pytest.raises(FeatureError, match=said):
        open_features(trident, encoder=encoder)


def test_a_near_name_is_asked_about(trident):
    with pytest.raises(FeatureError, match=r"Found: features of uni_v1, virchow2\. To fix: did you mean 'virchow2'\?"):
        open_features(trident / SIZES[0], encoder="vrchow2")


def test_the_folder_of_an_encoder_has_its_name(trident):
    folder = trident / SIZES[0] / "features_uni_v1"
    assert value_of(folder, None) == value_of(folder, "uni") == 1
    with pytest.raises(FeatureError, match=r"is of encoder 'virchow2'.*features of uni_v1"):
        open_features(folder, encoder="virchow2")


def test_a_folder_that_is_named_by_nothing_else(tmp_path):
    write(tmp_path / "uni" / "a.h5", 5)
    assert value_of(tmp_path / "uni", "uni") == 5
    with pytest.raises(FeatureError, match=r"no folder, table or file that says an encoder.*leave --features-encoder"):
        open_features(tmp_path / "uni", encoder="virchow")


def test_files_may_say_what_no_folder_does(tmp_path):
    """slide2vec's runs, say: the folders have any name."""
    write(tmp_path / "monday" / "a.h5", 1, encoder="hf-hub:org/uni")
    write(tmp_path / "friday" / "a.h5", 2, encoder="virchow2")
    assert (value_of(tmp_path, "hf-hub:org/uni"), value_of(tmp_path, "virchow2")) == (1, 2)
    assert (value_of(tmp_path, "monday"), value_of(tmp_path, "friday")) == (1, 2)
    with pytest.raises(FeatureError, match="friday, monday"):
        open_features(tmp_path, encoder="conch")


def test_a_whole_name_goes_before_those_that_begin_with_it(tmp_path):
    for value, encoder in enumerate(("uni", "uni_v2", "uni-v3")):
        write(tmp_path / encoder / "a.h5", value)
    assert [value_of(tmp_path, name) for name in ("uni", "uni_v2", "uni-v3")] == [0, 1, 2]
    shutil.rmtree(tmp_path / "uni")
    with pytest.raises(FeatureError, match=r"'uni' can be several.*uni-v3, uni_v2"):
        open_features(tmp_path, encoder="uni")


def test_two_by_their_beginning_are_refused_also_where_they_share_no_slide(tmp_path):
    write(tmp_path / "uni_v1" / "a.h5", 1)
    write(tmp_path / "uni_v2" / "b.h5", 2)
    assert open_features(tmp_path).slides == ["a", "b"]
    with pytest.raises(FeatureError, match=r"'uni' can be several.*uni_v1, uni_v2"):
        open_features(tmp_path, encoder="uni")


def test_the_name_of_a_slide_is_none_of_an_encoder(tmp_path):
    write(tmp_path / "conch" / "uni_1.h5", 1)
    write(tmp_path / "uni" / "uni_1.h5", 2)
    assert value_of(tmp_path, "uni", "uni_1") == 2


def test_clam_writes_every_slide_twice_and_encoders_are_told_apart_by_folder(tmp_path):
    for value, encoder in enumerate(("conch", "uni")):
        write(tmp_path / encoder / "h5_files" / "a.h5", value)
        (tmp_path / encoder / "pt_files").mkdir()
        torch.save(torch.full((4, 6), float(value)), tmp_path / encoder / "pt_files" / "a.pt")
    with pytest.raises(FeatureError, match=r"Found: conch, uni of a"):
        open_features(tmp_path)
    assert open_features(tmp_path, encoder="uni").formats == {"clam": 1}
    shutil.rmtree(tmp_path / "uni" / "h5_files")
    with pytest.raises(FeatureError, match=r"Found: conch, uni of a"):  # the .h5 of another encoder is no better
        open_features(tmp_path)
    assert open_features(tmp_path, encoder="uni").formats == {"pt": 1}


def test_an_outer_and_an_inner_folder_of_one_name(tmp_path):
    write(tmp_path / "uni" / "a.h5", 1)
    write(tmp_path / "uni" / "uni" / "a.h5", 2)
    with pytest.raises(FeatureError, match=r"Found: uni, uni/uni of a"):
        open_features(tmp_path)
    assert value_of(tmp_path, "uni/uni") == 2


def test_tables_of_lazyslide_for_two_sizes_of_tiles(tmp_path):
    """`uni_tiles` is the beginning of `uni_tiles_20x`, and the name of a table."""
    zarr = pytest.importorskip("zarr")
    place = tmp_path / "s1.zarr"
    zipfile.ZipFile(LAZYSLIDE).extractall(tmp_path)
    next(tmp_path.glob("*.zarr")).rename(place)
    shutil.copytree(place / "tables" / "uni_tiles", place / "tables" / "uni_tiles_20x")
    (place / ".zmetadata").unlink(missing_ok=True)
    table = zarr.open_group(place, mode="r+")["tables/uni_tiles_20x/X"]
    table[:] = table[:] + 1
    with pytest.raises(FeatureError, match=r"conch_tiles, uni_tiles, uni_tiles_20x of s1"):
        open_features(tmp_path)
    plain, other = (open_features(place, encoder=name).load("s1").features for name in ("uni_tiles", "uni_tiles_20x"))
    assert torch.allclose(plain + 1, other)
    with pytest.raises(FeatureError, match=r"'uni' can be several.*uni_tiles, uni_tiles_20x"):
        open_features(tmp_path, encoder="uni")


@pytest.mark.parametrize("tool", ["atlas_patch_1.1", "raw2features_0.2/trident"])
def test_files_of_the_real_packages_are_asked_about(tool, data_dir):
    with pytest.raises(FeatureError, match=r"several encoders.*(enc_a, enc_b|uni, virchow2) of CMU-1-Small-Region"):
        open_features(data_dir / "features" / "tools2026" / tool)


def test_two_runs_of_the_real_slide2vec(data_dir, tmp_path):
    for run in ("first", "second"):
        shutil.copytree(data_dir / "features" / "tools2026" / "slide2vec_7.1", tmp_path / run)
    with pytest.raises(FeatureError, match=r"Found: first, second of CMU-1-Small-Region"):
        open_features(tmp_path)
    store = open_features(tmp_path, encoder="second")
    assert "second" in str(store.info("CMU-1-Small-Region").path)
    with pytest.raises(FeatureError, match=r"Found: first, second of"):  # both say this encoder
        open_features(tmp_path, encoder="rand18")
