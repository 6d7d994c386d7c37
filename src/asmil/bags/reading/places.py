"""Where the features of each slide lie under a folder: one place per slide, and what cannot be used by name."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py

from asmil.bags.formats import FEATURE_FORMATS
from asmil.bags.names import slide_name
from asmil.bags.reading.entry import Entry, FeatureFormat, feature_shape
from asmil.bags.reading.source import HDF5, Source, feature_files, opened
from asmil.bags.tables import Problem, listed
from asmil.errors import FeatureError


@dataclass(frozen=True)
class Place:
    """Where a slide's features are: file, format, key inside it, and (tiles, dim) where known unread."""

    path: Path
    format: str
    key: str
    shape: tuple[int, int] | None

    def under(self, root: Path) -> Path:
        """The path below a root, with the table's name where the file holds several."""
        path = self.path.relative_to(root) if self.path != root else Path(self.path.name)
        table = self.key.rpartition("/")[0]
        return path / table if table else path

    @contextmanager
    def entry(self) -> Iterator[Entry]:
        """The opened file's description of the slide."""
        with opened(self.path) as source:
            yield FEATURE_FORMATS[self.format].entry(source, self.key)


def scan(root: Path, *, encoder: str | None) -> tuple[dict[str, Place], list[Problem]]:
    """The place of every slide under `root`, and what was found beside that cannot be used.

    Raises:
        FeatureError: there are the features of several settings of `asmil embed`, or none of `encoder`.
    """
    found: dict[str, list[Place]] = {}
    others: set[str] = set()
    problems: list[Problem] = []
    formats: dict[str, FeatureFormat] = {name: FEATURE_FORMATS[name] for name in FEATURE_FORMATS.names()}
    for path in feature_files(root):
        try:
            for slide, place in _places_in(path, formats):
                under = place.under(root)
                if encoder is None or _is_of(encoder, under):
                    found.setdefault(slide, []).append(place)
                else:
                    others.add(str(under.parent) if "/" not in place.key else under.name)
        except FeatureError as error:
            what = error.what if error.found is None else f"{error.what} ({error.found})"
            problems.append(Problem(slide_name(path.name), what, error.fix or "", path))
    if others and not found:
        raise FeatureError(
            f"nothing in {root} is of encoder {encoder!r}", found=f"features in {listed(sorted(others))}"
        )
    _require_one_store({place.path.parent for places in found.values() for place in places}, root)
    chosen: dict[str, Place] = {}
    for slide, places in found.items():
        # CLAM writes every slide twice, as .h5 with and as .pt without coordinates.
        places = [place for place in places if place.path.suffix in HDF5] or places
        if len(places) == 1:
            chosen[slide] = places[0]
            continue
        what = f"several feature files have this name: {listed(place.under(root) for place in places)}"
        fix = "open the folder of one encoder only, or convert one with asmil convert --encoder NAME"
        problems.append(Problem(slide, what, fix, places[1].path))
    return chosen, problems


def _places_in(path: Path, formats: dict[str, FeatureFormat]) -> list[tuple[str, Place]]:
    """The slides in a file; the format that fits goes to the front of `formats`, as the next file's likeliest."""
    with opened(path) as source:
        for name, format in formats.items():
            if path.suffix not in format.suffixes or not format.sniff(source):
                continue
            rest = {other: formats.pop(other) for other in list(formats) if other != name}
            formats.update(rest)
            arrays = format.slides(source)
            shapes = {key: None if array is None else feature_shape(array, path) for key, array in arrays.items()}
            return [(slide_name(key), Place(path, name, key, shape)) for key, shape in shapes.items()]
        _refuse_unknown(path, source)
        return []


def _refuse_unknown(path: Path, source: Source) -> None:
    """Coordinate files of CLAM and TRIDENT, and tables and arrays beside features, are no fault."""
    if isinstance(source, h5py.File):
        if "coords" not in source:
            raise FeatureError(f"{path.name} is in no known feature format", found=f"keys {listed(source)}")
    elif not isinstance(source, Path):
        found = f"members {listed(sorted(source.group))}"
        raise FeatureError(f"{path.name} is in no known feature format", found=found)


def _is_of(encoder: str, path: Path) -> bool:
    """Whether a folder or table of the path has this name, or one that begins with it."""
    name = re.compile(rf"(features_)?{re.escape(encoder)}(_|-|$)")
    return any(name.match(part) for part in path.parts)


def _require_one_store(folders: set[Path], root: Path) -> None:
    """Settings differ between the stores of `asmil embed`: slides of two are never one set of features."""
    stores = sorted(folder for folder in folders if (folder / "store.json").is_file())
    if len(stores) > 1:
        names = ", ".join(str(store.relative_to(root)) for store in stores)
        raise FeatureError(f"{root} holds features of several settings", found=names, fix="open one of these folders")
