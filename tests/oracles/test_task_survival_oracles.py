"""Survival losses and scores against scikit-survival and plain loops, on times with ties and censoring."""

import numpy as np
import pandas as pd
import pytest
import torch

from asmil.evaluation.intervals import percentile_interval, resample_counts
from asmil.evaluation.task_scores import brier_scores, c_indexes, kaplan_meier, risk_groups
from asmil.tasks import concordance, create_task

CUTS = np.array([2.0, 5.0, 9.0])


def sample(n: int = 80, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Targets (n, 2) with tied whole times, about half censored, and a risk (n,) with ties that goes with them."""
    rng = np.random.default_rng(seed)
    risk = rng.normal(size=n).round(1)
    death, end = rng.exponential(8 * np.exp(-risk)), rng.uniform(2, 20, n)
    targets = np.stack([np.ceil(np.minimum(death, end)), death <= end], axis=1).astype(float)
    targets[targets[:, 0].argmax(), 1] = 0
    return targets, risk


def structured(targets: np.ndarray):
    sksurv = pytest.importorskip("sksurv.util")
    return sksurv.Surv.from_arrays(targets[:, 1] == 1, targets[:, 0])


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_cox_is_least_where_scikit_survival_finds_it(ties):
    linear_model = pytest.importorskip("sksurv.linear_model")
    targets, risk = sample()
    x = np.stack([risk, np.random.default_rng(1).normal(size=len(risk))], axis=1)
    theirs = linear_model.CoxPHSurvivalAnalysis(ties=ties, tol=1e-12).fit(x, structured(targets))
    weights = torch.tensor(theirs.coef_, requires_grad=True)
    task = create_task("survival_cox", ties=ties)
    task.loss((torch.tensor(x) @ weights)[:, None], torch.tensor(targets)).mean().backward()
    assert weights.grad.abs().max() < 1e-6
    other = create_task("survival_cox", ties="breslow" if ties == "efron" else "efron")
    weights.grad = None
    other.loss((torch.tensor(x) @ weights)[:, None], torch.tensor(targets)).mean().backward()
    assert weights.grad.abs().max() > 1e-4, "the ties of this sample do not matter"


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_cox_equals_a_loop_over_event_times(ties):
    targets, risk = sample(seed=4)
    total = 0.0
    for time in np.unique(targets[targets[:, 1] == 1, 0]):
        at_risk = np.exp(risk[targets[:, 0] >= time]).sum()
        dying = (targets[:, 0] == time) & (targets[:, 1] == 1)
        for turn in range(dying.sum()):
            gone = turn / dying.sum() * np.exp(risk[dying]).sum() if ties == "efron" else 0.0
            total += np.log(at_risk - gone)
        total -= risk[dying].sum()
    ours = create_task("survival_cox", ties=ties).loss(torch.tensor(risk[:, None]), torch.tensor(targets))
    assert ours.mean().item() == pytest.approx(total / targets[:, 1].sum())


def test_discrete_time_equals_the_product_of_hazards():
    targets, _ = sample(seed=5)
    logits = np.random.default_rng(5).normal(size=(len(targets), 4))
    task = create_task("survival", edges=CUTS, end=20.0)
    hazard = 1 / (1 + np.exp(-logits))
    expected = []
    for h, (time, event) in zip(hazard, targets, strict=True):
        own = int((time > CUTS).sum())
        likelihood = np.prod(1 - h[:own]) * (h[own] if event else 1 - h[own])
        expected.append(-np.log(likelihood))
    ours = task.loss(torch.tensor(logits), torch.tensor(targets))
    np.testing.assert_allclose(ours, expected)


def test_predicted_survival_is_that_of_the_hazards_at_the_ends_of_the_intervals():
    logits = np.random.default_rng(6).normal(size=(3, 4))
    task = create_task("survival", edges=CUTS, end=20.0, times=(2, 5, 7, 9, 20, 30))
    values = task.values(logits)
    survival = np.cumprod(1 / (1 + np.exp(logits)), axis=1)
    np.testing.assert_allclose(values[:, 0], -survival.sum(1))
    np.testing.assert_allclose(values[:, [1, 2, 4, 5, 6]], survival[:, [0, 1, 2, 3, 3]])
    np.testing.assert_allclose(values[:, 3], np.sqrt(survival[:, 1] * survival[:, 2]))  # an even hazard, half way


def events_first(targets: np.ndarray):
    """Events a moment earlier. scikit-survival weighs an event by who is left *after* the losses of its own month."""
    return structured(targets - [[0.01, 0]] * targets[:, 1:])


def scored(targets: np.ndarray, risk: np.ndarray, drawn: np.ndarray) -> tuple[float, float]:
    values = c_indexes(targets, risk, weight=drawn[None].astype(float))
    return values["c_index"][0], values["uno_c_index"][0]


def test_concordance_equals_scikit_survival_also_of_resamples():
    metrics = pytest.importorskip("sksurv.metrics")
    targets, risk = sample(seed=7)
    drawn = np.random.default_rng(7).integers(0, 3, len(risk))
    drawn[targets[:, 0] == targets[:, 0].max()] = 1  # the last stays censored, which scikit-survival needs
    for counts in (np.ones(len(risk), int), drawn):
        t, r = np.repeat(targets, counts, axis=0), np.repeat(risk, counts)
        harrell = metrics.concordance_index_censored(t[:, 1] == 1, t[:, 0], r)[0]
        uno = metrics.concordance_index_ipcw(events_first(t), events_first(t), r)[0]
        assert scored(targets, risk, counts) == pytest.approx((harrell, uno))
        assert concordance(t, r) == pytest.approx(harrell)


def test_brier_scores_equal_scikit_survival_also_of_resamples():
    metrics, nonparametric = pytest.importorskip("sksurv.metrics"), pytest.importorskip("sksurv.nonparametric")
    targets, risk = sample(seed=8)
    times = np.array([2.0, 4.5, 6.0, 11.0])
    survival = np.exp(-np.exp(risk)[:, None] * times / 10)
    drawn = np.random.default_rng(8).integers(0, 3, len(risk))
    drawn[targets[:, 0].argsort()[[0, -1]]] = 1
    for counts in (np.ones(len(risk), int), drawn):
        t = events_first(np.repeat(targets, counts, axis=0))
        theirs = metrics.integrated_brier_score(t, t, np.repeat(survival, counts, axis=0), times)
        at, curve = nonparametric.kaplan_meier_estimator(t["event"], t["time"])
        everyone = np.append(1, curve)[np.searchsorted(at, times, side="right")]
        null = metrics.integrated_brier_score(t, t, np.tile(everyone, (len(t), 1)), times)
        ours = brier_scores(targets, survival, times=times, weight=counts[None].astype(float))
        assert ours["integrated_brier"][0] == pytest.approx(theirs)
        assert ours["brier_skill"][0] == pytest.approx(1 - theirs / null)


def test_kaplan_meier_and_log_rank_equal_scikit_survival():
    nonparametric = pytest.importorskip("sksurv.nonparametric")
    compare = pytest.importorskip("sksurv.compare")
    targets, risk = sample(seed=9)
    curve = kaplan_meier(targets)
    times, survival, band = nonparametric.kaplan_meier_estimator(targets[:, 1] == 1, targets[:, 0], conf_type="log-log")
    np.testing.assert_allclose(curve["times"][1:], times)
    np.testing.assert_allclose(curve["survival"][1:], survival)
    for name, theirs in zip(("low", "high"), band, strict=True):
        ours = np.array(curve[name][1:], dtype=float)
        known = np.isfinite(ours) & (survival < 1)
        np.testing.assert_allclose(ours[known], theirs[known])
    rows = pd.DataFrame({"fold": 0, "risk": risk, "target_time": targets[:, 0], "target_event": targets[:, 1]})
    groups = risk_groups(rows, {0: 0.1})
    chi2, p = compare.compare_survival(structured(targets), risk > 0.1)
    assert (groups["log_rank_z"] ** 2, groups["log_rank_p"]) == pytest.approx((chi2, p))
    assert [group["n"] for group in groups["groups"]] == [(risk <= 0.1).sum(), (risk > 0.1).sum()]


def observed(n: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Targets without ties and a noisy risk of exponential times."""
    rng = np.random.default_rng(seed)
    risk = rng.normal(size=n)
    death, end = rng.exponential(np.exp(-risk)), rng.exponential(2, n)
    return np.stack([np.minimum(death, end), death <= end], axis=1).astype(float), risk + rng.normal(size=n)


def test_intervals_of_concordance_cover_the_truth_about_as_often_as_they_say():
    targets, risk = observed(1500, seed=99)
    truth, n, trials = c_indexes(targets, risk, weight=np.ones((1, 1500))), 60, 40
    covered = dict.fromkeys(truth, 0)
    for trial in range(trials):
        targets, risk = observed(n, seed=trial)
        counts = resample_counts(np.arange(n), n=100, seed=trial).astype(float)
        values, drawn = (c_indexes(targets, risk, weight=weight) for weight in (np.ones((1, n)), counts))
        for name in truth:
            interval = percentile_interval(values[name][0], drawn[name])
            covered[name] += interval.low <= truth[name][0] <= interval.high
            assert interval.high - interval.low < 0.35
    assert min(covered.values()) >= 0.85 * trials
