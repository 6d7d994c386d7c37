"""The contract of a task, checked on any task: ours by name, or a foreign object."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import torch

from asmil.bags import read_table
from asmil.tasks import Task, create_task
from asmil.testing.report import CheckReport, require, run_checks


def check_task(
    task: str | Task,
    table: pd.DataFrame,
    *,
    seed: int = 0,
    expected_failures: Mapping[str, str] | None = None,
    **options: object,
) -> CheckReport:
    """Examine a task, by name with its options or as an object, on a table of labels that it can read.

    `expected_failures` maps names of checks to the reason why the task cannot keep them; such a check that passes
    makes the report fail too.

    Raises:
        UnknownPartError: no task of that name.
        ConfigError: no such option, or a failure is expected of a check that does not exist.
        CohortError: the table cannot be read, or not be learned from.
    """
    made = create_task(task, **options) if isinstance(task, str) else task
    return run_checks(
        f"task {made.name!r}", _TaskChecks(made, table, seed=seed).all(), expected_failures=expected_failures
    )


class _TaskChecks:
    """Each method is one check: it returns, or raises a `ContractError` that says what was seen."""

    def __init__(self, task: Task, table: pd.DataFrame, *, seed: int):
        self.task, self.table = task, read_table(table)
        self.read = task.read(self.table)
        self.usable = self.read.values[[problem is None for problem in self.read.problems]]
        self.fitted = self.read.task.fit_targets(self.usable)
        random = torch.Generator().manual_seed(seed)
        self.logits = torch.randn(len(self.usable), self.fitted.outputs, generator=random, dtype=torch.float64)
        self.targets = torch.from_numpy(self.usable)

    def all(self) -> list[Callable[[], None]]:
        """The checks in the order of the report."""
        return [
            self.every_row_is_read_or_has_a_problem,
            self.rows_are_read_one_by_one,
            self.options_make_it_again,
            self.fitting_leaves_names_and_targets_alone,
            self.one_share_of_the_loss_per_bag,
            self.order_of_bags_is_irrelevant,
            self.gradients_are_finite,
            self.training_lowers_the_loss_and_raises_the_metric,
            self.values_have_their_names,
            self.asks_for_no_value_of_a_device,
        ]

    def every_row_is_read_or_has_a_problem(self) -> None:
        """Targets, strata and problems have a row per row; one with a problem has no values and no stratum."""
        wide = len(self.read.task.target_names)
        require(self.read.values.shape == (len(self.table), wide), f"values of shape {self.read.values.shape}")
        require(self.read.values.dtype == np.float64, f"values of type {self.read.values.dtype}")
        lengths = {len(self.read.strata), len(self.read.problems)}
        require(lengths == {len(self.table)}, f"{lengths} strata and problems of {len(self.table)} rows")
        for row, problem in enumerate(self.read.problems):
            known = bool(np.isfinite(self.read.values[row]).any())
            require(
                known == bool(self.read.strata[row]) == (problem is None), f"row {row} is half a problem: {problem}"
            )

    def rows_are_read_one_by_one(self) -> None:
        """The values of a row do not depend on the rows beside it, once columns and levels are known."""
        values = self.read.task.read(self.table[::-1]).values[::-1]
        require(np.array_equal(values, self.read.values, equal_nan=True), "another order of rows gives other values")

    def options_make_it_again(self) -> None:
        """`create_task` makes an equal task of the options, also of a fitted one, which are plain values."""
        for task in (self.task, self.read.task, self.fitted):
            plain = all(isinstance(value, str | int | float | list | None) for value in task.options().values())
            require(plain, f"options are not plain values: {task.options()}")
            require(create_task(task.name, **task.options()) == task, f"{task.options()} make another task")

    def fitting_leaves_names_and_targets_alone(self) -> None:
        """A fitted task reads the same and predicts the same columns: those of all folds stand in one table."""
        require(self.fitted.value_names == self.read.task.value_names, "fitting changes value_names")
        require(self.fitted.target_names == self.read.task.target_names, "fitting changes target_names")
        again = self.fitted.read(self.table).values
        require(np.array_equal(again, self.read.values, equal_nan=True), "fitting changes what is read")

    def one_share_of_the_loss_per_bag(self) -> None:
        """The loss is finite, (bags,), in float32 or more also of half precision logits."""
        for logits in (self.logits, self.logits.bfloat16()):
            loss = self.fitted.loss(logits, self.targets.float())
            require(loss.shape == (len(logits),), f"a loss of shape {tuple(loss.shape)} for {len(logits)} bags")
            require(bool(loss.isfinite().all()), "the loss is not finite")
            require(loss.dtype in (torch.float32, torch.float64), f"a loss of type {loss.dtype}")

    def order_of_bags_is_irrelevant(self) -> None:
        """Shuffled bags have the same mean loss."""
        order = torch.randperm(len(self.logits), generator=torch.Generator().manual_seed(1))
        one, other = (self.fitted.loss(self.logits[i], self.targets[i]).mean() for i in (slice(None), order))
        require(bool(torch.isclose(one, other)), f"{float(one)} and {float(other)}")

    def gradients_are_finite(self) -> None:
        """Also of logits that are far off."""
        for scale in (1, 1e4):
            logits = (self.logits.float() * scale).requires_grad_()
            self.fitted.loss(logits, self.targets.float()).mean().backward()
            gradient = logits.grad
            require(gradient is not None and bool(gradient.isfinite().all()), f"not at logits of {scale:g}")

    def training_lowers_the_loss_and_raises_the_metric(self) -> None:
        """Logits that follow the gradient end with a lower loss and a higher `select_metric`."""
        logits = self.logits.clone().requires_grad_()
        seen = []
        for _ in range(60):
            loss = self.fitted.loss(logits, self.targets).mean()
            values = self.fitted.values(logits.detach().numpy())
            seen.append((float(loss.detach()), self.fitted.select_metric(values, self.usable)))
            (gradient,) = torch.autograd.grad(loss, logits)
            logits = (logits - 0.1 * gradient.sign()).detach().requires_grad_()
        require(seen[-1][0] < seen[0][0], f"the loss went from {seen[0][0]:.3g} to {seen[-1][0]:.3g}")
        require(seen[-1][1] > seen[0][1], f"the metric went from {seen[0][1]:.3g} to {seen[-1][1]:.3g}")

    def values_have_their_names(self) -> None:
        """Finite values, one per name, and no name twice."""
        values, names = self.fitted.values(self.logits.numpy()), self.fitted.value_names
        require(
            values.shape == (len(self.logits), len(names)), f"values of shape {values.shape} for {len(names)} names"
        )
        require(len(set(names)) == len(names), f"names {names}")
        require(bool(np.isfinite(values).all()), "values are not finite")

    def asks_for_no_value_of_a_device(self) -> None:
        """Loss and gradient of tensors without values: whatever would wait for a GPU fails."""
        logits = torch.zeros(self.logits.shape, device="meta", requires_grad=True)
        self.fitted.loss(logits, torch.zeros(self.targets.shape, device="meta")).mean().backward()
