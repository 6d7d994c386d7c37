"""Figures of a study: marks stand where the numbers say, and awkward input still draws."""

import numpy as np
import pytest

from asmil.figures import (
    Difference,
    critical_difference_figure,
    figure_svg,
    forest_figure,
    learning_figure,
    stability_figure,
)
from asmil.figures.style import SERIES

RNG = np.random.default_rng(0)


def test_critical_difference_is_drawn_to_the_scale_of_the_ranks():
    names, ranks = ["$best", "b", "c", "d"], [1.2, 1.9, 3.1, 3.8]
    figure = critical_difference_figure(names, ranks, difference=1.3, cliques=[(0, 1), (1, 2), (2, 3)])
    lines = [np.asarray(line.get_xdata()) for line in figure.axes[0].lines]
    assert any(np.ptp(x) == pytest.approx(1.3) and x.min() == 1 for x in lines)
    bars = [line for line in figure.axes[0].lines if line.get_linewidth() > 3]
    assert [
        bar.get_xdata()[0] < ranks[first] and bar.get_xdata()[1] > ranks[last]
        for bar, (first, last) in zip(bars, [(0, 1), (1, 2), (2, 3)], strict=True)
    ] == [True] * 3
    assert "$best  1.20" in figure_svg(figure)


def test_labels_of_a_ranking_do_not_overlap():
    names, ranks = [f"model with a long name {i}" for i in range(23)], np.linspace(3, 20, 23).tolist()
    figure = critical_difference_figure(names, ranks, difference=40, cliques=[(0, 22)])
    texts = [text for text in figure.axes[0].texts if "model" in text.get_text()]
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in texts]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    whole = figure.bbox
    assert all(whole.x0 <= box.x0 and box.x1 <= whole.x1 and whole.y0 <= box.y0 for box in boxes)


def test_forest_puts_every_difference_in_its_panel_row_and_colour():
    several = [
        Difference(panel, row, series, 0.1 * i, 0.1 * i - 0.05, 0.1 * i + 0.05, sure=i > 2)
        for i, (panel, row, series) in enumerate([("a", "m", "s"), ("a", "n", "s"), ("a", "m", "t"), ("b", "n", "t")])
    ]
    figure = forest_figure([*several, Difference("b", "m", "s", np.nan, np.nan, np.nan)], xlabel="difference")
    a, b = figure.axes
    marks = {axes.get_title(loc="left"): [line for line in axes.lines if line.get_marker() == "o"] for axes in (a, b)}
    assert [mark.get_xdata()[0] for mark in marks["a"]] == pytest.approx([0, 0.1, 0.2])
    assert len({mark.get_color() for mark in marks["a"]}) == 2
    ordered = forest_figure(several, xlabel="difference", order=["none", "t", "s"])
    assert [line.get_color() for line in ordered.axes[0].lines if line.get_marker() == "o"][2] == SERIES[1]
    assert [mark.get_alpha() for mark in marks["b"]] == [1.0]
    assert [round(float(mark.get_ydata()[0])) for mark in marks["a"]] == [0, 1, 0]


def test_a_forest_without_intervals_or_with_seven_datasets_draws():
    alone = forest_figure([Difference("a", "m", "s", 0.1, np.nan, np.nan)], xlabel="d")
    assert sum(len(line.get_xdata()) == 2 for line in alone.axes[0].lines) == 1  # only the line at zero
    many = forest_figure([Difference(f"d{i}", "m", "s", 0.1, 0, 0.2) for i in range(7)], xlabel="d")
    assert len(many.axes) == 7
    figure_svg(many)


def test_stability_trend_is_that_within_groups():
    groups = np.repeat(np.arange(4), 30)
    noise = RNG.normal(0, 0.2, 120)
    jsd = groups + noise
    figure = stability_figure(jsd, groups - 0.5 * noise, groups=groups, colours=groups, ylabel="AUROC")
    (line,) = figure.axes[1].lines
    slope = np.diff(line.get_ydata()) / np.diff(line.get_xdata())
    assert slope == pytest.approx(-0.5)


def test_stability_of_nothing_and_of_constant_jsd_draws_no_trend():
    for jsd in (np.full(5, np.nan), np.ones(5)):
        names = ["a"] * 5
        figure = stability_figure(jsd, np.arange(5.0), groups=names, colours=names, ylabel="AUROC")
        assert not figure.axes[1].lines
        figure_svg(figure)


def test_many_cells_become_an_image():
    values = RNG.normal(size=2000)
    names = np.arange(2000) % 9
    svg = figure_svg(stability_figure(values, values, groups=names, colours=names, ylabel="AUROC"))
    assert "data:image/png" in svg
    assert len(svg) < 600_000


def test_learning_curves_are_means_over_cells_and_survive_gaps():
    jsd = np.array([[np.nan, 0.2, 0.1], [np.nan, 0.4, 0.3]])
    arms = {"none": {"jsd": jsd, "val_loss": np.ones((2, 3))}, "anchor": {"val_loss": np.ones((1, 3))}}
    figure = learning_figure(arms, labels={"val_loss": "validation loss", "jsd": "JSD"})
    loss, dynamics = figure.axes
    (line,) = dynamics.lines
    assert line.get_xdata().tolist() == [1, 2]
    assert line.get_ydata() == pytest.approx([0.3, 0.2])
    assert dynamics.get_yscale() == "log"
    assert len(loss.lines) == 2
    zero = learning_figure({"a": {"jsd": np.zeros((2, 3))}}, labels={"jsd": "JSD"})
    assert zero.axes[0].get_yscale() == "linear"
