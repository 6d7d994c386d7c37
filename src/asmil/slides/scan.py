"""Finding the slide files in a folder."""

import os
from pathlib import Path

from asmil.errors import SlideError
from asmil.slides.readers.ome_zarr import is_ome_zarr

SUFFIXES = {
    *(".svs", ".tif", ".tiff", ".ndpi", ".vms", ".vmu", ".scn", ".mrxs", ".svslide", ".bif", ".czi", ".dcm"),
    *(".png", ".jpg", ".jpeg", ".bmp", ".webp"),
}


def scan_slides(folder: str | Path) -> list[Path]:
    """List the slide files below a folder, sorted by path.

    Hidden files and folders and asmil's own run folders are passed over, and so are the JPEG parts beside a
    VMS or VMU index. A folder `*.zarr` is a slide if it holds OME-Zarr images. DICOM files of one series (its
    levels) count as one slide, named by the first file.

    Raises:
        SlideError: no such folder, or two slides whose names differ only in folder or suffix, so that the
            features of one would overwrite those of the other.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SlideError("there is no such folder of slides", found=folder)
    found: list[Path] = []
    for root, folders, files in os.walk(folder):
        if {"config.yaml", "environment.json"} <= set(files):
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        zarr = [name for name in folders if name.lower().endswith(".zarr")]
        folders[:] = [name for name in folders if name not in zarr]
        found += [Path(root, name) for name in zarr if is_ome_zarr(Path(root, name))]
        found += _slides_of(Path(root), [name for name in files if not name.startswith(".")])
    found.sort()
    by_stem: dict[str, Path] = {}
    for path in found:
        other = by_stem.setdefault(path.stem, path)
        if other is not path:
            raise SlideError(
                "two slides have the same name",
                found=f"{other} and {path}",
                fix="rename or remove one of them",
            )
    return found


def _slides_of(root: Path, names: list[str]) -> list[Path]:
    suffixes = {Path(name).suffix.lower() for name in names}
    known = SUFFIXES - {".jpg", ".jpeg"} if suffixes & {".vms", ".vmu"} else SUFFIXES
    paths = sorted(root / name for name in names if Path(name).suffix.lower() in known)
    dicom = [path for path in paths if path.suffix.lower() == ".dcm"]
    if len(dicom) < 2:
        return paths
    levels = set(dicom) - set(_one_per_series(dicom))
    return [path for path in paths if path not in levels]


def _one_per_series(paths: list[Path]) -> list[Path]:
    """The first file of each DICOM series; one that OpenSlide refuses stands for itself."""
    import openslide

    first: dict[str, Path] = {}
    for path in paths:
        try:
            with openslide.OpenSlide(str(path)) as slide:
                series = slide.properties.get("dicom.SeriesInstanceUID", str(path))
        except openslide.OpenSlideError:
            series = str(path)
        first.setdefault(series, path)
    return list(first.values())
