"""Curves: the lines hold the numbers they were given."""

import numpy as np
import pytest

from asmil.figures import (
    Curve,
    confusion_figure,
    dynamics_figure,
    epochs_figure,
    precision_recall_figure,
    roc_figure,
    score_histogram_figure,
    weights_figure,
)


def _lines(axes):
    return [(line.get_xdata(), line.get_ydata(), line.get_linewidth()) for line in axes.lines]


def test_epoch_means_stop_where_the_first_training_stops():
    runs = [np.array([1.0, 2.0, 9.0, 9.0]), np.array([3.0, 4.0]), np.array([5.0, np.nan])]
    figure = epochs_figure({"entropy": runs}, ylabel="entropy")
    *faint, (x, y, width) = _lines(figure.axes[0])
    assert len(faint) == 3
    assert x.tolist() == [0]
    assert y.tolist() == [3.0]
    assert width > faint[0][2]


def test_a_single_training_is_drawn_once():
    figure = epochs_figure({"loss": [np.arange(5.0)]}, ylabel="loss")
    assert len(figure.axes[0].lines) == 1


def test_dynamics_share_the_epoch_axis_and_jsd_is_logarithmic():
    figure = dynamics_figure([np.array([np.nan, 0.1, 0.01])], train_loss=[np.ones(3)], val_loss=[])
    above, below = figure.axes
    assert above.get_yscale() == "log"
    assert above.get_xlim() == below.get_xlim()
    assert len(below.lines) == 1


def test_roc_and_precision_recall_draw_bands_folds_and_chance():
    x = np.linspace(0, 1, 5)
    curve = Curve(x, x**0.5, "area 0.7", low=x, high=np.ones(5), faint=[(x, x)])
    roc = roc_figure([curve]).axes[0]
    assert len(roc.lines) == 3
    assert len(roc.collections) == 1
    recall = precision_recall_figure([curve], prevalence=0.25).axes[0]
    assert recall.lines[0].get_ydata()[0] == 0.25


def test_confusion_shows_every_count_and_share():
    figure = confusion_figure(np.array([[8, 2], [0, 0]]), ["$a", "b"])
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert {"8", "2", "80% of row", "20% of row"} <= set(texts)
    figure.canvas.draw()


def test_weight_histograms_keep_all_tiles_even_far_outside():
    figure = weights_figure({"online softmax": np.array([0.0, 1e-9, 1.0, 1e6]), "anchor NSF": np.ones(4)})
    outline = figure.axes[0].patches[0].get_xy()[:, 1]
    assert outline.max() == pytest.approx(0.5)
    assert figure.axes[0].get_xscale() == "log"


def test_score_histogram_counts_by_group():
    figure = score_histogram_figure({"a": np.array([0.01, 0.02]), "b": np.array([])})
    assert [t.get_text() for t in figure.axes[0].get_legend().get_texts()] == ["a (2)", "b (0)"]


def test_nearly_even_weights_spread_over_many_bins():
    figure = weights_figure({"online softmax": np.linspace(0.98, 1.02, 5000)})
    low, high = figure.axes[0].get_xlim()
    assert 0.9 < low < 0.98
    assert 1.02 < high < 1.1
    assert figure.axes[0].patches[0].get_xy()[:, 1].max() < 0.1


def test_attention_that_never_moves_has_no_logarithm(recwarn):
    """Mean pooling: matplotlib would warn, by a path of its own, on the screen of whoever asked for a report."""
    still = [np.array([np.nan, 0.0, 0.0])]
    figure = dynamics_figure(still, train_loss=[np.ones(3)], val_loss=[])
    figure.draw_without_rendering()
    assert figure.axes[0].get_yscale() == "linear"
    assert not recwarn.list
