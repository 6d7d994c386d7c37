"""Feature files of every format, a bad one beside two good ones, and all that a store tells of them."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from asmil.errors import AsmilError
from fuzz import containers, mutations
from fuzz.base import DIM, TILES, Draw, Lost, Subject

# Feature files: a bad one beside two good ones.

STORED = ("bad", "good", "good2")


def _features(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((TILES, DIM)).astype(np.float32)


def _grid(step: int = 512) -> np.ndarray:
    return np.array([(x * step, y * step) for x in range(10) for y in range(6)])


def write_h5(path: Path, seed: int, *, key: str = "features", chunks: bool = False, **facts: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset(key, data=_features(seed), chunks=(16, DIM) if chunks else None)
        file["coords"] = _grid()
        file.attrs.update(facts)
        if key == "features" and "format" not in facts:
            file["coords"].attrs.update(patch_size_level0=512, patch_size=256)
        if chunks:
            file[key].attrs.update(encoder="uni_v1", name=path.stem)


def _write_single(folder: Path) -> None:
    for name, slides in (("bad", ("bad", "bad2")), ("good", ("good", "good2"))):
        with h5py.File(folder / f"{name}.h5", "w") as file:
            for seed, slide in enumerate(slides):
                rows = _features(seed + 2 * (name == "good")).astype(np.float16)
                file[f"{slide}/feat"], file[f"{slide}/coords"] = rows, _grid()


def _write_pt(folder: Path, *, index: bool = False, rows: bool = False) -> None:
    import torch

    for seed, name in enumerate(STORED):
        value = torch.from_numpy(_features(seed))
        torch.save([row.clone() for row in value] if rows else value, folder / f"{name}.pt")
        if index:
            np.savez_compressed(folder / f"{name}.index.npz", _grid() + 256)
    if index:
        config = {"extractor": {"class": "a.b.RetCCL"}, "tile_px": 256, "tile_um": 256}
        (folder / "bags_config.json").write_text(json.dumps(config))
    if rows:
        (folder / "manifest.csv").write_text("origin,embeddings,target,split\n")


def _write_npy(folder: Path) -> None:
    for seed, name in enumerate(STORED):
        np.save(folder / f"{name}.npy", _features(seed))
        np.save(folder / f"{name}_coords.npy", _grid())
    (folder / "features.json").write_text('{"mpp": 1.0, "tile_level0_px": 512, "encoder": "resnet18"}')


def _write_csv(folder: Path) -> None:
    for seed, name in enumerate(STORED):
        table = pd.DataFrame(_features(seed)).assign(x=_grid()[:, 0], y=_grid()[:, 1])
        table.to_csv(folder / f"{name}.csv", index=False)


def _write_zarr(folder: Path) -> None:
    import zarr

    for seed, name in enumerate(STORED):
        group = zarr.open_group(folder / f"{name}.zarr", mode="w", zarr_format=2 + seed % 2)
        boxes = np.concatenate([_grid(), _grid() + 512], axis=1)
        for key, array in (("coordinates", boxes), ("features", _features(seed))):
            group.create_array(key, shape=array.shape, dtype=array.dtype, chunks=(16, array.shape[1]))[:] = array
    (folder / "features.json").write_text('{"mpp": 1.0, "encoder": "resnet18"}')


def _write_lazyslide(folder: Path) -> None:
    source = Path(__file__).parents[1] / "tests" / "contracts" / "formats"
    for name, version in zip(STORED, ("v3", "v3", "v3"), strict=True):
        with zipfile.ZipFile(source / f"wsidata_{version}.zarr.zip") as whole:
            members = {member: whole.read(member) for member in whole.namelist() if "conch_tiles" not in member}
        with zipfile.ZipFile(folder / f"{name}.zarr.zip", "w", zipfile.ZIP_DEFLATED) as file:
            for member, data in members.items():
                file.writestr(member, data + b" " * (name == "good2" and member.endswith(".json")))


def _damage_features(damage: Callable[[Path, Draw], None]) -> Callable[[Path, Draw], None]:
    """Damage to a file of the bad slide, or now and then to the plain files that are for all."""

    def apply(folder: Path, draw: Draw) -> None:
        shared = [path for path in folder.glob("*.json") if draw.random() < 0.1]
        files = shared or sorted(path for path in folder.rglob("bad*") if path.parent.suffix != ".zarr")
        path = draw.choice(files)
        if path.suffix in (".npz", ".npy"):
            containers.npy_damaged(path, draw)
        elif path in shared:
            mutations.json_damaged(path, draw)
        else:
            damage(path, draw)

    return apply


def _read_features(folder: Path) -> str:
    """All that a store tells of a slide; a file of one slide never costs another."""
    from asmil.bags import open_features

    shared_whole = all(_is_json(path) for path in folder.glob("*.json"))
    try:
        store = open_features(folder)
        problems = store.check(deep=True)
    except AsmilError as error:
        if not shared_whole:
            return "refused"
        raise Lost(f"the good slides with the bad one: {error}") from error
    aside = {problem.slide for problem in problems if "has the features of" not in problem.what}
    if shared_whole and (lost := {"good", "good2"} - (set(store.slides) - aside)):
        raise Lost(f"{lost}: {[str(problem) for problem in problems]}")
    bad = [slide for slide in store.slides if slide not in aside and not slide.startswith("good")]
    if not bad and not aside and not _may_be_passed_over(folder):
        raise Lost("the bad slide is passed over")
    for slide in bad:
        info, bag, shape = store.info(slide), store.load(slide), store.shape(slide)
        streamed = store.stream(slide)
        sizes = {info.tiles, len(bag), len(streamed), bag.features.shape[0], *([shape[0]] if shape else [])}
        if len(sizes) > 1 or bag.features.shape[1] != store.dim:
            raise Lost(f"{slide} has as many tiles as {sizes}")
        (
            store.load(slide, rows=[0], slide_mpp=0.5),
            store.content(slide),
            store.um_xy(slide),
            repr(info),
            streamed.opened(),
        )
        if bag.level0_xy is not None and len(bag.level0_xy) != len(bag):
            raise Lost(f"{slide} has {len(bag.level0_xy)} places of {len(bag)} tiles")
    return "refused" if aside else "read"


def _may_be_passed_over(folder: Path) -> bool:
    """Whether what is left of the bad file is one that may lie beside features: of coordinates alone, or a table."""
    path = next(folder.glob("bad.*"), folder)
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            return set(file) <= {"coords"}
    head = path.read_bytes().partition(b"\n")[0] if path.suffix == ".csv" else b""
    return path.suffix == ".csv" and sum(cell[-1:].isdigit() for cell in head.split(b",")) < DIM // 2


def _is_json(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_text()), dict)
    except (ValueError, RecursionError):
        return False


def _two(key: str = "features", *, chunks: bool = False, **facts: object) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for seed, name in enumerate(STORED):
            write_h5(folder / f"{name}.h5", seed, key=key, chunks=chunks, **facts)

    return write


STAMP = {"unit": "um", "tile_size_um": 256.0, "tile_size_px": 224, "extractor": "uni", "feat_type": "tile"}
OWN = {"format": "asmil", "mpp": 0.5, "slide_mpp": 0.25, "patch_size_level0": 512.0, "encoder": "resnet50"}


def _store(write: Callable[[Path], None], damage: Callable[[Path, Draw], None]) -> Subject:
    return Subject(write, _damage_features(damage), _read_features)


FEATURES = {
    "features asmil": _store(_two(**OWN), containers.h5_damaged),
    "features clam": _store(_two(), containers.h5_damaged),
    "features trident": _store(_two(chunks=True), containers.h5_damaged),
    "features stamp": _store(_two("feats", **STAMP), containers.h5_damaged),
    "features single file": _store(_write_single, containers.h5_damaged),
    "features pt": _store(_write_pt, containers.pt_damaged),
    "features slideflow": _store(lambda folder: _write_pt(folder, index=True), containers.pt_damaged),
    "features eva": _store(lambda folder: _write_pt(folder, rows=True), containers.pt_damaged),
    "features npy": _store(_write_npy, containers.npy_damaged),
    "features csv": _store(_write_csv, mutations.csv_damaged),
    "features tiatoolbox": _store(_write_zarr, containers.zarr_damaged),
    "features lazyslide": _store(_write_lazyslide, containers.zarr_damaged),
}
