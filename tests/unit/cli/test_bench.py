"""`asmil bench`: files, exit codes and messages."""

import json

import pytest
from typer.testing import CliRunner

from asmil.bench import Machine, Row, Scale
from asmil.cli import app


@pytest.fixture
def run(monkeypatch):
    """Call the command with one part whose only ratio is `value`."""

    def call(value, *arguments):
        row = Row("training step", "case", "times faster", value, "x", "higher", 0.25)
        monkeypatch.setattr("asmil.bench.parts.step.measure", lambda scale: [row])
        monkeypatch.setattr("asmil.bench.rows.DEFAULT", Scale(seconds=0.0))
        monkeypatch.setattr("asmil.bench.timing.measure_machine", lambda device: Machine(device, 1e10, 1e10))
        return CliRunner().invoke(app, ["bench", "--only", "step", "--device", "cpu", *map(str, arguments)])

    return call


def test_a_baseline_is_written_and_a_worse_run_fails(run, tmp_path):
    baseline, out = tmp_path / "baseline.json", tmp_path / "bench.json"
    done = run(10.0, "--baseline", baseline, "--out", out)
    assert done.exit_code == 0, done.output
    assert "GFLOP/s" in done.output
    assert json.loads(out.read_text())["machine"]["kind"] == "cpu"
    assert run(9.0, "--against", baseline).exit_code == 0
    worse = run(5.0, "--against", baseline)
    assert worse.exit_code == 1
    assert "+100%" in worse.output
    assert run(None, "--against", baseline).exit_code == 1


def test_a_missing_baseline_is_told_before_anything_is_measured(run, tmp_path):
    done = run(1.0, "--against", tmp_path / "none.json")
    assert done.exit_code == 2
    assert "GFLOP/s" not in done.output


@pytest.mark.parametrize("device", ["mps", "cuda"])
def test_a_device_that_is_not_there_is_refused(run, device):
    import torch

    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is one")
    assert run(1.0, "--device", device).exit_code == 2
