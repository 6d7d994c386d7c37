"""One run, trained once and shared by all tests of the viewer."""

import importlib.util
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("small_run", Path(__file__).with_name("small_run.py"))
small_run = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(small_run)


@pytest.fixture(scope="session")
def made():
    """The module that made the run: the names of its slides."""
    return small_run


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory, cmu_slide) -> Path:
    """The folder of the run; nobody writes into it."""
    return small_run.make_run(tmp_path_factory.mktemp("viewer"), cmu_slide)
