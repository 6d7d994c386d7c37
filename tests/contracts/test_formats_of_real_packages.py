"""Feature files of the real packages, compared with what lies in them, read without asmil.

`features/tools2026` of the real data: LazySlide 0.13.0 with wsidata 0.12.0, mussel 1.5.0, slide2vec 7.1.4 with hs2p
6.1.0, AtlasPatch 1.1.0, wsi-toolbox 0.7.0, raw2features 0.2.1 and tiatoolbox 2.1.3. `python -m benchmarks interop`
runs LazySlide itself.
"""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import shapely
import torch

from asmil.bags import open_features

REAL = {
    "lazyslide_0.13": ("lazyslide", 38, 224, 0.5, 0.499, "tiny"),
    "mussel_1.5": ("clam", 76, 224, 0.5, 0.499, None),
    "mussel_1.5_overlap": ("clam", 294, 224, 0.5, 0.499, None),
    "slide2vec_7.1": ("slide2vec", 73, 224, 0.5, 0.499, "rand18"),
    "atlas_patch_1.1": ("atlas_patch", 117, 224, None, None, "enc_a"),
    "raw2features_0.2/CMU-1-Small-Region.embeddings.zarr": ("raw2features", 117, 224, 0.499, 0.499, "uni"),
    "raw2features_0.2/trident": ("trident", 117, 224, None, None, "uni"),
    "wsi_toolbox_0.7/CMU-1-Small-Region.h5": ("wsi_toolbox", 65, 224, 0.499, 0.499, "tiny"),
}


@pytest.mark.parametrize("tool", REAL)
def test_files_of_the_real_packages(tool, data_dir):
    format, tiles, side, mpp, slide_mpp, encoder = REAL[tool]
    path = data_dir / "features" / "tools2026" / tool
    chosen = {"atlas_patch_1.1": "enc_a", "raw2features_0.2/trident": "uni"}.get(tool)
    store = open_features(path, encoder=chosen)
    assert (store.slides, store.problems, store.formats) == (["CMU-1-Small-Region"], [], {format: 1})
    info, bag = store.info("CMU-1-Small-Region"), store.load("CMU-1-Small-Region")
    assert (info.tiles, info.tile_level0_px, info.mpp, info.slide_mpp) == (tiles, side, mpp, slide_mpp)
    assert info.encoder == encoder
    width, height = 2220, 2967
    assert ((bag.level0_xy >= 0) & (bag.level0_xy < torch.tensor([width, height]))).all()
    expected = _as_stored(path)
    np.testing.assert_array_equal(bag.features.numpy(), expected[0])
    np.testing.assert_array_equal(bag.level0_xy.numpy(), expected[1])


def _as_stored(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Features and corners of the real files, read without asmil."""
    if path.name == "lazyslide_0.13":
        import zarr

        parquet = pytest.importorskip("pyarrow.parquet")
        root = path / "CMU-1-Small-Region.zarr"
        shapes = parquet.read_table(root / "shapes" / "tiles" / "shapes.parquet")
        corners = dict(
            zip(shapes["tile_id"].to_pylist(), shapely.from_wkb(shapes["geometry"].to_pylist()), strict=True)
        )
        table = zarr.open_group(root, mode="r")["tables/tiny_tiles"]
        return table["X"][()], np.array([corners[int(tile)].bounds[:2] for tile in table["obs/tile_id"][()]])
    if path.name == "slide2vec_7.1":
        places = np.load(path / "tiles" / "CMU-1-Small-Region.coordinates.npz")
        values = torch.load(path / "tile_embeddings" / "CMU-1-Small-Region.pt", weights_only=True)
        return values.numpy(), np.stack([places["x"], places["y"]], 1)
    if path.suffix == ".zarr":
        import zarr

        group = zarr.open_group(path, mode="r")["grids/mpp0.5_px224"]
        return group["features/uni"][()], group["coords"][()]
    with h5py.File(path if path.is_file() else sorted(path.rglob("*.h5"))[0]) as file:
        if "tiny" in file:
            return file["tiny/features"][()], file["tiny/coordinates"][()]
        values = file["features"]
        values = values["enc_a"] if isinstance(values, h5py.Group) else values
        return values[()], file["coords"][:, :2]


def test_wsi_toolbox_counts_pixels_of_the_level_that_it_read(data_dir):
    store = open_features(data_dir / "features" / "tools2026" / "wsi_toolbox_0.7" / "colon_001.h5")
    with h5py.File(store.info("colon_001").path) as file:
        stored = file["tiny/coordinates"][()]
    bag = store.load("colon_001", slide_mpp=0.55)
    np.testing.assert_array_equal(bag.level0_xy.numpy(), 2 * stored)
    assert bag.tile_level0_px == pytest.approx(128)
    assert store.load("colon_001").level0_xy is None


def test_tiatoolbox_of_2026_is_as_documented(data_dir, tmp_path):
    name = "CMU-1-Small-Region.zarr"
    shutil.copytree(data_dir / "features" / "tools2026" / "tiatoolbox_2.1" / name, tmp_path / name)
    (tmp_path / "features.json").write_text('{"mpp": 1.0}')
    bag = open_features(tmp_path).load("CMU-1-Small-Region", slide_mpp=0.499)
    assert bag.tile_level0_px == pytest.approx(224 / 0.499)
