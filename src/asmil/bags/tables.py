"""Tables and names as people write them: csv, tsv or xlsx, columns and slides under many names."""

import csv
import io
import re
import zipfile
from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from asmil.errors import CohortError, as_typed
from asmil.files import composed, suffix_of
from asmil.slides import file_name, scene_number

if TYPE_CHECKING:
    from openpyxl.cell._read_only import ReadOnlyCell
    from openpyxl.worksheet._read_only import ReadOnlyWorksheet


@dataclass(frozen=True)
class Problem:
    """What is wrong with a slide (with an empty `slide`: a whole table) and what to do about it."""

    slide: str
    what: str
    fix: str = ""
    path: Path | None = None

    def __str__(self) -> str:
        where = ": ".join(part for part in (self.slide, str(self.path or "")) if part)
        return f"{where}: {self.what}" + (f" ({self.fix})" if self.fix else "")


def listed(names, limit: int = 5) -> str:
    """Names in one line, cut after `limit`, for messages."""
    names = [str(name) for name in names]
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


MISSING = {
    *("", "na", "n/a", "nan", "<na>", "null", "not available", "[not available]", "not applicable", "#n/a"),
    *("--", "'--", "not reported"),  # as the GDC writes
    *("#value!", "#ref!", "#name?", "#div/0!", "#num!", "#null!"),  # what is left in spreadsheets of a broken formula
}
"""Cells that mean "unknown", in lower case; not "None", which is a class name in CAMELYON tables."""

TWIN = re.compile(r" \(column \d+\)$")
"""How a name goes on that a table has twice, for columns of different cells: it is never known which one is meant."""

Rows = list[list[str]]


def read_table(source: str | Path | pd.DataFrame) -> pd.DataFrame:
    """A table with every cell as stripped text, so that "007" stays "007"; unknown cells are empty.

    `book.xlsx#Sheet` is that sheet of a workbook, which has to be named where several are filled, or the only one is
    hidden. The columns that a sheet hides are in `attrs["hidden"]`.

    Raises:
        CohortError: no such file, not a readable csv, tsv or xlsx table, several sheets, rows that are hidden or cells
            that are merged over several, formulas without values, or a row of more cells than there are columns.
    """
    hidden: Sequence[tuple[int, int]] = ()
    if isinstance(source, pd.DataFrame):
        cells = source.astype(object).where(source.notna(), "").map(str)
        head, rows, lines = (
            [str(name) for name in cells.columns],
            cells.to_numpy().tolist(),
            list(range(1, len(cells) + 1)),
        )
    else:
        (head, *rows), lines, hidden = _rows_of(Path(source))
    while head and not head[-1].strip():
        head = head[:-1]
    for line, row in zip(lines, rows, strict=True):
        if any(cell.strip() for cell in row[len(head) :]):
            raise CohortError(
                "a row has more cells than the table has columns, so that it is not known which belongs where",
                found=f"line {line}: {listed(row, 12)}; columns {listed(head, 12)}",
                fix="write a cell that holds the separator in quotes, or take out what is above the header",
            )
    cut = [[_known(cell) for cell in (row + [""] * len(head))[: len(head)]] for row in rows]
    columns = [composed(_UNSEEN.sub("", name).strip()) for name in head]
    return _with_unique_names(pd.DataFrame(cut, columns=columns, dtype=object), hidden)


_UNSEEN = re.compile("[\u00ad\u200b\u200e\u200f\u2060\ufeff]+")
"""What is copied from documents with a name and cannot be seen: no two names differ by it."""


def _known(cell: str) -> str:
    cell = _UNSEEN.sub("", cell).strip()
    return "" if cell.lower() in MISSING else composed(cell)


def _with_unique_names(table: pd.DataFrame, hidden: Sequence[tuple[int, int]]) -> pd.DataFrame:
    """Columns of one name and the same cells are one; others say which column of the table they are."""
    names, keep = list(table.columns), []
    for place, name in enumerate(names):
        others = [other for other, own in enumerate(names) if own == name]
        same = all(table.iloc[:, other].equals(table.iloc[:, place]) for other in others)
        if not same:
            keep.append((place, f"{name} (column {place + 1})"))
        elif place == others[0]:
            keep.append((place, name))
    unique = table.iloc[:, [place for place, _ in keep]].set_axis([name for _, name in keep], axis=1)
    unseen = [name for place, name in keep if any(first <= place + 1 <= last for first, last in hidden)]
    unique.attrs["hidden"] = unseen
    return unique


def _rows_of(path: Path) -> tuple[Rows, list[int], Sequence[tuple[int, int]]]:
    """The cells of a file without blank rows, the line or row of each but the first, and ranges of hidden columns."""
    file, sheet = table_file(path)
    if not file.is_file():
        raise CohortError("there is no such table", found=path)
    layout = _Layout()
    try:
        if suffix_of(file) in (".xlsx", ".xlsm"):
            numbered, layout = _sheet(file, sheet)
        else:
            content = file.read_bytes()
            wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")  # as Excel saves "Unicode text"
            numbered = _separated(content.decode("utf-16" if wide else "utf-8-sig"))
    except CohortError:
        raise
    except Exception as error:  # what a damaged workbook makes its reader raise cannot be listed
        fix = "save it as csv (UTF-8), tsv or xlsx with one header row"
        raise CohortError(f"{file.name} is not a readable table", found=error, fix=fix) from error
    numbered = [(line, row) for line, row in numbered if any(cell.strip() for cell in row)]
    if not numbered:
        raise CohortError(f"{file.name} is not a readable table", found="no cells", fix="give one with a header row")
    width = max(place for place, cell in enumerate(numbered[0][1], 1) if cell.strip())
    _require_seen(file, layout, [line for line, _ in numbered], width)
    return [row for _, row in numbered], [line for line, _ in numbered[1:]], layout.hidden_columns


def table_file(path: Path) -> tuple[Path, str]:
    """The file of a table, and the sheet that is named after it: `book.xlsx#Sheet`."""
    file, mark, sheet = path.name.partition("#")
    return (path, "") if not mark or path.exists() else (path.with_name(file), sheet)


MOST_UNPACKED, MOST_PACKED = 1 << 25, 100
"""Bytes that a workbook may unpack to whatever its size, and how often its own bytes a larger one may be."""


def _require_packed_fairly(path: Path) -> None:
    with zipfile.ZipFile(path) as book:
        unpacked = sum(member.file_size for member in book.infolist())
    if unpacked > max(MOST_UNPACKED, MOST_PACKED * path.stat().st_size):
        found = f"{unpacked:,} bytes packed into {path.stat().st_size:,}"
        raise CohortError(f"{path.name} unpacks to more than a table", found=found, fix="save it as csv (UTF-8)")


_MARK = re.compile(rb"<(?:\w+:)?(row|col|mergeCell|c|f|v)(?=[\s/>])([^<>]*)>([^<]*)|<(/)(?:\w+:)?sheetData>")
_SAID = re.compile(r"\b(\w+)\s*=\s*[\"']([^\"']*)[\"']")


@dataclass
class _Layout:
    """What a sheet says beside its cells, which a reader of cells alone does not tell."""

    hidden: set[int] = field(default_factory=set)
    hidden_columns: list[tuple[int, int]] = field(default_factory=list)
    merged: list[str] = field(default_factory=list)
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


def _uncalculated(path: Path, layout: _Layout) -> list[str]:
    """The cells of formulas without a value, and of all of them where each has 0 and is yet to be calculated."""
    without = [cell for cell, value in layout.formulas.items() if not value]
    if layout.formulas and set(layout.formulas.values()) == {b"0"}:  # XlsxWriter writes it, and that it is none
        with zipfile.ZipFile(path) as book:
            without = list(layout.formulas) if b'fullCalcOnLoad="1"' in book.read("xl/workbook.xml") else []
    return without


def _require_seen(path: Path, layout: _Layout, lines: Sequence[int], width: int) -> None:
    """Refuse a sheet of which a person sees other rows than are read, or sees a value in rows that have none.

    Raises:
        CohortError: rows with cells are hidden, cells are merged over several of them, or formulas have no values.
    """
    from openpyxl.utils.cell import range_boundaries

    if uncalculated := _uncalculated(path, layout):
        what, fix = f"{path.name} has formulas without their values", "open it in a spreadsheet, and save it"
        raise CohortError(f"{what}, as scripts write them", found=listed(uncalculated), fix=fix)
    if hidden := [line for line in lines if line in layout.hidden]:
        raise CohortError(
            f"{path.name} has rows that its sheet hides, and it is not known whether they are meant",
            found=f"{len(hidden)} of {len(lines)}: rows {listed(hidden, 8)}",
            fix="show them (clear the filter, unhide all rows), or delete them, and save; a csv would hold them, too",
        )
    areas = {cells: range_boundaries(cells) for cells in layout.merged}
    over = [
        c for c, (at, first, _, last) in areas.items() if at <= width and sum(first <= n <= last for n in lines) > 1
    ]
    if over:
        what = f"{path.name} has cells that are merged over several rows, of which only the first has the value"
        raise CohortError(what, found=listed(over), fix="unmerge them, and write the value into every row")


def _separated(text: str) -> list[tuple[int, list[str]]]:
    """Rows of text by whichever separator parts the first line into most cells; quoted cells may hold lines."""
    if "\0" in text:
        raise ValueError("bytes of zero, as in a file that is no text or not UTF-8")
    lines = text.splitlines(keepends=True)
    first = next((line for line in lines if line.strip()), "")
    separator = max("\t,;|", key=lambda mark: len(next(csv.reader([first], delimiter=mark), [])))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    return [(reader.line_num, row) for row in reader]


MOST_ROWS, MOST_CELLS = 1 << 20, 1 << 25
"""Rows of a sheet, which is what a spreadsheet can have, and cells that its rows may be wide together."""


def _sheet(path: Path, name: str) -> tuple[list[tuple[int, list[str]]], _Layout]:
    """The rows of the named sheet, or of the only one that has cells, without those that have none; and its layout."""
    import openpyxl

    _require_packed_fairly(path)
    book = openpyxl.load_workbook(path, read_only=True, data_only=True, keep_links=False)
    with closing(book):
        layouts = {sheet.title: _layout(path, sheet._worksheet_path) for sheet in book.worksheets}
        filled = {sheet.title: rows for sheet in book.worksheets if (rows := _filled_rows(sheet, path))}
        unseen = [sheet.title for sheet in book.worksheets if sheet.sheet_state != "visible"]
    if name and name not in filled:
        raise CohortError(f"{path.name} has no sheet {name!r} with cells", found=f"sheets {listed(filled, 12)}")
    if not filled:
        return [], _Layout()
    meant = name or next((title for title in filled if title not in unseen), next(iter(filled)))
    if not name and (len(filled) > 1 or meant in unseen):
        what = "has several sheets" if len(filled) > 1 else "has cells in a hidden sheet only"
        found = listed((f"{title} (hidden)" if title in unseen else title for title in filled), 12)
        fix = f"name the one that is meant: {as_typed(f'{path}#{meant}')}"
        raise CohortError(f"{path.name} {what}", found=found, fix=fix)
    return filled[meant], layouts[meant]


def _filled_rows(sheet: "ReadOnlyWorksheet", path: Path) -> list[tuple[int, list[str]]]:
    """The rows of a sheet that have cells, by their numbers, each as long as it is filled.

    A cell far below or to the right makes a million rows, or thousands of columns, of nothing: these are passed over.
    """
    sheet.reset_dimensions()  # what a file says of its size is not always so
    rows, width = [], 0
    for line, row in enumerate(sheet.rows, start=1):
        width += len(row)
        if line > MOST_ROWS or width > MOST_CELLS:
            found = (
                f"more than {MOST_ROWS if line > MOST_ROWS else MOST_CELLS:,} {'rows' if line > MOST_ROWS else 'cells'}"
            )
            fix = "take out the cells far below and to the right of the table, or save it as csv (UTF-8)"
            raise CohortError(f"{path.name} has a sheet that is larger than any table", found=found, fix=fix)
        while row and row[-1].value is None:
            row = row[:-1]
        if row:
            rows.append((line, [_text_of(cell) for cell in row]))
    return rows


def _text_of(cell: "ReadOnlyCell") -> str:
    """The text of a cell: whole numbers without a point, and nothing of a formula that failed.

    A number of more digits than a spreadsheet keeps is shown as it does: its last digits are not known.
    """
    value, kind = cell.value, cell.data_type
    if value is None or kind == "e":
        return ""
    if isinstance(value, float) and abs(value) >= 1e15:
        return f"{value:.14E}"
    return str(int(value)) if kind == "n" and value == int(value) else str(value)


# From file names to slide names, and which of two spellings mean the same slide.

_FILE_SUFFIX = re.compile(
    r"\.(h5|hdf5|h5ad|pt|pth|npy|npz|zarr|svs|svslide|tiff?|ndpi|mrxs|scn|vms|vmu|bif|dcm|czi|isyntax)$", re.IGNORECASE
)
_TOOL_SUFFIX = re.compile(r"(_{1,2}features|\.(features|patch|embeddings))$", re.IGNORECASE)
_UUID = re.compile(r"\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", re.IGNORECASE)
_TCGA = re.compile(r"^(TCGA-[A-Z0-9]{2})-[A-Z0-9]{4}\b", re.IGNORECASE)
_POINT_ZERO = re.compile(r"(\d+)\.0")


def slide_name(file_name: str) -> str:
    """The slide's name in a file name: `a/x.svs.h5`, `x__features.h5` and `x.features.h5` are all x.

    Only known suffixes are cut, because slide names contain dots (`TCGA-...-DX1.8923A151-...`).
    """
    name = re.split(r"[/\\]", composed(file_name.strip()))[-1]
    while (shorter := _FILE_SUFFIX.sub("", name)) != name:
        name = shorter
    return _TOOL_SUFFIX.sub("", name) or name


def tcga_case(name: str) -> str | None:
    """The patient part of a TCGA barcode (`TCGA-AA-1234`), or None."""
    return match.group(0).upper() if (match := _TCGA.match(name)) else None


def tcga_site(name: str) -> str | None:
    """The tissue source site of a TCGA barcode (`TCGA-AA`), or None."""
    return match.group(1).upper() if (match := _TCGA.match(name)) else None


def without_point_zero(name: str, known: Container[str]) -> str:
    """A whole number as it was before a spreadsheet made it `1000.0`, where that is no known name and `1000` is one."""
    number = _POINT_ZERO.fullmatch(name)
    return number[1] if number and name not in known and number[1] in known else name


class SlideNames:
    """Names to look others up in; a barcode with its UUID also matches the one without, and `1000.0` matches `1000`."""

    def __init__(self, names: Iterable[str]):
        self._names = set(names)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for name in sorted(self._names):
            self._by_stem[_UUID.sub("", name)].append(name)

    def find(self, name: str) -> list[str]:
        """The names that can mean `name`: none, one, or several where it is ambiguous."""
        for spelling in (name, slide_name(name)):
            if spelling in self._names:
                return [spelling]
        name = without_point_zero(slide_name(name), self._names)
        stem = _UUID.sub("", name)
        candidates = self._by_stem.get(stem, [])
        if stem == name:
            return candidates
        # Two different UUIDs are two different files of a slide; the same one may be written in either case.
        return [other for other in candidates if other == stem or other.lower() == name.lower()]

    def find_or_file(self, name: str) -> list[str]:
        """As `find`; of a scene that has no name of its own here, the names that can mean its file."""
        return self.find(name) or self.find(file_name(slide_name(name)))

    def scenes(self, name: str) -> list[str]:
        """The names of all scenes of the file called `name`, in their order; none where it can be several files."""
        files = self._files.find(name) if self._files else []
        return self._scenes[files[0]] if len(files) == 1 else []

    @cached_property
    def _scenes(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for name in sorted(self._names, key=lambda name: scene_number(name) or 0):
            if scene_number(name) is not None:
                found[file_name(name)].append(name)
        return found

    @cached_property
    def _files(self) -> "SlideNames | None":
        return SlideNames(self._scenes) if self._scenes else None
