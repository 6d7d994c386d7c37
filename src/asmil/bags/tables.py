"""Tables and names as people write them: csv, tsv or xlsx, columns and slides under many names."""

import csv
import io
import re
from collections import defaultdict
from collections.abc import Collection, Container, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from asmil.errors import CohortError, as_typed, require_kind
from asmil.files import composed, path_of, suffix_of
from asmil.slides import file_name, scene_number
from asmil.units import has_decimal_commas

if TYPE_CHECKING:
    from asmil.bags.reading.workbook import Sheet


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

Lines = list[tuple[int, list[str]]]
"""Cells of rows, each with its line or row of the file."""


def read_table(source: str | Path | pd.DataFrame, *, judged: bool = True) -> pd.DataFrame:
    """A table with every cell as stripped text, so that "007" stays "007"; unknown cells are empty.

    `book.xlsx#Sheet` is that sheet of a workbook, which has to be named where several are filled and seen, or the only
    one is hidden. The columns that a sheet hides are in `attrs["hidden"]`, remarks in `attrs["remarks"]`. Without
    `judged` the caller has `require_seen` judge the columns that it uses.

    Raises:
        CohortError: no such file, not a readable csv, tsv or xlsx table, several sheets, or a row of more cells than
            there are columns; and as `require_seen` of all columns.
    """
    sheet = None
    if isinstance(source, pd.DataFrame):
        cells = source.astype(object).where(source.notna(), "").map(str)
        head, rows, lines = (
            [str(name) for name in cells.columns],
            cells.to_numpy().tolist(),
            list(range(1, len(cells) + 1)),
        )
    else:
        ((_, head), *numbered), sheet = _lines_of(path_of(source, "a table"))
        lines, rows = [line for line, _ in numbered], [row for _, row in numbered]
    while head and not head[-1].strip():
        head = head[:-1]
    _require_head_first(head, lines, rows)
    for line, row in zip(lines, rows, strict=True):
        if any(cell.strip() for cell in row[len(head) :]):
            raise CohortError(
                "a row has more cells than the table has columns, so that it is not known which belongs where",
                found=f"line {line}: {listed(row, 12)}; columns {listed(head, 12)}",
                fix="write a cell that holds the separator in quotes, or take out what is not in the table's columns",
            )
    cut = [[_known(cell) for cell in (row + [""] * len(head))[: len(head)]] for row in rows]
    columns = [composed(_UNSEEN.sub("", name).strip()) for name in head]
    table = _with_unique_names(pd.DataFrame(cut, columns=columns, dtype=object), sheet)
    if judged:
        require_seen(table, source, table.columns)
    return table


def require_seen(table: pd.DataFrame, source: object, used: Collection[str], *, numbers: Collection[str] = ()) -> None:
    """Refuse a sheet of which a person sees other rows than are read, or values in rows that have none, in columns that
    are `used`; and `numbers` of which it is not known what they mean.

    Raises:
        CohortError: rows with cells are hidden or struck through, cells are merged over several of them, formulas have
            no values, or 1.234 stands in a table whose decimals have commas.
    """
    _require_one_mark(table, numbers)
    if marks := table.attrs["marks"]:
        from asmil.bags.reading.workbook import require_no_marks

        places = {place for name, place in table.attrs["places"].items() if name in used}
        name = table_file(Path(str(source)))[0].name
        require_no_marks(name, marks, places, rows=len(table) + 1)


def _require_one_mark(table: pd.DataFrame, numbers: Collection[str]) -> None:
    """Refuse numbers with points that are thousands, perhaps, as decimals of the same table have commas."""
    commas = [name for name in table.columns if has_decimal_commas(table[name])]
    for cells in (table[name] for name in numbers if commas and name in table and name not in commas):
        points = cells[cells.str.contains(".", regex=False)]
        if len(points) and points.str.fullmatch(r"[-+]?[1-9]\d{0,2}(\.\d{3})+").all():
            example = next(cell for cell in table[commas[0]] if "," in cell)
            raise CohortError(
                f"column {cells.name!r} has numbers that may mean thousands or decimals",
                found=f"{listed(points, 3)}; decimals of column {commas[0]!r} have commas: {example}",
                fix="write all numbers of the table without separators of thousands",
            )


def _require_head_first(head: list[str], lines: list[int], rows: list[list[str]]) -> None:
    """Refuse a table in which a title, or anything else, stands above the names of its columns."""
    from asmil.bags.columns import known_names

    for line, row in list(zip(lines, rows, strict=True))[:MOST_ABOVE] if not known_names(head) else ():
        if len(names := known_names(part for cell in row for part in re.split(r"[\t,;|]", cell))) > 1:
            raise CohortError(
                "the first row of the table has no names of its columns",
                found=f"{listed(filter(None, head), 3)}; in line {line} are {listed(names)}",
                fix=f"take out what is above line {line}",
            )


MOST_ABOVE = 20
"""Rows in which the names of columns are looked for where the first has none."""

_UNSEEN = re.compile("[\u00ad\u200b\u200e\u200f\u2060\ufeff]+")
"""What is copied from documents with a name and cannot be seen: no two names differ by it."""


_SPACES = re.compile("[\u00a0\u2000-\u200a\u202f\u3000]")
"""What looks as a blank does, as word processors and web pages have it; line ends and tabs are left."""


def _known(cell: str) -> str:
    cell = _SPACES.sub(" ", _UNSEEN.sub("", cell)).strip()
    return "" if cell.lower() in MISSING else composed(cell)


def _with_unique_names(table: pd.DataFrame, sheet: "Sheet | None") -> pd.DataFrame:
    """Columns of one name and the same cells are one; others say which column of the table they are."""
    names, keep = list(table.columns), dict[str, int]()
    for place, name in enumerate(names):
        others = [other for other, own in enumerate(names) if own == name]
        same = all(table.iloc[:, other].equals(table.iloc[:, place]) for other in others)
        if not same:
            keep[f"{name} (column {place + 1})"] = place
        elif place == others[0]:
            keep[name] = place
    unique = table.iloc[:, list(keep.values())].set_axis(list(keep), axis=1)
    ranges = sheet.hidden_columns if sheet else ()
    unseen = [name for name, place in keep.items() if any(first <= place + 1 <= last for first, last in ranges)]
    unique.attrs |= {"hidden": unseen, "places": keep}
    unique.attrs |= {"marks": sheet.marks, "remarks": sheet.remarks} if sheet else {"marks": (), "remarks": ()}
    return unique


def _lines_of(path: Path) -> tuple[Lines, "Sheet | None"]:
    """The lines of a file that are not blank, and the sheet of a workbook that they are of."""
    file, name = table_file(path)
    if not file.is_file():
        what = "a folder is no table" if file.is_dir() else "there is no such table"
        raise CohortError(what, found=path, fix="check the path: csv, tsv or xlsx")
    if suffix_of(file) in OTHER_BOOKS:
        fix = "save it as xlsx, or as csv (UTF-8), with one header row"
        raise CohortError(f"{file.name} is a workbook of a kind that is not read", found=suffix_of(file), fix=fix)
    sheet = None
    try:
        if suffix_of(file) in (".xlsx", ".xlsm"):
            from asmil.bags.reading.workbook import read_sheet

            sheet = read_sheet(file, name)
            numbered = sheet.rows
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
    return numbered, sheet


OTHER_BOOKS = (".xls", ".xlsb", ".ods", ".numbers")
"""Suffixes of workbooks that openpyxl does not read."""


def table_file(path: Path) -> tuple[Path, str]:
    """The file of a table, and the sheet that is named after it: `book.xlsx#Sheet`."""
    file, mark, sheet = path.name.partition("#")
    return (path, "") if not mark or path.exists() else (path.with_name(file), sheet)


def _separated(text: str) -> Lines:
    """Rows of text by whichever separator parts the first line into most cells; quoted cells may hold lines."""
    if "\0" in text:
        raise ValueError("bytes of zero, as in a file that is no text or not UTF-8")
    lines = text.splitlines(keepends=True)
    first = next((line for line in lines if line.strip()), "")
    separator = max("\t,;|", key=lambda mark: len(next(csv.reader([first], delimiter=mark), [])))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    return [(reader.line_num, row) for row in reader]


# What spreadsheets make of names.

_ROUNDED = re.compile(r"\d([.,]\d+)?e\+\d+", re.IGNORECASE)


def require_whole_names(table: pd.DataFrame, columns: Iterable[str | None]) -> None:
    """Refuse names that a spreadsheet made rounded numbers of: 1.23457E+11 is what many of 12 digits become.

    Raises:
        CohortError: there are such names.
    """
    for column in filter(None, columns):
        require_no_dates(table[column], column)
        if (rounded := table[column].str.fullmatch(_ROUNDED)).any():
            raise CohortError(
                f"column {column!r} has rounded numbers for names, so that several names may have become one",
                found=f"{rounded.sum()} of {len(table)} rows: {listed(table[column][rounded].unique(), 3)}",
                fix="make that column text (in Excel: format of the cells) before the table is saved as csv",
            )


_MONTHS = "Jan|Feb|Mar|Mär|Mrz|Apr|May|Mai|Jun|Jul|Aug|Sep|Oct|Okt|Nov|Dec|Dez"
_STAMPED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_DATE = re.compile(
    rf"{_STAMPED.pattern}|\d{{4}}-\d\d-\d\d|\d\d?[./]\d\d?[./]\d{{4}}|\d\d?[-. ]+({_MONTHS})|({_MONTHS})[- ]\d\d?"
)


def require_no_dates(cells: pd.Series, column: str, *, classes: bool = False) -> None:
    """Refuse names that a spreadsheet made dates of, as of 1-2 or MAR1: such cells of a workbook, and dates as classes.

    Raises:
        CohortError: there are such cells.
    """
    if (dates := cells.str.fullmatch(_DATE if classes else _STAMPED)).any():
        meant = cells[dates].unique()
        fix = "make that column text (in Excel: format of the cells), and write what was meant"
        also = f"; where dates are meant, name them: {as_typed('--classes', ','.join(meant[:6]))}" if classes else ""
        raise CohortError(
            f"column {column!r} has dates for {'classes' if classes else 'names'}, as spreadsheets make of 1-2 or MAR1",
            found=f"{dates.sum()} of {len(cells)} rows: {listed(meant, 3)}",
            fix=fix + also,
        )


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
            self._by_stem[_SPACES.sub(" ", _UUID.sub("", name))].append(name)

    def find(self, name: str) -> list[str]:
        """The names that can mean `name`: none, one, or several where it is ambiguous."""
        require_kind(name, str, called="the name of a slide", fix="give a text")
        for spelling in (name, slide_name(name)):
            if spelling in self._names:
                return [spelling]
        name = without_point_zero(slide_name(name), self._names)
        stem = _UUID.sub("", name)
        candidates = self._by_stem.get(_SPACES.sub(" ", stem), [])
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
