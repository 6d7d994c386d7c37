"""Finding the slide files in a folder, and the slides in them."""

import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from asmil.errors import AsmilError, SlideError
from asmil.slides.opening import list_scenes, open_slide
from asmil.slides.reader import file_name, scene_name, scene_number
from asmil.slides.readers.ome_zarr import is_ome_zarr
from asmil.slides.slide import Slide

SUFFIXES = {
    *(".svs", ".tif", ".tiff", ".ndpi", ".vms", ".vmu", ".scn", ".mrxs", ".svslide", ".bif", ".czi", ".dcm"),
    *(".png", ".jpg", ".jpeg", ".bmp", ".webp"),
}
SEVERAL = {".tif", ".tiff", ".scn", ".czi", ".zarr"}
"""Formats whose files may hold several slides; those of the others are not opened to look."""

AT_ONCE = 8
"""Files looked into at once: mostly this waits for the disk."""


@dataclass(frozen=True)
class SlideFile:
    """Where a slide is: a file, or one `scene` of a file that holds several (None: the file's only one, or first)."""

    path: Path
    scene: int | None = None

    @property
    def name(self) -> str:
        """The slide's name: the file's, or `<file>.scene-<n>`."""
        return self.path.stem if self.scene is None else scene_name(self.path.stem, self.scene)

    def open(self, *, mpp: float | None = None, objective: float | None = None, reader: str | None = None) -> Slide:
        """Open it, as `open_slide` does.

        Raises:
            SlideError: as `open_slide`; or the file is not one of several scenes, where one was named.
        """
        slide = open_slide(self.path, scene=self.scene, mpp=mpp, objective=objective, reader=reader)
        if slide.name != self.name:
            slide.close()
            found = f"one, by the reader {slide.reader}"
            raise SlideError(f"{self.path.name} has no scenes to choose from", found=found, fix="use another reader")
        return slide


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


def slide_files(
    paths: Iterable[Path],
    *,
    scenes: Literal["first", "all"] = "all",
    reader_of: Callable[[Path], str | None] = lambda path: None,
) -> list[SlideFile]:
    """The slides in some files: with "all" every scene of a file of several is one, in the order of the files.

    Files that may hold several are opened for this, some at once. One that cannot be opened counts as one slide: what
    is wrong with it is found when it is read. `reader_of` names the reader of a file that has one of its own.
    """
    paths = list(paths)
    if scenes == "first":
        return [SlideFile(path) for path in paths]

    def count(path: Path) -> int:
        try:
            return len(list_scenes(path, reader=reader_of(path))) if path.suffix.lower() in SEVERAL else 1
        except (AsmilError, OSError):
            return 1

    with ThreadPoolExecutor(AT_ONCE) as pool:
        counts = list(pool.map(count, paths))
    found = []
    for path, number in zip(paths, counts, strict=True):
        found += [SlideFile(path)] if number == 1 else [SlideFile(path, scene) for scene in range(number)]
    return found


def slide_named(name: str, paths: Mapping[str, Path]) -> SlideFile | None:
    """The slide of a name among files by their names without suffix; None where its file is not among them."""
    if name in paths:
        return SlideFile(paths[name])
    path = paths.get(file_name(name))
    return None if path is None else SlideFile(path, scene_number(name))


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
