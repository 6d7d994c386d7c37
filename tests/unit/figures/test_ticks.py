"""Every tick of every figure is a number that a reader reads: no offset in a corner, no 1e-05, no axis without any."""

import re

import numpy as np
import pytest

from asmil.figures import (
    Curve,
    Difference,
    agreement_figure,
    cost_figure,
    decision_figure,
    deletion_figure,
    dynamics_figure,
    epochs_figure,
    figure_svg,
    forest_figure,
    froc_figure,
    learning_figure,
    reliability_figure,
    roc_figure,
    score_histogram_figure,
    stability_figure,
    two_runs_figure,
    weights_figure,
)

X = np.linspace(0, 1, 11)
EPOCHS = np.arange(30)
NEARLY_ONE = 1 - 1e-6 * np.exp(-EPOCHS / 9)
TINY, HUGE = 1e-9 * (1 + EPOCHS), 3e8 + 1e6 * EPOCHS
PART_OF_A_DECADE = np.linspace(2e-6, 8e-6, 30)
CURVE = Curve(X, X)
BINS = {"predicted": X, "observed": X, "low": X / 2, "high": X, "counts": np.ones(11)}

DRAWN = {
    "nearly one": lambda: epochs_figure({"entropy": [NEARLY_ONE]}, ylabel="entropy", ends=(0, 1)),
    "constant": lambda: epochs_figure({"effective tiles": [np.full(30, 4321.0)]}, ylabel="effective tiles"),
    "tiny": lambda: epochs_figure({"loss": [TINY]}, ylabel="loss"),
    "huge": lambda: epochs_figure({"loss": [HUGE]}, ylabel="loss"),
    "tiny, logarithmic": lambda: epochs_figure({"jsd": [TINY]}, ylabel="jsd", log=True),
    "part of a decade": lambda: epochs_figure({"run": [PART_OF_A_DECADE]}, ylabel="jsd", log=True),
    "dynamics": lambda: dynamics_figure([PART_OF_A_DECADE], train_loss=[NEARLY_ONE], val_loss=[NEARLY_ONE]),
    "even weights": lambda: weights_figure({"softmax": 1 + 1e-7 * EPOCHS}),
    "sparse weights": lambda: weights_figure({"softmax": np.geomspace(1e-8, 1e4, 200)}),
    "deletion": lambda: deletion_figure([0.01, 0.1], {"evidence": [1e-7, 2e-7]}),
    "cost": lambda: cost_figure([1000, 2_000_000], microseconds=[1e-6, 2e-6], bytes_held=[1e9, 2e9]),
    "agreement": lambda: agreement_figure(HUGE, HUGE + 1),
    "agreement, far from zero": lambda: agreement_figure(1e6 + EPOCHS / 10, 1e6 + EPOCHS / 10),
    "roc": lambda: roc_figure([CURVE]),
    "histogram": lambda: score_histogram_figure({"a": X}),
    "reliability": lambda: reliability_figure({"a": BINS}),
    "decision": lambda: decision_figure(CURVE, CURVE),
    "froc": lambda: froc_figure(X, X, at={0.25: 0.1, 8.0: 0.9}),
    "two runs": lambda: two_runs_figure(X, X, groups={"a": X > 0}, xlabel="a", ylabel="b"),
    "forest": lambda: forest_figure([Difference("p", "r", "s", 1e-7, -1e-7, 2e-7)], xlabel="difference"),
    "stability": lambda: stability_figure(NEARLY_ONE, NEARLY_ONE, groups=["a"] * 30, colours=["a"] * 30, ylabel="b"),
    "learning": lambda: learning_figure(
        {"a": {"val_loss": NEARLY_ONE[None], "jsd": PART_OF_A_DECADE[None]}}, labels={"val_loss": "loss", "jsd": "jsd"}
    ),
}
READABLE = re.compile(r"−?(\d{1,3}(,\d{3})*(\.\d{1,9})?[kM]?|(\d(\.\d{1,9})? × )?10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)")


@pytest.mark.parametrize("name", DRAWN)
def test_ticks_are_plain_numbers(name):
    figure = DRAWN[name]()
    figure_svg(figure)  # tick labels are made when it is drawn
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            drawn = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            texts = [tick.label1.get_text() for tick in drawn if tick.label1.get_visible()]
            assert axis.get_offset_text().get_text() == ""
            assert all(READABLE.fullmatch(text) for text in texts if text and not text.isalpha()), texts
            assert len(set(texts)) == len(texts), f"two ticks of one name: {texts}"
            assert len(drawn) > 1 or name == "forest", f"one number is no scale: {texts}"


def test_what_hardly_moves_is_drawn_flat_and_within_what_can_be():
    (axes,) = DRAWN["nearly one"]().axes
    low, high = axes.get_ylim()
    assert high == pytest.approx(1)
    assert high - low >= 0.0019
    (axes,) = epochs_figure({"loss": [np.array([0.2, 0.9])]}, ylabel="loss").axes
    assert axes.get_ylim()[0] > 0.1, "an axis of numbers that differ is left as it is"
