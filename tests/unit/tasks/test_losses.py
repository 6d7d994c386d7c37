"""Losses: gradients where there is something to learn and nowhere else, order, precision, no waiting for a device."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from asmil.errors import ConfigError
from asmil.tasks import create_task

TARGETS = {
    "regression": [[12.0], [8.0], [11.0], [9.0]],
    "ordinal": [[0.0], [3.0], [1.0], [2.0]],
    "multilabel": [[1.0, 0.0], [float("nan"), 1.0], [0.0, float("nan")], [0.0, 1.0]],
    "survival": [[2.0, 1.0], [9.0, 0.0], [4.0, 1.0], [4.0, 1.0]],
    "survival_cox": [[2.0, 1.0], [9.0, 0.0], [4.0, 1.0], [4.0, 1.0]],
}
OPTIONS = {
    "regression": {"columns": ("x",), "mean": 10.0, "scale": 2.0},
    "ordinal": {"columns": ("x",), "levels": "0123"},
    "multilabel": {"columns": ("a", "b")},
    "survival": {"edges": (3.0, 5.0), "end": 9.0, "times": (3, 5)},
    "survival_cox": {},
}


def task_and_targets(name: str):
    return create_task(name, **OPTIONS[name]), torch.tensor(TARGETS[name], dtype=torch.float64)


every_task = pytest.mark.parametrize("name", TARGETS)


@every_task
def test_the_loss_falls_to_nearly_nothing_or_to_the_order_of_events(name):
    task, targets = task_and_targets(name)
    logits = torch.zeros(4, task.outputs, dtype=torch.float64, requires_grad=True)
    first = task.loss(logits, targets).mean().item()
    for _ in range(100):
        (gradient,) = torch.autograd.grad(task.loss(logits, targets).mean(), logits)
        logits = (logits - 0.1 * gradient.sign()).detach().requires_grad_()
    last = task.loss(logits, targets).mean().item()
    assert last < (0.35 if "cox" in name else 0.05) * first  # the two who die together keep log 2 between them
    assert task.select_metric(task.values(logits.detach().numpy()), targets.numpy()) > 0.99


@every_task
def test_shares_are_per_bag_finite_and_smooth(name):
    task, targets = task_and_targets(name)
    logits = torch.randn(4, task.outputs, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3
    assert task.loss(logits, targets).shape == (4,)
    assert torch.autograd.gradcheck(lambda x: task.loss(x, targets), logits.requires_grad_())
    extreme = torch.full((4, task.outputs), 1e4, requires_grad=True)
    task.loss(extreme, targets.float()).mean().backward()
    assert torch.isfinite(extreme.grad).all()


@every_task
def test_half_precision_logits_are_computed_in_full(name):
    task, targets = task_and_targets(name)
    logits = torch.linspace(-2, 2, 4 * task.outputs).reshape(4, -1)
    half = task.loss(logits.bfloat16(), targets.float())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, task.loss(logits.bfloat16().float(), targets.float()))


@every_task
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_the_loss_asks_for_no_value_and_makes_nothing_on_another_device(name, device):
    """Tensors without values stand for those of a GPU: whatever would wait for one, or mix devices, is an error here.

    This has not run on a real GPU.
    """
    task, _ = task_and_targets(name)
    with FakeTensorMode() if device == "cpu" else nullcontext():
        logits = torch.zeros(4, task.outputs, device=device, requires_grad=True)
        loss = task.loss(logits, torch.zeros(4, len(TARGETS[name][0]), device=device))
        loss.mean().backward()
        assert loss.device.type == logits.grad.device.type == device


def test_unknown_labels_teach_nothing_and_known_ones_share_their_bag():
    task, targets = task_and_targets("multilabel")
    logits = torch.zeros(4, 2, dtype=torch.float64, requires_grad=True)
    loss = task.loss(logits, targets)
    torch.testing.assert_close(loss, torch.full_like(loss, np.log(2)))
    loss.sum().backward()
    torch.testing.assert_close(logits.grad, torch.tensor([[-0.25, 0.25], [0, -0.5], [0.5, 0], [0.25, -0.25]]).double())


def test_levels_are_consistent_whatever_the_logits():
    task, targets = task_and_targets("ordinal")
    logits = np.random.default_rng(0).normal(0, 5, (50, 3))
    values = task.values(logits)
    assert (values >= 0).all()
    np.testing.assert_allclose(values.sum(1), 1)
    above = 1 - values.cumsum(1)[:, :3]
    log_likelihood = [
        sum(np.log(p if level > k else 1 - p) for k, p in enumerate(row))
        for row, level in zip(above, [0, 3, 1, 2], strict=False)
    ]
    ours = task.loss(torch.tensor(logits[:4]), targets)
    np.testing.assert_allclose(ours, [-value for value in log_likelihood], rtol=1e-6)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_a_batch_without_events_has_no_loss_and_no_gradient(ties):
    task = create_task("survival_cox", ties=ties)
    risk = torch.randn(3, 1, requires_grad=True)
    loss = task.loss(risk, torch.tensor([[1.0, 0], [2, 0], [2, 0]]))
    loss.mean().backward()
    assert (loss == 0).all()
    assert (risk.grad == 0).all()


def test_one_bag_alone_teaches_cox_nothing_but_discrete_time_something():
    risk = torch.randn(1, 1, requires_grad=True)
    create_task("survival_cox").loss(risk, torch.tensor([[4.0, 1]])).mean().backward()
    assert risk.grad.abs().max() < 1e-6
    task, targets = task_and_targets("survival")
    assert task.loss(torch.zeros(1, 3), targets[:1]).item() == pytest.approx(np.log(2))
    assert (create_task("survival_cox").smallest_batch, task.smallest_batch) == (2, 1)


def test_survival_that_was_not_fitted_is_refused():
    with pytest.raises(ConfigError, match="fit_targets"):
        create_task("survival").loss(torch.zeros(1, 4), torch.ones(1, 2))


def test_values_are_in_the_units_of_the_table():
    task, _ = task_and_targets("regression")
    np.testing.assert_allclose(task.values(np.array([[0.0], [1.5]])), [[10], [13]])
    assert task.select_metric(np.array([[8.0], [12]]), np.array([[8.0], [12]])) == 1
