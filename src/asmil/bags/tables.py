"""Tables and names as people write them: csv, tsv or xlsx, columns and slides under many names."""

import difflib
import re
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from asmil.errors import CohortError
from asmil.slides import file_name, scene_number


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
    "",
    "na",
    "n/a",
    "nan",
    "<na>",
    "null",
    "not available",
    "[not available]",
    "not applicable",
    "#n/a",
}
"""Cells that mean "unknown", in lower case; not "None", which is a class name in CAMELYON tables."""

ALIASES = {
    "slide": ("slide", "slide_id", "slideid", "slide_name", "filename", "filenames", "file_name", "wsi"),
    "case": ("case", "case_id", "caseid", "patient", "patient_id", "patientid", "submitter_id"),
    "site": ("site", "center", "centre", "hospital", "institution", "tissue_source_site"),
    "mpp": ("mpp", "slide_mpp"),
    "fold": ("fold",),
    "part": ("part", "split"),
}
"""Column names of each role, in lower case; the first that a table has is taken."""


def read_table(source: str | Path | pd.DataFrame) -> pd.DataFrame:
    """A table with every cell as stripped text, so that "007" stays "007"; unknown cells are empty.

    Raises:
        CohortError: no such file, or not a readable csv, tsv or xlsx table.
    """
    if isinstance(source, pd.DataFrame):
        table = source.astype(object).where(source.notna(), "").map(str)
    else:
        table = _read_file(Path(source))
    table = table.rename(columns=lambda name: str(name).strip())
    return table.map(lambda cell: "" if cell.strip().lower() in MISSING else cell.strip())


def _read_file(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise CohortError("there is no such table", found=path)
    try:
        if path.suffix.lower() in (".xlsx", ".xlsm"):
            _require_packed_fairly(path)
            return pd.read_excel(path, dtype=str, keep_default_na=False)
        with path.open(encoding="utf-8-sig") as file:
            head = file.readline()
        separator = max("\t,;", key=head.count)
        return pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False)
    except (
        pd.errors.ParserError,
        pd.errors.EmptyDataError,
        UnicodeDecodeError,
        ValueError,
        zipfile.BadZipFile,
    ) as error:
        fix = "save it as csv (UTF-8), tsv or xlsx with one header row"
        raise CohortError(f"{path.name} is not a readable table", found=error, fix=fix) from error


MOST_UNPACKED, MOST_PACKED = 1 << 25, 100
"""Bytes that a workbook may unpack to whatever its size, and how often its own bytes a larger one may be."""


def _require_packed_fairly(path: Path) -> None:
    with zipfile.ZipFile(path) as book:
        unpacked = sum(member.file_size for member in book.infolist())
    if unpacked > max(MOST_UNPACKED, MOST_PACKED * path.stat().st_size):
        found = f"{unpacked:,} bytes packed into {path.stat().st_size:,}"
        raise CohortError(f"{path.name} unpacks to more than a table", found=found, fix="save it as csv (UTF-8)")


def find_column(table: pd.DataFrame, role: str, override: str | None = None) -> str | None:
    """The column that plays a role, None where there is none.

    Raises:
        CohortError: the named `override` is not in the table.
    """
    by_lower: dict[str, str] = {}
    for column in table.columns:
        by_lower.setdefault(column.lower(), column)
    if override is None:
        return next((by_lower[name] for name in ALIASES[role] if name in by_lower), None)
    if override in table.columns:
        return override
    if override.lower() in by_lower:
        return by_lower[override.lower()]
    close = difflib.get_close_matches(override.lower(), by_lower, n=1)
    fix = f"did you mean {by_lower[close[0]]!r}?" if close else f"name the {role} column"
    raise CohortError(f"the table has no column {override!r}", found=f"columns {listed(table.columns, 12)}", fix=fix)


def canonical_labels(cells: pd.Series) -> pd.Series:
    """Labels as text, with 1 and 1.0 (as spreadsheets write whole numbers) the same."""
    numbers = pd.to_numeric(cells, errors="coerce")
    whole = len(cells) > 0 and numbers.notna().all() and (numbers == numbers.round()).all()
    return numbers.astype("int64").astype(str) if whole else cells


def sorted_classes(labels: Sequence[str]) -> tuple[str, ...]:
    """The distinct labels, by number where all are numbers, else by text."""
    distinct = sorted(set(labels))
    numbers = pd.to_numeric(pd.Series(distinct, dtype=object), errors="coerce")
    return tuple(sorted(distinct, key=float) if numbers.notna().all() else distinct)


# From file names to slide names, and which of two spellings mean the same slide.

_FILE_SUFFIX = re.compile(
    r"\.(h5|hdf5|pt|pth|npy|zarr|svs|svslide|tiff?|ndpi|mrxs|scn|vms|vmu|bif|dcm|czi|isyntax)$", re.IGNORECASE
)
_TOOL_SUFFIX = re.compile(r"_{1,2}features$", re.IGNORECASE)
_UUID = re.compile(r"\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", re.IGNORECASE)
_TCGA = re.compile(r"^(TCGA-[A-Z0-9]{2})-[A-Z0-9]{4}\b")


def slide_name(file_name: str) -> str:
    """The slide's name in a file name: `a/x.svs.h5` and `x__features.h5` are both x.

    Only known suffixes are cut, because slide names contain dots (`TCGA-...-DX1.8923A151-...`).
    """
    name = re.split(r"[/\\]", file_name.strip())[-1]
    while (shorter := _FILE_SUFFIX.sub("", name)) != name:
        name = shorter
    return _TOOL_SUFFIX.sub("", name) or name


def tcga_case(name: str) -> str | None:
    """The patient part of a TCGA barcode (`TCGA-AA-1234`), or None."""
    return match.group(0) if (match := _TCGA.match(name)) else None


def tcga_site(name: str) -> str | None:
    """The tissue source site of a TCGA barcode (`TCGA-AA`), or None."""
    return match.group(1) if (match := _TCGA.match(name)) else None


class SlideNames:
    """Names to look others up in; a barcode with its UUID also matches the one without."""

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
        name = slide_name(name)
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
