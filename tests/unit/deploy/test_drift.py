"""Distances from training by hand, and thresholds that raise as few false alarms as they say."""

import numpy as np
import pytest
import torch

from asmil.bags import Bag
from asmil.deploy.profile import FALSE_ALARMS, Alarms, Distance, distance, false_alarms, other_size, threshold
from asmil.models import create_model
from asmil.training import Standardized


def standardized(features, limit=8.0):
    model = create_model("mean", in_dim=features.shape[1], n_classes=2)
    return Standardized(model, features.shape[1], limit=limit).fit_statistics([Bag(features)])


def test_distance_by_hand():
    model = standardized(torch.tensor([[0.0, 5.0], [2.0, 5.0]]))  # mean 1, standard deviation 1; the second is constant
    assert distance(torch.tensor([[1.0, 7.0]]), [model]) == Distance(0.0, 0.0)
    assert distance(torch.tensor([[4.0, 5.0], [2.0, 5.0]]), [model]) == Distance(2.0, 0.0)
    assert distance(torch.tensor([[11.0, 5.0], [1.0, 5.0]]), [model]) == Distance(5.0, 0.5)


def test_models_of_the_same_training_part_count_once():
    near, far = standardized(torch.tensor([[0.0], [2.0]])), standardized(torch.tensor([[4.0], [6.0]]))
    x = torch.tensor([[1.0]])
    assert distance(x, [near, near, far]).shift == distance(x, [near, far]).shift == 2.0


@pytest.mark.parametrize("slides", [20, 400])
def test_a_threshold_holds_what_it_promises(slides):
    rng = np.random.default_rng(0)
    raised = [rng.gumbel() > threshold(rng.gumbel(size=slides).tolist()) for _ in range(4000)]
    assert np.mean(raised) <= max(FALSE_ALARMS, 1 / (slides + 1)) + 0.006


def test_false_alarms_are_those_of_each_slide_by_the_others():
    usual = [Distance(shift, 0.0) for shift in (1.0, 1.1, 1.2, 9.0)]
    assert false_alarms(usual, [100] * 4) == 0.25
    assert false_alarms(usual[:3], [900, 100, 100]) == pytest.approx(2 / 3)
    assert false_alarms(usual[:1], [100]) is None


def test_each_warning_by_itself():
    alarms = Alarms.of([Distance(1.0, 0.01)], [50, 200])
    assert alarms.warnings(Distance(1.0, 0.01), 100) == []
    assert alarms.warnings(Distance(1.0, 0.0), 25) == []
    unusual = [
        (Distance(1.1, 0.0), 100),
        (Distance(0.0, 0.02), 100),
        (Distance(0.0, 0.0), 24),
        (Distance(0.0, 0.0), 401),
    ]
    for found, tiles in unusual:
        assert len(alarms.warnings(found, tiles)) == 1


@pytest.mark.parametrize("factor", [1e-6, 0.05, 20.0, 1e6])
def test_numbers_of_another_size_are_told_with_those_of_training(factor):
    """Far smaller ones all lie at the middle of the training part, so that neither drift nor limits see them."""
    training = torch.randn(400, 16, generator=torch.Generator().manual_seed(0)) + 0.1
    model = standardized(training)
    assert other_size(training[:50], [model]) == []
    assert other_size(3 * training[:50], [model]) == []
    (said,) = other_size(factor * training[:50], [model])
    own, usual = (float(values.square().mean().sqrt()) for values in (factor * training[:50], training))
    assert f"{own:.3g} (root mean square), those of training {usual:.3g}" in said
    assert other_size(factor * training[:50], []) == []
