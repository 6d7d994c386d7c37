"""A step of the training asks no tensor for its value, and packs without counting a mask."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from asmil.attention import AttentionStabilizer
from asmil.bags import Bag, BagBatch
from asmil.models import create_model
from asmil.training import Standardized, TrainSettings
from asmil.training.fit import _step, fit
from asmil.training.optim import make_optimizer


def bags(*lengths: int, dim: int = 8) -> list[Bag]:
    return [Bag(torch.randn(n, dim), torch.zeros(n, 2, dtype=torch.int64), label=n % 2) for n in lengths]


@pytest.mark.parametrize("name", ["abmil", "asmil"])
def test_no_value_leaves_the_device_in_a_step(name):
    """Tensors without values stand for those of a GPU: whatever would wait for one is an error here.

    A batch of one bag, because several have segments, which on a CPU are cut by their lengths. (The contracts' test of
    host synchronisation has all models, and the stabiliser.)
    """
    settings = TrainSettings(tile_dropout=0)
    with FakeTensorMode():
        model = Standardized(create_model(name, in_dim=8, n_classes=2, dim=16), 8)
        optimizer = make_optimizer(model, settings)
        for _ in range(2):
            batch = BagBatch.from_bags(bags(5))
            losses, _ = _step(model, batch, optimizer=optimizer, stabilizer=None, settings=settings, measure=False)
            assert losses.shape == (3,)
        with pytest.raises(DataDependentOutputException):
            losses.tolist()


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
        assert one == pytest.approx(other, rel=1e-5)
    with pytest.raises(RuntimeError, match="started"):
        fit(model, part, [], settings=settings, listeners=[started])


def started(event: str, **values) -> None:
    """Ends a training where it starts, and says whether it had been compiled."""
    assert "forward" in vars(values["model"])
    raise RuntimeError("started")


def test_padding_and_packing_ask_for_no_value_and_undo_each_other():
    batch = BagBatch.from_bags(bags(3, 5, 1))
    with FakeTensorMode():
        fake = BagBatch.from_bags(bags(3, 5, 1))
        assert fake.pack(fake.pad(fake.features)).shape == (9, 8)
        assert fake.padded()[0].shape == (3, 5, 8)
    values = batch.features.clone().requires_grad_()
    padded = batch.pad(values)
    for row, length, part in zip(padded, batch.lengths, batch.split(values), strict=True):
        assert torch.equal(row[:length], part)
        assert not row[length:].any()
    assert torch.equal(padded[batch.mask], batch.pack(padded))
    assert torch.equal(batch.pad(torch.arange(9)), batch.pad(torch.arange(9)[:, None])[..., 0])
    weights = torch.randn_like(values)
    (batch.pack(padded * 2) * weights).sum().backward()
    torch.testing.assert_close(values.grad, 2 * weights)
