"""Slides that vanish or are exchanged while a run is made: it ends with the others, or says what became of which."""

import os
import shutil
import warnings
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

import asmil
from asmil.progress import Listener

from .conftest import QUICK


class Meddling(Listener):
    """Does something once: when a stage has got so far."""

    def __init__(self, stage: str, after: int, do):
        self.where, self.after, self.do = stage, after, do

    @contextmanager
    def stage(self, what, *, total, unit="slides", parts=None):
        done = 0

        def advance(n=1, *, parts=0, waiting=0.0, fewer=0):
            nonlocal done
            done += n
            if (what, done) == (self.where, self.after) and self.do is not None:
                self.do, do = None, self.do
                do()

        advance(0)
        yield advance


@pytest.fixture
def slides(cohort, tmp_path):
    """The settings of a run of ten sound slides, which a test may spoil."""
    (folder := tmp_path / "slides").mkdir()
    for path in sorted((cohort / "slides").glob("P*")):
        shutil.copy(path, folder / path.name)
    return QUICK | {
        "slides": folder, "labels": cohort / "labels.csv", "out": tmp_path / "run", "model": "abmil", "epochs": 2,
        "heatmaps": 1,
    }  # fmt: skip


def made(slides, listener=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return asmil.run(**slides, listener=listener or Listener())


def named(run) -> dict[str, str]:
    """What was set aside of the slides that have a file or had one."""
    return {row.name: row.reason for row in run.outcome.set_aside}


def exchange(path: Path, other: Path) -> None:
    """Put another slide in the place of one, as a copy would."""
    shutil.copy(other, path)
    os.utime(path)


def test_a_slide_that_vanishes_before_its_features_are_made_costs_itself_alone(slides):
    *others, last = sorted(slides["slides"].iterdir())
    run = made(slides, Meddling("extract", 1, last.unlink))
    assert run.metrics["test"]
    assert list(named(run)) == [last.stem]
    assert "there is no such slide file" in named(run)[last.stem]
    assert set(run.predictions["slide"]) == {path.stem for path in others}


def test_a_slide_that_vanishes_later_costs_nothing(slides):
    *_, last = sorted(slides["slides"].iterdir())
    run = made(slides, Meddling("train", 0, last.unlink))
    before = run.predictions
    assert len(before) == 10
    again = made(slides)
    assert named(again) == {}
    pd.testing.assert_frame_equal(again.predictions, before)


@pytest.mark.parametrize("stage", ["extract", "train"])
def test_a_slide_that_is_exchanged_after_its_features_were_made_is_named_until_it_is_back(slides, stage):
    first, second, *_ = sorted(slides["slides"].iterdir())
    whole = first.read_bytes()
    run = made(slides, Meddling(stage, 3 if stage == "extract" else 0, lambda: exchange(first, second)))
    before = pd.read_csv(run.folder / "predictions.csv")
    assert len(before) == 10
    assert "is another slide than the one its features were made of" in named(made(slides))[first.stem]
    pd.testing.assert_frame_equal(pd.read_csv(run.folder / "predictions.csv"), before)
    first.write_bytes(whole)
    assert named(made(slides)) == {}
    pd.testing.assert_frame_equal(pd.read_csv(run.folder / "predictions.csv"), before)
