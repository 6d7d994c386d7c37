"""The divergence of two maps at the edge of rounding, and when attention prefers no tile."""

import numpy as np
import pytest
import torch

from asmil.attention import is_even
from asmil.attention.diagnostics import jsd
from asmil.bags import Bag, BagBatch
from asmil.models import create_model


def test_jsd_of_nearly_equal_maps_is_not_negative():
    p = torch.full((3,), 1 / 3, dtype=torch.float64)
    assert 0 <= float(jsd(p, p * (1 - torch.tensor([1e-11, 0, 0])))) < 1e-20


@pytest.mark.parametrize("name", ["abmil", "asmil", "clam_sb", "mean"])
def test_a_model_before_its_training_prefers_no_tile(name):
    torch.manual_seed(0)
    model = create_model(name, in_dim=64, n_classes=2).eval()
    assert is_even(model(BagBatch.from_bags(Bag(torch.randn(200, 64)))).attention)


@pytest.mark.parametrize("tiles", [20, 2000])
def test_one_preferred_tile_in_a_hundred_is_no_evenness(tiles):
    weights = np.ones(tiles)
    assert is_even(weights / tiles)
    assert is_even(weights)  # of a patient's bag the map of a slide does not sum to 1
    weights[: max(tiles // 100, 1)] = 3
    assert not is_even(weights / weights.sum())
