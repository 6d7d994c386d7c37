"""A copy of what the fixture `made` of a file of tests made, to change."""

import shutil

import pytest


@pytest.fixture
def again(made, tmp_path, monkeypatch) -> dict:
    """The settings of that run, with a copy of it and of what it was made of in the current folder."""
    shutil.copytree(made[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return made[1]
