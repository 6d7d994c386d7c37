"""Annotations of a slide, whoever wrote them: GeoJSON (QuPath), XML (ASAP, ImageScope), CAMELYON JSON, label images.

Coordinates are level-0 pixels, (x, y). Every file is read into areas and points by class; what had to be
repaired or left out is listed, never silent.
"""

import gzip
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path

import numpy as np
import shapely
from shapely.geometry import MultiPolygon
from shapely.geometry.base import BaseGeometry

from asmil.annotations import label_image
from asmil.annotations.drawing import Drawing, add_json, add_xml
from asmil.annotations.label_image import MaskLabels, add_label_image
from asmil.errors import AnnotationError
from asmil.files import composed, original_name, path_of, suffix_of
from asmil.slides import SLIDE_SUFFIXES
from asmil.tiles import Bounds

SUFFIXES = (".geojson", ".json", ".xml", ".geojson.gz", ".json.gz", ".xml.gz")
MASK_SUFFIXES = tuple(f"_mask{suffix}" for suffix in label_image.SUFFIXES)
OUTSIDE_MARGIN = 0.01
"""Share of the slide's longer side by which a hand-drawn outline may leave the slide."""
MOST_BYTES, PIECE = 1 << 30, 1 << 24
"""Of a file of outlines, which is read whole."""
SETTLED_NS = 2 * 10**9
"""A folder that changed since may change again without its time telling."""

Files = dict[str, list[Path]]
"""By the name of a slide."""


@dataclass(frozen=True)
class Annotations:
    """What is drawn on one slide.

    `areas` holds valid polygons and `points` float64 (points, 2) by class, in level-0 pixels. A class may
    be named with nothing drawn (a negative slide). `notes` says what was repaired or ignored.
    """

    path: Path
    areas: Mapping[str, MultiPolygon] = field(default_factory=dict)
    points: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names the file uses, in order of appearance."""
        return tuple(self.areas)

    def area_of(self, classes: Sequence[str], *, exclude: Sequence[str] = ()) -> BaseGeometry:
        """Union of the polygons of some classes (any letter case), without those of the excluded classes.

        A class stands also for those derived from it: "Tumor" for "Tumor: Positive".
        """
        inside = shapely.union_all([self.areas[name] for name in self._named(classes)])
        return inside.difference(shapely.union_all([self.areas[name] for name in self._named(exclude)]))

    def points_of(self, classes: Sequence[str]) -> np.ndarray:
        """Points of some classes, as `area_of`: float64 (points, 2)."""
        return np.concatenate([np.empty((0, 2)), *(self.points[name] for name in self._named(classes))])

    def _named(self, classes: Sequence[str]) -> list[str]:
        return [name for name in self.classes if any(_is_of(name, wanted) for wanted in classes)]


def _is_of(name: str, wanted: str) -> bool:
    """Whether a class is the one that is wanted, or derived from it, in any letter case."""
    name, wanted = name.casefold(), composed(wanted).strip().casefold()
    return name == wanted or name.startswith(f"{wanted}:")


def read_annotations(
    path: str | Path,
    *,
    slide_size: tuple[int, int] | None = None,
    slide_mpp: float | None = None,
    bounds: Bounds | None = None,
    labels: MaskLabels = MaskLabels(),  # noqa: B008  frozen
) -> Annotations:
    """Read the annotations of one slide; the format is told from the content.

    GeoJSON as QuPath writes it (a FeatureCollection, one Feature or a list of them; the class is
    `classification.name`, a plain string, or `properties.class`), XML of ASAP and ImageScope, the CAMELYON JSON of
    `positive` and `negative` polygons (the negative ones are cut out of the positive), or a label image (PNG, TIFF),
    whose pixel values `labels` names. Lines are ignored, invalid polygons repaired; both are noted.

    Args:
        slide_size: width and height in level-0 pixels. A label image covers just this; outlines that leave it by more
            than 1 % of the longer side are refused.
        slide_mpp: um per level-0 pixel, for label images of a scale of their own.
        bounds: the scanned part (x, y, width, height) where it is not the whole slide. QuPath shows only this part and
            counts from its corner, and so GeoJSON is read, unless it says another origin or does not fit there.

    Raises:
        AnnotationError: unreadable, of another format, or drawn outside the slide.
    """
    path = path_of(path, "a file of annotations")
    drawing = Drawing(path)
    if suffix_of(path) in label_image.SUFFIXES:
        add_label_image(drawing, labels, slide_size=slide_size, slide_mpp=slide_mpp)
    else:
        _add_outlines(drawing, bounds)
    points = {name: np.concatenate(parts) for name, parts in drawing.points.items()}
    annotations = Annotations(path, drawing.areas(), points, tuple(drawing.notes))
    if slide_size is not None:
        _check_inside(annotations, slide_size)
    return annotations


def find_annotation(folder: str | Path, slide: str) -> Path | None:
    """The annotation file of a slide in a folder, or None.

    `<slide>.geojson`, `.json` (both also with `.gz`) or `.xml`; where there is none, `<slide>_mask.png`, `.tif` or
    `.tiff`. The suffix of the slide's own file may stand between, as in `<slide>.svs.geojson`.

    Raises:
        AnnotationError: the slide has more than one.
    """
    outlines, masks = _files_in(Path(folder))
    found = outlines.get(slide) or masks.get(slide) or []
    if len(found) > 1:
        raise AnnotationError(
            f"slide {slide} has more than one annotation file",
            found=", ".join(path.name for path in found),
            fix="keep one of them in the folder",
        )
    return found[0] if found else None


def unused_annotations(folder: str | Path, slides: Iterable[str]) -> list[Path]:
    """The annotation files in a folder that are of none of these slides: a name that was written otherwise, perhaps."""
    known, rest = set(slides), dict[Path, bool]()
    for files in _files_in(Path(folder)):
        for slide, paths in files.items():
            for path in paths:
                rest[path] = rest.get(path, False) or slide in known
    return sorted(path for path, used in rest.items() if not used)


def _files_in(folder: Path) -> tuple[Files, Files]:
    """The files of outlines and the masks in a folder by the slides that they can be of; none where it is no folder."""
    try:
        changed_ns = folder.stat().st_mtime_ns
        settled = time.time_ns() - changed_ns > SETTLED_NS
        return _listed(folder, changed_ns) if settled else _listed.__wrapped__(folder, changed_ns)
    except PermissionError as error:
        raise AnnotationError(f"the folder {folder} may not be read", fix="ask for the right to") from error
    except OSError:
        return {}, {}


@lru_cache(maxsize=4)
def _listed(folder: Path, changed_ns: int) -> tuple[Files, Files]:
    """A listing is kept until the folder changes: every slide of a cohort asks for it."""
    both: tuple[Files, Files] = {}, {}
    for file in sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.is_file()):
        name = composed(file.name)
        for suffixes, files in zip((SUFFIXES, MASK_SUFFIXES), both, strict=True):
            suffix = next((one for one in suffixes if name.lower().endswith(one)), None)
            if suffix is None:
                continue
            stem = original_name(name[: -len(suffix)])
            own = next((stem[: -len(end)] for end in SLIDE_SUFFIXES if stem.lower().endswith(end)), stem)
            for slide in {stem, own}:
                files.setdefault(slide, []).append(file)
    return both


def require_classes(annotations: Iterable[Annotations], classes: Sequence[str]) -> None:
    """Check that each class is used by at least one slide of a cohort (a single negative slide may lack it).

    Raises:
        AnnotationError: a class occurs in no file; the message lists the classes that do.
    """
    known = sorted({name for slide in annotations for name in slide.classes})
    missing = [name for name in classes if not any(_is_of(other, name) for other in known)]
    if missing or not classes:
        raise AnnotationError(
            "no annotation file has the class " + ", ".join(map(repr, missing)) if missing else "no class was named",
            found=f"classes {', '.join(known) or '(none)'}",
            fix="name one of the classes found (letter case does not matter)",
        )


def _add_outlines(drawing: Drawing, bounds: Bounds | None) -> None:
    """Add what a file of outlines and points holds."""
    path = drawing.path
    packed = suffix_of(path) == ".gz"
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            # a packed file may claim to hold anything, and what `read` is asked for it takes at once
            content = b"".join(islice(iter(partial(file.read, PIECE), b""), MOST_BYTES // PIECE + 1))
    except (OSError, EOFError, zlib.error) as error:
        raise AnnotationError(f"cannot read {path}", found=getattr(error, "strerror", None) or error) from error
    if len(content) > MOST_BYTES:
        raise AnnotationError(f"{path} is too large to be annotations", found=f"more than {MOST_BYTES:.2g} bytes")
    if not content.strip():
        fix = "export it again; a slide on which nothing is drawn has a file without features, or none"
        raise AnnotationError(f"{path} is empty", found=f"{len(content)} bytes", fix=fix)
    if content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") or path.name.lower().removesuffix(".gz").endswith(
        ".xml"
    ):
        add_xml(content, drawing)
    else:
        add_json(content, drawing, bounds)


def _check_inside(annotations: Annotations, slide_size: tuple[int, int]) -> None:
    margin = OUTSIDE_MARGIN * max(slide_size)
    bounds = bounds_of(annotations)
    if (bounds[:2] < -margin).any() or (bounds[2:] > np.add(slide_size, margin)).any():
        raise AnnotationError(
            f"{annotations.path} is drawn outside its slide",
            found=f"x {bounds[0]:.0f} to {bounds[2]:.0f}, y {bounds[1]:.0f} to {bounds[3]:.0f} "
            f"on a slide of {slide_size[0]} x {slide_size[1]} level-0 pixels",
            fix="check that it is of this slide and in level-0 pixels, not micrometres or another level",
        )


def bounds_of(annotations: Annotations) -> np.ndarray:
    """x and y of the first and of the last thing drawn, float64 (4,); NaN where nothing is."""
    shapes = [*annotations.areas.values(), *map(shapely.multipoints, annotations.points.values())]
    return shapely.total_bounds(np.array(shapes, dtype=object)) if shapes else np.full(4, np.nan)
