"""The look of every figure: line weights, sizes, and colours that a web page may replace."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, Formatter, LogLocator, MaxNLocator, NullFormatter

INK = "#1d2023"
MUTED = "#6d7378"
GRID = "#dcdfe1"
SERIES = ("#0067a5", "#c4501b", "#2a7f63", "#85589b", "#857216", "#4b5a66")
"""Distinct under the common colour blindnesses and in grey; the first two carry most figures."""

CSS_VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--line"} | {
    colour: f"--series-{i}" for i, colour in enumerate(SERIES, start=1)
}
"""Custom properties that replace the colours in an inline SVG, so that a page can have a dark theme."""

TEXT_PT, SMALL_PT = 9.0, 8.0


def new_figure(
    *, width_in: float = 4.2, height_in: float = 3.2, panels: int = 1, heights: Sequence[float] | None = None
) -> tuple[Figure, list[Axes]]:
    """A transparent figure with `panels` axes stacked on one x axis, styled; `heights` are their shares, else even."""
    figure = Figure(figsize=(width_in, height_in), layout="constrained", facecolor="none")
    axes = list(figure.subplots(panels, 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0])
    for panel in axes:
        style_axes(panel)
    return figure, axes


def style_axes(axes: Axes) -> None:
    """Two thin spines, muted tick labels of plain numbers, a faint grid behind the data."""
    axes.set_facecolor("none")
    axes.set_axisbelow(True)
    axes.grid(True, color=GRID, linewidth=0.6)
    axes.tick_params(colors=MUTED, labelsize=SMALL_PT, length=0, pad=4, which="both")
    axes.xaxis.label.set(color=MUTED, size=TEXT_PT)
    axes.yaxis.label.set(color=MUTED, size=TEXT_PT)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(MUTED)
        spine.set_linewidth(0.7)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PlainNumbers())


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def plain_number(value: float) -> str:
    """A number at a tick, as text in an SVG too: 0.001, 12,000; far from 1 with its power of ten: 2 × 10⁻⁷."""
    if value == 0 or 1e-4 <= abs(value) < 1e7:
        text = f"{value:,.10g}"
    else:
        digits, _, power = f"{value:.9e}".partition("e")
        text = f"{float(digits):g} × 10".removeprefix("1 × ") + str(int(power)).translate(_RAISED)
    return text.replace("-", "−")


class PlainNumbers(Formatter):
    """Every tick of a linear axis with all of its number: matplotlib's own may leave a part to a corner ("1e-6+1")."""

    _top = 0.0

    def set_locs(self, locs: list[float]) -> None:
        """Hear where the ticks are."""
        super().set_locs(locs)
        self._top = max(map(abs, locs), default=0.0)

    def __call__(self, value: float, pos: int | None = None) -> str:
        """The text of a tick; what is zero but for rounding is 0."""
        return plain_number(0.0 if abs(value) < 1e-9 * self._top else value)


def plain_ticks(axis: Axis) -> None:
    """Ticks of a logarithmic axis as plain numbers, so many that a part of a decade has some; after its limits."""
    low, high = axis.get_view_interval()
    if isinstance(axis.get_major_locator(), FixedLocator):
        pass  # they were chosen
    elif high / low < 20:
        axis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 5, 10]))
    elif high / low < 1000:  # else often a single decade would be labelled
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(lambda value, _: plain_number(value))
    axis.set_minor_formatter(NullFormatter())


FLAT = 0.002
"""An axis shows at least this share of its numbers: what moves less is drawn as the flat line it is."""


def show_flat(axes: Axes, *, ends: tuple[float, float] = (-np.inf, np.inf)) -> None:
    """Widen a linear y axis whose numbers hardly differ, within the `ends` between which they can be."""
    low, high = axes.get_ylim()
    short = FLAT * max(abs(low), abs(high)) - (high - low)
    if short > 0:
        low, high = low - short / 2, high + short / 2
        over, under = max(high - ends[1], 0.0), max(ends[0] - low, 0.0)
        axes.set_ylim(low - over + under, high - over + under)


Corner = Literal["best", "upper left", "lower left", "lower right"]


def add_legend(axes: Axes, *, loc: Corner = "best") -> None:
    """A frameless legend of all labelled artists, in the ink colour."""
    if not axes.get_legend_handles_labels()[0]:
        return
    legend = axes.legend(frameon=False, fontsize=SMALL_PT, labelcolor=INK, handlelength=1.4, borderaxespad=0.3, loc=loc)
    for text in legend.get_texts():
        text.set_parse_math(False)  # class and slide names are data: "$" must not start a formula
