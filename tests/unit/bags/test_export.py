"""Features go to another layout and back without loss, or an error says what is missing."""

import h5py
import numpy as np
import pytest
import torch

from asmil.bags import LAYOUTS, open_features, read_slide
from asmil.errors import FeatureError

TILES, DIM = 70, 12


def write_source(path, *, facts=None, dtype=np.float16, scale=1.0):
    """A file of ours; with other `facts` (None leaves them out) a plain CLAM file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    xy = np.array([(131 + x * 511, 77 + y * 511) for x in range(10) for y in range(7)])
    ours = {"format": "asmil", "encoder": "uni_v1", "tile_px": 256, "mpp": 0.5, "slide_mpp": 0.2505, "overlap": 0}
    ours |= {"patch_size": 256, "patch_size_level0": 511, "level0_width": 9000, "level0_height": 8000}
    with h5py.File(path, "w") as file:
        file["features"] = (np.random.default_rng(0).standard_normal((TILES, DIM)) * scale).astype(dtype)
        file["coords"] = xy
        file.attrs.update(ours if facts is None else facts)
    return open_features(path)


@pytest.mark.parametrize("layout", LAYOUTS.names())
def test_there_and_back_is_exact(layout, tmp_path):
    source = write_source(tmp_path / "s1.h5")
    LAYOUTS[layout](read_slide(source, "s1"), tmp_path / "there")
    there = open_features(tmp_path / "there")
    format = "npy" if layout == "torchmil" else layout
    assert (there.slides, there.problems, there.formats) == (["s1"], [], {format: 1})
    LAYOUTS["asmil"](read_slide(there, "s1", slide_mpp=0.2505), tmp_path / "back")
    back, first = open_features(tmp_path / "back").load("s1"), source.load("s1")
    assert torch.equal(back.features, first.features)
    assert torch.equal(back.level0_xy, first.level0_xy)
    if scaled := there.um_xy("s1") is not None:
        np.testing.assert_allclose(there.um_xy("s1"), first.level0_xy.numpy() * 0.2505, atol=0.01)
    assert scaled == (layout in ("asmil", "anndata", "stamp", "trident"))
    assert back.tile_level0_px == pytest.approx(first.tile_level0_px, abs=0.01)
    assert there.load("s1").features.dtype == (torch.float16 if layout in ("asmil", "stamp") else torch.float32)


def test_files_are_laid_out_as_the_tools_look_for_them(tmp_path):
    tiles = read_slide(write_source(tmp_path / "s1.h5"), "s1")
    for layout in LAYOUTS.names():
        LAYOUTS[layout](tiles, tmp_path / layout)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {
        "s1.h5",
        "asmil/s1.h5",
        "anndata/s1.h5ad",
        "clam/h5_files/s1.h5",
        "clam/pt_files/s1.pt",
        "clam/patches/s1.h5",
        "stamp/uni_v1/s1.h5",
        "trident/20x_256px_0px_overlap/features_uni_v1/s1.h5",
        "torchmil/coords/s1.json",
        "torchmil/coords/s1.npy",
        "torchmil/features/s1.npy",
        "trident/20x_256px_0px_overlap/patches/s1_patches.h5",
    }
    with h5py.File(tmp_path / "trident/20x_256px_0px_overlap/features_uni_v1/s1.h5") as file:
        assert (file["features"].chunks, file["features"].attrs["encoder"]) == ((1, DIM), "uni_v1")
        assert file["coords"].attrs["patch_size_level0"] == 511
        assert (file["coords"].dtype, file["coords"].maxshape) == (np.int64, (None, 2))
    with h5py.File(tmp_path / "clam/h5_files/s1.h5") as file:
        assert (file["features"].chunks, dict(file["features"].attrs), dict(file.attrs)) == ((32, DIM), {}, {})
    with h5py.File(tmp_path / "stamp/uni_v1/s1.h5") as file:
        assert (file["coords"].dtype, file.attrs["unit"], file.attrs["tile_size_px"]) == (np.float32, "um", 256)
        assert file.attrs["tile_size_um"] == pytest.approx(128, abs=0.01)
    with h5py.File(tmp_path / "asmil/s1.h5") as file:
        assert (file["features"].chunks, file.attrs["slide_mpp"]) == (None, 0.2505)
    assert torch.load(tmp_path / "clam/pt_files/s1.pt", weights_only=True).dtype == torch.float32


def test_what_is_missing_is_asked_for_by_the_option_that_states_it(tmp_path):
    source = write_source(tmp_path / "s1.h5", facts={})  # CLAM: neither scale nor tile side, but the grid's step
    with pytest.raises(FeatureError, match=r"scale of the slide s1 is unknown.*--slide-mpp"):
        LAYOUTS["stamp"](read_slide(source, "s1"), tmp_path)
    with pytest.raises(FeatureError, match=r"tile_px of slide s1 is unknown.*--tile-px"):
        LAYOUTS["stamp"](read_slide(source, "s1", slide_mpp=0.25), tmp_path)
    with pytest.raises(FeatureError, match=r"mpp of slide s1 is unknown"):
        LAYOUTS["trident"](read_slide(source, "s1", slide_mpp=0.25), tmp_path)
    tiles = read_slide(source, "s1", slide_mpp=0.25, tile_px=256)
    assert LAYOUTS["trident"](tiles, tmp_path).parent.name == "features_unknown"
    assert LAYOUTS["stamp"](tiles, tmp_path).is_file()


def test_without_the_slides_scale_micrometres_stay_micrometres_in_our_files(tmp_path):
    with h5py.File(tmp_path / "s1.h5", "w") as file:
        file["feats"] = np.ones((4, DIM), np.float16)
        file["coords"] = np.array([[0, 0], [0, 256.5], [256.5, 0], [256.5, 256.5]], np.float32)
        file.attrs.update(unit="um", tile_size_um=256.5, tile_size_px=224, extractor="uni")
    source = open_features(tmp_path)
    LAYOUTS["asmil"](read_slide(source, "s1"), tmp_path / "ours")
    ours = open_features(tmp_path / "ours")
    assert ours.info("s1").coordinates == "um"
    np.testing.assert_array_equal(ours.um_xy("s1"), source.um_xy("s1"))
    assert ours.load("s1", slide_mpp=0.25).level0_xy.tolist() == [[0, 0], [0, 1026], [1026, 0], [1026, 1026]]
    assert ours.load("s1", slide_mpp=0.25).tile_level0_px == 1026
    with pytest.raises(FeatureError, match="scale of the slide s1"):
        LAYOUTS["clam"](read_slide(source, "s1"), tmp_path)


def test_values_beyond_float16_are_refused_where_the_layout_has_no_room(tmp_path):
    source = write_source(tmp_path / "s1.h5", facts={}, dtype=np.float32, scale=1e5)
    with pytest.raises(FeatureError, match="do not fit float16"):
        LAYOUTS["asmil"](read_slide(source, "s1"), tmp_path / "ours")
    assert not (tmp_path / "ours").exists()
    path = LAYOUTS["clam"](read_slide(source, "s1"), tmp_path / "clam")
    assert torch.equal(open_features(path).load("s1").features, source.load("s1").features)


def test_our_own_files_keep_the_share_of_tissue_and_the_flags_of_each_tile(tmp_path):
    write_source(tmp_path / "in" / "s1.h5")
    random = np.random.default_rng(1)
    per_tile = {"tissue_fraction": random.random(TILES, np.float32)}
    per_tile |= {f"quality/{flag}": random.random(TILES) < 0.5 for flag in ("blur", "pen")}
    with h5py.File(tmp_path / "in" / "s1.h5", "r+") as file:
        for name, values in per_tile.items():
            file[name] = values
    for source, target in (("in", "once"), ("once", "twice")):
        LAYOUTS["asmil"](read_slide(open_features(tmp_path / source), "s1"), tmp_path / target)
    assert open_features(tmp_path / "twice").info("s1").quality == ("blur", "pen")
    with h5py.File(tmp_path / "twice" / "s1.h5") as file:
        for name, values in per_tile.items():
            assert file[name].dtype == values.dtype
            np.testing.assert_array_equal(file[name], values)
    LAYOUTS["trident"](read_slide(open_features(tmp_path / "in"), "s1"), tmp_path / "trident")
    path = LAYOUTS["asmil"](read_slide(open_features(tmp_path / "trident"), "s1"), tmp_path / "back")
    with h5py.File(path) as file:
        assert set(file) == {"features", "coords"}
