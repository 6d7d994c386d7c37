"""The same slide under several names, found by content: a leak between the parts of a split."""

from collections.abc import Callable, Hashable, Iterable
from hashlib import blake2b
from pathlib import Path

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
