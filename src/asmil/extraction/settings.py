"""The table of settings slide by slide: written to look at, edited in a spreadsheet, read back."""

import csv
import hashlib
import io
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from asmil.errors import ConfigError, TissueError, UnknownPartError, did_you_mean
from asmil.extraction.ledger import THUMBNAILS, TISSUE, content_of
from asmil.files import Facts, composed, safe_name, stem_of, suffix_of, write_csv, write_json, written_beside
from asmil.registry import FolderRegistry, FunctionRegistry
from asmil.slides import SLIDE_READERS, SLIDE_SUFFIXES, Slide, file_name
from asmil.tiles import (
    EDITED,
    MAX_HOLE_UM2,
    MIN_AREA_UM2,
    QUALITY_FLAGS,
    SMOOTHING_UM,
    TISSUE_METHODS,
    Tissue,
    find_tissue,
)

if TYPE_CHECKING:
    from asmil.encoders import Encoder

# What decides the features of a slide, and the name of the folder that holds features of one kind.


@dataclass(frozen=True)
class ExtractSettings:
    """What decides the features of a slide, beside the slide and the encoder.

    `mpp` is the scale tiles are cut at, `slide_mpp` or `objective` state the slide's own scale where its file does not,
    `reader` names the reader where the file's own is not wanted. Tiles with a quality flag of `exclude` are left out.
    `tissue_threshold`, the areas and `tissue_smoothing_um` are those of `find_tissue`.
    """

    mpp: float
    tile_px: int
    overlap_px: int = 0
    min_tissue: float = 0.5
    tissue_method: str = "otsu"
    slide_mpp: float | None = None
    objective: float | None = None
    reader: str | None = None
    exclude: tuple[str, ...] = ()
    tissue_threshold: float | None = None
    min_area_um2: float = MIN_AREA_UM2
    max_hole_um2: float = MAX_HOLE_UM2
    tissue_smoothing_um: float = SMOOTHING_UM

    @property
    def tissue(self) -> Facts:
        """The options of `find_tissue`."""
        return {
            "method": self.tissue_method,
            "threshold": self.tissue_threshold,
            "min_area_um2": self.min_area_um2,
            "max_hole_um2": self.max_hole_um2,
            "smoothing_um": self.tissue_smoothing_um,
        }


def encoder_identity(encoder: "Encoder") -> dict[str, str]:
    """What decides an encoder's features: its name, its weights, and the precision it computes in on its device."""
    return {"encoder": encoder.card.name, "weight_hash": encoder.weight_hash, "precision": encoder.precision}


def store_identity(settings: ExtractSettings, encoder: "Encoder") -> dict[str, object]:
    """What a store is: the encoder and all settings of the call.

    So other settings never touch its files. What a slide has of its own (a row of a table, an edited tissue) is kept in
    its file.
    """
    return encoder_identity(encoder) | asdict(settings)


def store_name(settings: ExtractSettings, encoder: "Encoder") -> str:
    """The folder of a store: what a person tells stores apart by, and six digits of everything.

    Example: `resnet50_256px_0.5mpp_1a2b3c`.
    """
    identity = json.dumps(store_identity(settings, encoder), sort_keys=True)
    digits = hashlib.sha256(identity.encode()).hexdigest()[:6]
    return safe_name(f"{encoder.card.name}_{settings.tile_px}px_{settings.mpp:g}mpp_{digits}")


def tissue_of(slide: Slide, folder: Path, *, settings: ExtractSettings) -> Tissue:
    """The tissue of a slide: read from `folder/tissue` where it is, else found and saved there, with a thumbnail.

    A file edited or drawn elsewhere is used as it is; one as asmil found it is found again where the settings differ.

    Raises:
        TissueError: a tissue file that is not readable, or was found on another slide file.
    """
    name = safe_name(slide.name)
    content = content_of(slide.path) if slide.path.is_file() else ""  # of folders every chunk would be asked
    path = folder / TISSUE / f"{name}.geojson"
    if path.exists():
        tissue = Tissue.load(path, slide_size=slide.size, slide_mpp=slide.mpp, bounds=slide.bounds)
        if tissue.content and content and tissue.content != content:
            fix = "put that slide back, or delete the outlines: they are found again"
            raise TissueError(f"{path} was found on another slide than {slide.path.name} is now", fix=fix)
        if tissue.settings in (settings.tissue, EDITED):
            return tissue
    thumbnail = folder / THUMBNAILS / f"{name}.jpg"
    with written_beside(thumbnail) as partial:
        Image.fromarray(slide.thumbnail(max_px=1024)).save(partial, "JPEG", quality=85)
    write_json(thumbnail.with_suffix(".json"), {"slide_size": slide.size, "slide_mpp": slide.mpp})
    tissue = replace(find_tissue(slide, **settings.tissue), content=content)
    tissue.save(path)
    return tissue


POSITIVE = ("slide_mpp", "objective")
NOT_NEGATIVE = ("tissue_threshold", "min_area_um2", "max_hole_um2", "tissue_smoothing_um")
PARTS: dict[str, FolderRegistry | FunctionRegistry] = {"reader": SLIDE_READERS, "tissue_method": TISSUE_METHODS}
SETTINGS = (*POSITIVE, "reader", "tissue_method", *NOT_NEGATIVE, "exclude")
"""Columns that are settings, named as the fields of ExtractSettings."""

OUTCOME = ("found_mpp", "found_tissue_mm2", "found_polygons", "result", "reason")
"""Columns that say what was found; they are written and never read."""

COLUMNS = ("slide", *SETTINGS, *OUTCOME)


def write_slide_table(path: str | Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Write a row per slide, atomically; keys are of COLUMNS, what is None or absent is an empty cell."""
    write_csv(path, COLUMNS, ({column: _text(value) for column, value in row.items()} for row in rows))


def row_of(slide: str, settings: ExtractSettings, **outcome: object) -> dict[str, object]:
    """The row of a slide: its settings and, by the names of OUTCOME, what was found."""
    return {"slide": slide} | {name: getattr(settings, name) for name in SETTINGS} | outcome


def read_slide_table(path: str | Path, *, slides: Iterable[str] | None = None) -> dict[str, Facts]:
    """What a table says about each slide: name -> fields of ExtractSettings with their values.

    An empty cell is the default, "none" in the column exclude excludes nothing. Separators may be commas, semicolons
    or tabs, decimals may have a comma.

    Args:
        path: csv file (UTF-8).
        slides: names of the slides or files there are; None: not known.

    Raises:
        ConfigError: every mistake at once, each with its row (as a spreadsheet counts) and column.
    """
    rows = _rows(Path(path))
    header, problems = _header(rows[0])
    known = None if slides is None else set(slides)
    table: dict[str, Facts] = {}
    first_row: dict[str, int] = {}
    for number, cells in enumerate(rows[1:], start=2):
        if not any(cells):
            continue
        if any(cells[len(header) :]):
            problems.append(f"row {number}: {len(cells)} cells, the header has {len(header)}")
            continue
        values = {column: cell for column, cell in zip(header, cells, strict=False) if column}
        slide = _slide_of(values.pop("slide", ""), known)
        if not slide:
            problems.append(f"row {number}, column slide: there is no name")
        elif slide in table:
            problems.append(f"row {number}, column slide: {slide!r} is in row {first_row[slide]} already")
        elif known is not None and not known & {slide, file_name(slide)}:
            problems.append(f"row {number}, column slide: there is no slide {slide!r}{_near(slide, known)}")
        first_row.setdefault(slide, number)
        table[slide] = _overrides(values, problems, row=number)
    if problems:
        count = "1 mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        raise ConfigError("\n".join([f"{count} in {path}:", *problems]))
    return table


def settings_of(slide: str, *, default: ExtractSettings, table: Mapping[str, Facts]) -> ExtractSettings:
    """The settings of a slide: its row's over its file's, where that holds several slides, over the `default`."""
    return replace(default, **{**table.get(file_name(slide), {}), **table.get(slide, {})})


def _rows(path: Path) -> list[list[str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        separator = max(",;\t", key=text.partition("\n")[0].count)
        rows = [[composed(cell.strip()) for cell in row] for row in csv.reader(io.StringIO(text), delimiter=separator)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        fix = 'save it as "CSV UTF-8" from the spreadsheet'
        raise ConfigError(f"{path} is not a readable table of slides", found=error, fix=fix) from error
    if not rows or not any(rows[0]):
        raise ConfigError(f"{path} has no header", fix=f"its first row names the columns: slide, {', '.join(SETTINGS)}")
    return rows


def _header(cells: list[str]) -> tuple[list[str], list[str]]:
    problems = [f"row 1: there is no column {'slide'!r}"] if "slide" not in cells else []
    for index, name in enumerate(cells):
        if name and name not in COLUMNS:
            problems.append(f"row 1, column {index + 1}: unknown column {name!r}{_near(name, COLUMNS)}")
        elif name and name in cells[:index]:
            problems.append(f"row 1, column {index + 1}: {name!r} is there twice")
    return cells, problems


def _overrides(cells: Mapping[str, str], problems: list[str], *, row: int) -> Facts:
    values: Facts = {}
    for column, cell in cells.items():
        if cell and column in SETTINGS:
            try:
                values[column] = _value(column, cell)
            except (ValueError, UnknownPartError) as error:
                problems.append(f"row {row}, column {column}: {error}")
    if "slide_mpp" in values and "objective" in values:
        problems.append(f"row {row}: give slide_mpp or objective, not both")
    elif "slide_mpp" in values or "objective" in values:  # what the row says of the scale replaces the other, too
        values = {"slide_mpp": None, "objective": None} | values
    return values


def _value(column: str, cell: str) -> str | float | tuple[str, ...]:
    if column == "exclude":
        names = [] if cell.lower() == "none" else re.split(r"[\s,;|+]+", cell.lower())
        for name in names:
            QUALITY_FLAGS[name]
        return tuple(names)
    if column in PARTS:
        PARTS[column][cell]
        return cell
    thousands = "[.,]" if column.endswith("_um2") else ","
    if re.fullmatch(rf"[1-9]\d{{0,2}}({thousands}\d{{3}})+", cell):
        raise ValueError(f"{cell!r} may mean thousands or decimals; write it without the separator")
    return _number(cell, positive=column in POSITIVE)


def _number(cell: str, *, positive: bool) -> float:
    try:
        number = float(cell.replace(",", "."))
    except ValueError:
        raise ValueError(f"{cell!r} is not a number") from None
    if not math.isfinite(number) or number < 0 or (positive and number == 0):
        raise ValueError(f"{cell!r} is not a {'positive number' if positive else 'number of at least 0'}")
    return number


def _slide_of(cell: str, known: set[str] | None) -> str:
    """The slide that a cell names, by itself or by its file with the suffix."""
    stem = stem_of(Path(cell))
    named = known is None or cell in known or suffix_of(cell) not in SLIDE_SUFFIXES or stem not in known
    return cell if named else stem


def _near(name: str, known: Iterable[str]) -> str:
    question = did_you_mean(name, known)
    return question and f"; {question}"


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return " ".join(value)
    return f"{value:.15g}" if isinstance(value, float) else str(value)
