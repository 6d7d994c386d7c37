"""What became of every slide, kept beside the features: a record for each, and one table of all."""

import hashlib
import json
import os
import platform
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from asmil.files import composed, file_system_time, safe_name, write_csv, write_json

if TYPE_CHECKING:
    from asmil.extraction.job import SlideResult
    from asmil.extraction.settings import ExtractSettings
    from asmil.slides import SlideFile


# What lies in a folder of extraction; in `features` a folder per store, with what made it in `STORE`.
FEATURES, TISSUE, THUMBNAILS = "features", "tissue", "thumbnails"
STORE = "store.json"
FOLDER, TABLE, DUPLICATES = ".state", "state.csv", "duplicates.json"


@dataclass(frozen=True)
class Record:
    """A slide in a store: what became of it, when, by whom, and the `key` of all that decided it."""

    slide: str
    file: str
    result: str
    stage: str
    reason: str
    tiles: int
    seconds: float
    waiting: float
    reader: str
    flags: dict[str, int]
    store: str
    host: str
    when: str
    content: str
    key: str


COLUMNS = (*[field.name for field in fields(Record) if field.name != "key"], "same_as")


class Ledger:
    """The records of the slides in the stores of one pass: `.state/<store>/<slide>.json`.

    Whoever holds the claim on a slide writes its records, so there is one writer. What was noted `since` (file time)
    counts as settled by this call, whichever process did it; skipped slides are settled until something that decided
    it (settings, slide file, tissue file) changes.
    """

    def __init__(self, folder: str | Path, stores: Sequence[str], *, since: float):
        self.folder, self.stores, self._since, self._until = Path(folder), tuple(stores), since, since

    def settled(self, slide: "SlideFile", settings: "ExtractSettings") -> tuple[Record, ...]:
        """The records, by store, of a slide that needs no work in this call; else nothing."""
        places = [self._place(slide, store) for store in self.stores]
        known = [record for record in map(_read, places) if record is not None]
        if len(known) < len(places) or {record.key for record in known} != {self._key(slide, settings)}:
            return ()
        recent = all(map(self._is_of_this_call, places))
        return tuple(known) if recent or all(record.result == "skipped" for record in known) else ()

    def note(
        self, slide: "SlideFile", result: "SlideResult", *, settings: "ExtractSettings", stage: str = "extract"
    ) -> tuple[Record, ...]:
        """Write down what became of a slide, for each store, and return it.

        Of a kept slide the older record tells more, and stays; but a slide file that is another one than its features
        were made of has failed, until these are gone.
        """
        key, noted = self._key(slide, settings), []
        for store in self.stores:
            place = self._place(slide, store)
            before = _read(place)
            was_done = before is not None and before.key == key and before.result in ("ok", "kept")
            if result.result == "kept" and before is not None and was_done:
                os.utime(place)
                noted.append(replace(before, result="kept"))
                continue
            content, told = before.content if before is not None else "", result
            if result.result == "kept" and content and (now := content_of(slide.path)) and now != content:
                told = replace(result, result="failed", reason=self._other_file(slide))
            elif before is None or before.key != key or result.result == "ok" or not content:
                content = content_of(slide.path)
            record = Record(
                slide=slide.name,
                file=composed(str(slide.path)),
                result=told.result,
                stage=stage,
                reason=told.reason,
                tiles=result.tiles,
                seconds=round(result.seconds, 3),
                waiting=round(result.waiting, 3),
                reader=result.reader,
                flags=result.flags,
                store=store,
                host=platform.node(),
                key=key,
                when=datetime.now(UTC).isoformat(timespec="seconds"),
                content=content,
            )
            write_json(place, asdict(record))
            noted.append(record)
        return tuple(noted)

    def _is_of_this_call(self, place: Path) -> bool:
        """Whether a record was written since this call began, and not by a clock that was set back since."""
        when = place.stat().st_mtime
        if when > self._until:
            self._until = start_time(self.folder)
        return self._since <= when <= self._until

    def _other_file(self, slide: "SlideFile") -> str:
        name = safe_name(slide.name)
        return (
            f"{slide.path.name} is another slide than the one its features were made of. To fix: put the old one back, "
            f"or delete features/*/{name}.h5 and tissue/{name}.geojson in {self.folder} to extract it again"
        )

    def _place(self, slide: "SlideFile", store: str) -> Path:
        return self.folder / FOLDER / store / f"{safe_name(slide.name)}.json"

    def _key(self, slide: "SlideFile", settings: "ExtractSettings") -> str:
        """Changes with the settings of the slide, its file, and an edit of its tissue."""
        tissue = self.folder / TISSUE / f"{safe_name(slide.name)}.geojson"
        try:
            state = slide.path.stat()
            facts: tuple[int, int] | None = (state.st_size, state.st_mtime_ns)
        except OSError:
            facts = None
        outlines = tissue.read_bytes() if tissue.exists() else b""
        text = json.dumps([asdict(settings), facts, hashlib.sha256(outlines).hexdigest()], default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def start_time(folder: str | Path) -> float:
    """Now, by the clock of the folder's file system: the `since` of a call."""
    return file_system_time(Path(folder) / FOLDER)


def note_duplicates(folder: str | Path, paths: Iterable[Path]) -> list[tuple[Path, ...]]:
    """Find slide files of equal content, write them down for the table, and return the groups."""
    groups = find_duplicates(paths)
    from asmil.slides import name_of

    names = {name_of(other): name_of(group[0]) for group in groups for other in group[1:]}
    write_json(Path(folder) / FOLDER / DUPLICATES, names)
    return groups


def read_records(folder: str | Path) -> list[Record]:
    """All records under a folder, by slide and store."""
    found = [_read(path) for path in (Path(folder) / FOLDER).glob("*/[!.]*.json")]
    return sorted((record for record in found if record is not None), key=lambda record: (record.slide, record.store))


def write_table(folder: str | Path) -> Path:
    """Assemble `state.csv` from the records: a row for each slide in each store, and which slide it equals."""
    from asmil.slides import file_name

    folder = Path(folder)
    same_as: dict[str, str] = {}
    with suppress(OSError, ValueError):
        same_as = json.loads((folder / FOLDER / DUPLICATES).read_text(encoding="utf-8"))

    def row(record: Record) -> dict[str, object]:
        flags = " ".join(f"{flag}={tiles}" for flag, tiles in record.flags.items())
        return asdict(record) | {"flags": flags, "same_as": same_as.get(file_name(record.slide), "")}

    write_csv(folder / TABLE, COLUMNS, map(row, read_records(folder)))
    return folder / TABLE


def table_age(folder: str | Path) -> float:
    """Seconds from now to when the table was written, by the clock of its file system; infinite where there is none."""
    try:
        return abs(file_system_time(Path(folder) / FOLDER) - (Path(folder) / TABLE).stat().st_mtime)
    except FileNotFoundError:
        return float("inf")


def content_of(path: Path) -> str:
    """The `content_hash` of a slide; empty where it cannot be read."""
    try:
        return content_hash(path)
    except OSError:
        return ""


def _read(path: Path) -> Record | None:
    try:
        return Record(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # absent, or of another version of asmil
        return None


CHUNK = 1 << 20
SAMPLED = 3 * CHUNK
"""Larger files are told apart by size, head, middle and tail; only those that agree in these are read wholly."""


def content_hash(path: str | Path, *, whole: bool = False) -> str:
    """A hash of a slide's content; of a large one (or of a folder) of its size and samples, unless `whole` is asked.

    Raises:
        OSError: the file cannot be read.
    """
    digest = blake2b(digest_size=16)
    files = _files(Path(path))
    for name, file in files:
        digest.update(f"{name} {file.stat().st_size}\n".encode())
    for _, file in files if whole else _sample(files):
        size = file.stat().st_size
        with file.open("rb") as stream:
            if whole or size <= SAMPLED:
                while chunk := stream.read(CHUNK):
                    digest.update(chunk)
                continue
            for start in (0, (size - CHUNK) // 2, size - CHUNK):
                stream.seek(start)
                digest.update(stream.read(CHUNK))
    return digest.hexdigest()


def find_duplicates(paths: Iterable[Path]) -> list[tuple[Path, ...]]:
    """Slides of the same content, as groups of two or more, in the order of `paths`.

    Only files of equal size are read, and wholly only where their samples agree too. What cannot be read has no
    duplicates.
    """
    steps: tuple[Callable[[Path], Hashable | None], ...] = (
        _size,
        content_hash,
        lambda path: content_hash(path, whole=True),
    )
    groups = [list(dict.fromkeys(paths))]
    for key in steps:
        groups = [part for group in groups for part in _parts(group, key)]
    return [tuple(group) for group in groups]


def _parts(group: list[Path], key: Callable[[Path], Hashable | None]) -> list[list[Path]]:
    parts: dict[Hashable, list[Path]] = {}
    for path in group:
        try:
            value = key(path)
        except OSError:
            continue  # its extraction will say why
        if value is not None:
            parts.setdefault(value, []).append(path)
    return [part for part in parts.values() if len(part) > 1]


def _sample(files: list[tuple[str, Path]]) -> list[tuple[str, Path]]:
    """The first, the middle and the last."""
    return [files[i] for i in sorted({0, len(files) // 2, len(files) - 1})] if files else []


def _size(path: Path) -> Hashable | None:
    sizes = tuple((name, file.stat().st_size) for name, file in _files(path))
    return sizes if any(size for _, size in sizes) else None  # empty files are no slides


def _files(path: Path) -> list[tuple[str, Path]]:
    """The file itself, or the files of a folder by their place in it."""
    if path.is_dir():
        return [(str(file.relative_to(path)), file) for file in sorted(path.rglob("*")) if file.is_file()]
    return [("", path)]
