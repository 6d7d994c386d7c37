"""Every task keeps the contract; a task that breaks a promise is found out."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from asmil.tasks import create_task, list_tasks
from asmil.tasks.regression import Regression
from asmil.testing import check_task

N = 60
RNG = np.random.default_rng(0)
TABLE = pd.DataFrame(
    {
        "OS_MONTHS": [*RNG.exponential(20, N).round(1), "", -3],
        "OS_STATUS": [*np.where(RNG.random(N) < 0.6, "1:DECEASED", "0:LIVING"), "1:DECEASED", "0:LIVING"],
        "isup": [*RNG.integers(1, 6, N), "six", ""],
        "er": [*RNG.integers(0, 2, N), "maybe", ""],
        "her2": [*np.where(RNG.random(N) < 0.3, "", "pos"), "neg", ""],
        "purity": [*RNG.random(N), "high", ""],
    }
)
TABLE.loc[:9, "her2"] = "neg"
OPTIONS = {
    "multilabel": {"columns": ["er", "her2"]},
    "ordinal": {"columns": ["isup"], "levels": list("12345")},
    "regression": {"columns": ["purity"]},
}


@pytest.mark.parametrize("name", list_tasks())
def test_every_task_keeps_the_contract(name):
    check_task(name, TABLE, **OPTIONS.get(name, {})).raise_if_failed()


@dataclass(frozen=True)
class Careless(Regression):
    """Forgets its columns, sums over the batch, and reads a value off the device."""

    def options(self):
        return {"mean": self.mean}

    def loss(self, logits, targets):
        return super().loss(logits, targets).sum() * float(targets[0, 0])


def test_a_task_that_breaks_a_promise_is_found_out():
    report = check_task(Careless(columns=("purity",)), TABLE)
    assert {"options_make_it_again", "one_share_of_the_loss_per_bag", "asks_for_no_value_of_a_device"} <= set(
        report.failed
    )
    assert "every_row_is_read_or_has_a_problem" not in report.failed


def test_the_table_has_rows_that_are_problems():
    for name in list_tasks():
        problems = create_task(name, **OPTIONS.get(name, {})).read(TABLE.astype(str)).problems
        assert sum(problem is not None for problem in problems) == 2
