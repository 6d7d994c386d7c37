"""Figures of a study, and those of the ASMIL paper for runs of one's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from asmil.figures.style import INK, MUTED, SERIES, SMALL_PT, TEXT_PT, new_figure, plain_ticks, style_axes

MAX_COLUMNS = 3
WIDTH_IN = 8.6
MAX_VECTOR_POINTS = 1500
"""More points than this are drawn as an image inside the SVG."""


@dataclass(frozen=True)
class Difference:
    """One line of a forest: a difference with its interval; `sure` where it holds after adjustment."""

    panel: str
    row: str
    series: str
    value: float
    low: float
    high: float
    sure: bool = False


def critical_difference_figure(
    names: Sequence[str], mean_ranks: Sequence[float], *, difference: float, cliques: Sequence[tuple[int, int]]
) -> Figure:
    """Mean ranks on a line, best at the left; bars join methods closer than the critical difference.

    Args:
        names: methods, best first.
        mean_ranks: (methods,), ascending.
        difference: the critical difference, drawn to scale above the axis.
        cliques: first and last index of every joined run.
    """
    k = len(names)
    half = (k + 1) // 2
    top, step = 0.5 + 0.32 * len(cliques), 0.62
    depth = top + step * max(half, k - half) + 0.2
    figure, (axes,) = new_figure(width_in=WIDTH_IN, height_in=0.9 + 0.3 * depth)
    axes.set_axis_off()
    axes.plot([1, k], [0, 0], color=INK, linewidth=1.1)
    for tick in range(1, k + 1):
        axes.plot([tick, tick], [0, -0.14], color=INK, linewidth=0.9)
        axes.text(tick, -0.24, str(tick), ha="center", va="bottom", color=MUTED, size=SMALL_PT)
    span = k - 1
    for i, (name, rank) in enumerate(zip(names, mean_ranks, strict=True)):
        left = i < half
        y = top + step * (i + 1 if left else k - i)
        end = 1 - 0.06 * span if left else k + 0.06 * span
        axes.plot([rank, rank, end], [0, y, y], color=MUTED, linewidth=0.8)
        label = f"{name}  {rank:.2f}" if left else f"{rank:.2f}  {name}"
        beside = end + (-0.012 if left else 0.012) * span
        axes.text(
            beside, y, label, ha="right" if left else "left", va="center", color=INK, size=TEXT_PT, parse_math=False
        )
    for level, (first, last) in enumerate(cliques):
        y, margin = 0.35 + 0.32 * level, 0.008 * span
        ends = [mean_ranks[first] - margin, mean_ranks[last] + margin]
        axes.plot(ends, [y, y], color=SERIES[0], linewidth=3.2, solid_capstyle="butt")
    y = -1.25
    shown = min(difference, span)
    axes.plot([1, 1 + shown], [y, y], color=INK, linewidth=1.1, marker="|", markersize=6)
    more = "" if difference <= span else ", wider than the axis"
    axes.text(1, y - 0.22, f"critical difference {difference:.2f}{more}", va="bottom", color=INK, size=SMALL_PT)
    label_in = min(0.3 + 0.075 * max(len(f"{name}  00.00") for name in names), 3.4)
    margin = 0.06 * span + label_in * 1.12 * span / (WIDTH_IN - 2 * label_in)
    axes.set(xlim=(1 - margin, k + margin), ylim=(depth, -2.1))
    return figure


def forest_figure(differences: Sequence[Difference], *, xlabel: str, order: Sequence[str] = ()) -> Figure:
    """Differences with their intervals: a panel for each dataset, a row for each model, a colour for each stabiliser.

    What holds after adjustment for many comparisons is drawn in full colour, the rest pale. A difference
    without interval is a mark alone; one that is not finite is not drawn. `order` are all stabilisers of the page, so
    that a colour means the same in all its figures. All panels share their x axis.
    """
    panels, rows, series = (
        list(dict.fromkeys(getattr(d, name) for d in differences)) for name in ("panel", "row", "series")
    )
    colours = dict(zip(dict.fromkeys([*order, *series]), cycle(SERIES), strict=False))
    lines = -(-len(panels) // MAX_COLUMNS)
    columns = -(-len(panels) // lines)
    height = 0.3 + lines * (0.55 + len(rows) * max(0.2, 0.13 * len(series)))
    figure, grid = _grid(lines, columns, width_in=WIDTH_IN, height_in=max(height, 1.5))
    for axes, panel in zip(grid, panels, strict=False):
        axes.axvline(0, color=MUTED, linewidth=0.9)
        for d in (d for d in differences if d.panel == panel and np.isfinite(d.value)):
            place = series.index(d.series)
            y = rows.index(d.row) + (place - (len(series) - 1) / 2) * min(0.8 / len(series), 0.3)
            colour = colours[d.series]
            alpha = 1.0 if d.sure else 0.42
            if np.isfinite(d.low):
                axes.plot([d.low, d.high], [y, y], color=colour, linewidth=1.5, alpha=alpha, solid_capstyle="butt")
            axes.plot([d.value], [y], "o", color=colour, markersize=4.4, markeredgewidth=0, alpha=alpha)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_yticks(range(len(rows)))
        axes.set_yticklabels(rows, parse_math=False)
        axes.tick_params(axis="y", labelcolor=INK)
        axes.set_title(panel, loc="left", size=TEXT_PT, color=INK, parse_math=False)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    _share_labels(figure, grid[: len(panels)], columns=columns, xlabel=xlabel)
    if len(series) > 1:
        _colours_below(figure, {name: colours[name] for name in series})
    return figure


def stability_figure(
    jsd: np.ndarray, performance: np.ndarray, *, groups: Sequence[str], colours: Sequence[str], ylabel: str
) -> Figure:
    """Steadiness of attention against performance, a dot for each cell: as measured, and within groups.

    On the right the mean of its group is taken from every dot, with the least-squares line of what remains, so that
    an easy dataset or a strong model makes no trend.

    Args:
        jsd: (cells,) log10 of the Jensen-Shannon divergence of attention from epoch to epoch.
        performance: (cells,).
        groups: (cells,), for example dataset and model.
        colours: (cells,), what dots are coloured by, for example the dataset.
        ylabel: name of the performance.
    """
    kept = np.isfinite(jsd) & np.isfinite(performance)
    x, y = np.asarray(jsd, dtype=np.float64)[kept], np.asarray(performance, dtype=np.float64)[kept]
    codes = np.unique(np.asarray(groups)[kept], return_inverse=True)[1].reshape(-1)
    names, shade = np.unique(np.asarray(colours)[kept], return_inverse=True)
    if len(names) > len(SERIES):  # more names than colours that can be told apart
        names, shade = names[:1], np.zeros_like(shade)
    figure, grid = _grid(1, 2, width_in=WIDTH_IN, height_in=3.5, share=False)
    counts = np.maximum(np.bincount(codes), 1)
    inside = [values - (np.bincount(codes, weights=values) / counts)[codes] for values in (x, y)]
    for axes, (a, b) in zip(grid, ((x, y), inside), strict=True):
        dots = [SERIES[i % len(SERIES)] for i in shade]
        size = 14 if len(a) < 500 else 7
        axes.scatter(a, b, c=dots, s=size, alpha=0.45, linewidths=0, rasterized=len(a) > MAX_VECTOR_POINTS)
    if len(x) > 2 and np.ptp(inside[0]) > 0:
        slope = float((inside[0] * inside[1]).sum() / (inside[0] ** 2).sum())
        ends = np.array([inside[0].min(), inside[0].max()])
        grid[1].plot(ends, slope * ends, color=INK, linewidth=1.6)
    grid[0].set(xlabel="log10 JSD of attention", ylabel=ylabel)
    grid[1].set(xlabel="log10 JSD, minus the mean of the group", ylabel=f"{ylabel}, minus the mean of the group")
    if len(names) > 1:
        _colours_below(figure, dict(zip(names.tolist(), SERIES, strict=False)))
    figure.set_dpi(200)
    return figure


def learning_figure(arms: Mapping[str, Mapping[str, np.ndarray]], *, labels: Mapping[str, str]) -> Figure:
    """Curves by epoch, a panel for each measure and a colour for each arm: mean over cells, band from 10 to 90 %.

    Args:
        arms: name of the arm to measure to (cells, epochs); NaN is a gap.
        labels: measure to the name of its axis, in the order of the panels. `jsd` has a logarithmic axis.
    """
    figure, grid = _grid(1, len(labels), width_in=WIDTH_IN, height_in=2.6, share=False)
    for axes, (measure, label) in zip(grid, labels.items(), strict=True):
        for i, curves in enumerate(arms.values()):
            values = np.asarray(curves.get(measure, np.empty((0, 0))), dtype=np.float64)
            known = np.flatnonzero(np.isfinite(values).any(axis=0)) if values.size else np.empty(0, dtype=int)
            if not len(known):
                continue
            colour, shown = SERIES[i % len(SERIES)], values[:, known]
            if len(values) > 1:
                low, high = np.nanpercentile(shown, [10, 90], axis=0)
                axes.fill_between(known, low, high, color=colour, alpha=0.14, linewidth=0)
            axes.plot(known, np.nanmean(shown, axis=0), color=colour, linewidth=1.6)
        if measure == "jsd" and any(np.max(line.get_ydata()) > 0 for line in axes.lines):
            axes.set_yscale("log")
            plain_ticks(axes.yaxis)
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        axes.margins(x=0.01)
    if len(arms) > 1:
        _colours_below(figure, dict(zip(arms, cycle(SERIES), strict=False)))
    return figure


def _grid(
    lines: int, columns: int, *, width_in: float, height_in: float, share: bool = True
) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width_in, height_in), layout="constrained", facecolor="none")
    grid = list(figure.subplots(lines, columns, sharex=share, sharey=share, squeeze=False).ravel())
    for axes in grid:
        style_axes(axes)
    return figure, grid


def _share_labels(figure: Figure, used: Sequence[Axes], *, columns: int, xlabel: str) -> None:
    """x tick labels and title under the last panel of every column; panels that hold nothing are removed."""
    for axes in figure.axes[len(used) :]:
        axes.remove()
    for axes in used[-columns:]:
        axes.set_xlabel(xlabel)
        axes.tick_params(labelbottom=True)


def _colours_below(figure: Figure, colours: Mapping[str, str]) -> None:
    handles = [Line2D([], [], color=colour, linewidth=2.4) for colour in colours.values()]
    _legend_below(figure, handles, list(colours), handlelength=1.4)


def _legend_below(
    figure: Figure, handles: Sequence[Artist], names: Sequence[str], *, handlelength: float | None = None
) -> None:
    legend = figure.legend(
        handles,
        names,
        loc="outside lower center",
        ncols=min(len(names), 6),
        frameon=False,
        fontsize=SMALL_PT,
        labelcolor=INK,
        handlelength=handlelength,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


# The figures of the ASMIL paper for runs of one's own: maps (4) and embeddings (5). Attention by epoch (1) is an
# `epochs_figure`, its sharpness (3) a `weights_figure`.
#
# Source: ASMIL, arXiv 2603.06658, figures 1, 3, 4 and 5.


def maps_figure(pictures: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """Fig. 4: slides as rows; the slide with what was annotated, and the map of each run, as columns.

    Args:
        pictures: slide to column to uint8 (h, w, 3); every slide has the same columns.
    """
    columns = list(next(iter(pictures.values())))
    heights = [max(p.shape[0] / p.shape[1] for p in several.values()) for several in pictures.values()]
    size = (1.9 * len(columns), 1.9 * sum(heights) + 0.3 * len(pictures))
    figure = Figure(figsize=size, layout="constrained", facecolor="none")
    panels = figure.subplots(len(pictures), len(columns), squeeze=False, height_ratios=heights)
    for row, (slide, several) in zip(panels, pictures.items(), strict=True):
        for axes, (column, picture) in zip(row, several.items(), strict=True):
            axes.imshow(picture)
            axes.set(xticks=[], yticks=[])
            axes.set_frame_on(False)
            if axes in panels[0]:
                axes.set_title(column, size=TEXT_PT, color=MUTED, parse_math=False)
        row[0].set_ylabel(slide, size=SMALL_PT, color=MUTED, parse_math=False)
    return figure


def embeddings_figure(
    embeddings: Mapping[str, np.ndarray], *, epochs: Sequence[int], labels: Mapping[str, np.ndarray]
) -> Figure:
    """Fig. 5: t-SNE of the embeddings of validation slides, a row per run and a column per epoch, by class.

    Every panel is a map of its own (`tsne`): distances within a panel mean something, places and axes do not.

    Args:
        embeddings: run to (epochs, slides, dim).
        epochs: the epochs, from 0.
        labels: run to the class of its slides, text (slides,).
    """
    rows, columns = len(embeddings), len(epochs)
    size = (1.9 * columns + 0.3, 1.9 * rows + 0.5)
    figure = Figure(figsize=size, layout="constrained", facecolor="none")
    panels = figure.subplots(rows, columns, squeeze=False)
    classes = sorted({str(label) for several in labels.values() for label in several})
    for row, (name, by_epoch) in zip(panels, embeddings.items(), strict=True):
        for axes, epoch, vectors in zip(row, epochs, by_epoch, strict=True):
            style_axes(axes)
            axes.grid(False)
            axes.set(xticks=[], yticks=[])
            x, y = tsne(vectors).T
            for label, colour in zip(classes, SERIES * (len(classes) // len(SERIES) + 1), strict=False):
                chosen = np.asarray(labels[name]) == label
                axes.scatter(x[chosen], y[chosen], s=14, color=colour, linewidths=0, alpha=0.8, label=label)
            if axes in panels[0]:
                axes.set_title(f"epoch {epoch}", size=TEXT_PT, color=MUTED)
        row[0].set_ylabel(name)
    _legend_below(figure, *panels[0, 0].get_legend_handles_labels())
    return figure


def tsne(vectors: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Two dimensions (n, 2) for n >= 3 vectors (n, dim), the same for the same seed; perplexity at most (n - 1) / 3."""
    from sklearn.manifold import TSNE  # here, because its import takes a second

    vectors = np.asarray(vectors, dtype=np.float64)
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(vectors)
