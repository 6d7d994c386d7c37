"""eva: a list with one tensor per tile for every slide, and one `manifest.csv` above them all."""

from functools import lru_cache
from pathlib import Path

from asmil.bags.reading.entry import Array, Entry
from asmil.bags.reading.source import load_array
from asmil.bags.tables import slide_name


class _Eva:
    suffixes = (".pt",)

    def sniff(self, source: Path) -> bool:
        return any(_is_manifest(folder / "manifest.csv") for folder in source.parents[:3])

    def slides(self, source: Path) -> dict[str, Array | None]:
        return {slide_name(source.name): None}

    def entry(self, source: Path, key: str) -> Entry:
        note = "eva appends saved parts in reverse, so rows do not follow coords_<split>.csv: no coordinates"
        return Entry(features=load_array(source), notes=(note,))


@lru_cache(maxsize=1024)
def _is_manifest(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.readline().startswith("origin,embeddings,")


FORMAT = _Eva()
