"""Every registered model on the algorithmic unit tests; those that break the assumption of MIL are known by name."""

import json
from pathlib import Path

import pytest
import torch

from asmil.models import list_models, model_options
from asmil.testing.algorithmic import TESTS, check_algorithmic

# model -> test -> reason. "broken: ..." and "not learned: ..." are strict: the model must fail, in that way. "varies:
# ..." says that the seed decides, so that neither outcome could be promised on another machine; it is not run.
KNOWN = json.loads((Path(__file__).parent / "algorithmic_failures.json").read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # the order of sums depends on the number of threads
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", list_models())
def test_algorithmic(name):
    known = KNOWN.get(name, {})
    failures = {test: reason for test, reason in known.items() if not reason.startswith("varies:")}
    tests = [test for test in TESTS if test not in known or test in failures]
    small = {"dim": 32} if "dim" in model_options(name) else {}
    report = check_algorithmic(name, tests=tests, seed=1, expected_failures=failures, **small)
    report.raise_if_failed()
    for result in report.results:
        outcome = (result.expected_failure or "").partition(":")[0]
        assert result.message.startswith(outcome), f"{result} in another way than announced"


def test_only_models_and_tests_that_exist_are_excused():
    assert set(KNOWN) <= set(list_models())
    for reasons in KNOWN.values():
        assert set(reasons) <= set(TESTS)
        assert all(reason.startswith(("broken: ", "not learned: ", "varies: ")) for reason in reasons.values())
