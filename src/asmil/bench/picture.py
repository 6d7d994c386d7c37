"""The curve of cost as a picture."""

from collections.abc import Sequence
from pathlib import Path

from asmil.bench.parts.curve import MEMORY, PART, TIME, tiles_of
from asmil.bench.rows import Row
from asmil.figures import cost_figure, write_figure


def write_curve(path: str | Path, rows: Sequence[Row]) -> list[Path]:
    """Draw time and memory per tile of the curve's rows as PNG and SVG; nothing where there is no point."""
    values = {(row.measure, tiles_of(row)): row.value for row in rows if row.part == PART and row.value is not None}
    tiles = sorted(tiles for measure, tiles in values if measure == TIME)
    if not tiles:
        return []
    time, memory = ([values[measure, count] for count in tiles] for measure in (TIME, MEMORY))
    return write_figure(cost_figure(tiles, microseconds=time, bytes_held=memory), path)
