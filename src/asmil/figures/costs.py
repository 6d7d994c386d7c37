"""What a tile costs by the size of its bag: a level line is a cost that grows linearly."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from asmil.figures.style import SERIES, new_figure


def cost_figure(tiles: Sequence[int], *, microseconds: Sequence[float], bytes_held: Sequence[float]) -> Figure:
    """Time above memory of a training step per tile, against the tiles of the bag (logarithmic axis).

    Args:
        tiles: sizes of the bags, ascending.
        microseconds: per tile, one for each size.
        bytes_held: peak memory per tile, one for each size.
    """
    figure, (above, below) = new_figure(width_in=4.6, height_in=3.8, panels=2)
    panels = (above, microseconds, "µs per tile"), (below, np.asarray(bytes_held) / 1e3, "peak kB per tile")
    for (axes, values, label), colour in zip(panels, SERIES, strict=False):
        axes.plot(np.asarray(tiles), np.asarray(values), color=colour, linewidth=1.8, marker="o", markersize=4)
        axes.set(ylabel=label, ylim=(0, 1.25 * max(values)))
    below.set(xscale="log", xlabel="tiles of the bag", xticks=tiles)
    below.set_xticks([], minor=True)
    below.set_xticklabels([_short(count) for count in tiles])
    return figure


def _short(count: int) -> str:
    """1500 as 1.5k, a million as 1M."""
    value, suffix = next(((count / size, s) for size, s in ((1e6, "M"), (1e3, "k")) if count >= size), (count, ""))
    return f"{value:g}{suffix}"
