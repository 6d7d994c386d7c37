"""Fixtures that every room's tests share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data (`ASMIL_DATA`, or `../shared/data` beside the repository)."""
    folder = Path(os.environ.get("ASMIL_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}; set ASMIL_DATA")
    return folder


@pytest.fixture(scope="session")
def cmu_slide() -> Path:
    """A real Aperio slide that ships with the tests (CMU-1-Small-Region, CC0)."""
    return ROOT / "tests" / "data" / "CMU-1-Small-Region.svs"
