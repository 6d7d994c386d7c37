"""Opening slides: which reader, and which micrometres per pixel to believe; finding them in folders."""

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from asmil.errors import AsmilError, ScaleError, SlideError, blaming
from asmil.files import composed, holds_run, path_of, stem_of, suffix_of, walk
from asmil.registry import FolderRegistry
from asmil.slides.reader import (
    ContentError,
    DamagedSlideError,
    Reader,
    Scene,
    file_name,
    has_no_suffix,
    scene_name,
    scene_number,
)
from asmil.slides.readers.dicom import dicom_name, is_dicom, series_in
from asmil.slides.readers.ome_zarr import is_ome_zarr, was_ome_zarr
from asmil.slides.slide import Slide
from asmil.units import PLAUSIBLE_MPP, mpp_of_objective, plausible_mpp, same_mpp

SLIDE_READERS = FolderRegistry("slide reader", "asmil.slides.readers", "READER", group="asmil.readers")

_log = logging.getLogger(__name__)
# what it logs of a damaged file is told by the reader, as an error of that slide; unheard, it would print
logging.getLogger("tifffile").addHandler(logging.NullHandler())

OBJECTIVE_FACTOR = 2.0
"""An mpp this many times off what the objective makes plausible is one of the two being wrong."""

_AGAIN = "the file is damaged, or no slide: copy or download it again"

_REMEDY = (
    "give the slide's own scale: --slide-mpp VALUE (in Python: mpp=VALUE), an `mpp` column in the label or "
    "slide table, or --objective POWER (objective=POWER; 40 means .25 um/px). --mpp is something else: the "
    "scale tiles are cut at"
)


def open_slide(
    path: str | Path,
    *,
    scene: int | None = None,
    mpp: float | None = None,
    objective: float | None = None,
    reader: str | None = None,
) -> Slide:
    """Open a slide with the first reader that knows it.

    The order: tiled TIFF decoded natively, DICOM, OpenSlide, OME-Zarr, cuCIM (if installed), plain images; an
    added reader stands where its `order` says. `Slide.passed_over` has the reasons. A reader that knows the format
    and refuses what is in the file (`ContentError`) is the last that is asked.

    Args:
        path: the file; a folder for OME-Zarr, and for the files of one DICOM series, of which any stands for all.
        scene: which picture of a file of several; the slide is then named `<stem>.scene-<n>`. None: the first,
            named by the stem, with a `scene_note` where there are others.
        mpp: micrometres per level-0 pixel; overrules the file, and a note says so where that differs.
        objective: nominal magnification; decides where the file has no mpp, or one that contradicts it.
        reader: name of the reader, instead of the first that knows the file.

    Raises:
        SlideError: no such file or scene, no reader knows it, or it is damaged.
        ScaleError: the mpp is unknown, implausible, contradicts the objective, or differs between x and y.
    """
    path = path_of(path, "a slide")
    name, source, passed_over = _open_source(path, reader=reader)
    try:
        if scene:
            with blaming(SlideError, f"scene {scene} of {path} cannot be read", fix=_AGAIN):
                source = _other_scene(source, SLIDE_READERS[name], path=path, scene=scene)
        value, origin = _resolve_mpp(source, path=path, mpp=mpp, objective=objective)
    except SlideError:
        source.close()
        raise
    named = name_of(path)
    slide = Slide(
        path, source, name=named, reader=name, mpp=value, mpp_source=origin, scene=scene, passed_over=passed_over
    )
    slide.notes += _overruled(source, value)
    return slide


def list_scenes(path: str | Path, *, reader: str | None = None) -> list[Scene]:
    """List the pictures a file holds, without those of label and glass; the index is the `scene` of `open_slide`.

    A file of one picture has one scene, named by the stem; each of several is named as its slide would be.

    Raises:
        SlideError: as `open_slide`.
    """
    path = path_of(path, "a slide")
    _, source, _ = _open_source(path, reader=reader)
    source.close()
    found: tuple[Scene, ...] = getattr(source, "scenes", ())
    if len(found) < 2:
        return [Scene(name_of(path), source.level_sizes[0])]
    return [Scene(scene_name(name_of(path), number), scene.size) for number, scene in enumerate(found)]


def reader_order() -> list[str]:
    """Names of all readers, in the order in which they are tried."""
    return sorted(SLIDE_READERS.usable(), key=lambda name: (getattr(SLIDE_READERS[name], "order", 50), name))


def _open_source(path: Path, *, reader: str | None) -> tuple[str, Reader, dict[str, str]]:
    """The name of the reader that opens a file, what it opened, and why those before it did not."""
    fix = "give the path of one file; `scan_slides` lists those in a folder"
    if not path.exists():
        raise SlideError("there is no such slide file", found=path, fix=fix)
    if path.is_dir() and not (suffix_of(path) == ".zarr" or is_ome_zarr(path) or series_in(path)):
        what = "a slide is a file, not a folder (but for OME-Zarr, and the files of one DICOM series)"
        raise SlideError(what, found=path, fix=fix)
    if path.name.lower().endswith((".zarr.zip", ".ozx")):
        raise SlideError("an OME-Zarr in an archive is not read", found=path, fix="unpack it, and give the folder")
    if path.is_file() and path.stat().st_size == 0:
        raise SlideError(f"{path} is empty", found="0 bytes", fix="copy or download it again")
    passed_over: dict[str, str] = {}
    refused: list[SlideError] = []  # by readers that know the format
    for name in [reader] if reader else reader_order():
        detected = False
        try:
            with blaming(SlideError, "it cannot be read", fix=_AGAIN):
                SLIDE_READERS[name].detect(path)
                detected = True
                opened = SLIDE_READERS[name](path)
                _log.debug("%s: opened by %s", path, name)
                return name, opened, passed_over
        except DamagedSlideError:
            raise
        except ContentError as error:
            raise ContentError(f"{path} is not opened: {error.what}", found=error.found, fix=error.fix) from error
        except SlideError as error:
            passed_over[name] = error.what if error.found is None else f"{error.what}: {error.found}"
            refused += [error] * detected
    raise SlideError(
        f"no reader can open {path}" if reader is None else f"the reader {reader} cannot open {path}",
        found="; ".join(f"{name}: {reason}" for name, reason in passed_over.items()),
        fix=(refused[-1].fix if refused else None)
        or "is the file complete, and a slide? Other formats can be converted to pyramidal TIFF",
    )


def _other_scene(source: Reader, reader: type[Reader], *, path: Path, scene: int) -> Reader:
    """The same file opened at another scene."""
    count = len(getattr(source, "scenes", ())) or 1
    if not 0 <= scene < count:
        raise SlideError(f"{path.name} has no scene {scene}", found=f"{count} scenes", fix="`list_scenes` lists them")
    source.close()
    return reader(path, scene=scene)  # type: ignore[call-arg]  # only readers with several scenes take it


def _resolve_mpp(source: Reader, *, path: Path, mpp: float | None, objective: float | None) -> tuple[float, str]:
    """The mpp of level 0, and where it is from."""
    if mpp is not None:
        return _given(mpp, path=path), "--slide-mpp"
    if objective is not None and not (math.isfinite(objective) and objective > 0):
        raise ScaleError("an objective is a positive magnification", found=objective)
    nominal = None if objective is None else _given(mpp_of_objective(objective), path=path)
    stated = source.file_mpp
    if stated is None or not all(plausible_mpp(value) for value in stated):
        if nominal is None:
            raise _unknown_mpp(source, path)
        return nominal, f"objective {objective:g}x"
    if not same_mpp(*stated):
        found = f"mpp {stated[0]:g} in x, {stated[1]:g} in y"
        raise ScaleError(f"the pixels of {path.name} are not square", found=found, fix=_REMEDY)
    value = sum(stated) / 2
    if nominal is not None:
        return (value, "file") if _agree(value, nominal) else (nominal, f"objective {objective:g}x")
    if source.objective and not _agree(value, mpp_of_objective(source.objective)):
        expected = mpp_of_objective(source.objective)
        raise ScaleError(
            f"the mpp of {path.name} contradicts its objective",
            found=f"mpp {value:g} but {source.objective:g}x, which is about {expected:g}",
            fix=_REMEDY,
        )
    return value, "file"


def _overruled(source: Reader, mpp: float) -> list[str]:
    """That a file says another scale than is used, in a note; what no slide can have needs none."""
    stated = source.file_mpp or ()
    if not stated or not all(plausible_mpp(value) for value in stated) or all(same_mpp(mpp, one) for one in stated):
        return []
    said = " x ".join(f"{value:.4g}" for value in dict.fromkeys(stated))
    return [f"the file says {said} um/px, and it is read at {mpp:.4g}, as was given"]


def _unknown_mpp(source: Reader, path: Path) -> ScaleError:
    found = "no mpp in the file"
    if source.file_mpp is not None:
        low, high = PLAUSIBLE_MPP
        found = f"{source.file_mpp[0]:g} um/px in the file, not within {low:g} to {high:g}"
    if source.objective:
        found += f"; the file names an objective of {source.objective:g}x"
    state = "unknown" if source.file_mpp is None else "implausible"
    return ScaleError(f"the mpp (um per pixel) of {path.name} is {state}", found=found, fix=_REMEDY)


def _agree(a: float, b: float) -> bool:
    return max(a, b) <= OBJECTIVE_FACTOR * min(a, b) * (1 + 1e-9)


def _given(mpp: float, *, path: Path) -> float:
    if not plausible_mpp(mpp):
        low, high = PLAUSIBLE_MPP
        raise ScaleError(
            f"the scale given for {path.name} cannot be that of a slide",
            found=f"{mpp:g} um/px, not within {low:g} to {high:g}",
            fix=_REMEDY,
        )
    return float(mpp)


# Finding the slide files in a folder, and the slides in them.

SLIDE_SUFFIXES = {
    *(".svs", ".tif", ".tiff", ".ndpi", ".vms", ".vmu", ".scn", ".mrxs", ".svslide", ".bif", ".czi", ".dcm"),
    *(".png", ".jpg", ".jpeg", ".bmp", ".webp", ".qptiff", ".btf", ".ozx"),
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
        return name_of(self.path) if self.scene is None else scene_name(name_of(self.path), self.scene)

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


def name_of(path: Path) -> str:
    """The name of the slide of a path: of a file without its suffix, of a folder with all its dots but `.zarr`.

    Where that is the number of a DICOM series, or of one of its files beside those of other slides, the name is the
    ContainerIdentifier, which is of the glass.
    """
    if name := dicom_name(path):
        return name
    if path.suffix and suffix_of(path) != ".zarr" and path.is_dir():
        return composed(path.name)
    return stem_of(path)


def _is_of_asmil(folder: Path, folders: list[str], files: list[str]) -> bool:
    """Whether a run lies here, or what `asmil embed`, `tissue` or `predict` wrote, whose pictures are no slides."""
    noted, drawn = not {"failures.csv", "state.csv"}.isdisjoint(files), {"thumbnails", "tissue"}.issubset(folders)
    return holds_run(files) or (drawn and (noted or any(folder.glob("features/*/store.json"))))


def scan_slides(folder: str | Path) -> list[Path]:
    """List the slide files below a folder, sorted by path.

    Linked folders are entered. Hidden files and folders and what asmil itself made are passed over, and so are the
    JPEG parts beside a VMS or VMU index; a folder that may not be read is listed itself, and fails as a slide does. A
    folder `*.zarr` is a slide if it holds OME-Zarr images, or its notes are damaged. DICOM files, also those without
    suffix, of one series count as one slide: their folder, where nothing else is in it, else the file of the finest
    level.

    Raises:
        SlideError: no such folder, or two slides whose names differ only in folder or suffix, so that the
            features of one would overwrite those of the other.
    """
    folder = path_of(folder, "a folder of slides")
    if not folder.is_dir():
        raise SlideError("there is no such folder of slides", found=folder)
    found: list[Path] = []
    closed: list[Path] = []
    for root, folders, files in walk(folder, closed=closed):
        if _is_of_asmil(Path(root), folders, files):
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        zarr = [name for name in folders if name.lower().endswith(".zarr")]
        folders[:] = [name for name in folders if name not in zarr]
        found += [path for path in (Path(root, name) for name in zarr) if is_ome_zarr(path) or was_ome_zarr(path)]
        found += _slides_of(Path(root), [name for name in files if not name.startswith(".")])
    found = sorted([*_by_folder(found), *closed])
    by_name: dict[str, Path] = {}
    for path in found:
        other = by_name.setdefault(name_of(path), path)
        if other is not path:
            both = f"{other} and {path}"
            raise SlideError("two slides have the same name", found=both, fix="rename or remove one of them")
    return found


def _by_folder(paths: list[Path]) -> list[Path]:
    """The paths in order; DICOM files of equal names (DCM_0.dcm) that are alone in their folders become these."""
    dicom = {path for path in paths if suffix_of(path) == ".dcm" or has_no_suffix(path)}
    if not dicom:
        return sorted(paths)  # without a look at every file
    names, parents = Counter(map(name_of, paths)), Counter(path.parent for path in paths)

    def told_apart(path: Path) -> Path:
        alone = path in dicom and parents[path.parent] == 1
        return path.parent if alone and names[name_of(path)] > 1 and not path.is_dir() else path

    return sorted(map(told_apart, paths))


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
            return len(list_scenes(path, reader=reader_of(path))) if suffix_of(path) in SEVERAL else 1
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
    suffixes = {suffix_of(name) for name in names}
    known = SLIDE_SUFFIXES - {".jpg", ".jpeg"} if suffixes & {".vms", ".vmu"} else SLIDE_SUFFIXES
    paths = sorted(root / name for name in names if suffix_of(name) in known)
    dicom = [path for path in paths if suffix_of(path) == ".dcm"]
    rest = [path for path in paths if path not in dicom]
    if len(dicom) < 2 and not any(_is_unsaid_dicom(root / name) for name in names):
        return rest + dicom
    return rest + _slides_of_dicom(root, dicom, alone=not rest)


def _is_unsaid_dicom(path: Path) -> bool:
    with suppress(OSError):  # what may not be read is no slide that is known of
        return has_no_suffix(path) and is_dicom(path)
    return False


def _slides_of_dicom(root: Path, named: list[Path], *, alone: bool) -> list[Path]:
    """One path for each series among the DICOM files of a folder: its finest level, or the folder where no other slide
    is in it and the series has several files. Files of no series stay where their suffix says that they are slides.

    Raises:
        SlideError: pydicom is missing, so that nobody knows which files are of one slide.
    """
    several = series_in(root)
    members = {file for series in several for file in series.files}
    others = [path for path in named if path.absolute() not in members]
    if alone and len(several) == 1 and len(several[0].files) > 1 and not others:
        return [root]
    return sorted(others + [root / (series.levels or series.files)[0].name for series in several])
