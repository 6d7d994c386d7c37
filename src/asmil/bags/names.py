"""From file names to slide names, and which of two spellings mean the same slide."""

import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property

from asmil.slides import file_name, scene_number

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
