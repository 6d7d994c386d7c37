"""Curves of a run: learning and attention by epoch, weights, ROC, precision-recall."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from asmil.figures.style import INK, MUTED, SERIES, SMALL_PT, add_legend, new_figure, plain_ticks, show_flat
from asmil.shown import percent


@dataclass(frozen=True)
class Curve:
    """A line to draw: `x`, `y` (n,), an optional band `low` to `high` (n,), and `faint` lines behind it."""

    x: np.ndarray
    y: np.ndarray
    label: str = ""
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    faint: Sequence[tuple[np.ndarray, np.ndarray]] = field(default_factory=tuple)


def _draw(axes: Axes, curves: Sequence[Curve]) -> None:
    for i, curve in enumerate(curves):
        colour = SERIES[i % len(SERIES)]
        if curve.low is not None and curve.high is not None:
            axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.16, linewidth=0)
        for x, y in curve.faint:
            axes.plot(x, y, color=colour, alpha=0.35, linewidth=0.7)
        axes.plot(curve.x, curve.y, color=colour, linewidth=1.8, label=curve.label or None)


def roc_figure(curves: Sequence[Curve]) -> Figure:
    """Receiver operating characteristic: false against true positive rate, with the line of chance."""
    figure, (axes,) = new_figure(width_in=3.1, height_in=3.0)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, dashes=(4, 3))
    _draw(axes, curves)
    axes.set(xlim=(0, 1), ylim=(0, 1.01), xlabel="false positive rate", ylabel="true positive rate", aspect="equal")
    add_legend(axes, loc="lower right")
    return figure


def precision_recall_figure(curves: Sequence[Curve], *, prevalence: float | None = None) -> Figure:
    """Precision against recall; the dashed line is the share of positive slides, what chance would reach."""
    figure, (axes,) = new_figure(width_in=3.1, height_in=3.0)
    if prevalence is not None:
        axes.axhline(prevalence, color=MUTED, linewidth=0.8, dashes=(4, 3))
    _draw(axes, curves)
    axes.set(xlim=(0, 1), ylim=(0, 1.01), xlabel="recall", ylabel="precision", aspect="equal")
    add_legend(axes, loc="lower left")
    return figure


def confusion_figure(counts: np.ndarray, classes: Sequence[str]) -> Figure:
    """Counts of slides by true (rows) and predicted (columns) class; colour is the share of the row."""
    counts = np.asarray(counts)
    figure, (axes,) = new_figure(width_in=3.1, height_in=3.0)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    for (row, column), count in np.ndenumerate(counts):
        opacity = 0.06 + 0.5 * float(share[row, column])
        axes.add_patch(
            Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, facecolor=SERIES[0], alpha=opacity, linewidth=0)
        )
        axes.text(column, row, f"{count}", ha="center", va="center", color=INK, size=15 if len(classes) < 5 else 10)
        if len(classes) < 5:
            text = f"{percent(share[row, column], '%')} of row"
            axes.text(column, row + 0.2, text, ha="center", va="center", color=INK, size=SMALL_PT)
    ticks = range(len(classes))
    axes.set(xticks=ticks, yticks=ticks, xlabel="predicted", ylabel="true", aspect="equal")
    axes.set(xlim=(-0.5, len(classes) - 0.5), ylim=(len(classes) - 0.5, -0.5))
    axes.set_xticklabels(classes, parse_math=False)
    axes.set_yticklabels(classes, parse_math=False, rotation=90, va="center")
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


def score_histogram_figure(groups: Mapping[str, np.ndarray], *, xlabel: str = "predicted probability") -> Figure:
    """Histograms of values in 0 to 1 (probabilities, tile AUROC), one colour per group."""
    figure, (axes,) = new_figure(width_in=3.1, height_in=3.0)
    bins = np.linspace(0, 1, 21).tolist()
    for (name, values), colour in zip(groups.items(), SERIES, strict=False):
        axes.hist(values, bins=bins, histtype="stepfilled", facecolor=colour, alpha=0.35)
        axes.hist(values, bins=bins, histtype="step", color=colour, linewidth=1.2, label=f"{name} ({len(values)})")
    axes.set(xlim=(0, 1), xlabel=xlabel, ylabel="slides")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    if len(groups) > 1:
        add_legend(axes)
    return figure


def epochs_figure(
    series: Mapping[str, Sequence[np.ndarray]],
    *,
    ylabel: str,
    log: bool = False,
    ends: tuple[float, float] = (-np.inf, np.inf),
) -> Figure:
    """Quantities by epoch: one faint line per fold and seed, their mean bold.

    Args:
        series: name to one (epochs,) array per training; lengths may differ (early stopping), NaN is a gap.
        log: logarithmic y axis.
        ends: least and most that the quantity can be, for a linear axis.
    """
    figure, (axes,) = new_figure(width_in=4.1, height_in=2.7)
    _draw(axes, [_mean_curve(name, runs) for name, runs in series.items()])
    if log and any(_positive(values) for values in series.values()):
        axes.set_yscale("log")
        plain_ticks(axes.yaxis)
    else:
        show_flat(axes, ends=ends)
    axes.set(xlabel="epoch", ylabel=ylabel)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    axes.margins(x=0.01)
    if len(series) > 1:
        add_legend(axes, loc="best")
    return figure


def _positive(several: Sequence[np.ndarray]) -> bool:
    """Whether a logarithmic axis can show any of it: attention that is even by nature, of mean pooling, never moves."""
    return any((np.asarray(values) > 0).any() for values in several)


def deletion_figure(shares: Sequence[float], falls: Mapping[str, Sequence[float]]) -> Figure:
    """How far a logit falls when tiles are taken away: a line per order of the tiles, from 0 at none."""
    figure, (axes,) = new_figure(width_in=4.1, height_in=2.7)
    x = np.array([0.0, *shares]) * 100
    for (name, fall), colour in zip(falls.items(), SERIES, strict=False):
        axes.plot(x, [0.0, *fall], color=colour, linewidth=1.6, marker="o", markersize=3.5, label=name)
    axes.axhline(0, color=MUTED, linewidth=0.7)
    axes.set(xlabel="tiles taken away, %", ylabel="fall of the logit")
    axes.margins(x=0.02)
    add_legend(axes, loc="best")
    return figure


def dynamics_figure(
    jsd: Sequence[np.ndarray], *, train_loss: Sequence[np.ndarray], val_loss: Sequence[np.ndarray]
) -> Figure:
    """Attention dynamics above learning, on one epoch axis (the question of Fig. 1 of the ASMIL paper).

    Args:
        jsd: per training, (epochs,) Jensen-Shannon divergence of the attention of successive epochs, mean
            over slides.
        train_loss: per training, (epochs,).
        val_loss: per training, (epochs,).
    """
    figure, (above, below) = new_figure(width_in=6.8, height_in=4.4, panels=2)
    _draw(above, [_mean_curve("", jsd)])
    if _positive(jsd):
        above.set_yscale("log")
        plain_ticks(above.yaxis)
    else:
        show_flat(above, ends=(0.0, np.inf))
    above.set_ylabel("JSD, epoch to epoch")
    losses = [_mean_curve("validation", val_loss), _mean_curve("training", train_loss)]
    _draw(below, [curve for curve in losses if len(curve.x)])
    show_flat(below)
    below.set(xlabel="epoch", ylabel="loss")
    below.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=9))
    below.margins(x=0.01)
    add_legend(below, loc="best")
    return figure


def _mean_curve(name: str, runs: Sequence[np.ndarray]) -> Curve:
    """Mean over all trainings, as long as all of them run: where one drops out the mean would jump for no reason."""
    runs = [np.asarray(run, dtype=np.float64) for run in runs if len(run)]
    if not runs:
        return Curve(np.empty(0), np.empty(0), name)
    mean = np.mean([run[: min(map(len, runs))] for run in runs], axis=0)
    there = np.isfinite(mean)
    faint = tuple((np.arange(len(run)), run) for run in runs) if len(runs) > 1 else ()
    return Curve(np.flatnonzero(there), mean[there], name, faint=faint)


def weights_figure(weights: Mapping[str, np.ndarray]) -> Figure:
    """How evenly weight lies on tiles: histogram of weight times tiles, log axis (Fig. 3 of the paper).

    Args:
        weights: name (softmax, anchor NSF) to weight times number of tiles of all slides; 1 is uniform.
    """
    figure, (axes,) = new_figure(width_in=6.8, height_in=3.0)
    everything = np.concatenate([np.ravel(values) for values in weights.values()])
    # nearly even weights would all fall into one bin of the range that sparse attention needs
    ends = np.percentile(everything[everything > 0], [0.1, 99.9]) if (everything > 0).any() else (0.5, 2.0)
    low, high = float(np.clip(ends[0], 1e-4, 0.95)), float(np.clip(ends[1], 1.05, 1e3))
    bins = np.geomspace(low, high, 61).tolist()
    for (name, values), colour in zip(weights.items(), (SERIES[1], SERIES[0], *SERIES[2:]), strict=False):
        shown = np.clip(values, bins[0], bins[-1])
        share = np.full(len(shown), 1 / max(len(shown), 1))
        axes.hist(shown, bins=bins, weights=share, histtype="stepfilled", facecolor=colour, alpha=0.3)
        axes.hist(shown, bins=bins, weights=share, histtype="step", color=colour, linewidth=1.3, label=name)
    axes.axvline(1, color=MUTED, linewidth=0.9, dashes=(4, 3))
    axes.text(1, 0.99, " uniform", transform=axes.get_xaxis_transform(), va="top", color=MUTED, size=SMALL_PT)
    axes.set(
        xscale="log",
        xlabel="weight × tiles (1 = uniform; outermost bins hold all beyond)",
        ylabel="share of tiles",
    )
    axes.set_xlim(low, high)
    plain_ticks(axes.xaxis)
    add_legend(axes, loc="upper left")
    return figure


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
