"""The divergence of two maps at the edge of rounding."""

import torch

from asmil.attention.diagnostics import jsd


def test_jsd_of_nearly_equal_maps_is_not_negative():
    p = torch.full((3,), 1 / 3, dtype=torch.float64)
    assert 0 <= float(jsd(p, p * (1 - torch.tensor([1e-11, 0, 0])))) < 1e-20
