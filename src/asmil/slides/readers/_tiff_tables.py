"""A look at the tables of a TIFF before OpenSlide sees them: it ends the whole process on absurd ones."""

import struct
from pathlib import Path
from typing import BinaryIO

from asmil.errors import SlideError

_BYTES_PER_VALUE = {3: 2, 8: 2, 4: 4, 9: 4, 11: 4, 13: 4, 5: 8, 10: 8, 12: 8, 16: 8, 17: 8, 18: 8}
_NDPI_FORMAT = 65420  # Hamamatsu: offsets of further tables are stored in a way of its own
_TILE_SIDES, _WIDE = (322, 323), (4, 16)  # TileWidth and TileLength; as 32 or 64 bits
_MAX_TABLES = 4096
MAX_TILE_PX = 1 << 16


def check_tables(path: Path) -> None:
    """Check that no table of a TIFF claims more bytes than the file has; other files pass.

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
    while 0 < offset < size - count_bytes and offset not in seen and len(seen) < _MAX_TABLES:
        seen.add(offset)
        file.seek(offset)
        (entries,) = struct.unpack(order + count_format, file.read(count_bytes))
        table = file.read(entries * entry_bytes) if entries * entry_bytes <= size - offset else b""
        if len(table) < entries * entry_bytes:
            raise SlideError("its TIFF tables are damaged", found=f"a table of {entries} entries at byte {offset}")
        for tag, kind, count, value in struct.iter_unpack(order + entry_format, table):
            if count * _BYTES_PER_VALUE.get(kind, 1) > size:
                raise SlideError("its TIFF tables are damaged", found=f"tag {tag} with {count} values")
            if tag in _TILE_SIDES and kind in _WIDE and value > MAX_TILE_PX:
                raise SlideError("its TIFF tables are damaged", found=f"tiles of {value} px")
            if tag == _NDPI_FORMAT:
                return
        link = file.read(link_bytes)
        offset = struct.unpack(order + link_format, link)[0] if len(link) == link_bytes else 0
