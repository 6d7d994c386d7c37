"""Temperatures come from validation slides, are the best ones there, and are none where nothing determines them."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import log_softmax, softmax

from asmil.evaluation import METRICS, MetricError
from asmil.evaluation.calibration import at_temperature, calibrate, fit_temperature


def drawn(n: int, *, classes: int = 2, sharpness: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and probabilities of a model `sharpness` times too sure of itself."""
    random = np.random.default_rng(seed)
    logits = random.normal(scale=1.5, size=(n, classes))
    y = np.array([random.choice(classes, p=p) for p in softmax(logits, axis=1)])
    return y, softmax(sharpness * logits, axis=1)


def cells(*, folds: int = 2, seeds: int = 2, n: int = 60) -> pd.DataFrame:
    """Validation and test rows of an overconfident model, as the cells of a run hold them."""
    parts = []
    for fold in range(folds):
        for seed in range(seeds):
            for part in ("val", "test"):
                y, prob = drawn(n, sharpness=4.0, seed=10 * fold + (part == "val"))
                prob = at_temperature(prob, 1 + 0.2 * seed)
                slide = [f"{fold if part == 'test' else f'v{fold}'}-{i}" for i in range(n)]
                own = pd.DataFrame({"slide": slide, "label": y, "part": part, "fold": fold, "seed": seed})
                parts.append(own.assign(case=[s[:-1] for s in slide], prob_a=prob[:, 0], prob_b=prob[:, 1]))
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("sharpness", [0.4, 3.0])
def test_no_other_temperature_has_a_lower_loss(classes, sharpness):
    y, prob = drawn(400, classes=classes, sharpness=sharpness, seed=classes)
    found = fit_temperature(y, prob)
    assert found == pytest.approx(sharpness, rel=0.2)

    def loss(temperature: float) -> float:
        return -log_softmax(np.log(prob) / temperature, axis=1)[np.arange(len(y)), y].mean()

    around = np.geomspace(found / 5, found * 5, 400)
    assert loss(found) <= min(map(loss, around)) + 1e-9
    assert METRICS["log_loss"](y, at_temperature(prob, found)) == pytest.approx(loss(found))


def test_one_and_extreme_probabilities():
    prob = drawn(50, classes=3)[1]
    np.testing.assert_allclose(at_temperature(prob, 1.0), prob, rtol=1e-12)
    sure = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert at_temperature(sure, 3.0) == pytest.approx(sure)
    assert (at_temperature(prob, 7.0).argmax(1) == prob.argmax(1)).all()
    assert fit_temperature(np.array([0, 1, 1]), np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])) > 50


def test_what_the_slides_do_not_determine_is_left_alone():
    y = np.array([0, 0, 1, 1])
    right = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.4, 0.6]])
    assert fit_temperature(y, right) is None
    assert fit_temperature(1 - y, right) is None
    table = cells()
    table.loc[table["part"] == "val", ["prob_a", "prob_b"]] = 0.5
    found = calibrate(table, ["a", "b"], n_boot=20)
    assert {(c.temperature, c.determined) for c in found.cells} == {(1.0, False)}
    np.testing.assert_allclose(found.after, found.before, rtol=1e-12)


def test_temperatures_never_see_the_test_labels():
    table = cells()
    other = table.assign(label=table["label"].where(table["part"] == "val", 1 - table["label"]))
    before, after = (calibrate(t, ["a", "b"], n_boot=20).cells for t in (table, other))
    assert before == after
    assert len(before) == 4
    assert all(cell.determined and cell.temperature > 2 and cell.n_val == 60 for cell in before)
    assert before[1].temperature < before[0].temperature, "a softer model needs less"


def test_an_overconfident_model_gets_better_and_the_intervals_say_so():
    table = cells(n=150)
    found = calibrate(table, ["a", "b"], n_boot=200)
    for name in ("ece", "brier", "log_loss"):
        before, after, change = found.values[name]
        assert change.high < 0
        assert change.value == pytest.approx(after.value - before.value)
        assert before.low < before.value < before.high
    assert len(found.slides) == 300
    np.testing.assert_allclose(found.after.sum(axis=1), 1)
    test = table[table["part"] == "test"].groupby("slide")["prob_b"].mean()
    np.testing.assert_allclose(found.before[:, 1], test.to_numpy())
    first = found.cells[0].temperature
    own = table.query("part == 'test' and fold == 0 and seed == 0").set_index("slide")[["prob_a", "prob_b"]]
    other = table.query("part == 'test' and fold == 0 and seed == 1").set_index("slide")[["prob_a", "prob_b"]]
    by_hand = (at_temperature(own, first) + at_temperature(other, found.cells[1].temperature)) / 2
    rows = found.slides["slide"].isin(own.index)
    np.testing.assert_allclose(found.after[rows], by_hand[np.argsort(own.index)])


def test_a_model_without_validation_slides_is_named():
    table = cells()
    with pytest.raises(MetricError, match="fold 1, seed 0"):
        calibrate(table[~((table["part"] == "val") & (table["fold"] == 1))], ["a", "b"])
