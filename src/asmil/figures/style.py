"""The look of every figure: line weights, sizes, and colours that a web page may replace."""

from collections.abc import Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

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
    """Two thin spines, muted tick labels, a faint grid behind the data."""
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


def plain_ticks(axis: Axis) -> None:
    """Ticks of a logarithmic axis as plain numbers (0.001, 1, 100): they stay text in an SVG."""
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(NullFormatter())


Corner = Literal["best", "upper left", "lower left", "lower right"]


def add_legend(axes: Axes, *, loc: Corner = "best") -> None:
    """A frameless legend of all labelled artists, in the ink colour."""
    if not axes.get_legend_handles_labels()[0]:
        return
    legend = axes.legend(frameon=False, fontsize=SMALL_PT, labelcolor=INK, handlelength=1.4, borderaxespad=0.3, loc=loc)
    for text in legend.get_texts():
        text.set_parse_math(False)  # class and slide names are data: "$" must not start a formula
