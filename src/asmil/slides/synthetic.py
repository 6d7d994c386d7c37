"""A small cohort of synthetic slides with known tumour, for demonstrations and tests."""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from asmil.errors import SlideError
from asmil.files import write_csv, write_json, written_beside
from asmil.machine import each
from asmil.slides.drawing import EOSIN, HAEMATOXYLIN, Canvas

SITES = ("north", "south", "west")
TIFF_TILE_PX = 256
JPEG_QUALITY = 85
YCBCR_SUBSAMPLING = 530
LABEL_COLUMNS = ("slide_id", "case_id", "label", "site")


@dataclass(frozen=True)
class Drawing:
    """A drawn slide: uint8 (h, w, 3) pixels, and class -> polygons (corners, 2) in pixels."""

    pixels: np.ndarray
    regions: dict[str, list[np.ndarray]]


def make_slides(
    folder: str | Path,
    *,
    patients: int = 24,
    slides_per_patient: tuple[int, int] = (1, 2),
    seed: int = 0,
    size_px: tuple[int, int] = (2000, 1500),
    mpp: float = 0.5,
    sites: Sequence[str] = SITES,
    lesions: tuple[int, int] = (2, 4),
    lesion_size: float = 1.0,
    awkward: bool = True,
) -> Path:
    """Write a cohort of pyramidal TIFF slides, half of the patients with tumour, and return `folder`.

    `slides/*.tif` (JPEG, read by OpenSlide, `size_px` (w, h) at `mpp`), `labels.csv` (slide_id, case_id,
    label normal or tumour, site) and `annotations/*.geojson` (QuPath; classes tumour and lymphocytes). Both
    classes are dark and crowded, and the stain differs by site and patient, so the mean colour of a slide
    says little about its label. A slide with tumour has `lesions` (from, to), each of a radius of `lesion_size` times
    a twelfth to a sixth of the shorter side. `awkward` adds three slides as users have them: blank, cut short, no
    scale. The same seed gives the same cohort.

    Raises:
        SlideError: the sizes are too small to draw tissue in.
    """
    ranges = (slides_per_patient, lesions)
    if min(size_px) < 600 or patients < 2 or not all(1 <= low <= high for low, high in ranges) or not lesion_size > 0:
        raise SlideError(
            "such a cohort cannot be drawn",
            found=f"{patients} patients, {slides_per_patient} slides each, {size_px} px, {lesions} lesions",
            fix="give at least 2 patients, 1 slide each, 600 px and 1 lesion of some size",
        )
    folder, rows_of = Path(folder), dict[int, list[tuple[str, str, str, str]]]()

    def draw(patient: int) -> None:
        rows, rng = rows_of.setdefault(patient, []), np.random.default_rng([seed, patient])
        label = ("normal", "tumour")[patient % 2]
        at = patient // 2 % len(sites)
        site, stain = sites[at], draw_stain(np.random.default_rng([seed, 1000 + at]), rng)
        for number in range(int(rng.integers(slides_per_patient[0], slides_per_patient[1] + 1))):
            name = f"P{patient + 1:02}_{number + 1}"
            drawn = draw_slide(
                rng, tumour=label == "tumour", size_px=size_px, stain=stain, lesions=lesions, lesion_size=lesion_size
            )
            write_slide(folder / "slides" / f"{name}.tif", drawn.pixels, mpp=mpp)
            _write_regions(folder / "annotations" / f"{name}.geojson", drawn.regions)
            rows.append((name, f"P{patient + 1:02}", label, site))

    each(draw, range(patients), chunk=1)
    rows = [row for patient in range(patients) for row in rows_of[patient]]
    if awkward:
        found = _write_awkward(folder / "slides", seed=seed, size_px=size_px, mpp=mpp)
        rows += [(*row, sites[0]) for row in found]
    write_csv(folder / "labels.csv", LABEL_COLUMNS, (dict(zip(LABEL_COLUMNS, row, strict=True)) for row in rows))
    return folder


def draw_stain(site: np.random.Generator, patient: np.random.Generator) -> np.ndarray:
    """Colours (2, 3) and strengths of a patient's stains: the laboratory's, a little different each day."""
    stain = np.stack([HAEMATOXYLIN, EOSIN])
    for rng, colour, strength in ((site, 0.05, 0.14), (patient, 0.02, 0.07)):
        stain = np.clip(stain + rng.normal(0, colour, stain.shape), 0.02, None)
        stain = stain * np.exp(rng.normal(0, strength, (2, 1)))
    return stain.astype(np.float32)


def draw_slide(
    rng: np.random.Generator,
    *,
    tumour: bool,
    size_px: tuple[int, int],
    stain: np.ndarray,
    lesions: tuple[int, int] = (2, 4),
    lesion_size: float = 1.0,
) -> Drawing:
    """Draw one slide; crowds of lymphocytes, as dark as tumour, are as frequent in both kinds, so they say nothing."""
    canvas = Canvas(rng, size_px)
    canvas.add_islands(int(rng.integers(1, 3)))
    canvas.add_stroma()
    canvas.add_glands(int(rng.integers(8, 20)))
    scale = min(size_px) / 1500
    regions: dict[str, list[np.ndarray]] = {"lymphocytes": [], "tumour": []}
    for _ in range(int(rng.integers(1, 4))):
        radius = scale * rng.uniform(110, 230)
        regions["lymphocytes"].append(canvas.blob(canvas.deep_point(radius), radius))
        canvas.add_lymphocytes(regions["lymphocytes"][-1])
    for _ in range(int(rng.integers(lesions[0], lesions[1] + 1)) if tumour else 0):
        radius = lesion_size * scale * rng.uniform(130, 260)
        regions["tumour"].append(canvas.blob(canvas.deep_point(radius), radius))
        canvas.add_tumour(regions["tumour"][-1])
    return Drawing(canvas.rgb(stain), {name: found for name, found in regions.items() if found})


def write_slide(path: str | Path, pixels: np.ndarray, *, mpp: float | None) -> Path:
    """Write uint8 (h, w, 3) as a pyramidal tiled JPEG TIFF that OpenSlide opens; mpp None: no scale."""
    levels = [Image.fromarray(pixels)]
    while max(levels[-1].size) > 2 * TIFF_TILE_PX:
        levels.append(levels[-1].reduce(2))
    return _write_pyramid(path, [(level.size, _jpeg_tiles(level)) for level in levels], mpp=mpp)


def write_sparse_slide(path: str | Path, *, side_px: int = 100_000, mpp: float = 0.25) -> Path:
    """Write an enormous square slide of little: a square of pink texture in empty glass, whose tiles have no bytes.

    Level-0 side `side_px`; the square is 16 384 px wide, as far from the top left; levels at 1, 4, 16 and 64.
    """
    rng = np.random.default_rng(0)
    grain = rng.integers(-30, 30, (TIFF_TILE_PX // 4,) * 2).repeat(4, 0).repeat(4, 1)[..., None]
    stamp = Image.fromarray((np.array([205, 120, 170]) + grain).astype(np.uint8))
    levels = [((side_px // factor,) * 2, _sparse_tiles(stamp, side_px // factor, factor)) for factor in (1, 4, 16, 64)]
    return _write_pyramid(path, levels, mpp=mpp)


def _sparse_tiles(stamp: Image.Image, side_px: int, factor: int) -> Iterator[bytes]:
    texture = np.tile(np.asarray(stamp.reduce(factor)), (factor, factor, 1))
    data, filled = next(_jpeg_tiles(Image.fromarray(texture))), range(64 // factor, 128 // factor)
    count = -(-side_px // TIFF_TILE_PX)
    for row in range(count):
        for column in range(count):
            yield data if row in filled and column in filled else b""


def _write_pyramid(
    path: str | Path, levels: Sequence[tuple[tuple[int, int], Iterator[bytes]]], *, mpp: float | None
) -> Path:
    """Write levels, each of a size (w, h) and with JPEG tiles row by row (of no bytes: no such tile)."""
    import tifffile

    with written_beside(path) as partial:
        with tifffile.TiffWriter(partial, bigtiff=levels[0][0][0] > 2**16) as file:
            for index, ((width, height), tiles) in enumerate(levels):
                factor = round(levels[0][0][0] / width)
                per_cm = None if mpp is None else (1e4 / mpp / factor,) * 2
                file.write(
                    tiles,
                    shape=(height, width, 3),
                    dtype=np.uint8,
                    tile=(TIFF_TILE_PX, TIFF_TILE_PX),
                    photometric="rgb",
                    compression="adobe_deflate",
                    subfiletype=int(index > 0),
                    resolution=per_cm,
                    resolutionunit="CENTIMETER" if per_cm else None,
                    extratags=[(YCBCR_SUBSAMPLING, "H", 2, (2, 2), True)],
                    metadata=None,
                    software="asmil",
                )
        # tifffile stores ready-made tiles untouched but takes the name of JPEG only where imagecodecs is
        # installed, which is an extra: so the tags get their names here
        with tifffile.TiffFile(partial, mode="r+") as file:
            for page in file.pages:
                tags = page.aspage().tags
                tags["Compression"].overwrite(7)  # JPEG
                tags["PhotometricInterpretation"].overwrite(6)  # YCbCr
    return Path(path)


def _jpeg_tiles(level: Image.Image) -> Iterator[bytes]:
    for y in range(0, level.height, TIFF_TILE_PX):
        for x in range(0, level.width, TIFF_TILE_PX):
            tile = Image.new("RGB", (TIFF_TILE_PX, TIFF_TILE_PX), "white")
            tile.paste(level.crop((x, y, min(x + TIFF_TILE_PX, level.width), min(y + TIFF_TILE_PX, level.height))))
            data = io.BytesIO()
            tile.save(data, "JPEG", quality=JPEG_QUALITY, subsampling="4:2:0")
            yield data.getvalue()


def _write_regions(path: Path, regions: dict[str, list[np.ndarray]]) -> None:
    """Planted regions as QuPath GeoJSON, one feature per class: overlapping regions of a class are one."""
    from shapely import MultiPolygon, Polygon, make_valid, to_geojson, union_all

    features = []
    for name, polygons in regions.items():
        shape = union_all([make_valid(Polygon(corners)) for corners in polygons])
        parts = [part for part in getattr(shape, "geoms", [shape]) if part.geom_type == "Polygon"]
        geometry = json.loads(to_geojson(parts[0] if len(parts) == 1 else MultiPolygon(parts)))
        properties = {"objectType": "annotation", "classification": {"name": name}}
        features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    if features:
        write_json(path, {"type": "FeatureCollection", "features": features})


def _write_awkward(folder: Path, *, seed: int, size_px: tuple[int, int], mpp: float) -> list[tuple[str, str, str]]:
    """A blank slide, one cut short in copying, and one without a scale; slide, case and label of each."""
    rng = np.random.default_rng([seed, 9999])
    blank = np.full((size_px[1], size_px[0], 3), 246, np.uint8)
    blank -= rng.integers(0, 4, blank.shape, dtype=np.uint8)
    write_slide(folder / "awkward_blank.tif", blank, mpp=mpp)
    drawing = draw_slide(rng, tumour=True, size_px=size_px, stain=draw_stain(rng, rng))
    whole = write_slide(folder / "awkward_truncated.tif", drawing.pixels, mpp=mpp).read_bytes()
    (folder / "awkward_truncated.tif").write_bytes(whole[: len(whole) * 2 // 5])
    drawing = draw_slide(rng, tumour=False, size_px=size_px, stain=draw_stain(rng, rng))
    write_slide(folder / "awkward_no_mpp.tif", drawing.pixels, mpp=None)
    labels = {"awkward_blank": "normal", "awkward_truncated": "tumour", "awkward_no_mpp": "normal"}
    return [(name, f"X{i}", label) for i, (name, label) in enumerate(labels.items(), start=1)]
