"""What `asmil convert` writes, read back by the packages themselves, and what LazySlide writes, read by asmil.

The packages live in an environment of their own, which is made on the first run in the folder ASMIL_INTEROP (default
build/interop). TRIDENT and STAMP are in no package index: ASMIL_TRIDENT and ASMIL_STAMP are checkouts of
mahmoodlab/TRIDENT (a91fa84, 0.3.0) and KatherLab/STAMP (c54ce06, 2.5.0); without them they are not tried. Of TRIDENT
`trident/IO.py` runs, without the package's own imports, which want all of its encoders. STAMP asks for Python 3.13; its
reader of bags runs on 3.11, too, and is given its version as metadata.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SLIDE = ROOT / "tests" / "data" / "CMU-1-Small-Region.svs"
PINS = (
    "torch==2.13.0",
    "torchmil==1.0.2",
    "lazyslide==0.13.0",
    "wsidata==0.12.0",
    "spatialdata==0.7.3",
    "anndata==0.12.6",
)
FOR_STAMP = ("beartype==0.22.9", "jaxtyping", "lifelines==0.30.3", "openpyxl", "packaging")
STAMP_VERSION, DIM = "2.5.0", 32
SIDE, SLIDE_MPP, TILE_PX, MPP = 224, 0.499, 112, 0.998
"""Of a tile: its side in level-0 pixels and the scale of these; its side and scale as an encoder saw it."""
NAMES = ("s1", "s2")


# In the environment of the packages: nothing of asmil is imported.


def read_torchmil(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Features and corners in level-0 pixels; the adjacency has to join neighbours, and nothing else."""
    from torchmil.datasets import ProcessedMILDataset

    paths = {"features_path": str(folder / "features"), "coords_path": str(folder / "coords")}
    bags = ProcessedMILDataset(**paths, bag_keys=["X", "coords", "adj"], norm_adj=False)
    found = {}
    for name, bag in zip(bags.bag_names, bags, strict=True):
        xy = np.rint(bag["coords"].numpy() * SIDE).astype(np.int64)
        apart = np.abs(xy[:, None] - xy[None]).max(-1)
        joined = (apart > 0) & (apart <= SIDE)
        if not np.array_equal(bag["adj"].to_dense().numpy() > 0, joined):
            raise SystemExit("torchmil joins other tiles than neighbours")
        found[name] = (bag["X"].numpy(), xy)
    return found


def read_torchmil_of_trident(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By torchmil's own reader of TRIDENT's folders, whose places are counted in tiles, rounded down."""
    from torchmil.datasets import TridentWSIDataset

    (features,) = folder.glob("*/features_*")
    bags = TridentWSIDataset(
        base_path=f"{features.parent}/",
        labels_path=None,
        feature_extractor=features.name.removeprefix("features_"),
        bag_keys=["X", "coords"],
        patch_size=1,
    )
    return {name: (bag["X"].numpy(), np.asarray(bag["coords"])) for name, bag in zip(bags.bag_names, bags, strict=True)}


def read_trident(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By `read_coords`, which TRIDENT's embedding and heatmaps use; features as it loads them for slide encoders."""
    import importlib.util

    import h5py

    spec = importlib.util.spec_from_file_location("trident_io", Path(os.environ["ASMIL_TRIDENT"]) / "trident" / "IO.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = {}
    for path in folder.glob("*/features_*/*.h5"):
        about, coords = module.read_coords(str(path.parents[1] / "patches" / f"{path.stem}_patches.h5"))
        if int(about["patch_size_level0"]) != SIDE:
            raise SystemExit("TRIDENT reads another side of tiles")
        with h5py.File(path) as file:
            found[path.stem] = (file["features"][:], np.asarray(coords))
    return found


def read_stamp(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By `get_coords` and `BagDataset`, with which STAMP trains; micrometres become pixels again."""
    import h5py
    import torch
    from stamp.modeling.data import BagDataset, get_coords

    found = {}
    for path in folder.glob("*/*.h5"):
        with h5py.File(path) as file:
            about = get_coords(file)
        if (about.tile_size_px, round(about.tile_size_um, 3)) != (TILE_PX, round(SIDE * SLIDE_MPP, 3)):
            raise SystemExit("STAMP reads another side of tiles")
        bags = BagDataset(bags=[[path]], bag_size=None, ground_truths=torch.zeros(1, 2), transform=None)
        features, coords, *_ = bags[0]
        found[path.stem] = (features.numpy(), np.rint(coords.numpy() / SLIDE_MPP).astype(np.int64))
    return found


def read_anndata(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By `anndata.read_h5ad`; middles become corners again."""
    import anndata

    tables = {path.stem: anndata.read_h5ad(path) for path in folder.glob("*.h5ad")}
    return {
        name: (table.X, (table.obsm["spatial"] - table.uns["asmil"]["tile_level0_px"] / 2).astype(np.int64))
        for name, table in tables.items()
    }


def read_lazyslide(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Of `--to anndata` into a slide that LazySlide opened, as features of its tiles, written and opened again."""
    import anndata
    import lazyslide  # noqa: F401  (what it registers has to bear with the table)
    import pandas as pd
    from wsidata import TileSpec, open_wsi
    from wsidata.io import add_features, add_tiles

    found = {}
    for path in folder.glob("*.h5ad"):
        table, store = anndata.read_h5ad(path), folder / f"{path.stem}.zarr"
        wsi = open_wsi(SLIDE, store=str(store))
        facts = table.uns["asmil"]
        spec = TileSpec.from_wsidata(wsi, tile_px=int(facts["tile_px"]), mpp=float(facts["mpp"]))
        corners = (table.obsm["spatial"] - facts["tile_level0_px"] / 2).astype(np.int64)
        add_tiles(wsi, "tiles", corners, spec, np.zeros(len(corners), int))
        add_features(wsi, "uni_tiles", "tiles", table.X, var=pd.DataFrame(index=table.var_names))
        wsi.write(store, overwrite=True)
        again = open_wsi(SLIDE, store=str(store))
        bounds = again.shapes["tiles"].bounds.to_numpy()
        if not (bounds[:, 2:] - bounds[:, :2] == SIDE).all():
            raise SystemExit("LazySlide reads another side of tiles")
        found[path.stem] = (np.asarray(again.tables["uni_tiles"].X), bounds[:, :2].astype(np.int64))
    return found


READERS = {
    "torchmil": ("torchmil", read_torchmil),
    "torchmil (TridentWSIDataset)": ("trident", read_torchmil_of_trident),
    "TRIDENT": ("trident", read_trident),
    "STAMP": ("stamp", read_stamp),
    "AnnData": ("anndata", read_anndata),
    "LazySlide": ("anndata", read_lazyslide),
}


def read_back(reader: str, folder: Path) -> None:
    """Have a package read the layout that is meant for it, and keep what it found."""
    layout, read = READERS[reader]
    for name, (features, corners) in read(folder / layout).items():
        np.savez(folder / f"{reader}.{name}.npz", features=features, corners=corners)


def write_lazyslide(folder: Path) -> None:
    """As a user does: tissue, tiles; features are random numbers in the place of a model's."""
    import lazyslide as zs
    from wsidata import open_wsi
    from wsidata.io import add_features

    wsi = open_wsi(SLIDE, store=str(folder / "CMU-1-Small-Region.zarr"))
    zs.pp.find_tissues(wsi)
    zs.pp.tile_tissues(wsi, SIDE, mpp=0.5)
    tiles = wsi.shapes["tiles"]
    features = np.random.default_rng(0).standard_normal((len(tiles), DIM)).astype(np.float32)
    add_features(wsi, "tiny_tiles", "tiles", features)
    wsi.write(folder / "CMU-1-Small-Region.zarr", overwrite=True)
    np.savez(folder / "written.npz", features=features, corners=tiles.bounds.to_numpy()[:, :2], columns=list(tiles))


# In the environment of asmil.


def environment() -> tuple[Path, dict[str, str]]:
    """Python of the packages' environment, made where it is not there, and the variables to run it with."""
    home = Path(os.environ.get("ASMIL_INTEROP") or ROOT / "build" / "interop").resolve()
    python = home / "env" / "bin" / "python"
    if not (done := home / "installed.json").exists() or json.loads(done.read_text()) != [*PINS, *FOR_STAMP]:
        print(f"making an environment of {', '.join(PINS)}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", home / "env"], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PINS, *FOR_STAMP], check=True)
        # Beside a torch for the CPU alone the index's torchvision does not load, and torchmil with it.
        if subprocess.run([python, "-c", "import torchvision"], capture_output=True).returncode:
            subprocess.run([python, "-m", "pip", "uninstall", "--quiet", "--yes", "torchvision"], check=True)
        done.write_text(json.dumps([*PINS, *FOR_STAMP]))
    about = home / "metadata" / f"stamp-{STAMP_VERSION}.dist-info"
    about.mkdir(parents=True, exist_ok=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: stamp\nVersion: {STAMP_VERSION}\n")
    paths = [str(about.parent), *([f"{stamp}/src"] if (stamp := os.environ.get("ASMIL_STAMP")) else [])]
    return python, os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONWARNINGS": "ignore"}


def write_source(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Two feature files of ours on the grid of the real slide, with holes."""
    import h5py

    found, random = {}, np.random.default_rng(0)
    folder.mkdir()
    for name in NAMES:
        grid = np.array([(x * SIDE, y * SIDE) for x in range(9) for y in range(13)])[random.random(117) < 0.7]
        features = random.standard_normal((len(grid), DIM)).astype(np.float16)
        about = {"format": "asmil", "encoder": "uni", "tile_px": TILE_PX, "mpp": MPP, "slide_mpp": SLIDE_MPP}
        about |= {
            "overlap": 0,
            "patch_size": TILE_PX,
            "patch_size_level0": SIDE,
            "level0_width": 2220,
            "level0_height": 2967,
        }
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file["features"], file["coords"] = features, grid
            file.attrs.update(about)
        found[name] = (features.astype(np.float32), grid)
    return found


def tried(reader: str, folder: Path, expected: dict[str, tuple[np.ndarray, np.ndarray]]) -> str:
    """Run a package on the files that are meant for it, and say what came of it."""
    source = {"TRIDENT": "ASMIL_TRIDENT", "STAMP": "ASMIL_STAMP"}.get(reader)
    if source and not os.environ.get(source):
        return f"not tried: {source} names no checkout"
    python, variables = environment()
    ran = subprocess.run([python, __file__, "--read", reader, folder], capture_output=True, text=True, env=variables)
    if ran.returncode:
        return f"failed: {(ran.stderr.strip() or ran.stdout.strip()).splitlines()[-1]}"
    for name, (features, corners) in expected.items():
        found = np.load(folder / f"{reader}.{name}.npz")
        if not np.array_equal(found["features"].astype(np.float32), features):
            return f"other features of {name}"
        if not np.array_equal(found["corners"], corners):
            return f"other places of {name}"
    return "the same features and places"


def other_direction(folder: Path) -> str:
    """What LazySlide wrote, read by asmil."""
    from asmil.bags import open_features

    python, variables = environment()
    ran = subprocess.run([python, __file__, "--write", folder], capture_output=True, text=True, env=variables)
    if ran.returncode:
        return f"failed: {ran.stderr.strip().splitlines()[-1]}"
    written = np.load(folder / "written.npz")
    store = open_features(folder / "CMU-1-Small-Region.zarr")
    bag, info = store.load("CMU-1-Small-Region"), store.info("CMU-1-Small-Region")
    same = np.array_equal(bag.features, written["features"]) and np.array_equal(bag.level0_xy, written["corners"])
    columns = ", ".join(written["columns"])
    return f"{'the same' if same else 'OTHER'} features and places (tiles have {columns}; side {info.tile_level0_px:g})"


def main() -> int:
    """Print a row for each package; 1 where one of them reads something else than was written."""
    import tempfile

    from asmil.bags import LAYOUTS, open_features, read_slide

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        expected = write_source(folder / "features")
        for layout in {layout for layout, _ in READERS.values()}:
            for name in NAMES:
                LAYOUTS[layout](read_slide(open_features(folder / "features"), name), folder / layout)
        rows = {f"convert --to {READERS[reader][0]} -> {reader}": tried(reader, folder, expected) for reader in READERS}
        rows["LazySlide -> asmil"] = other_direction(folder)
    for name, said in rows.items():
        print(f"{name:50} {said}")
    return int(any(not said.startswith(("the same", "not tried")) for said in rows.values()))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--read", reader, folder]:
            read_back(reader, Path(folder))
        case ["--write", folder]:
            write_lazyslide(Path(folder))
        case _:
            sys.exit(main())
