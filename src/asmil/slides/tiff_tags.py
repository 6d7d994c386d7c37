"""What the texts and tags of a TIFF say about its scale: Aperio's description, OME-XML, the resolution."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias
from xml.etree import ElementTree

from asmil.errors import SlideError

Page: TypeAlias = Any
"""A page or frame of tifffile, whose fields depend on the file."""

UM_PER_UNIT = {
    **{"m": 1e6, "dm": 1e5, "cm": 1e4, "mm": 1e3, "µm": 1.0, "um": 1.0, "nm": 1e-3, "pm": 1e-6, "in": 25_400.0},
    **{"meter": 1e6, "decimeter": 1e5, "centimeter": 1e4, "millimeter": 1e3, "micrometer": 1.0, "nanometer": 1e-3},
    **{"picometer": 1e-6, "inch": 25_400.0, "Å": 1e-4, "angstrom": 1e-4, "micron": 1.0, "μm": 1.0},
}
"""Micrometres in the units of OME-XML and of OME-Zarr (both signs for micro are in use)."""

_UM_PER_RESOLUTION_UNIT = {2: 25_400.0, 3: 10_000.0, 4: 1000.0, 5: 1.0}
"""TIFF ResolutionUnit: inch and centimetre; millimetre and micrometre as tifffile and others write them."""
_PRINT_MPP = 20.0  # 1270 dpi: coarser than this a resolution tag speaks of paper or a screen


def resolution_mpp(x: float, y: float, unit: int | str) -> tuple[float, float] | None:
    """Scale (x, y) from a TIFF's resolution in pixels per unit (a ResolutionUnit, or the name of a length).

    None where it has none, or only that of a print.
    """
    um = UM_PER_UNIT.get(unit) if isinstance(unit, str) else _UM_PER_RESOLUTION_UNIT.get(unit)
    if x <= 0 or y <= 0 or um is None:
        return None
    mpp = um / x, um / y
    return mpp if max(mpp) <= _PRINT_MPP else None


def tag_mpp(page: Page) -> tuple[float, float] | None:
    """Scale (x, y) from the resolution tags of a page of tifffile."""
    tags = page.tags
    if "XResolution" not in tags or "YResolution" not in tags:
        return None
    x, y = (_ratio(tags[name].value) for name in ("XResolution", "YResolution"))
    unit = int(tags["ResolutionUnit"].value) if "ResolutionUnit" in tags else 2
    return resolution_mpp(x, y, unit_of_imagej(page.description or "") or unit)


def page_orientation(page: Page) -> int:
    """How viewers are to turn a page of tifffile, 2 to 8; 1 where as it is stored, or nothing known is said."""
    said = page.tags.valueof("Orientation", default=1)
    return said if isinstance(said, int) and 2 <= said <= 8 else 1


def turned_note(orientation: int) -> str:
    """What is said of a picture that asks viewers to turn it (EXIF, or the tag of a TIFF); empty where none has to."""
    if not 2 <= orientation <= 8:
        return ""
    as_stored = "the first row of the file is the upper one, for positions too"
    return f"the file asks to be shown turned (orientation {orientation}); {as_stored}"


def unit_of_imagej(description: str) -> str | None:
    """The unit of length in the description that ImageJ writes, for which TIFF's own tag then says none."""
    found = re.search(r"^unit=(.+)$", description, re.MULTILINE) if description.startswith("ImageJ=") else None
    return found[1].strip().replace("\\u00B5", "µ") if found else None


def _ratio(value: tuple[float, float] | float) -> float:
    above, below = value if isinstance(value, tuple) else (value, 1)
    return above / below if below else 0.0


def aperio_number(description: str, name: str) -> float | None:
    """A number of Aperio's `|name = value|` description."""
    found = re.search(rf"\|\s*{name}\s*=\s*([\d.,eE+-]+)", description)
    return _number(found.group(1)) if found else None


@dataclass(frozen=True)
class OmeImage:
    """What OME-XML says of one image: its name, scale (x, y), objective, names of its channels, number of samples."""

    name: str
    mpp: tuple[float, float] | None
    objective: float | None
    channels: tuple[str, ...] = ()
    size_c: int = 0


def ome_images(text: str) -> list[OmeImage]:
    """The images of OME-XML, in the order of the file's series; none where it is no XML."""
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return []
    if _local(root.tag) != "OME":
        return []
    powers = {
        node.get("ID"): _number(node.get("NominalMagnification"))
        for node in root.iter()
        if _local(node.tag) == "Objective"
    }
    images = []
    for image in (node for node in root.iter() if _local(node.tag) == "Image"):
        parts = {_local(node.tag): node for node in image}
        pixels, lens = parts.get("Pixels"), parts.get("ObjectiveSettings")
        mpp = [None if pixels is None else _length(pixels, f"PhysicalSize{axis}") for axis in "XY"]
        known = [value for value in mpp if value is not None]  # pixels are square where one side is said
        scale = (known[0], known[-1]) if known else None
        power = None if lens is None else powers.get(lens.get("ID"))
        inner = () if pixels is None else pixels
        names = tuple(node.get("Name") or "" for node in inner if _local(node.tag) == "Channel")
        size_c = 0 if pixels is None else int(_number(pixels.get("SizeC")) or 0)
        images.append(OmeImage(image.get("Name") or "", scale, power, names, size_c))
    return images


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _length(node: ElementTree.Element, name: str) -> float | None:
    value, factor = _number(node.get(name)), UM_PER_UNIT.get(node.get(f"{name}Unit", "µm"))
    return None if value is None or factor is None else value * factor


def _number(text: str | None) -> float | None:
    try:
        return float((text or "").replace(",", "."))
    except ValueError:
        return None


_BYTES_PER_VALUE = {3: 2, 8: 2, 4: 4, 9: 4, 11: 4, 13: 4, 5: 8, 10: 8, 12: 8, 16: 8, 17: 8, 18: 8}
_NDPI_FORMAT = 65420  # Hamamatsu: offsets of further tables are stored in a way of its own
_TILE_SIDES, _WHOLE = (322, 323), {3: "H", 4: "I", 16: "Q"}  # TileWidth and TileLength, and how they are written
_ONCE = frozenset({256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 322, 323, 324, 325})  # what places the pixels
_STORED_BYTES, _LONG8 = (279, 325), 16  # StripByteCounts and TileByteCounts; some libraries end over a claim of these
_MAX_TABLES = 4096
MAX_TILE_PX = 1 << 27
"""Of one tile, for which some libraries ask 4 bytes each at once: 11,585 px square."""


def check_tables(path: Path) -> None:
    """Check that no table of a TIFF claims more bytes than the file has, says twice where tiles lie, has tiles that no
    memory holds, or leads back to an earlier one, which would be read forever; other files pass.

    Raises:
        SlideError: one does.
    """
    try:
        with path.open("rb") as file:
            _walk(file, path.stat().st_size)
    except OSError as error:
        raise SlideError("it cannot be read", found=str(error)) from error


def _walk(file: BinaryIO, size: int) -> None:
    head = file.read(16).ljust(16, b"\0")
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None:
        return
    magic = struct.unpack(order + "H", head[2:4])[0]
    if magic not in (42, 43):
        return
    # BigTIFF has wider counts and offsets
    count_format, entry_format, link_format = ("Q", "HHQQ", "Q") if magic == 43 else ("H", "HHII", "I")
    count_bytes, entry_bytes, link_bytes = (
        struct.calcsize(order + f) for f in (count_format, entry_format, link_format)
    )
    (offset,) = struct.unpack(order + link_format, head[8:16] if magic == 43 else head[4:8])
    seen: set[int] = set()
    while 0 < offset < size - count_bytes and len(seen) < _MAX_TABLES:
        if offset in seen:
            raise SlideError("its TIFF tables are damaged", found=f"table {len(seen) + 1} leads back to byte {offset}")
        seen.add(offset)
        file.seek(offset)
        (entries,) = struct.unpack(order + count_format, file.read(count_bytes))
        table = file.read(entries * entry_bytes) if entries * entry_bytes <= size - offset else b""
        if len(table) < entries * entry_bytes:
            raise SlideError("its TIFF tables are damaged", found=f"a table of {entries} entries at byte {offset}")
        if not _check_entries(file, struct.iter_unpack(order + entry_format, table), size, order, wide=magic == 43):
            return
        file.seek(offset + count_bytes + len(table))
        link = file.read(link_bytes)
        offset = struct.unpack(order + link_format, link)[0] if len(link) == link_bytes else 0


def _check_entries(file: BinaryIO, entries: Iterator[tuple[int, ...]], size: int, order: str, *, wide: bool) -> bool:
    """Check the entries of one table; whether what follows it is as in other TIFFs."""
    once: set[int] = set()
    tile_px = 1
    for tag, kind, count, value in entries:
        if count * _BYTES_PER_VALUE.get(kind, 1) > size:
            raise SlideError("its TIFF tables are damaged", found=f"tag {tag} with {count} values")
        if tag in once:  # readers differ in which of the two they take, and in what they check of it
            raise SlideError("its TIFF tables are damaged", found=f"tag {tag} twice in one table")
        once |= {tag} & _ONCE
        if tag in _TILE_SIDES and kind in _WHOLE and (wide or kind != _LONG8):
            (side,) = struct.unpack_from(order + _WHOLE[kind], struct.pack(order + ("Q" if wide else "I"), value))
            if (tile_px := tile_px * side) > MAX_TILE_PX:
                raise SlideError("its TIFF tables are damaged", found=f"tiles of {tile_px} px")
        if tag in _STORED_BYTES and kind == _LONG8:
            most = value if count == 1 and wide else _largest(file, order, count, value)
            if most > size:
                raise SlideError("its TIFF tables are damaged", found=f"a tile of {most} bytes")
        if tag == _NDPI_FORMAT:
            return False
    return True


def _largest(file: BinaryIO, order: str, count: int, place: int) -> int:
    """The largest of `count` 64-bit values at a place, or 0 where they are not in the file."""
    file.seek(place)
    data = file.read(count * 8)
    return max(struct.unpack(f"{order}{len(data) // 8}Q", data[: len(data) // 8 * 8]), default=0)
