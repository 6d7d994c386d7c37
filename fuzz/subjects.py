"""What is fuzzed: for every format a valid file, ways to damage it, and all that asmil reads of it."""

import contextlib
import io
import json
import random
import shutil
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from PIL import Image

from asmil.errors import AsmilError, ScaleError
from fuzz import containers, mutations

TILES, DIM, SLIDES = 60, 24, 24
Draw = random.Random


class Lost(Exception):
    """Something that was in the file is not in what was read of it, and nothing was said."""


@dataclass(frozen=True)
class Subject:
    """`write` makes valid files in an empty folder, `damage` spoils them, `read` reads all of them.

    `read` raises an AsmilError, or returns: "refused" where the file was set aside and named, else "read". It raises
    `Lost` where something went without a word. `seconds` of the processor are what a case may take, and
    `share` of the cases that are asked for are run.
    """

    write: Callable[[Path], None]
    damage: Callable[[Path, Draw], None]
    read: Callable[[Path], str]
    seconds: float = 2.0
    share: float = 1.0


# Tables and splits.

NAMES = [f"s{i:02d}" for i in range(SLIDES)]


def _labels() -> pd.DataFrame:
    cases = [f"P{i // 2}" for i in range(SLIDES)]
    label = ["tumour" if i // 2 % 2 else "normal" for i in range(SLIDES)]
    return pd.DataFrame({"slide_id": NAMES, "case_id": cases, "label": label, "mpp": 0.5})


def _write_labels(folder: Path, suffix: str) -> None:
    path = folder / f"labels{suffix}"
    _labels().to_csv(path, index=False) if suffix == ".csv" else _labels().to_excel(path, index=False)


def _read_labels(folder: Path) -> str:
    from asmil.bags import read_cohort

    path = next(folder.glob("labels.*"))
    whole = _whole_rows(path)
    cohort = read_cohort(path)
    named = set(cohort.slides) | {problem.slide for problem in cohort.problems}
    if lost := whole - named:
        raise Lost(f"rows of {', '.join(sorted(lost))}")
    return "refused" if any(problem.slide for problem in cohort.problems) else "read"


def _whole_rows(path: Path) -> set[str]:
    """The slides whose rows are still as they were, where that can be told from the bytes."""
    if path.suffix != ".csv":
        return set()
    rows = {
        f"{slide},{case},{label},0.5".encode(): slide for slide, case, label, _ in _labels().itertuples(index=False)
    }
    lines = path.read_bytes().splitlines()
    head = b"slide_id,case_id,label,mpp" in lines[:1]
    return {rows[line] for line in lines[1:] if line in rows} if head else set()


def _write_splits(folder: Path, kind: str) -> None:
    from asmil.bags import make_splits, read_cohort

    splits = make_splits(read_cohort(_labels()), folds=2, val_fraction=0.4).table
    if kind == "table":
        splits[["slide", "fold", "part"]].to_csv(folder / "splits.csv", index=False)
        return
    for fold, rows in splits.groupby("fold"):
        parts = {part: rows["slide"][rows["part"] == part].tolist() for part in ("train", "val", "test")}
        if kind == "json":
            (folder / f"split_{fold}.json").write_text(json.dumps({f"{part}_names": s for part, s in parts.items()}))
        else:
            columns = {part: pd.Series(names) for part, names in parts.items()}
            pd.DataFrame(columns).to_csv(folder / f"splits_{fold}.csv")


def _read_splits(folder: Path) -> str:
    from asmil.bags import read_cohort, read_splits

    files = sorted(folder.iterdir())
    cohort = read_cohort(_labels())
    splits = read_splits(folder if len(files) > 1 else files[0], cohort)
    splits.check(cohort)
    if len(files) > 1 and splits.table["fold"].nunique() != len(files):
        raise Lost(f"{splits.table['fold'].nunique()} folds of {len(files)} files")
    return "read"


def _one_of(damage: Callable[[Path, Draw], None], pattern: str = "*") -> Callable[[Path, Draw], None]:
    """Damage to one of the files of a folder."""
    return lambda folder, draw: damage(draw.choice(sorted(folder.rglob(pattern))), draw)


# Feature files: a bad one beside two good ones.

STORED = ("bad", "good", "good2")


def _features(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((TILES, DIM)).astype(np.float32)


def _grid(step: int = 512) -> np.ndarray:
    return np.array([(x * step, y * step) for x in range(10) for y in range(6)])


def _h5(path: Path, seed: int, *, key: str = "features", chunks: bool = False, **facts: object) -> None:
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
    aside = {problem.slide for problem in problems if "same features" not in problem.what}
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


# Settings, outlines.


def _write_yaml(folder: Path) -> None:
    text = (
        "labels: labels.csv\nfeatures: features\nmodel: asmil\nmpp: 0.5\nfolds: 4\nseeds: [0, 1]\nlearning_rate: 1e-4\n"
    )
    text += "model_options: {hidden: 64}\nstabilize: true\npositive: [tumour]\nbag: slide\nout: runs/a\n"
    (folder / "a.yaml").write_text(text)


def _read_yaml(folder: Path) -> str:
    from asmil.settings import dump_settings, load_settings

    settings = load_settings(folder / "a.yaml")
    dump_settings(settings, folder / "b.yaml")
    if load_settings(folder / "b.yaml") != settings:
        raise Lost("settings that are written and read are others")
    return "read"


def _square(x: int, y: int, side: int = 300) -> list[list[int]]:
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]


def _write_geojson(folder: Path, name: str) -> None:
    def feature(kind: str, coordinates: object) -> dict:
        about = {"objectType": "annotation", "classification": {"name": name, "color": [1, 2, 3]}}
        return {"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates}, "properties": about}

    features = [
        feature("Polygon", [_square(100 * i, 400 * i), _square(100 * i + 50, 400 * i + 50, 50)]) for i in range(3)
    ]
    features += [feature("MultiPolygon", [[_square(2000, 2000)], [_square(2500, 2000)]])]
    value: dict = {"type": "FeatureCollection", "features": features}
    if name == "Tissue":
        value["asmil"] = {"slide_size": [4000, 3000], "slide_mpp": 0.5, "settings": {"method": "otsu"}, "outline": "x"}
    (folder / "a.geojson").write_text(json.dumps(value))


def _write_camelyon(folder: Path) -> None:
    parts = {
        name: [{"name": f"Annotation {i}", "vertices": _square(300 * i, 300 * i + at)[:4]} for i in range(3)]
        for name, at in (("positive", 0), ("negative", 100))
    }
    (folder / "a.json").write_text(json.dumps(parts))


def _write_asap(folder: Path) -> None:
    text = '<?xml version="1.0"?>\n<ASAP_Annotations>\n<Annotations>\n'
    for i in range(3):
        text += (
            f'<Annotation Name="Annotation {i}" Type="Polygon" PartOfGroup="Tumor" Color="#F4FA58">\n<Coordinates>\n'
        )
        for order, (x, y) in enumerate(_square(300 * i, 300 * i)[:4]):
            text += f'<Coordinate Order="{order}" X="{x}.5" Y="{y}.5" />\n'
        text += "</Coordinates>\n</Annotation>\n"
    text += '</Annotations>\n<AnnotationGroups>\n<Group Name="Tumor" PartOfGroup="None" Color="#64FE2E">'
    (folder / "a.xml").write_text(text + "<Attributes />\n</Group>\n</AnnotationGroups>\n</ASAP_Annotations>\n")


def _write_imagescope(folder: Path) -> None:
    text = '<?xml version="1.0" encoding="UTF-8"?>\n<Annotations MicronsPerPixel="0.5">\n'
    text += '<Annotation Id="1" Name="tumour" LineColor="255">\n<Attributes><Attribute Name="d" Id="0" Value=""/>'
    text += "</Attributes>\n<Regions>\n"
    for i in range(3):
        text += f'<Region Id="{i}" Type="0" NegativeROA="{i // 2}" Text="">\n<Vertices>\n'
        text += "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>\n' for x, y in _square(300 * i, 300 * i)[:4])
        text += "</Vertices>\n</Region>\n"
    (folder / "a.xml").write_text(text + "</Regions>\n<Plots/>\n</Annotation>\n</Annotations>\n")


def _read_tissue(folder: Path) -> str:
    from asmil.tiles import Tissue

    tissue = Tissue.load(folder / "a.geojson", slide_size=(4000, 3000), slide_mpp=0.5)
    tissue.save(folder / "b.geojson")
    return "read" if np.isfinite(tissue.area_um2) and repr(tissue) else ""


def _read_annotations(folder: Path) -> str:
    from asmil.annotations import read_annotations

    found = read_annotations(next(folder.glob("a.*")), slide_size=(4000, 3000))
    area = found.area_of(found.classes).area
    if not all(part.is_valid for part in found.areas.values()) or not np.isfinite(area):
        raise Lost("areas that are not valid")
    found.points_of(found.classes)
    return "read"


def _write_mask(folder: Path) -> None:
    pixels = np.zeros((300, 400), np.uint8)
    pixels[50:100, 60:200] = 255
    Image.fromarray(pixels).save(folder / "a.png")


# Slides.


def _pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(90, 240, (300, 410, 3), np.uint8)


def _write_tiff(folder: Path) -> None:
    from asmil.slides import write_slide

    write_slide(folder / "a.tif", np.tile(_pixels(), (2, 2, 1)), mpp=0.5)


def _write_svs(folder: Path) -> None:
    import tifffile

    text = "Aperio Image Library v11\n410x300 [0,0 410x300] (256x256) J2K|AppMag = 20|MPP = 0.4990"
    with tifffile.TiffWriter(folder / "a.svs") as file:
        for step in (1, 2):
            part, more = _pixels()[::step, ::step], {"tile": (256, 256), "metadata": None, "compression": "deflate"}
            file.write(part, photometric="rgb", description=text, subfiletype=int(step > 1), **more)


def _write_ome_tiff(folder: Path) -> None:
    import tifffile

    about = {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "Name": "a"}
    with tifffile.TiffWriter(folder / "a.tif", ome=True) as file:
        more = {"tile": (256, 256), "photometric": "rgb", "compression": "lzw"}
        file.write(_pixels(), subifds=1, metadata=about, **more)
        file.write(_pixels()[::2, ::2], subfiletype=1, **more)


def _write_dicom(folder: Path) -> None:
    """One level of a whole-slide image, uncompressed, which OpenSlide refuses for want of an image type."""
    import pydicom
    from pydicom.dataset import Dataset, FileMetaDataset

    meta, header = FileMetaDataset(), Dataset()
    meta.MediaStorageSOPClassUID = header.SOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.6"
    meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID = "1.2.3.4"
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    header.SeriesInstanceUID, header.Modality, header.PhotometricInterpretation = "1.2.3", "SM", "RGB"
    header.SamplesPerPixel, header.PlanarConfiguration, header.NumberOfFrames = 3, 0, 4
    header.Rows = header.Columns = 64
    header.TotalPixelMatrixColumns, header.TotalPixelMatrixRows = 120, 100
    header.BitsAllocated = header.BitsStored = 8
    header.HighBit, header.PixelRepresentation, header.DimensionOrganizationType = 7, 0, "TILED_FULL"
    measures, shared, lens = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, lens.ObjectiveLensPower = [0.0005, 0.0005], "20"
    shared.PixelMeasuresSequence = [measures]
    header.SharedFunctionalGroupsSequence, header.OpticalPathSequence = [shared], [lens]
    header.PixelData = np.random.default_rng(0).integers(0, 255, 4 * 64 * 64 * 3, np.uint8).tobytes()
    header.file_meta = meta
    buffer = io.BytesIO()
    header.save_as(buffer, enforce_file_format=True)
    (folder / "a.dcm").write_bytes(buffer.getvalue())


def _write_ome_zarr(folder: Path) -> None:
    import zarr

    group = zarr.open_group(folder / "a.zarr", mode="w", zarr_format=2)
    for level in range(2):
        part = _pixels().transpose(2, 0, 1)[:, :: 2**level, :: 2**level]
        group.create_array(str(level), data=part, chunks=(3, 128, 96))
    scale = [{"type": "scale", "scale": [1, 0.5, 0.5]}]
    axes = [{"name": "c", "type": "channel"}, *({"name": n, "type": "space", "unit": "micrometer"} for n in "yx")]
    datasets = [{"path": str(level), "coordinateTransformations": scale} for level in range(2)]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]


def _write_image(folder: Path) -> None:
    Image.fromarray(_pixels()).save(folder / "a.png")
    Image.fromarray(_pixels()).save(folder / "b.jpg")


def _read_slides(folder: Path) -> str:
    from asmil.slides import list_scenes, open_slide, scan_slides

    refused = False
    for path in scan_slides(folder):
        try:
            list_scenes(path)
            with open_slide(path, mpp=0.5) as slide:
                slide.thumbnail(max_px=256)
                for corner in ((0, 0), (slide.size[0] // 2, slide.size[1] // 2), slide.size, (-30, -30)):
                    if slide.read(corner, 100, mpp=slide.mpp).shape != (100, 100, 3):
                        raise Lost("pixels")
            with contextlib.suppress(ScaleError):
                open_slide(path).close()
        except AsmilError:
            refused = True
    return "refused" if refused else "read"


# Run folders.


def _write_run(folder: Path) -> None:
    import asmil

    for seed, name in enumerate(NAMES):
        _h5(folder / "features" / f"{name}.h5", seed, format="asmil", mpp=1.0, slide_mpp=0.5, patch_size_level0=512.0)
    _labels().to_csv(folder / "labels.csv", index=False)
    given: dict = {"features": folder / "features", "labels": folder / "labels.csv", "out": folder / "run"}
    more: dict = {
        "folds": 2,
        "val_fraction": 0.4,
        "seeds": 1,
        "epochs": 2,
        "bootstrap": 20,
        "heatmaps": 1,
        "workers": 1,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asmil.run(**given, **more)
    shutil.rmtree(folder / "run" / "figures")


def _damage_run(folder: Path, draw: Draw) -> None:
    files = sorted(path for path in (folder / "run").rglob("*") if path.is_file())
    files = [path for path in files if path.suffix not in (".html", ".png", ".svg", ".pdf", ".md")]
    containers.any_damaged(draw.choice(files), draw)
    if draw.random() < 0.05:
        cell = draw.choice(sorted((folder / "run" / "folds").iterdir()))
        cell.rename(cell.with_name(draw.choice((f"{cell.name} (copy)", "x", "99", "-1", "1e3"))))


def _read_run(folder: Path) -> str:
    """Everything that a run tells, each by itself; what is damaged must be an AsmilError."""
    from asmil.runs import Run

    run = Run.open(folder / "run")
    repr(run), run.facts()
    looks: Iterable[Callable[[], object]] = (
        *(
            lambda name=name: getattr(run, name)
            for name in ("settings", "identity", "environment", "task", "task_said")
        ),
        *(
            lambda name=name: getattr(run, name)
            for name in ("cohort", "splits", "failures", "features", "seconds", "store")
        ),
        *(
            lambda name=name: getattr(run, name)
            for name in ("profile", "classes", "metrics", "predictions", "stabilized")
        ),
        lambda: run.require_whole(partial=True, deep=True),
        lambda: run.require_results(partial=True),
        lambda: run.cell_predictions,
        run.test_attention,
        lambda: run.probabilities(run.predictions),
        lambda: run.slide("s00").tiles,
        lambda: run.slide("s00").thumbnail,
        *(lambda cell=cell, name=name: getattr(cell, name)() for cell in _cells(run) for name in LOOKS),
        *(lambda cell=cell: (cell.best_epoch, cell.weights_digest, cell.attention("s00")) for cell in _cells(run)),
        *(lambda cell=cell: [cell.epochs(slide) for slide in cell.recorded()] for cell in _cells(run)),
        *(lambda cell=cell: cell.model(run.settings, 2, in_dim=DIM) for cell in _cells(run)),
        lambda: run.evidence("s00"),
    )
    return _all_tried(looks)


def _all_tried(looks: Iterable[Callable[[], object]]) -> str:
    refused = False
    for look in looks:
        try:
            look()
        except AsmilError:
            refused = True
    return "refused" if refused else "read"


def _read_results(folder: Path) -> str:
    """What a run is made into."""
    from asmil.runs import Run

    run = Run.open(folder / "run")
    return _all_tried((lambda: run.report(partial=True), lambda: run.evaluate(partial=True, bootstrap=5), run.export))


LOOKS = ("state", "predictions", "log", "attentions", "recorded", "embeddings", "score_samples")


def _cells(run) -> list:
    return [run.cell(fold, 0) for fold in range(2)]


def _bytes_4(path: Path, draw: Draw) -> None:
    if draw.random() < 0.2:
        struct.pack_into("<I", data := bytearray(path.read_bytes()), 16, draw.choice(mutations.NUMBERS) % 2**32)
        path.write_bytes(bytes(data))
    else:
        mutations.file_damaged(path, draw)


H5, JSON, CSV = containers.h5_damaged, mutations.json_damaged, mutations.csv_damaged


def _xml(path: Path, draw: Draw) -> None:
    mutations.text_damaged(path, draw, mutations.XML)


def _yaml(path: Path, draw: Draw) -> None:
    mutations.text_damaged(path, draw, mutations.YAML)


def _two(key: str = "features", *, chunks: bool = False, **facts: object) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for seed, name in enumerate(STORED):
            _h5(folder / f"{name}.h5", seed, key=key, chunks=chunks, **facts)

    return write


STAMP = {"unit": "um", "tile_size_um": 256.0, "tile_size_px": 224, "extractor": "uni", "feat_type": "tile"}
OWN = {"format": "asmil", "mpp": 0.5, "slide_mpp": 0.25, "patch_size_level0": 512.0, "encoder": "resnet50"}


def _store(write: Callable[[Path], None], damage: Callable[[Path, Draw], None]) -> Subject:
    return Subject(write, _damage_features(damage), _read_features)


SUBJECTS = {
    "labels csv": Subject(lambda folder: _write_labels(folder, ".csv"), _one_of(CSV), _read_labels),
    "labels xlsx": Subject(
        lambda folder: _write_labels(folder, ".xlsx"), _one_of(containers.xlsx_damaged), _read_labels
    ),
    "splits table": Subject(lambda folder: _write_splits(folder, "table"), _one_of(CSV), _read_splits),
    "splits csv": Subject(lambda folder: _write_splits(folder, "csv"), _one_of(CSV), _read_splits),
    "splits json": Subject(lambda folder: _write_splits(folder, "json"), _one_of(JSON), _read_splits),
    "features asmil": _store(_two(**OWN), H5),
    "features clam": _store(_two(), H5),
    "features trident": _store(_two(chunks=True), H5),
    "features stamp": _store(_two("feats", **STAMP), H5),
    "features single file": _store(_write_single, H5),
    "features pt": _store(_write_pt, containers.pt_damaged),
    "features slideflow": _store(lambda folder: _write_pt(folder, index=True), containers.pt_damaged),
    "features eva": _store(lambda folder: _write_pt(folder, rows=True), containers.pt_damaged),
    "features npy": _store(_write_npy, containers.npy_damaged),
    "features csv": _store(_write_csv, CSV),
    "features tiatoolbox": _store(_write_zarr, containers.zarr_damaged),
    "features lazyslide": _store(_write_lazyslide, containers.zarr_damaged),
    "settings yaml": Subject(_write_yaml, _one_of(_yaml), _read_yaml),
    "tissue geojson": Subject(lambda folder: _write_geojson(folder, "Tissue"), _one_of(JSON), _read_tissue),
    "annotations geojson": Subject(lambda folder: _write_geojson(folder, "tumour"), _one_of(JSON), _read_annotations),
    "annotations camelyon": Subject(_write_camelyon, _one_of(JSON), _read_annotations),
    "annotations asap": Subject(_write_asap, _one_of(_xml), _read_annotations),
    "annotations imagescope": Subject(_write_imagescope, _one_of(_xml), _read_annotations),
    "annotations mask": Subject(_write_mask, _one_of(_bytes_4), _read_annotations),
    "slide tiff": Subject(_write_tiff, _one_of(containers.tiff_damaged), _read_slides),
    "slide svs": Subject(_write_svs, _one_of(containers.tiff_damaged), _read_slides),
    "slide ome-tiff": Subject(_write_ome_tiff, _one_of(containers.tiff_damaged), _read_slides),
    "slide dicom": Subject(_write_dicom, _one_of(containers.dicom_damaged), _read_slides),
    "slide ome-zarr": Subject(_write_ome_zarr, _one_of(containers.zarr_damaged, "*.zarr"), _read_slides),
    "slide image": Subject(_write_image, _one_of(_bytes_4), _read_slides),
    "run folder": Subject(_write_run, _damage_run, _read_run),
    "run results": Subject(_write_run, _damage_run, _read_results, seconds=20.0, share=0.01),
}
