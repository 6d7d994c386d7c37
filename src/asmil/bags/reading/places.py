"""Where the features of each slide lie under a folder: one place per slide, and what cannot be used by name."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias

import h5py

from asmil.bags.formats import FEATURE_FORMATS
from asmil.bags.reading.entry import Entry, FeatureFormat, OneVectorError, feature_shape
from asmil.bags.reading.heaps import require_readable_texts
from asmil.bags.reading.source import HDF5, Source, feature_files, opened
from asmil.bags.tables import Problem, listed, slide_name
from asmil.errors import FeatureError, as_typed, did_you_mean
from asmil.extraction import STORE
from asmil.files import FileIndex, file_stamp, original_name, suffix_of

INDEX, WORTH_AN_INDEX = ".asmil-index.json", 200
"""What the files of a large folder were found to be, kept in it; smaller ones open in no time."""
SetAside: TypeAlias = Callable[[str, FeatureError, Path], None]
Names: TypeAlias = tuple[str, ...]


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

    def names(self, root: Path) -> Names:
        """What it can be named by: the folders below a root and the tables within the file, from the outside in."""
        folders, tables = self.path.relative_to(root).parent.parts, self.key.split("/")[:-1]
        return tuple(map(_short, (name for name in (*folders, *tables) if name not in TWICE)))

    def said_encoder(self) -> str | None:
        """The encoder that the file itself says, if it does; a file that cannot be read says none."""
        with suppress(FeatureError, OSError), self.entry() as entry:
            return entry.encoder if isinstance(entry.encoder, str) else None
        return None


TWICE = ("h5_files", "pt_files")
"""CLAM writes every slide twice, into these folders: as .h5 with and as .pt without coordinates."""


def scan(root: Path, *, encoder: str | None) -> tuple[dict[str, Place], list[Problem]]:
    """The place of every slide under `root`, and what was found beside that cannot be used.

    Raises:
        FeatureError: a slide has features of several encoders or kinds of tiles, or there are none of `encoder`.
    """
    found: dict[str, list[Place]] = {}
    problems: list[Problem] = []
    vectors: list[Problem] = []

    def set_aside(slide: str, error: FeatureError, path: Path) -> None:
        own = vectors if isinstance(error, OneVectorError) else problems
        own.append(problem_of(original_name(slide_name(slide)), error, path))

    formats: dict[str, FeatureFormat] = {}
    index = FileIndex(root / INDEX, version=version("asmil")) if root.is_dir() else None
    files = list(feature_files(root))
    for path in files:
        try:
            for slide, place in _indexed(path, index, formats, set_aside):
                found.setdefault(slide, []).append(place)
        except FeatureError as error:
            set_aside(path.name, error, path)
    if index is not None and len(files) >= WORTH_AN_INDEX:
        index.write()
    # One vector of a slide beside its tiles is no fault: the tiles are what is read.
    problems += [problem for problem in vectors if problem.slide not in found]
    names = {place: place.names(root) for places in found.values() for place in places}
    wanted = set(names) if encoder is None or not names else _of_encoder(encoder, names, root)
    meant = {slide: _once(own, names) for slide, places in found.items() if (own := wanted.intersection(places))}
    _require_one_kind(meant, names, root)
    chosen: dict[str, Place] = {}
    for slide, places in meant.items():
        if len(places) == 1:
            chosen[slide] = places[0]
            continue
        what = f"several feature files have this name: {listed(place.under(root) for place in places)}"
        problems.append(Problem(slide, what, "keep one of them", places[1].path))
    return chosen, problems


def _once(places: Iterable[Place], names: Mapping[Place, Names]) -> list[Place]:
    """The places of a slide, in their order, without those whose features an HDF5 file of the same name has too."""
    ordered = sorted(places, key=lambda place: (place.path, place.key))
    hdf5 = {names[place] for place in ordered if suffix_of(place.path) in HDF5}
    return [place for place in ordered if suffix_of(place.path) in HDF5 or names[place] not in hdf5]


# Which encoder's features are meant, where a slide has those of several.


def _short(name: str) -> str:
    """TRIDENT's folder `features_uni` is named by its encoder alone."""
    return name.removeprefix("features_")


def _matching(wanted: Sequence[str], names: Sequence[str], *, begins: bool) -> Names:
    """Those of the names that are the wanted ones, in their order, or begin with them; empty where one is missing."""
    rest = iter(names)
    found = [
        next((name for name in rest if name == one or (begins and name.startswith((f"{one}_", f"{one}-")))), None)
        for one in wanted
    ]
    return tuple(name for name in found if name is not None) if None not in found else ()


def _of_encoder(encoder: str, names: Mapping[Place, Names], root: Path) -> set[Place]:
    """The places that a name means: of folders and tables, whole names before beginnings; else as the files say; else
    all, where no file says an encoder and the root has the name.

    Raises:
        FeatureError: it means none, or several by their beginning.
    """
    wanted = [_short(name) for name in encoder.split("/")]
    said: dict[Place, Names] = {}
    for named in (names, said):
        if named is said:
            said |= {place: (own,) for place in names if (own := place.said_encoder())}
        asked = wanted if named is names else [encoder]
        for begins in (False, True):
            found = {at: meant for at in named if (meant := _matching(asked, named[at], begins=begins))}
            if len(set(found.values())) > 1:
                raise _several(f"{encoder!r} can be several in {root}", {"/".join(meant) for meant in found.values()})
            if found:
                return set(found)
    if not said and _matching(wanted, [_short(root.name)], begins=True):
        return set(names)
    known = _offered(names, names) or sorted({name for own in said.values() for name in own})
    fix = "leave --features-encoder out, or give the folder of this encoder"
    if known:
        question = did_you_mean(encoder, known)
        fix = f"{question and f'{question} Else '}give one of these as --features-encoder, or the folder of one"
    found_there = f"features of {listed(known, 12)}" if known else "no folder, table or file that says an encoder"
    raise FeatureError(f"nothing in {root} is of encoder {encoder!r}", found=found_there, fix=fix)


FEW_KINDS = 4
"""Folders that may hold one slide by several encoders; of more the folders are slides."""


def _require_one_kind(found: Mapping[str, Sequence[Place]], names: Mapping[Place, Names], root: Path) -> None:
    """Raise where slides have features of several names, or there are those of several settings of `asmil embed`."""
    if len(found) == 1 and len(own := next(iter(found.values()))) > FEW_KINDS:
        raise FeatureError(
            f"{root} has {len(own)} files of features that are all called {own[0].path.name!r}",
            found=listed(sorted(str(place.path.relative_to(root)) for place in own), 3),
            fix="name each file as its slide, by which labels find it",
        )
    unclear = [slide for slide, places in found.items() if len({names[place] for place in places}) > 1]
    places = [place for slide in unclear for place in found[slide]]
    stores = {place for own in found.values() for place in own if (place.path.parent / STORE).is_file()}
    if len({names[place] for place in stores}) > 1:
        places += stores
    if places:
        what = f"{root} holds features of several encoders or kinds of tiles"
        raise _several(what, _offered(names, places), of=f"of {listed(unclear, 3)}" if unclear else "")


def _several(what: str, offered: Iterable[str], *, of: str = "") -> FeatureError:
    known = sorted(offered)
    example = as_typed("--features-encoder", known[0])
    fix = f"name one, for example {example} (in YAML features_encoder), or give the folder of one"
    return FeatureError(what, found=f"{listed(known, 12)} {of}".strip(), fix=fix)


def _offered(names: Mapping[Place, Names], places: Iterable[Place]) -> list[str]:
    """What the places can be told apart by: their names without those that all have."""
    kinds = set(names.values())
    common = {name for name, count in Counter(n for kind in kinds for n in set(kind)).items() if count == len(kinds)}
    told = {tuple(n for n in names[place] if len(kinds) == 1 or n not in common) for place in places}
    return sorted("/".join(own) for own in told if own) or sorted({"/".join(names[place]) for place in places} - {""})


def problem_of(slide: str, error: FeatureError, path: Path) -> Problem:
    """What is wrong with a slide's file, as one problem of a store."""
    what = error.what if error.found is None else f"{error.what} ({error.found})"
    return Problem(slide, what, error.fix or "", path)


def _indexed(
    path: Path, index: FileIndex | None, formats: dict[str, FeatureFormat], set_aside: SetAside
) -> list[tuple[str, Place]]:
    """`_places_in`, by the index where the file is as it was. Files of other kinds may say less than what lies beside
    them, and files with a fault are looked at anew."""
    known = None if index is None else index.get(path)
    if isinstance(known, list):
        with suppress(TypeError, ValueError):  # of an index that somebody else wrote
            return [(str(s), Place(path, str(f), str(k), (int(n), int(d)))) for s, f, k, n, d in known]
    faults: list[str] = []

    def noticed(slide: str, error: FeatureError, of: Path) -> None:
        faults.append(slide)
        set_aside(slide, error, of)

    formats |= {} if formats else {name: FEATURE_FORMATS[name] for name in FEATURE_FORMATS.usable()}
    stamp = file_stamp(path)
    found = _places_in(path, formats, noticed)
    if index is not None and suffix_of(path) in HDF5 and found and not faults and all(own for _, _, own in found):
        index.put(path, stamp, [(slide, p.format, p.key, *(p.shape or ())) for slide, p, _ in found])
    return [(slide, place) for slide, place, _ in found]


def _places_in(path: Path, formats: dict[str, FeatureFormat], set_aside: SetAside) -> list[tuple[str, Place, bool]]:
    """The slides in a file, and whether its own bytes say their shape; the format that fits goes to the front of
    `formats`, as the next file's likeliest.

    Of a file of several slides, those that cannot be used are set aside.
    """
    with opened(path) as source:
        if isinstance(source, h5py.File):
            require_readable_texts(path)
        for name, format in formats.items():
            if suffix_of(path) not in format.suffixes or not format.sniff(source):
                continue
            rest = {other: formats.pop(other) for other in list(formats) if other != name}
            formats.update(rest)
            found = []
            for key, array in format.slides(source).items():
                try:
                    shape = None if array is None else feature_shape(array, path)
                    own = isinstance(array, h5py.Dataset) and array.file == source  # and not linked from another file
                    found.append((original_name(slide_name(key)), Place(path, name, key, shape), own))
                except FeatureError as error:
                    set_aside(key, error, path)
            return found
        _refuse_unknown(path, source)
        return []


def _refuse_unknown(path: Path, source: Source) -> None:
    """Coordinates of CLAM, TRIDENT, AtlasPatch, labels of torchmil, tables and arrays beside features are no fault."""
    if isinstance(source, h5py.File):
        places = {"coords"} <= set(source) <= {"coords", "imgs", "passports"}  # old files of CLAM hold pictures, too
        if not places and set(source) not in ({"labels"}, {"inst_labels"}):
            raise FeatureError(f"{path.name} is in no known feature format", found=f"keys {listed(source)}")
    elif not isinstance(source, Path):
        found = f"members {listed(sorted(source.group))}"
        raise FeatureError(f"{path.name} is in no known feature format", found=found)
