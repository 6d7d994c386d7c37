"""Atomic output: everything is written beside its place and renamed, so a half-written file never counts."""

import csv
import io
import json
import logging
import os
import re
import secrets
import tempfile
import time
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from asmil.errors import AsmilError, require_kind

if TYPE_CHECKING:
    import h5py
    from _typeshed import ReadableBuffer

Facts: TypeAlias = dict[str, Any]
"""Plain values by name, as JSON, YAML and the attributes of HDF5 hold them; who reads one checks what kind it is."""


PROBE_BYTES = 1 << 20
_log = logging.getLogger(__name__)


@contextmanager
def written_beside(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; on success it is flushed to disk and renamed to `path`.

    On an exception the temporary file is removed and `path` is untouched. The temporary name starts with a dot and
    keeps the suffix of `path` (some writers choose their format by it).

    Raises:
        OSError: the disk takes no more, whatever the writer (torch, HDF5) raised about it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=f".partial{path.suffix}", dir=path.parent)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.chmod(0o666 & ~_umask())
        partial.replace(path)
        _log.debug("wrote %s", path)
    except BaseException as error:
        refused = None if isinstance(error, AsmilError) or not isinstance(error, Exception) else _refused(partial)
        with suppress(FileNotFoundError):
            partial.unlink()
        if refused is not None:
            raise OSError(refused.errno, refused.strerror, str(path)) from error
        raise


@contextmanager
def new_hdf5(path: str | Path) -> Iterator["h5py.File"]:
    """Yield a new HDF5 file, which is at `path` when it is complete.

    Its library (2.0.0) cannot close a file that the disk took no more of, and ends the process with a segmentation
    fault later. So it is told that all is written, and what the disk said is raised afterwards.

    Raises:
        OSError: the disk takes no more.
    """
    import h5py

    with written_beside(path) as partial, _Written(partial, "r+") as written:
        with h5py.File(written, "w") as made:
            yield made
        if written.refused is not None:
            raise OSError(written.refused.errno, written.refused.strerror, str(path)) from written.refused


class _Written(FileIO):
    """A file for the library of HDF5, in which writing never fails; `refused` is why nothing more was written."""

    refused: OSError | None = None

    def write(self, data: "ReadableBuffer") -> int:
        rest, size = memoryview(data), memoryview(data).nbytes
        try:
            while self.refused is None and len(rest):
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.refused = error
        return size

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.refused = self.refused or error
            return size or 0


class BoundedFile(io.BufferedReader):
    """A file that is never asked for more than it has: a damaged length would be memory of that size."""

    def __init__(self, path: Path):
        super().__init__(FileIO(path))
        self._end = path.stat().st_size

    def read(self, size: int | None = -1, /) -> bytes:
        rest = max(0, self._end - self.tell())
        return super().read(rest if size is None or size < 0 else min(size, rest))


def _refused(partial: Path) -> OSError | None:
    """Why no more can be written to a file, asked of the file system: not all writers pass its answer on."""
    try:
        with partial.open("ab") as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except FileNotFoundError:
        return None
    except OSError as error:
        return error
    return None


def path_of(path: object, called: str) -> Path:
    """A path that somebody gave.

    Raises:
        ConfigError: it is none, but None, a number or a list.
    """
    require_kind(path, (str, os.PathLike), called=called, fix="give a path, as a text or a pathlib.Path")
    return Path(path)  # type: ignore[arg-type]


def file_system_time(folder: str | Path) -> float:
    """Now, by the clock that gives the files in a folder their times: those of machines differ."""
    probe = Path(folder) / f".now.{secrets.token_hex(6)}"
    probe.parent.mkdir(parents=True, exist_ok=True)
    probe.touch()
    now = probe.stat().st_mtime
    probe.unlink()
    return now


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: str | Path, text: str) -> None:
    """Write text atomically as UTF-8."""
    with written_beside(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: object) -> None:
    """Write JSON atomically; NaN and infinities become null, so that every reader accepts the file."""
    write_text(path, json.dumps(finite(value), indent=1, ensure_ascii=False) + "\n")


def write_csv(path: str | Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write a table atomically; what a row has beside the columns is left out, what it lacks or is None is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def finite(value: object) -> object:
    """A value as JSON takes it: numbers of numpy plain, NaN and infinities None, keys texts."""
    if isinstance(value, dict):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        value = value.item()
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


_UNSAFE = re.compile(r'[/\\:*?"<>|\x00-\x1f]|^[.\s]|\s$|%(?=[0-9A-Fa-f]{2})')
_ESCAPED = re.compile(r"(?:%[0-9A-F]{2})+")


def safe_name(name: str) -> str:
    """A file name for a slide or label from elsewhere: what cannot be in one is written as in addresses, `:` as `%3A`.

    Different names have different file names, from which `original_name` makes them again.

    Raises:
        AsmilError: the name cannot be a file name.
    """
    safe = _UNSAFE.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), composed(str(name)))
    if not safe:
        raise AsmilError("a name cannot be used as a file name", found=repr(name))
    return safe


def original_name(safe: str) -> str:
    """The name that `safe_name` made a file name of; a file name that it did not make stays as it is."""
    name = _ESCAPED.sub(lambda found: bytes.fromhex(found[0].replace("%", "")).decode(errors="replace"), safe)
    return name if name and safe_name(name) == safe else safe


def composed(name: str) -> str:
    """A name with one character for a letter and its accent (NFC): macOS and some tools write two for the same.

    Bytes of a file name that are no UTF-8 are shown as such: nothing could be written of them.
    """
    return unicodedata.normalize("NFC", os.fsencode(name).decode(errors="replace"))


def suffix_of(path: str | Path) -> str:
    """The suffix of a file as suffixes are compared: `.h5` of `A.H5`, which scanners and Windows write."""
    return Path(path).suffix.lower()


def stem_of(path: Path) -> str:
    """What a file is called without its suffix, as names are compared."""
    return composed(path.stem)


_OF_SYSTEMS = ("lost+found", "$RECYCLE.BIN", "System Volume Information")
"""Folders that a user may never read, at the top of a disk."""


def holds_run(files: Iterable[str]) -> bool:
    """Whether these are files of a run's folder, which those who look for slides or features know by two of them."""
    return {"config.yaml", "environment.json"}.issubset(files)


def walk(folder: Path, *, closed: list[Path]) -> Iterator[tuple[Path, list[str], list[str]]]:
    """As `os.walk`, and into linked folders too; a folder that several ways lead to is entered once.

    Folders that may not be read come to `closed`, whose owner says so: what is in them would be missing without a word.
    """

    def add(error: OSError) -> None:
        place = Path(error.filename)
        if not place.name.startswith(".") and place.name not in _OF_SYSTEMS:
            closed.append(place)

    root, seen = folder.resolve(), set[Path]()
    for name, folders, files in os.walk(folder, followlinks=True, onerror=add):
        here = Path(name)
        place = here.resolve()
        if place in seen:
            folders.clear()
            continue
        seen.add(place)
        # a link to where the walk goes anyway must not come before the folder itself
        links = [one for one in folders if (here / one).is_symlink()]
        folders[:] = [one for one in folders if one not in links or not (here / one).resolve().is_relative_to(root)]
        yield here, folders, files


RACE_S = 2.0
"""A file that changed this shortly before it was read may change again within the same tick of its clock."""


class FileIndex:
    """Plain facts of the files under a folder, kept in one file there, each for as long as its file stays as it was.

    A file is as it was where size, both times and inode are: whatever is written to it, copied over it or put in its
    place has others. An index that cannot be read or written, or is of another `version`, is no error: it only saves
    time.
    """

    def __init__(self, path: Path, *, version: str):
        self._path, self._version, self._changed, self._began = path, version, False, time.monotonic()
        self._facts: Facts = {}
        with suppress(OSError, ValueError, LookupError, TypeError):
            said = json.loads(path.read_text(encoding="utf-8"))
            sound = {name: one for name, one in said["files"].items() if _is_stamp(one[0]) and len(one) == 2}
            self._facts = sound if said["version"] == version else {}
        self._seen: set[str] = set()

    def get(self, file: Path) -> object | None:
        """What was put down of a file, None of one that has changed since."""
        self._seen.add(self._name(file))
        stamp, facts = self._facts.get(self._name(file)) or (None, None)
        return facts if stamp is not None and stamp == file_stamp(file) else None

    def put(self, file: Path, stamp: list[int] | None, facts: object) -> None:
        """Put down plain facts of a file that had this stamp before they were read."""
        if stamp is not None:
            self._facts[self._name(file)], self._changed = (stamp, facts), True

    def write(self) -> None:
        """Keep what was put down, but of files that are gone, or were too young for their times to tell a change."""
        if not self._changed:
            return
        with suppress(OSError):
            young = 1e9 * (file_system_time(self._path.parent) - (time.monotonic() - self._began) - RACE_S)
            kept = {name: one for name, one in self._facts.items() if name in self._seen and max(one[0][1:3]) < young}
            write_text(self._path, json.dumps({"version": self._version, "files": kept}, separators=(",", ":")))

    def _name(self, file: Path) -> str:
        return os.path.relpath(file, self._path.parent)


def _is_stamp(value: object) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(type(number) is int for number in value)


def file_stamp(path: Path) -> list[int] | None:
    """Size, times of content and of inode in nanoseconds, and inode; None where there is no file."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
