"""Figures for whoever is to act on a prediction: reliability, net benefit, lesions, survival."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asmil.figures.curves import Curve
from asmil.figures.style import INK, MUTED, SERIES, SMALL_PT, TEXT_PT, add_legend, new_figure, plain_ticks

if TYPE_CHECKING:
    from asmil.evaluation import SurvivalCurve

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


# Survival by risk group, and survival as predicted and as observed.


def kaplan_meier_figure(groups: Sequence["SurvivalCurve"], *, xlabel: str = "time") -> Figure:
    """Kaplan-Meier curves with their 95 % bands, small marks where patients were censored, and who is left at risk.

    Each group has a `name`.
    """
    figure, (axes, below) = new_figure(width_in=6.8, height_in=3.9, panels=2, heights=[9, 0.6 + len(groups)])
    for group, colour in zip(groups, SERIES, strict=False):
        times, survival = np.array(group["times"]), np.array(group["survival"], float)
        low, high = (np.array(group[side], float) for side in ("low", "high"))
        axes.fill_between(times, low, high, step="post", color=colour, alpha=0.16, linewidth=0)
        label = f"{group['name']} ({group['events']} events)"
        axes.plot(times, survival, drawstyle="steps-post", color=colour, linewidth=1.8, label=label)
        censored = np.array(group["censored_at"])
        height = survival[np.searchsorted(times, censored, side="right") - 1]
        axes.plot(censored, height, "|", color=colour, markersize=5, markeredgewidth=0.8)
    axes.set(ylim=(0, 1.02), ylabel="survival")
    axes.set_xlim(left=0)
    add_legend(axes, loc="lower left")
    _risk_table(below, groups)
    below.set_xlabel(xlabel)
    return figure


def _risk_table(axes: Axes, groups: Sequence["SurvivalCurve"]) -> None:
    ticks = max((group["at_risk"] for group in groups), key=len)
    for row, group in enumerate(groups):
        for tick, count in group["at_risk"]:
            axes.text(tick, row, f"{count}", ha="center", va="center", color=INK, size=SMALL_PT)
    axes.set(ylim=(len(groups) - 0.4, -0.6), yticks=range(len(groups)), xticks=[tick for tick, _ in ticks])
    axes.set_yticklabels([group["name"] for group in groups], parse_math=False)
    axes.tick_params(axis="y", pad=16)  # the first count stands half to the left of the axis
    axes.set_title("at risk", loc="left", size=TEXT_PT, color=MUTED)
    axes.grid(False)
    axes.spines["left"].set_visible(False)


def predicted_survival_figure(
    times: np.ndarray, predicted: np.ndarray, *, observed: "SurvivalCurve", xlabel: str = "time"
) -> Figure:
    """Mean predicted survival at `times` (n,) over the Kaplan-Meier curve of the same patients."""
    figure, (axes,) = new_figure(width_in=3.1, height_in=3.0)
    low, high = (np.array(observed[side], float) for side in ("low", "high"))
    axes.fill_between(observed["times"], low, high, step="post", color=MUTED, alpha=0.16, linewidth=0)
    curve = observed["survival"]
    axes.plot(observed["times"], curve, drawstyle="steps-post", color=MUTED, linewidth=1.4, label="observed")
    axes.plot(times, predicted, "o-", color=SERIES[0], linewidth=1.4, markersize=4, label="predicted, mean")
    axes.set(ylim=(0, 1.02), xlabel=xlabel, ylabel="survival")
    axes.set_xlim(left=0)
    add_legend(axes, loc="lower left")
    return figure


def agreement_figure(true: np.ndarray, predicted: np.ndarray, *, name: str = "value") -> Figure:
    """Predicted against true values (n,), with the line on which they are equal."""
    figure, (axes,) = new_figure(width_in=3.1, height_in=3.0)
    ends = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
    axes.plot(ends, ends, color=MUTED, linewidth=0.8, dashes=(4, 3))
    axes.scatter(true, predicted, s=14, color=SERIES[0], alpha=0.6, linewidths=0)
    axes.set_xlabel(f"true {name}", parse_math=False)
    axes.set_ylabel(f"predicted {name}", parse_math=False)
    return figure
