"""A compiled training learns as a plain one; packing asks no tensor for its value."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from asmil.attention import AttentionStabilizer
from asmil.bags import Bag, BagBatch
from asmil.errors import ConfigError
from asmil.models import create_model
from asmil.training import TrainSettings, fit


def bags(*lengths: int, dim: int = 8) -> list[Bag]:
    return [Bag(torch.randn(n, dim), torch.zeros(n, 2, dtype=torch.int64), label=n % 2) for n in lengths]


def test_a_compiled_training_has_the_losses_of_a_plain_one(monkeypatch):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))  # the C++ compiler takes long
    histories, part = [], [replace(bag, label=i % 2) for i, bag in enumerate(bags(3, 5, 4, 6))]
    for compile in (False, True):
        torch.manual_seed(0)
        model = create_model("abmil", in_dim=8, n_classes=2, dim=16, dropout=0.0)
        settings = TrainSettings(epochs=2, batch_size=2, tile_dropout=0, select="last", compile=compile)
        stabilizer = AttentionStabilizer(model)
        histories.append(fit(model, part, [], settings=settings, stabilizer=stabilizer).history)
        assert "forward" not in vars(model)
    for one, other in zip(*histories, strict=True):
        assert one == pytest.approx(other | {"gradient_ratio": one["gradient_ratio"]}, rel=1e-5)
        assert one["gradient_ratio"] > 0
        assert math.isnan(other["gradient_ratio"])
    with pytest.raises(RuntimeError, match="started"):
        fit(model, part, [], settings=settings, listeners=[started])


def test_a_compiled_training_does_not_tune_beta():
    """Under Python 3.12 and 3.13 the ratio is not known, and beta would be as if no limit had been given."""
    model = create_model("abmil", in_dim=8, n_classes=2, dim=16)
    stabilizer = AttentionStabilizer(model, max_gradient_ratio=0.3)
    with pytest.raises(ConfigError, match="compiled model does not tell the gradients"):
        fit(model, bags(3, 5, 4, 6), [], settings=TrainSettings(compile=True, select="last"), stabilizer=stabilizer)


def started(event: str, **values) -> None:
    """Ends a training where it starts, and says whether it had been compiled."""
    assert "forward" in vars(values["model"])
    raise RuntimeError("started")


def test_padding_and_packing_ask_for_no_value_and_undo_each_other():
    batch = BagBatch.from_bags(bags(3, 5, 1))
    with FakeTensorMode():
        fake = BagBatch.from_bags(bags(3, 5, 1))
        assert fake.layout.pack(fake.layout.pad(fake.features)).shape == (9, 8)
        assert fake.padded()[0].shape == (3, 5, 8)
    values, layout = batch.features.clone().requires_grad_(), batch.layout
    padded = layout.pad(values)
    for row, length, part in zip(padded, batch.lengths, batch.split(values), strict=True):
        assert torch.equal(row[:length], part)
        assert not row[length:].any()
    assert torch.equal(padded[layout.real], layout.pack(padded))
    assert torch.equal(layout.pad(torch.arange(9)), layout.pad(torch.arange(9)[:, None])[..., 0])
    weights = torch.randn_like(values)
    (layout.pack(padded * 2) * weights).sum().backward()
    torch.testing.assert_close(values.grad, 2 * weights)
