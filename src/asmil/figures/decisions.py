"""Figures for whoever is to act on a prediction: reliability, net benefit, lesions found against false alarms."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from asmil.figures.curves import Curve
from asmil.figures.style import INK, MUTED, SERIES, SMALL_PT, add_legend, new_figure, plain_ticks

MAX_VECTOR_POINTS = 1500


def reliability_figure(series: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """Observed frequency by predicted probability, one colour per series; on the dashed line both agree.

    Args:
        series: name to `predicted`, `observed`, `low`, `high`, `counts`, each (bins,); dot area follows the count.
    """
    figure, (axes,) = new_figure(width_in=3.6, height_in=3.4)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, dashes=(4, 3))
    for (name, bins), colour, marker in zip(series.items(), (SERIES[1], SERIES[0]), ("s", "o"), strict=False):
        x, y, counts = bins["predicted"], bins["observed"], bins["counts"]
        errors = np.clip([y - bins["low"], bins["high"] - y], 0, None)
        axes.errorbar(x, y, yerr=errors, fmt="none", ecolor=colour, alpha=0.4, linewidth=1.1)
        axes.plot(x, y, color=colour, linewidth=1.1, alpha=0.8, marker=marker, markersize=0.1, label=name)
        sizes = 12 + 50 * counts / max(counts.max(initial=1), 1)
        axes.scatter(x, y, s=sizes, color=colour, marker=marker, linewidths=0, zorder=3, clip_on=False)
    axes.set(xlim=(0, 1), ylim=(0, 1.01), xlabel="predicted probability", ylabel="observed frequency", aspect="equal")
    if len(series) > 1:
        add_legend(axes, loc="upper left")
        for handle in axes.get_legend().legend_handles:  # type: ignore[union-attr]
            handle.set_markersize(4.5)  # type: ignore[union-attr]
    return figure


def decision_figure(model: Curve, treat_all: Curve, *, others: Mapping[str, Curve] | None = None) -> Figure:
    """Net benefit by threshold probability: the model with its band, treating all, treating none (zero).

    Args:
        model: net benefit of the model and its 95 % band.
        treat_all: net benefit of treating everybody; cut where it falls far below zero.
        others: further curves, drawn thin.
    """
    figure, (axes,) = new_figure(width_in=4.6, height_in=3.2)
    if model.low is not None and model.high is not None:
        axes.fill_between(model.x, model.low, model.high, color=SERIES[0], alpha=0.18, linewidth=0)
    axes.plot(model.x, model.y, color=SERIES[0], linewidth=1.8, label=model.label)
    for (name, curve), colour in zip((others or {}).items(), SERIES[2:], strict=False):
        axes.plot(curve.x, curve.y, color=colour, linewidth=1.1, dashes=(5, 2), label=name)
    axes.plot(treat_all.x, treat_all.y, color=SERIES[1], linewidth=1.1, label=treat_all.label)
    axes.axhline(0, color=INK, linewidth=1.0, label="act on none")
    top = max(float(np.max(model.y)), float(np.max(treat_all.y)), 0.01)
    axes.set(xlim=(0, 1), ylim=(-0.45 * top, 1.12 * top))
    axes.set(xlabel="threshold: act where the probability is at least this", ylabel="net benefit per slide")
    add_legend(axes, loc="lower left")
    return figure


def froc_figure(false_positives: np.ndarray, sensitivity: np.ndarray, *, at: Mapping[float, float]) -> Figure:
    """Share of lesions found against false findings per slide, on a logarithmic axis.

    Args:
        false_positives: (points,) false findings per slide, ascending.
        sensitivity: (points,) share of lesions found.
        at: the operating points that are reported, drawn as dots.
    """
    figure, (axes,) = new_figure(width_in=4.6, height_in=3.0)
    left, right = 0.1, max(8.0, *at.keys())
    x, y = np.asarray(false_positives, dtype=np.float64), np.asarray(sensitivity, dtype=np.float64)
    axes.plot(np.clip(np.append(x, right), left, right), np.append(y, y[-1]), color=SERIES[0], linewidth=1.6)
    axes.scatter(list(at), list(at.values()), s=26, color=SERIES[0], linewidths=0, zorder=3, clip_on=False)
    for place, value in at.items():
        axes.annotate(
            f"{value:.2f}",
            (place, value),
            (0, 6),
            textcoords="offset points",
            ha="center",
            va="bottom",
            color=INK,
            size=SMALL_PT,
        )
    axes.set(xscale="log", xlim=(left, right * 1.15), ylim=(0, 1.08))
    axes.set(xlabel="false findings per slide", ylabel="lesions found")
    axes.set_xticks(sorted(at))
    plain_ticks(axes.xaxis)
    return figure


def two_runs_figure(
    x: np.ndarray, y: np.ndarray, *, groups: Mapping[str, np.ndarray], xlabel: str, ylabel: str
) -> Figure:
    """Two probabilities of the same slides against each other, one colour and shape per group; the diagonal is dashed.

    Args:
        x: (slides,), from 0 to 1.
        y: (slides,), from 0 to 1.
        groups: name to bool (slides,).
    """
    figure, (axes,) = new_figure(width_in=3.4, height_in=3.3)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, dashes=(4, 3))
    for (name, rows), colour, marker in zip(groups.items(), (SERIES[1], SERIES[0]), ("s", "o"), strict=False):
        axes.scatter(
            x[rows],
            y[rows],
            s=14,
            color=colour,
            marker=marker,
            alpha=0.7,
            linewidths=0,
            label=name,
            clip_on=False,
            rasterized=len(x) > MAX_VECTOR_POINTS,
        )
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.set_xlabel(xlabel, parse_math=False)
    axes.set_ylabel(ylabel, parse_math=False)
    add_legend(axes)
    return figure
