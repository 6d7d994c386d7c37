"""Whether a cell is whole: the seal that is written when its files are, and what has become of them since."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from asmil.errors import RunError
from asmil.files import write_json
from asmil.runs.layout import NEEDED, PREDICTIONS, SEAL
from asmil.runs.reading import read_json


@dataclass(frozen=True)
class State:
    """What there is of a cell: `faults` names each file that is not as it was written, and how.

    `begun` is False where the training never came to its end. `digests` are the SHA-256 of the seal, by file; None for
    a cell that was written before there were seals: its files are there, and whether all of their content is cannot be
    said.
    """

    begun: bool
    faults: Mapping[str, str] = field(default_factory=dict)
    digests: Mapping[str, str] | None = None

    @property
    def whole(self) -> bool:
        """Whether it is finished, and nothing has happened to it since."""
        return self.begun and not self.faults

    def __str__(self) -> str:
        if not self.begun:
            return "missing"
        return ", ".join(f"{name} {fault}" for name, fault in self.faults.items()) or "whole"


def seal(folder: Path) -> None:
    """Note size and SHA-256 of every file of a cell, after all of them are written."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    said = {path.name: {"bytes": path.stat().st_size, "sha256": digest(path)} for path in files if path.name != SEAL}
    write_json(folder / SEAL, {"files": said})


def unseal(folder: Path) -> None:
    """Let a cell be unfinished, before its files are written anew: killed half-way, it must not count as whole."""
    for name in (SEAL, PREDICTIONS):
        (folder / name).unlink(missing_ok=True)


def state_of(folder: Path, *, deep: bool = False) -> State:
    """Compare the files of a cell with its seal: their sizes, and with `deep` their content."""
    if not (folder / SEAL).is_file():
        if not (folder / PREDICTIONS).is_file():  # before there were seals, these were written last
            return State(begun=False)
        sizes = {name: _size(folder / name) for name in NEEDED}
        return State(
            True, {n: "is missing" if size is None else "was emptied" for n, size in sizes.items() if not size}
        )
    kept = _sealed(folder)
    if kept is None:
        return State(True, {SEAL: "was changed"}, {})
    found = {name: _fault(folder / name, *said, deep=deep) for name, said in kept.items()}
    return State(True, {name: f for name, f in found.items() if f}, {name: sha for name, (_, sha) in kept.items()})


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sealed(folder: Path) -> dict[str, tuple[int, str]] | None:
    """Size and digest by file, as the seal says; None where it is not what `seal` writes."""
    try:
        files = read_json(folder / SEAL, fix="")["files"]
        kept = {str(name): (int(said["bytes"]), str(said["sha256"])) for name, said in files.items()}
    except (RunError, LookupError, TypeError, ValueError, AttributeError):
        return None
    ours = all(Path(name).name == name for name in kept)  # a stranger's seal leads to no file elsewhere
    return kept if ours and set(NEEDED) <= set(kept) else None


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _fault(path: Path, size: int, sha256: str, *, deep: bool) -> str:
    """What is wrong with a file that was of that size and digest; empty where nothing is."""
    found = _size(path)
    if found is None:
        return "is missing"
    if found < size:
        return f"was cut ({found:,} of {size:,} bytes)" if found else "was emptied"
    return "was changed" if found > size or (deep and digest(path) != sha256) else ""
