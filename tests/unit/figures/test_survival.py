"""Figures of other tasks: what is drawn is what was given."""

import numpy as np

from asmil.evaluation.task_scores import kaplan_meier
from asmil.figures import agreement_figure, kaplan_meier_figure, predicted_survival_figure

TARGETS = np.array([[2.0, 1], [4, 0], [5, 1], [9, 1], [12, 0]])


def test_kaplan_meier_curves_come_with_the_numbers_at_risk():
    names = (("low $risk", 1), ("high", 0.5))
    groups = [{"name": name, **kaplan_meier(TARGETS * [scale, 1], until=12)} for name, scale in names]
    figure = kaplan_meier_figure(groups, xlabel="months")
    axes, below = figure.axes
    np.testing.assert_allclose(axes.lines[0].get_ydata()[[0, 1, 3, 4]], [1, 0.8, 0.8 * 2 / 3, 0.8 / 3])
    assert axes.lines[0].get_drawstyle() == "steps-post"
    np.testing.assert_allclose(axes.lines[1].get_ydata(), [0.8, 0.8 / 3])  # where patients were censored
    counts = {(text.get_position()): text.get_text() for text in below.texts}
    assert counts[(0, 0)] == counts[(0, 1)] == "5"
    assert counts[(5, 0)] == "3"
    assert counts[(10, 1)] == "0", "beyond the end of the shorter group nobody is at risk"
    assert [label.get_text() for label in below.get_yticklabels()] == ["low $risk", "high"]
    figure.canvas.draw()


def test_predicted_survival_lies_over_the_observed():
    figure = predicted_survival_figure(np.array([3.0, 6]), np.array([0.7, 0.5]), observed=kaplan_meier(TARGETS))
    assert [line.get_label() for line in figure.axes[0].lines] == ["observed", "predicted, mean"]
    np.testing.assert_allclose(figure.axes[0].lines[1].get_xydata(), [[3, 0.7], [6, 0.5]])


def test_agreement_has_the_line_of_equality_over_the_whole_range():
    figure = agreement_figure(np.array([1.0, 2]), np.array([0.0, 5]), name="$x")
    np.testing.assert_allclose(figure.axes[0].lines[0].get_xydata(), [[0, 0], [5, 5]])
    figure.canvas.draw()
