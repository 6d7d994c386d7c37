"""A sheet of a workbook: its cells as text, and what a person sees of it that a reader of cells does not tell."""

import re
import warnings
import zipfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from asmil.bags.tables import Lines, listed
from asmil.errors import CohortError, as_typed

if TYPE_CHECKING:
    from openpyxl import Workbook
    from openpyxl.cell._read_only import ReadOnlyCell
    from openpyxl.worksheet._read_only import ReadOnlyWorksheet

MOST_UNPACKED, MOST_PACKED = 1 << 25, 100
"""Bytes that a workbook may unpack to whatever its size, and how often its own bytes a larger one may be."""
MOST_ROWS, MOST_CELLS = 1 << 20, 1 << 25
"""Rows of a sheet, which is what a spreadsheet can have, and cells that its rows may be wide together."""

MOST_COLOURED = 3
"""One row of so many has a colour where a person marked them; more are stripes, or groups."""

_ZEROS = re.compile("00+")

_MARK = re.compile(rb"<(?:\w+:)?(row|col|mergeCell|c|f|v|strike)(?=[\s/>])([^<>]*)>([^<]*)|<(/)(?:\w+:)?sheetData>")
_SAID = re.compile(r"\b(\w+)\s*=\s*[\"']([^\"']*)[\"']")


class Mark(NamedTuple):
    """What of a sheet is not as it seems: its kind (`FAULTS`), where, and in which columns, counted from 0."""

    kind: str
    where: str
    columns: frozenset[int]


FAULTS = {
    "hidden": (
        "has rows that its sheet hides, and it is not known whether they are meant",
        "show them (clear the filter, unhide all rows), or delete them, and save; a csv would hold them, too",
    ),
    "struck": (
        "has rows that are struck through, and it is not known whether they are meant",
        "delete them, or take the lines through them away, and save; a csv would hold them, too",
    ),
    "merged": (
        "has cells that are merged over several rows, of which only the first has the value",
        "unmerge them, and write the value into every row",
    ),
    "uncalculated": (
        "has formulas without their values, as scripts write them",
        "open it in a spreadsheet, and save it",
    ),
}
"""What each kind of mark means for a column that is used, and what to do."""


@dataclass(frozen=True)
class Sheet:
    """The rows of a sheet that have cells; its marks; ranges of hidden columns, counted from 1; and what to remark."""

    rows: Lines
    marks: tuple[Mark, ...] = ()
    hidden_columns: tuple[tuple[int, int], ...] = ()
    remarks: tuple[str, ...] = ()


def read_sheet(path: Path, name: str) -> Sheet:
    """The named sheet, or the only one with cells that is not hidden.

    Raises:
        CohortError: no such sheet, or several that could be meant; one larger than any table; rows out of order.
    """
    import openpyxl

    _require_packed_fairly(path)
    options = {"read_only": True, "data_only": True, "keep_links": False, "rich_text": _strikes_words(path)}
    with _quietly(), closing(openpyxl.load_workbook(path, **options)) as book:
        meant, remarks = _meant(path, book, name)
        if meant is None:
            return Sheet([])
        rows, struck, coloured = _filled_rows(meant, path)
        layout = _layout(path, meant._worksheet_path)
    numbered = [(line, row) for line, row in rows if any(cell.strip() for cell in row)]
    if not numbered:
        return Sheet([])
    if 0 < len(coloured) <= len(numbered) / MOST_COLOURED:
        what = f"rows of {path.name} have a colour, which means nothing here: {listed(map(str, coloured))}"
        remarks = (*remarks, f"{what}; a column `verdict` with exclude leaves rows out")
    return Sheet(numbered, (*struck, *_marks(path, layout, numbered)), tuple(layout.hidden_columns), remarks)


@contextmanager
def _quietly() -> Iterator[None]:
    """Without openpyxl's warnings of what it does not keep: of cells nothing is lost by it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="openpyxl")
        yield


def _require_packed_fairly(path: Path) -> None:
    with zipfile.ZipFile(path) as book:
        unpacked = sum(member.file_size for member in book.infolist())
    if unpacked > max(MOST_UNPACKED, MOST_PACKED * path.stat().st_size):
        found = f"{unpacked:,} bytes packed into {path.stat().st_size:,}"
        raise CohortError(f"{path.name} unpacks to more than a table", found=found, fix="save it as csv (UTF-8)")


def _meant(path: Path, book: "Workbook", name: str) -> tuple["ReadOnlyWorksheet | None", tuple[str, ...]]:
    """The sheet to read, None where none has cells, and what there is to remark on its choice."""
    filled = {sheet.title: sheet for sheet in book.worksheets if name in ("", sheet.title) and _has_cells(sheet)}
    if name:
        if name not in filled:
            found = f"sheets {listed((sheet.title for sheet in book.worksheets), 12)}"
            raise CohortError(f"{path.name} has no sheet {name!r} with cells", found=found)
        return filled[name], ()
    if not filled:
        return None, ()
    seen = [title for title, sheet in filled.items() if sheet.sheet_state == "visible"]
    meant = next(iter(seen or filled))
    unseen = [title for title in filled if title not in seen]
    if len(seen) != 1:
        what = "has several sheets" if len(filled) > 1 else "has cells in a hidden sheet only"
        found = listed((f"{title} (hidden)" if title in unseen else title for title in filled), 12)
        fix = f"name the one that is meant: {as_typed(f'{path}#{meant}')}"
        raise CohortError(f"{path.name} {what}", found=found, fix=fix)
    passed = f"of {path.name} the sheet {meant!r} is read, and not what is hidden: {listed(map(repr, unseen))}"
    return filled[meant], (passed,) if unseen else ()


def _has_cells(sheet: "ReadOnlyWorksheet") -> bool:
    sheet.reset_dimensions()  # what a file says of its size is not always so
    return any(cell.value is not None for row in islice(sheet.rows, MOST_ROWS) for cell in row)


@dataclass
class _Layout:
    """What a sheet says beside its cells."""

    hidden: set[int] = field(default_factory=set)
    hidden_columns: list[tuple[int, int]] = field(default_factory=list)
    merged: list[str] = field(default_factory=list)
    struck: list[str] = field(default_factory=list)  # cells of whose own text words are
    formulas: dict[str, bytes] = field(default_factory=dict)  # and their values, but of those that give an empty text


def _layout(path: Path, member: str) -> _Layout:
    """What is hidden and merged in a sheet of a workbook, and the formulas of its cells.

    Raises:
        CohortError: two rows have one number: the reader of cells would leave the second out.
    """
    layout, last, cell, rest = _Layout(), 0, "", b""
    with zipfile.ZipFile(path) as book, book.open(member) as file:
        while chunk := file.read(1 << 20):
            rest += chunk
            whole = max(rest.rfind(b"<"), 0)  # an element may go on in the next chunk
            for kind, text, value, end in _MARK.findall(rest[:whole]):
                said = dict(_SAID.findall(text.decode()))
                hidden = said.get("hidden") in ("1", "true")
                if kind == b"c" or end:  # after the cells come formulas of other things
                    cell = "" if end or said.get("t") == "str" else said.get("r", cell)
                elif kind == b"f" and cell:
                    layout.formulas[cell] = b""
                elif kind == b"v" and cell in layout.formulas:
                    layout.formulas[cell] = value.strip()
                elif kind == b"strike" and cell and said.get("val") not in ("0", "false"):
                    layout.struck.append(cell)
                elif kind == b"mergeCell":
                    layout.merged.append(said["ref"])
                elif kind == b"col" and hidden:
                    layout.hidden_columns.append((int(said["min"]), int(said["max"])))
                elif kind == b"row":
                    number = int(float(said.get("r", last + 1)))
                    if number <= last:
                        found, fix = f"row {number} after row {last} in {member}", "save it anew, or as csv (UTF-8)"
                        raise CohortError(f"{path.name} has rows that are not in their order", found=found, fix=fix)
                    last = number
                    if hidden:
                        layout.hidden.add(number)
            rest = rest[whole:]
    return layout


def _marks(path: Path, layout: _Layout, rows: Lines) -> Iterator[Mark]:
    """Where a person sees other rows than are read, or a value in rows that have none, or none where one is read."""
    from openpyxl.utils.cell import coordinate_to_tuple, range_boundaries

    for row, column in sorted(set(map(coordinate_to_tuple, layout.struck))):
        yield Mark("struck", str(row), frozenset({column - 1}))
    lines = [line for line, _ in rows]
    for line, row in rows:
        if line in layout.hidden:
            yield Mark("hidden", str(line), frozenset(at for at, cell in enumerate(row) if cell.strip()))
    for cells in layout.merged:
        left, first, right, last = range_boundaries(cells)
        if sum(first <= line <= last for line in lines) > 1:
            yield Mark("merged", cells, frozenset(range(left - 1, right)))
    for cell in _uncalculated(path, layout):
        yield Mark("uncalculated", cell, frozenset({range_boundaries(cell)[0] - 1}))


def _uncalculated(path: Path, layout: _Layout) -> list[str]:
    """The cells of formulas without a value, and of all of them where each has 0 and is yet to be calculated."""
    without = [cell for cell, value in layout.formulas.items() if not value]
    if layout.formulas and set(layout.formulas.values()) == {b"0"}:  # XlsxWriter writes it, and that it is none
        with zipfile.ZipFile(path) as book:
            without = list(layout.formulas) if b'fullCalcOnLoad="1"' in book.read("xl/workbook.xml") else []
    return without


def require_no_marks(name: str, marks: Sequence[Mark], columns: Collection[int], *, rows: int) -> None:
    """Refuse a sheet that has marks in columns that are used; `rows` is how many it has, for the message.

    Raises:
        CohortError: it has; where is told.
    """
    for kind, (what, fix) in FAULTS.items():
        where = [mark.where for mark in marks if mark.kind == kind and not mark.columns.isdisjoint(columns)]
        if where:
            of = f"{len(where)} of {rows}: rows " if kind in ("hidden", "struck") else ""
            raise CohortError(f"{name} {what}", found=of + listed(where, 8), fix=fix)


def _filled_rows(sheet: "ReadOnlyWorksheet", path: Path) -> tuple[Lines, list[Mark], list[int]]:
    """The rows of a sheet that have cells, by their numbers, each as long as it is filled; which are struck out; and
    which, below the first, are coloured.

    A cell far below or to the right makes a million rows, or thousands of columns, of nothing: these are passed over.
    """
    rows, struck, coloured, width = [], list[Mark](), list[int](), 0
    for line, row in enumerate(sheet.rows, start=1):
        width += len(row)
        if line > MOST_ROWS or width > MOST_CELLS:
            found = f"more than {f'{MOST_ROWS:,} rows' if line > MOST_ROWS else f'{MOST_CELLS:,} cells'}"
            fix = "take out the cells far below and to the right of the table, or save it as csv (UTF-8)"
            raise CohortError(f"{path.name} has a sheet that is larger than any table", found=found, fix=fix)
        while row and row[-1].value is None:
            row = row[:-1]
        if row:
            texts = [_text_of(cell) for cell in row]
            rows.append((line, texts))
            if through := frozenset(at for at, text in enumerate(texts) if text.strip() and _is_struck(row[at])):
                struck.append(Mark("struck", str(line), through))
            seen = [cell for cell, text in zip(row, texts, strict=True) if text.strip()]
            if len(rows) > 1 and seen and sum(map(_is_coloured, seen)) > len(seen) / 2:
                coloured.append(line)
    return rows, struck, coloured


def _is_coloured(cell: "ReadOnlyCell") -> bool:
    """Whether a cell has a background that is not white."""
    try:
        if cell.style_array.fillId < 2:  # none, as nearly all
            return False
        fill = cell.fill
    except IndexError:  # as of fonts
        return False
    return fill.fill_type == "solid" and fill.fgColor.rgb not in ("FFFFFFFF", "00FFFFFF")


def _is_struck(cell: "ReadOnlyCell") -> bool:
    """Whether a line goes through a cell, or through some of its words."""
    try:
        own = cell.font
    except IndexError:  # of a style that the workbook does not have: it is seen as all others are
        return False
    # rich text is a list of texts and of those with a font
    parts = cell.value if isinstance(cell.value, list) else [""]
    return any(font is not None and bool(font.strike) for font in (getattr(part, "font", own) for part in parts))


def _strikes_words(path: Path) -> bool:
    """Whether words within cells are struck through, for which a reader has to look at the fonts of words."""
    with zipfile.ZipFile(path) as book:
        texts = [name for name in book.namelist() if name.lower().endswith("sharedstrings.xml")]
        return any(b"strike" in book.read(name) for name in texts)


def _text_of(cell: "ReadOnlyCell") -> str:
    """The text of a cell: whole numbers without a point, and nothing of a formula that failed.

    In texts the format writes what XML cannot hold, and the line ends of other systems, as _x000D_, and its reader
    leaves them so.

    A number whose format fills it with zeros in front has them, as they are seen: 0007. One of more digits than a
    spreadsheet keeps is shown as it does: its last digits are not known.
    """
    from openpyxl.utils.escape import unescape

    value, kind = cell.value, cell.data_type
    if value is None or kind == "e":
        return ""
    if isinstance(value, float) and abs(value) >= 1e15:
        return f"{value:.14E}"
    if kind != "n" or value != int(value):
        return unescape(str(value))
    zeros = _ZEROS.fullmatch(cell.number_format or "")
    return str(int(value)).zfill(len(zeros[0]) if zeros else 0)
