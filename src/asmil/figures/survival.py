"""Survival by risk group, and survival as predicted and as observed."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asmil.figures.style import INK, MUTED, SERIES, SMALL_PT, TEXT_PT, add_legend, new_figure

Group: TypeAlias = Mapping[str, Any]
"""A curve with its band and its counts by name, as `asmil.evaluation` makes it."""


def kaplan_meier_figure(groups: Sequence[Group], *, xlabel: str = "time") -> Figure:
    """Kaplan-Meier curves with their 95 % bands, small marks where patients were censored, and who is left at risk.

    Each group is what `evaluation.survival.kaplan_meier` returns and a `name`: lists `times`, `survival`, `low`, `high`
    (None where undefined), `censored_at`, `at_risk` (pairs of time and count).
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


def _risk_table(axes: Axes, groups: Sequence[Group]) -> None:
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
    times: np.ndarray, predicted: np.ndarray, *, observed: Group, xlabel: str = "time"
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
