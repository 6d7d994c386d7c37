"""Files read at any place by several threads."""

import os
import threading
from pathlib import Path

from asmil.errors import SlideError


class PositionalFile:
    """A file read at any place by several threads at once, without a position that they would share."""

    def __init__(self, path: Path):
        self._file = path.open("rb", buffering=0)
        self._lock = threading.Lock()
        self.size = os.fstat(self._file.fileno()).st_size

    def read(self, offset: int, count: int) -> bytes:
        """Read `count` bytes; SlideError where the file ends before."""
        if hasattr(os, "pread"):
            data = os.pread(self._file.fileno(), count, offset)
        else:  # Windows
            with self._lock:
                self._file.seek(offset)
                data = self._file.read(count)
        if len(data) < count:
            raise SlideError("the file ends within the tile", found=f"{len(data)} of {count} bytes")
        return data

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        self._file.close()
