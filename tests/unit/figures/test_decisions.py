"""The figures for those who act: what is drawn is what was given."""

import numpy as np

from asmil.figures import Curve, decision_figure, froc_figure, reliability_figure, two_runs_figure


def test_reliability_shows_each_series_with_its_legend():
    bins = {
        "predicted": np.array([0.2, 0.8]),
        "observed": np.array([0.1, 0.9]),
        "low": np.array([0.0, 0.7]),
        "high": np.array([0.3, 1.0]),
        "counts": np.array([4, 6]),
    }
    (axes,) = reliability_figure({"before": bins, "after": bins}).axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["before", "after"]
    assert len(axes.collections) == 4, "two series of dots, two of error bars"
    assert reliability_figure({"before": bins}).axes[0].get_legend() is None


def test_net_benefit_far_below_zero_is_cut_not_squeezed():
    x = np.arange(1, 100) / 100
    model = Curve(x, 0.3 - 0.2 * x, "model", low=0.2 - 0.2 * x, high=0.4 - 0.2 * x)
    treat_all = Curve(x, 0.3 - 0.7 * x / (1 - x), "act on all")
    (axes,) = decision_figure(model, treat_all, others={"scaled": model}).axes
    low, high = axes.get_ylim()
    assert -0.2 < low < 0
    assert 0.3 < high < 0.4
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["model", "scaled", "act on all", "act on none"]


def test_froc_marks_the_reported_points():
    at = {0.25: 0.2, 0.5: 0.4, 8.0: 0.9}
    (axes,) = froc_figure(np.array([0.0, 0.3, 3.0]), np.array([0.1, 0.3, 0.9]), at=at).axes
    assert axes.collections[0].get_offsets().tolist() == [[k, v] for k, v in at.items()]
    assert [text.get_text() for text in axes.texts] == ["0.20", "0.40", "0.90"]
    x, y = axes.lines[0].get_data()
    assert (x[-1], y[-1]) == (8.0, 0.9), "level beyond the last point"


def test_two_runs_are_drawn_by_group():
    x, y = np.linspace(0, 1, 6), np.linspace(1, 0, 6)
    groups = {"true $a$": x > 0.5, "other": x <= 0.5}
    (axes,) = two_runs_figure(x, y, groups=groups, xlabel="run_1", ylabel="run_2").axes
    assert [len(c.get_offsets()) for c in axes.collections] == [3, 3]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["true $a$", "other"]
