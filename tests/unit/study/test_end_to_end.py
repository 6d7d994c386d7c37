"""Real trainings: the command and its table, worker processes, and kill -9 in the middle."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from asmil.cli import app

from .conftest import STUDY

MAIN = "from asmil.cli import main; main()"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the small study's file."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "study.yaml").write_text(STUDY, encoding="utf-8")
    return folder


def study(folder, out) -> str:
    """Run `asmil study` in this process, which has loaded torch, and return what it printed."""
    done = CliRunner().invoke(app, ["study", str(folder / "study.yaml"), "--out", str(folder / out)])
    assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"
    return done.output


@pytest.fixture(scope="module")
def whole(folder) -> pd.DataFrame:
    """The table of a study made in one go."""
    printed = study(folder, "whole")
    assert "3 ok, 0 skipped, 0 failed" in printed
    assert "is done, 3 of 3 arms" in printed
    assert "study: 12/12 cells" in printed
    return pd.read_csv(folder / "whole" / "results.csv")


def test_the_numbers_are_those_of_trained_models(folder, whole):
    assert len(whole) == 12
    assert "abmil" in (folder / "whole" / "report.html").read_text(encoding="utf-8")
    assert whole[["test_accuracy", "test_log_loss", "val_loss", "optimistic_accuracy"]].notna().all(axis=None)
    assert (whole.optimistic_accuracy >= whole.test_accuracy).all()
    scored = whole[whole.model == "abmil"]
    assert scored[["tile_ap", "jsd", "entropy"]].notna().all(axis=None)
    assert whole[whole.model == "mean"].tile_ap.isna().all()
    assert (scored[scored.stabilizer == "anchor"].kl > 0).all()
    assert (scored[scored.stabilizer == "none"].kl.fillna(0) == 0).all()


@pytest.mark.slow
def test_a_training_process_that_is_killed_is_replaced(folder, whole):
    command = [sys.executable, "-c", MAIN, "study", "study.yaml", "--out", "replaced", "--workers", "2"]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    killed = None
    deadline = time.monotonic() + 240
    while killed is None and process.poll() is None and time.monotonic() < deadline:
        killed = next(at_work(process), None)
        time.sleep(0.05)
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    printed = process.communicate(timeout=400)[1].decode()
    assert process.returncode == 0, printed
    table = pd.read_csv(folder / "replaced" / "results.csv")
    pd.testing.assert_frame_equal(table.drop(columns="seconds"), whole.drop(columns="seconds"), rtol=1e-4)


def at_work(process: subprocess.Popen) -> Iterator[int]:
    """The workers of a study that have loaded torch."""
    with contextlib.suppress(OSError):  # they may end meanwhile
        for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            command, maps = (Path(f"/proc/{pid}/{name}").read_text() for name in ("cmdline", "maps"))
            if "spawn_main" in command and "libtorch" in maps:
                yield int(pid)


@pytest.mark.slow
def test_killed_in_two_processes_and_continued_in_one_is_as_if_nothing_had_happened(folder, whole):
    command = [sys.executable, "-c", MAIN, "study", "study.yaml", "--out", "killed", "--workers", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 240
    while process.poll() is None and not list((folder / "killed").glob("arms/*/cells.csv")):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    alive = process.poll() is None
    process.send_signal(signal.SIGKILL)  # the head alone: its workers have to follow
    printed = process.communicate(timeout=120)[0]  # returns when the last process with this pipe is gone
    assert alive, f"the study ended before it could be killed\n{printed.decode()}"
    before = {path: path.read_text().splitlines() for path in (folder / "killed").glob("arms/*/cells.csv")}
    assert 1 <= sum(len(lines) - 1 for lines in before.values()) < 12
    study(folder, "killed")
    for path, lines in before.items():
        assert set(lines) <= set(path.read_text().splitlines())  # not trained again: the seconds too are the same
    table = pd.read_csv(folder / "killed" / "results.csv")
    pd.testing.assert_frame_equal(table.drop(columns="seconds"), whole.drop(columns="seconds"), rtol=1e-4)
