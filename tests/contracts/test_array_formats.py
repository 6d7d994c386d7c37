"""Formats whose arrays and coordinates lie apart: torch lists, NumPy, CSV and zarr, written as their tools write them.

The zarr of LazySlide was written by wsidata 0.12.0 (spatialdata 0.7.3), once for zarr 2 and once for zarr 3. The others
are written here by the layout in the tools' sources: slideflow 3, tiatoolbox 2 and 1.6, eva, wsinfer-mil, DSMIL.
"""

import json
import shutil
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from asmil.bags import FEATURE_FORMATS, open_features
from asmil.bags.reading.source import opened
from asmil.errors import FeatureError

from .renamed import require_same_in_capitals

TILES, DIM = 60, 24
LAZYSLIDE = Path(__file__).parent / "formats"


def features(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((TILES, DIM)).astype(np.float32)


def grid(step: float) -> np.ndarray:
    """Ten columns, six rows."""
    return np.array([(x * step, y * step) for x in range(10) for y in range(6)]).astype(np.int64)


def write_slideflow(folder: Path) -> Path:
    torch.save(torch.from_numpy(features()), folder / "s1.pt")
    np.savez(folder / "s1.index.npz", grid(512) + 256)
    config = {"extractor": {"class": "slideflow.model.extractors.retccl.RetCCLFeatures", "kwargs": {}}}
    config |= {"normalizer": None, "num_features": DIM, "tile_px": 256, "tile_um": 256}
    (folder / "bags_config.json").write_text(json.dumps(config))
    return folder / "s1.pt"


def write_tiatoolbox(folder: Path, *, version: int = 3) -> Path:
    import zarr

    group = zarr.open_group(folder / "s1.zarr", mode="w", zarr_format=version)
    boxes = np.concatenate([grid(256), grid(256) + 256], axis=1)
    for name, array in (("coordinates", boxes), ("features", features())):
        group.create_array(name, shape=array.shape, dtype=array.dtype, chunks=(16, array.shape[1]))[:] = array
    (folder / "features.json").write_text('{"mpp": 1.0, "encoder": "resnet18"}')
    return folder / "s1.zarr"


def write_eva(folder: Path) -> Path:
    path = folder / "normal" / "s1.pt"
    path.parent.mkdir()
    torch.save([row.clone() for row in torch.from_numpy(features())], path)
    (folder / "manifest.csv").write_text("origin,embeddings,target,split\nnormal/s1.tif,normal/s1.pt,0,train\n")
    (folder / "coords_train.csv").write_text('file,x_y,width,height,level_idx\nnormal/s1.tif,"[(0, 0)]",448,448,0\n')
    return path


def write_wsinfer_mil(folder: Path) -> Path:
    path = folder / "128um" / "s1.svs_md5-0123456789abcdef" / "ctranspath.npy"
    path.parent.mkdir(parents=True)
    np.save(path, features())
    with h5py.File(path.with_name("patches.h5"), "w") as file:
        coords = file.create_dataset("/coords", data=grid(512), compression="gzip")
        coords.attrs.update(patch_size_px=512, patch_size_um=256.0, patch_level=0)
    return path


def write_dsmil(folder: Path) -> Path:
    path = folder / "tumor" / "s1.csv"
    path.parent.mkdir()
    names = [str(column) for column in range(DIM)]
    np.savetxt(path, features(), delimiter=",", header=",".join(names), comments="", fmt="%.4f")
    (folder / "tumor.csv").write_text("0,label\ntumor/s1.csv,1\n")  # DSMIL's list of bags is a table, and no fault
    return path


WRITERS = {
    "csv": write_dsmil,
    "eva": write_eva,
    "npy": write_wsinfer_mil,
    "slideflow": write_slideflow,
    "tiatoolbox": write_tiatoolbox,
}
PLACED = ("npy", "slideflow", "tiatoolbox")


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_is_claimed_by_its_format_alone(name, tmp_path):
    path = WRITERS[name](tmp_path)
    with opened(path) as source:
        candidates = [n for n in FEATURE_FORMATS.names() if path.suffix in FEATURE_FORMATS[n].suffixes]
        assert [n for n in candidates if FEATURE_FORMATS[n].sniff(source)] == [name]


@pytest.mark.parametrize("name", WRITERS)
def test_read_from_the_folder_that_the_tool_left(name, tmp_path):
    WRITERS[name](tmp_path)
    store = open_features(tmp_path)
    assert (store.problems, store.slides, store.formats, store.dim) == ([], ["s1"], {name: 1}, DIM)
    bag, rows = store.load("s1", slide_mpp=0.5), [7, 7, 59, 0]
    np.testing.assert_allclose(bag.features.numpy(), features(), atol=1e-4)
    assert torch.equal(store.load("s1", rows=rows).features, bag.features[rows])
    if name in PLACED:
        np.testing.assert_array_equal(bag.level0_xy.numpy(), grid(512))
        assert bag.tile_level0_px == 512
        assert torch.equal(store.load("s1", rows=rows, slide_mpp=0.5).level0_xy, bag.level0_xy[rows])
    else:
        assert bag.level0_xy is None


@pytest.mark.parametrize("name", WRITERS)
def test_a_suffix_in_capitals_is_the_same_suffix(name, tmp_path):
    require_same_in_capitals(WRITERS[name](tmp_path), tmp_path)


def test_what_the_tools_say_of_scale_and_encoder(tmp_path):
    found = {}
    for name, write in WRITERS.items():
        (tmp_path / name).mkdir()
        write(tmp_path / name)
        info = open_features(tmp_path / name).info("s1")
        found[name] = (info.encoder, info.mpp, info.slide_mpp, info.tile_um)
    assert found["slideflow"] == ("RetCCLFeatures", 1.0, None, 256)
    assert found["npy"] == ("ctranspath", None, 0.5, 256)
    assert found["tiatoolbox"] == ("resnet18", 1.0, None, 256)
    assert "do not follow coords" in open_features(tmp_path / "eva").info("s1").notes[0]


@pytest.mark.parametrize("version", [2, 3])
def test_tiatoolbox_without_a_stated_resolution_has_no_places_and_says_how_to_give_it(version, tmp_path):
    write_tiatoolbox(tmp_path, version=version)
    (tmp_path / "features.json").unlink()
    store = open_features(tmp_path)
    assert store.load("s1").level0_xy is None
    assert "state it as mpp in features.json" in store.info("s1").notes[0]


def test_chunks_that_were_never_written_are_no_zeros(tmp_path):
    chunks = sorted((write_tiatoolbox(tmp_path) / "features" / "c").rglob("0"))
    chunks[-1].unlink()
    with pytest.raises(FeatureError, match=r"s1\.zarr was never finished.*3 of 4 chunks"):
        open_features(tmp_path).load("s1")


@pytest.mark.parametrize("damage", ["left out", "emptied"])
def test_chunks_that_a_shard_does_not_hold_are_no_zeros(tmp_path, damage):
    """zarr reads both as zeros, and counts them as stored."""
    import zarr

    rows = np.random.default_rng(0).normal(size=(400, 16)).astype(np.float32)
    group = zarr.open_group(tmp_path / "s1.zarr", mode="w", zarr_format=3)
    array = group.create_array("features", shape=rows.shape, dtype="f4", chunks=(50, 16), shards=(100, 16))
    array[:150] = rows[:150]
    array[200:] = rows[200:]
    if damage == "emptied":
        array[150:200] = rows[150:200]
        np.testing.assert_array_equal(open_features(tmp_path).load("s1").features, rows)
        (tmp_path / "s1.zarr" / "features" / "c" / "1" / "0").write_bytes(b"")
    with pytest.raises(FeatureError, match=r"s1\.zarr.*never finished"):
        open_features(tmp_path).load("s1")


def test_the_cache_of_a_crashed_tiatoolbox_run_is_named(tmp_path):
    import zarr

    group = zarr.open_group(tmp_path / "s1.zarr", mode="w", zarr_format=3)
    for name in ("canvas", "count"):
        group.create_array(name, shape=(4, 4), dtype="f4", chunks=(4, 4))
    with pytest.raises(FeatureError, match=r"s1\.zarr holds no features.*did not end"):
        open_features(tmp_path)


def test_older_tiatoolbox_pairs_ask_for_names_instead_of_a_pickle(tmp_path):
    np.save(tmp_path / "0.features.0.npy", features())
    np.save(tmp_path / "0.position.npy", np.concatenate([grid(256), grid(256) + 256], axis=1))
    (tmp_path / "file_map.dat").write_bytes(b"\x80\x04N.")
    with pytest.raises(FeatureError, match=r"only named by file_map\.dat.*never loaded.*rename every"):
        open_features(tmp_path)
    (tmp_path / "file_map.dat").unlink()
    for path in list(tmp_path.iterdir()):
        path.rename(path.with_name(path.name.replace("0.", "s1.", 1)))
    (tmp_path / "features.json").write_text('{"mpp": 1.0}')
    store = open_features(tmp_path)
    assert store.slides == ["s1"]
    np.testing.assert_array_equal(store.load("s1", slide_mpp=0.5).level0_xy.numpy(), grid(512))


def test_a_plain_array_and_table_with_places(tmp_path):
    np.save(tmp_path / "a.npy", features())
    np.save(tmp_path / "a_coords.npy", grid(512))
    names = ["x", "y", *(f"feature_{i}" for i in range(DIM))]
    table = np.concatenate([grid(512), features(1)], axis=1)
    np.savetxt(tmp_path / "b.csv", table, delimiter=",", header=",".join(names), comments="", fmt="%.9g")
    (tmp_path / "labels.csv").write_text("slide,label\na,0\nb,1\n")
    store = open_features(tmp_path)
    assert (store.slides, store.problems) == (["a", "b"], [])
    for slide in store.slides:
        np.testing.assert_array_equal(store.load(slide).level0_xy.numpy(), grid(512))
    assert torch.equal(store.load("b").features, torch.from_numpy(features(1)))


def test_a_pickle_in_a_numpy_file_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"x": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(FeatureError, match=r"a\.npy cannot be read"):
        open_features(tmp_path)


@pytest.mark.parametrize("version", ["v2", "v3"])
@pytest.mark.parametrize("zipped", [True, False])
def test_lazyslide_written_by_wsidata(version, zipped, tmp_path):
    source = LAZYSLIDE / f"wsidata_{version}.zarr.zip"
    if zipped:
        shutil.copy(source, tmp_path)
    else:
        zipfile.ZipFile(source).extractall(tmp_path)
    store = open_features(tmp_path, encoder="uni")
    slide = f"wsidata_{version}"
    assert (store.slides, store.problems, store.formats) == ([slide], [], {"lazyslide": 1})
    bag, info = store.load(slide), store.info(slide)
    expected = np.random.default_rng(0).standard_normal((20, DIM)).astype(np.float32)
    assert torch.equal(bag.features, torch.from_numpy(expected))
    assert (info.encoder, info.mpp, info.slide_mpp, bag.tile_level0_px) == ("uni", 1.0, 0.499, 513)
    if bag.level0_xy is None:
        assert "asmil[lazyslide]" in info.notes[0]
    else:
        assert bag.level0_xy.tolist() == [[x * 513, y * 513] for x in range(4) for y in range(5)]


def test_lazyslide_with_two_encoders_asks_which(tmp_path):
    shutil.copy(LAZYSLIDE / "wsidata_v2.zarr.zip", tmp_path)
    with pytest.raises(FeatureError, match=r"conch_tiles, uni_tiles of wsidata_v2.*--features-encoder conch_tiles"):
        open_features(tmp_path)
    assert open_features(tmp_path, encoder="conch").dim == 16
    with pytest.raises(FeatureError, match=r"is of encoder 'virchow'.*conch_tiles, uni_tiles"):
        open_features(tmp_path, encoder="virchow")


def test_damaged_zarr_is_named_and_the_others_are_read(tmp_path):
    write_tiatoolbox(tmp_path)
    (tmp_path / "cut.zarr.zip").write_bytes((LAZYSLIDE / "wsidata_v3.zarr.zip").read_bytes()[:9000])
    (tmp_path / "empty.zarr").mkdir()
    (tmp_path / "text.zarr").mkdir()
    (tmp_path / "text.zarr" / "zarr.json").write_text("{")
    store = open_features(tmp_path)
    assert store.slides == ["s1"]
    assert sorted(problem.path.name for problem in store.problems) == ["cut.zarr.zip", "empty.zarr", "text.zarr"]


def test_cut_and_empty_files_are_named_and_coordinates_alone_are_no_features(tmp_path):
    write_dsmil(tmp_path)
    np.save(tmp_path / "cut.npy", features())
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:900])
    (tmp_path / "empty.npy").touch()
    torch.save(features(), tmp_path / "half.pt")
    (tmp_path / "half.pt").write_bytes((tmp_path / "half.pt").read_bytes()[:900])
    store = open_features(tmp_path)
    assert {problem.slide for problem in store.check(deep=True)} == {"cut", "empty", "half"}
    assert len(store.load("s1")) == TILES
    (tmp_path / "wsinfer").mkdir()
    with h5py.File(tmp_path / "wsinfer" / "s1.h5", "w") as file:
        file.create_dataset("/coords", data=grid(512)).attrs.update(patch_size=512, patch_spacing_um_px=0.25)
    with pytest.raises(FeatureError, match="coordinates alone are none"):
        open_features(tmp_path / "wsinfer")


PAIRS = {
    "a dictionary": lambda x, xy: {"features": x, "coords": xy},
    "a dictionary of other names": lambda x, xy: {"feats": x, "coordinates": xy, "slide": "s1"},
    "a dictionary with one more axis": lambda x, xy: {"embeddings": x[None], "coords": xy[None]},
    "a pair": lambda x, xy: (x, xy),
    "a pair the other way round": lambda x, xy: (xy, x),
    "a list of two": lambda x, xy: [x, xy],
    "arrays": lambda x, xy: {"features": x.numpy(), "coords": xy.numpy()},
    "features alone": lambda x, xy: {"x": x},
}


@pytest.mark.parametrize("held", PAIRS)
def test_a_torch_file_may_hold_features_and_coordinates(held, tmp_path):
    values, places = torch.from_numpy(features()), torch.arange(2 * len(features())).reshape(-1, 2) * 256
    torch.save(PAIRS[held](values, places), tmp_path / "s1.pt")
    bag = open_features(tmp_path).load("s1")
    assert torch.equal(bag.features, values)
    if held == "features alone":
        assert bag.level0_xy is None
    else:
        assert torch.equal(bag.level0_xy, places)


@pytest.mark.parametrize(
    "held",
    [
        {"a": torch.ones(4, 8), "b": torch.ones(4, 9)},
        {"features": torch.ones(4, 8), "feats": torch.ones(4, 8)},
        {"features": torch.ones(4, 8), "coords": torch.ones(3, 2)},
        {"label": 1},
        (),
        (torch.ones(4, 8), torch.ones(4, 8)),
    ],
)
def test_a_torch_file_in_doubt_is_named(held, tmp_path):
    torch.save(held, tmp_path / "bad.pt")
    torch.save(torch.from_numpy(features()), tmp_path / "s1.pt")
    (problem,) = open_features(tmp_path).check(deep=True)
    assert "not known which part of bad.pt is the features" in problem.what


@pytest.mark.parametrize("of", ["features", "coords"])
def test_chunks_of_hdf5_that_were_never_written_are_no_zeros(of, tmp_path):
    features, corners = np.random.default_rng(0).normal(size=(40, 4)), np.arange(80).reshape(40, 2) * 256
    with h5py.File(tmp_path / "s1.h5", "w") as file:
        for name, values in (("features", features), ("coords", corners)):
            array = file.create_dataset(name, values.shape, values.dtype, chunks=(10, values.shape[1]))
            array[: 30 if name == of else 40] = values[: 30 if name == of else 40]
    with pytest.raises(FeatureError, match=r"s1\.h5 was never finished.*3 of 4 chunks"):
        open_features(tmp_path).load("s1")


@pytest.mark.parametrize("there", [True, False])
def test_a_file_of_parts_needs_all_of_them(there, tmp_path):
    features = np.random.default_rng(0).normal(size=(40, 4))
    layout = h5py.VirtualLayout(features.shape, features.dtype)
    (tmp_path / "parts").mkdir()
    for part in range(2):
        with h5py.File(tmp_path / "parts" / f"part{part}", "w") as file:
            file["features"] = features[part::2]
        layout[part::2] = h5py.VirtualSource(f"../parts/part{part}", "features", shape=(20, 4))
    (tmp_path / "slides").mkdir()
    with h5py.File(tmp_path / "slides" / "s1.h5", "w") as file:
        file.create_virtual_dataset("features", layout)
        file["coords"] = np.arange(80).reshape(40, 2) * 256
    if there:
        assert np.array_equal(open_features(tmp_path / "slides").load("s1").features.numpy(), features)
        return
    (tmp_path / "parts" / "part1").unlink()
    with pytest.raises(FeatureError, match=r"not all there.*part1"):
        open_features(tmp_path / "slides").load("s1")
