"""Every feature format reads files written as its tool writes them, and no format claims another's file."""

import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from asmil.bags import FEATURE_FORMATS, open_features
from asmil.errors import FeatureError

from .renamed import require_same_in_capitals

TILES, DIM = 60, 24


def features(seed: int = 0, dtype=np.float32) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((TILES, DIM)).astype(dtype)


def grid(step: float, dtype=np.int64) -> np.ndarray:
    """Ten columns, six rows."""
    return np.array([(x * step, y * step) for x in range(10) for y in range(6)]).astype(dtype)


def write_asmil(folder: Path) -> Path:
    path = folder / "s1.h5"
    with h5py.File(path, "w") as file:
        file.attrs.update(format="asmil", mpp=0.5, slide_mpp=0.25, patch_size_level0=512.0, encoder="resnet50")
        file.attrs["weight_hash"] = "0123abcd"
        file["features"], file["coords"] = features(dtype=np.float16), grid(512)
        file["tissue_fraction"] = np.ones(TILES, np.float32)
        file["coords"].attrs["patch_size_level0"] = 512
    return path


def write_trident(folder: Path) -> Path:
    path = folder / "20x_256px_0px_overlap" / "features_uni_v1" / "s1.h5"
    path.parent.mkdir(parents=True)
    about = {
        "patch_size": 256,
        "patch_size_level0": 512,
        "level0_magnification": 40,
        "target_magnification": 20,
    }
    about |= {
        "overlap": 0,
        "name": "s1",
        "savetodir": str(folder),
        "level0_width": 9999,
        "level0_height": 9999,
    }
    patches = path.parent.parent / "patches" / "s1_patches.h5"
    patches.parent.mkdir()
    with h5py.File(path, "w") as file, h5py.File(patches, "w") as beside:
        data = file.create_dataset("features", data=features(), chunks=(1, DIM), maxshape=(None, DIM))
        data.attrs.update(name="s1", savetodir=str(folder), encoder="uni_v1")
        for target in (file, beside):
            coords = target.create_dataset("coords", data=grid(512), chunks=(1, 2), maxshape=(None, 2))
            coords.attrs.update(about)
    return path


def write_clam(folder: Path) -> Path:
    path = folder / "FEATS" / "h5_files" / "s1.h5"
    for name in ("FEATS/h5_files", "FEATS/pt_files", "patches"):
        (folder / name).mkdir(parents=True)
    with h5py.File(path, "w") as file:
        file.create_dataset("features", data=features(), chunks=(32, DIM), maxshape=(None, DIM))
        file.create_dataset("coords", data=grid(512, np.int32), chunks=(32, 2), maxshape=(None, 2))
    with h5py.File(folder / "patches" / "s1.h5", "w") as file:
        coords = file.create_dataset("coords", data=grid(512), chunks=(32, 2), maxshape=(None, 2))
        coords.attrs.update(patch_size=256, patch_level=1, downsample=np.array([2.0, 2.0]), name="s1")
    torch.save(torch.from_numpy(features()), folder / "FEATS" / "pt_files" / "s1.pt")
    return path


def write_stamp(folder: Path) -> Path:
    path = folder / "uni-0a1b2c3d" / "s1.h5"
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        file["feats"], file["coords"] = features(dtype=np.float16), grid(256.0, np.float32)
        file.attrs.update(stamp_version="2.3.0", extractor="uni", unit="um", tile_size_um=256.0, tile_size_px=224)
        file.attrs.update(code_hash="0a1b2c3d", feat_type="tile")
    return path


def write_single_file(folder: Path) -> Path:
    path = folder / "patch_feats_pretrain_medical_ssl.h5"
    with h5py.File(path, "w") as file:
        for index, slide in enumerate(("s1", "s2")):
            group = file.create_group(slide)
            group["feat"], group["coords"] = features(index, np.float16), grid(512)
            group.attrs["label"] = "tumor"
    return path


def write_pt(folder: Path) -> Path:
    path = folder / "features_uni_v1" / "s1.pt"
    (folder / "patches").mkdir()
    path.parent.mkdir()
    torch.save(features(), path)  # TRIDENT saves the NumPy array
    with h5py.File(folder / "patches" / "s1_patches.h5", "w") as file:
        file.create_dataset("coords", data=grid(512)).attrs["patch_size_level0"] = 512
    return path


WRITERS = {
    "asmil": write_asmil,
    "clam": write_clam,
    "pt": write_pt,
    "single_file": write_single_file,
    "stamp": write_stamp,
    "trident": write_trident,
}


ELSEWHERE = {"csv", "eva", "lazyslide", "npy", "slideflow", "tiatoolbox"}
ELSEWHERE |= {"anndata", "atlas_patch", "raw2features", "slide2vec", "wsi_toolbox"}
"""In test_array_formats.py and test_formats_of_2026.py."""


def test_every_format_has_a_file_to_be_tested_with():
    assert WRITERS.keys() | ELSEWHERE == set(FEATURE_FORMATS.names())


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_is_claimed_by_its_format_alone(name, tmp_path):
    path = WRITERS[name](tmp_path)
    if path.suffix == ".pt":
        claims = [n for n in WRITERS if ".pt" in FEATURE_FORMATS[n].suffixes]
    else:
        with h5py.File(path) as file:
            candidates = [n for n in WRITERS if path.suffix in FEATURE_FORMATS[n].suffixes]
            claims = [n for n in candidates if FEATURE_FORMATS[n].sniff(file)]
    assert claims == [name]


@pytest.mark.parametrize("name", WRITERS)
def test_read_from_the_folder_that_the_tool_left(name, tmp_path):
    WRITERS[name](tmp_path)
    store = open_features(tmp_path)
    assert store.problems == []
    assert set(store.formats) == {name}
    assert (store.slides[0], store.dim) == ("s1", DIM)
    bag = store.load("s1", slide_mpp=0.5)
    expected = features()
    np.testing.assert_allclose(bag.features.float().numpy(), expected, rtol=1e-3, atol=1e-3)
    assert str(bag.features.dtype).removeprefix("torch.") == store.info("s1").dtype
    np.testing.assert_array_equal(bag.level0_xy.numpy(), grid(512))
    assert bag.level0_xy.dtype == torch.int64
    assert bag.tile_level0_px == 512


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize(
    "rows", [[3, 3], [59, 0, 7, 7, 12], list(range(0, 60, 2))], ids=["repeated", "unsorted", "many"]
)
def test_chosen_rows_are_the_rows_of_the_whole(name, rows, tmp_path):
    WRITERS[name](tmp_path)
    store = open_features(tmp_path)
    whole, part = store.load("s1", slide_mpp=0.5), store.load("s1", rows=rows, slide_mpp=0.5)
    assert torch.equal(part.features, whole.features[rows])
    assert torch.equal(part.level0_xy, whole.level0_xy[rows])


@pytest.mark.parametrize("name", WRITERS)
def test_a_suffix_in_capitals_is_the_same_suffix(name, tmp_path):
    require_same_in_capitals(WRITERS[name](tmp_path), tmp_path)


def test_our_facts_come_through(tmp_path):
    write_asmil(tmp_path)
    info = open_features(tmp_path).info("s1")
    assert (info.mpp, info.slide_mpp, info.tile_um, info.encoder) == (0.5, 0.25, 128.0, "resnet50")
    assert info.provenance["weight_hash"] == "0123abcd"
    assert info.notes == ()


def test_micrometres_stay_micrometres_until_the_slide_scale_is_known(tmp_path):
    write_stamp(tmp_path)
    store = open_features(tmp_path)
    bag = store.load("s1")
    assert bag.level0_xy is None
    assert bag.tile_level0_px is None
    assert bag.mpp == pytest.approx(256 / 224)
    np.testing.assert_allclose(store.um_xy("s1"), grid(256.0, np.float64))
    assert store.info("s1").coordinates == "um"


def test_a_tile_side_in_micrometres_is_unit_enough(tmp_path):
    with h5py.File(write_stamp(tmp_path), "r+") as file:
        del file.attrs["unit"]
    np.testing.assert_array_equal(open_features(tmp_path).load("s1", slide_mpp=0.5).level0_xy.numpy(), grid(512))


def test_clam_without_patches_takes_the_grid_step_and_says_so(tmp_path):
    path = write_clam(tmp_path)
    (tmp_path / "patches" / "s1.h5").unlink()
    with h5py.File(path, "r+") as file:  # a second tissue contour whose grid starts elsewhere
        file["coords"][30:] = grid(512)[30:] + np.array([131, 77])
    info = open_features(tmp_path).info("s1")
    assert info.tile_level0_px == 512
    assert re.search("distance of neighbours", info.notes[0])


def test_historic_stamp_counts_224_for_256_um_and_skips_augmented_rows(tmp_path):
    augmented = np.zeros(TILES, bool)
    augmented[[1, 5]] = True
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file["feats"], file["coords"], file["augmented"] = features(dtype=np.float16), grid(224), augmented
    store = open_features(tmp_path)
    np.testing.assert_allclose(store.um_xy("old"), grid(256.0, np.float64)[~augmented])
    assert len(store.load("old")) == store.info("old").tiles == TILES - 2
    assert torch.equal(store.load("old", rows=[1]).features[0], torch.from_numpy(features(dtype=np.float16)[2]))
    assert "historic" in store.info("old").notes[0]
    with h5py.File(tmp_path / "old.h5", "r+") as file:
        del file["augmented"]
        file["augmented"] = augmented[:3]
    with pytest.raises(FeatureError, match=rf"\(3,\) of {TILES} tiles"):
        open_features(tmp_path).load("old")


@pytest.mark.parametrize("key", ["features", "patch_embeddings"])
def test_leading_batch_axis_and_no_coordinates(key, tmp_path):
    with h5py.File(tmp_path / "s1.h5", "w") as file:
        file[key] = features()[None]
    store = open_features(tmp_path)
    bag = store.load("s1")
    assert bag.features.shape == (TILES, DIM)
    assert bag.level0_xy is None
    assert torch.equal(store.load("s1", rows=[4, 2]).features, bag.features[[4, 2]])


@pytest.mark.parametrize("case", ["trident", "stamp", "stamp-row"])
def test_slide_level_features_are_refused_in_words(case, tmp_path):
    with h5py.File(tmp_path / "s1.h5", "w") as file:
        if case == "trident":
            file["features"], file["coords"] = features()[0], grid(512)
        else:
            file["feats"] = features()[0] if case == "stamp" else features()[:1]
            file.attrs["feat_type"] = "slide"
    with pytest.raises(FeatureError, match=r"s1\.h5 holds one vector for the whole slide.*tile features"):
        open_features(tmp_path)


def test_a_torch_file_that_runs_code_is_never_loaded(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"x": Bomb()}, tmp_path / "s1.pt")
    torch.save(torch.eye(3, DIM), tmp_path / "s2.pt")
    store = open_features(tmp_path)
    problems = store.check(deep=True)
    assert [p.slide for p in problems] == ["s1"]
    with pytest.raises(FeatureError, match="not a plain array"):
        store.load("s1")
    assert not (tmp_path / "ran").exists()


def test_clam_pt_files_alone_find_their_coordinates(tmp_path):
    write_clam(tmp_path)
    bag = open_features(tmp_path / "FEATS" / "pt_files").load("s1")
    np.testing.assert_array_equal(bag.level0_xy.numpy(), grid(512))
    assert bag.tile_level0_px == 512


@pytest.mark.parametrize(
    ("folder", "slides", "dim", "coordinates"),
    [
        ("eagle_tcga-crc_ctranspath_2mpp", 7, 768, "um"),
        ("toolarena_tcga-crc_virchow2_10x", 10, 1280, "um"),
        ("mopadi_example", 1, 512, "level0"),
    ],
)
def test_real_files(folder, slides, dim, coordinates, data_dir):
    store = open_features(data_dir / "features" / folder)
    assert (len(store), store.dim, store.check(deep=True)) == (slides, dim, [])
    for slide in store.slides:
        assert slide.startswith("TCGA-")
        assert not slide.endswith("features")
        assert store.info(slide).coordinates == coordinates
        bag = store.load(slide, slide_mpp=0.25)
        assert bag.level0_xy.shape == (len(bag), 2)
        assert int(bag.level0_xy.min()) >= 0
        assert bag.tile_level0_px == {"um": 896 if dim == 1280 else 1024, "level0": 512}[coordinates]
