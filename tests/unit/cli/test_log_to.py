"""`--log-to`: what a tracker shows is what the run has, and the models are what they are without it."""

import pytest

from asmil.runs import Run


def test_tensorboard_shows_the_logs_once_and_changes_no_model(asmil, crossval_of, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    command = [*crossval_of(tmp_path), "--out"]
    asmil(*command, tmp_path / "plain")
    asmil(*command, tmp_path / "run", "--log-to", "tensorboard")
    run, shown = Run(tmp_path / "run"), tmp_path / "run" / "tracked" / "tensorboard"
    assert {path.name for path in shown.iterdir()} == {"result", *(cell.name for cell in run.cells())}
    for cell in run.cells():
        assert cell.weights_digest == Run(tmp_path / "plain").cell(cell.fold, cell.seed).weights_digest
        found = EventAccumulator(str(shown / cell.name)).Reload()
        for name in ("train_loss", "val_loss", "entropy", "kl"):
            values = [(event.step, pytest.approx(event.value, rel=1e-5)) for event in found.Scalars(name)]
            assert list(enumerate(cell.logged(name))) == values, name
        assert found.Scalars("result/val_loss")[0].value == pytest.approx(cell.chosen["val_loss"], rel=1e-5)
        assert [event.step for event in found.Scalars("jsd")] == [1]
    files = {path: path.stat().st_mtime_ns for path in shown.rglob("*fold*/*")}
    asmil(*command, tmp_path / "run", "--log-to", "tensorboard")
    assert files == {path: path.stat().st_mtime_ns for path in shown.rglob("*fold*/*")}
    asmil(*command, tmp_path / "plain", "--log-to", "tensorboard")  # finished without: it is told all the same
    assert len(list((tmp_path / "plain" / "tracked" / "tensorboard").iterdir())) == 3


def test_a_tracker_that_there_is_not_is_named_before_anything_is_written(asmil, crossval_of, tmp_path):
    shown = asmil(*crossval_of(tmp_path), "--out", tmp_path / "run", "--log-to", "wandb,tensorbord", code=2)
    assert "did you mean 'tensorboard'?" in shown or "wandb is not installed" in shown
    assert not (tmp_path / "run").exists()
