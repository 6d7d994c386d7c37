"""What was inferred of feature files and by what slides were read, in lines that say each thing once."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from asmil.bags import listed

if TYPE_CHECKING:
    from asmil.bags import FeatureInfo
    from asmil.slides import Slide

_COORDINATES = {
    "level0": "coordinates in level-0 pixels",
    "um": "coordinates in micrometres",
    None: "no coordinates",
}


def of_features(infos: Iterable["FeatureInfo"]) -> list[str]:
    """A line per kind of file (format, encoder, scale), then what was inferred, each with its number of slides."""
    kinds: dict[str, list[str]] = defaultdict(list)
    notes: dict[str, list[str]] = defaultdict(list)
    for info in infos:
        side = None if info.tile_level0_px is None else f"tiles of {info.tile_level0_px:g} level-0 px"
        um = None if info.tile_um is None else f"{info.tile_um:g} um wide"
        scale = None if info.mpp is None else f"at {info.mpp:.3g} um/px"
        flags = f"flags {', '.join(info.quality)}" if info.quality else None
        facts = (f"{info.dim} x {info.dtype}", _COORDINATES[info.coordinates], side, um, scale, flags)
        kind = ", ".join(fact for fact in (f"encoder {info.encoder or 'not said'}", *facts) if fact)
        kinds[f"{info.format}: {kind}"].append(info.slide)
        for note in info.notes:
            notes[note].append(info.slide)
    return _lines(kinds) + [f"  {line}" for line in _lines(notes)]


def of_slides(slides: Iterable["Slide"]) -> list[str]:
    """A line per reader, then why the readers before it did not open them, each with its slides."""
    readers: dict[str, list[str]] = defaultdict(list)
    reasons: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for slide in slides:
        readers[slide.reader].append(slide.name)
        for other, reason in slide.passed_over.items():
            reasons[slide.reader][f"not {other}: {reason.replace(str(slide.path), 'the file')}"].append(slide.name)
    lines = []
    for reader, names in readers.items():
        lines += _lines({f"reader {reader}": names})
        lines += [f"  {line}" for line in _lines(reasons[reader])]
    return lines


def _lines(found: Mapping[str, list[str]]) -> list[str]:
    return [f"{what} [{len(names)}: {listed(sorted(names), 3)}]" for what, names in found.items()]
