"""kill -9 in the middle of extraction and of training: the same command ends as if nothing had happened."""

import contextlib
import os
import signal
import time

import h5py
import numpy as np
import pytest
import torch
from benchmarks.kills import EVERY_EPOCH, differences

from .conftest import feature_files, flags, store_of


def kill_when(process, ready) -> bool:
    """Kill a process and its workers as soon as `ready()`; False where it ended before."""
    deadline = time.monotonic() + 240
    while process.poll() is None and not ready():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    alive = process.poll() is None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return alive


def test_embedding_goes_on_where_it_was_killed(inside, start_asmil, cohort, unbroken, tmp_path):
    command = ("embed", "--slides", cohort / "slides", "--out", tmp_path, "--tile-px", 64)

    def ready():
        return len(list(tmp_path.glob("features/*/P*.h5"))) >= 3

    assert kill_when(start_asmil(*command), ready), "the extraction ended before it could be killed"
    (store_of(tmp_path) / ".P99_1.h5.abc.partial.h5").write_bytes(b"half a file")
    finished = {path: path.stat().st_mtime_ns for path in tmp_path.glob("features/*/P*.h5")}
    assert 3 <= len(finished) < 10
    inside(*command, code=1)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    wanted = feature_files(unbroken)
    assert [path.name for path in feature_files(tmp_path)] == [path.name for path in wanted]
    for path in wanted:
        with h5py.File(path) as one, h5py.File(store_of(tmp_path) / path.name) as other:
            assert dict(one.attrs) == dict(other.attrs)
            for name in one:
                assert np.array_equal(one[name][:], other[name][:])


@pytest.fixture(scope="module")
def trained(inside, quick, unbroken, tmp_path_factory):
    """A cross-validation made in one go, and the command that made it."""
    out = tmp_path_factory.mktemp("trained") / "run"
    training = {"labels": quick["labels"], "folds": 2, "seeds": 1, "epochs": 20, "patience": 20}
    command = ("crossval", "--features", store_of(unbroken), *flags(training))
    inside(*command, "--workers", 1, "--out", out)
    inside("evaluate", out, "--bootstrap", 20)
    return out, command


@pytest.mark.parametrize("workers", [1, 2])
def test_training_goes_on_where_it_was_killed(inside, start_asmil, trained, tmp_path, workers):
    """One process: killed in the second cell; two: in both cells."""
    whole, command = trained
    out = tmp_path / "run"
    command = (*command, "--workers", workers, "--out", out)

    def checkpoints():
        return sorted(out.glob("checkpoints/*/[!.]*.pt"))

    def sealed():
        return [path for path in out.glob("folds/*/*/sealed.json") if "sha256" in path.read_text()]

    def ready():
        with contextlib.suppress(FileNotFoundError):  # a fold that ends meanwhile takes its folder away
            begun = {path.parent.name.split("_")[0] for path in checkpoints()}
            return {"0", "1"} == begun | {path.parts[-3] for path in sealed()}
        return False

    process = start_asmil(*command, before=EVERY_EPOCH)
    assert kill_when(process, ready), "the training ended before it could be killed"
    finished = {path: path.stat().st_mtime_ns for path in sealed()}
    assert len(finished) < 2
    members = torch.load(checkpoints()[-1], weights_only=True)
    assert all(0 < len(member["result"]["history"]) <= 20 for member in members.values())
    inside(*command)
    inside("evaluate", out, "--bootstrap", 20)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert differences(out, whole) == []
