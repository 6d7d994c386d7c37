"""Trackers hear every epoch once, however often a training goes on, and what they do changes nothing else.

TensorBoard comes with the tools of development; wandb and MLflow are used where they are installed.
"""

import json
import struct
import time
import warnings
from pathlib import Path

import pytest

from asmil.errors import ConfigError
from asmil.progress import TRACKERS, Listener, require_trackers, tracked, trackers

MODEL, OTHER = "fold 0 seed 0", "fold 0 seed 1"


def rows(*epochs, shift=0.0):
    return [{"epoch": e, "train_loss": 1 / (e + 1) + shift, "val_auroc": e / 10, "kl": float("nan")} for e in epochs]


@pytest.fixture(params=list(TRACKERS))
def session(request, tmp_path, monkeypatch):
    """A block in which one kind of tracker hears, and what it has of a model: (epochs, result)."""
    pytest.importorskip(request.param)
    for name in ("WANDB_MODE", "WANDB_DIR", "WANDB_PROJECT", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "run" / "tracked"

    def listen():
        return tracked(Listener(), [request.param], folder=folder, name="run", settings={"folds": 5, "model": "asmil"})

    listen.seen = lambda model: SEEN[request.param](folder, model)
    listen.folder, listen.name = folder, request.param
    yield listen
    assert {path.name for path in tmp_path.iterdir()} <= {"run"}, "something was written beside the run"


def _of_tensorboard(folder, model):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder / "tensorboard" / model), size_guidance={"scalars": 0})
    found.Reload()
    of = {name: [(e.step, round(e.value, 6)) for e in found.Scalars(name)] for name in found.Tags()["scalars"]}
    return of.get("train_loss", []), {n: v[0][1] for n, v in of.items() if n.startswith("result/") and len(v) == 1}


def _of_wandb(folder, model):
    """The records of its files: those of LevelDB's logs, in each of which is one message of protobuf."""
    from wandb.proto import wandb_internal_pb2 as pb

    steps, result = [], {}
    for file in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        records = [pb.Record.FromString(text) for text in _leveldb(file.read_bytes()[7:])]
        if model not in [record.run.display_name for record in records if record.HasField("run")]:
            continue
        for record in records:
            values = {
                item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item
            }
            if "train_loss" in values:
                steps.append((values["_step"], round(values["train_loss"], 6)))
            result |= {i.key: json.loads(i.value_json) for i in record.summary.update if i.key.startswith("result/")}
    return steps, result


def _leveldb(data):
    at, whole = 0, b""
    while at + 7 <= len(data):
        if 32768 - (at + 7) % 32768 < 7:  # the end of a block holds nothing
            at += 32768 - (at + 7) % 32768
            continue
        size, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        whole += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):
            yield whole
            whole = b""


def _of_mlflow(folder, model):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    found = client.search_runs([e.experiment_id for e in client.search_experiments()])
    run = max((one for one in found if one.info.run_name == {"result": "run"}.get(model, model)), key=_started)
    history = client.get_metric_history(run.info.run_id, "train_loss")
    result = {name: round(v, 6) for name, v in run.data.metrics.items() if name.startswith("result/")}
    assert all(len(client.get_metric_history(run.info.run_id, name)) == 1 for name in result)
    return [(one.step, round(one.value, 6)) for one in history], result


def _started(run):
    return run.info.start_time


SEEN = {"tensorboard": _of_tensorboard, "wandb": _of_wandb, "mlflow": _of_mlflow}


def expected(*epochs, shift=0.0):
    return [(row["epoch"], round(row["train_loss"], 6)) for row in rows(*epochs, shift=shift)]


def test_an_epoch_is_told_once_though_the_training_goes_on_and_none_is_lost(session):
    with session() as hear:  # stopped within the trainings of two models that go side by side
        for epoch in range(3):
            hear.trained(MODEL, rows(epoch))
            hear.trained(OTHER, rows(epoch, shift=1))
    with session() as hear:  # it goes on: what the checkpoint has comes again, and what was not told yet
        hear.trained(MODEL, rows(0, 1, 2, 3))
        hear.trained(OTHER, rows(0, 1, shift=1))
        hear.trained(MODEL, rows(4))
        hear.trained(OTHER, rows(2, shift=1))
        hear.trained(MODEL, [], result={"best_epoch": 3, "val_auroc": 0.25, "name": "text"})
        hear.trained(MODEL, rows(0, 1, 2, 3, 4))  # its process died before the model was kept
        hear.trained(MODEL, [], result={"best_epoch": 3, "val_auroc": 0.25})
        hear.result({"auroc": {"value": 0.75, "ci95": [0.5, 1.0]}, "mcc": {"value": None}})
    assert session.seen(MODEL) == (expected(0, 1, 2, 3, 4), {"result/best_epoch": 3, "result/val_auroc": 0.25})
    assert session.seen(OTHER) == (expected(0, 1, 2, shift=1), {})
    assert session.seen("result") == ([], {"result/auroc": 0.75})

    with session() as hear:  # everything is finished: told again by the run, it changes nothing
        hear.trained(MODEL, rows(0, 1, 2, 3, 4), result={"best_epoch": 3})
        hear.trained(OTHER, rows(0, 1, 2, 3, shift=1), result={"best_epoch": 1})  # this one was never told to its end
        hear.result({"auroc": {"value": 0.75}})
    assert session.seen(MODEL) == (expected(0, 1, 2, 3, 4), {"result/best_epoch": 3, "result/val_auroc": 0.25})
    assert session.seen(OTHER) == (expected(0, 1, 2, 3, shift=1), {"result/best_epoch": 1})
    assert session.seen("result") == ([], {"result/auroc": 0.75})


def test_another_start_takes_the_place_of_the_one_before(session):
    with session() as hear:
        hear.trained(MODEL, rows(0, 1, 2, shift=1))
        hear.trained(MODEL, rows(0))
    with session() as hear:
        hear.trained(MODEL, rows(0, 1))
        hear.trained(MODEL, [], result={"best_epoch": 1})
    assert session.seen(MODEL) == (expected(0, 1), {"result/best_epoch": 1})


def train(listening):
    with listening as hear:
        for epoch in range(3):
            hear.trained(MODEL, rows(epoch))


def test_a_tracker_that_fails_is_named_once_and_hears_it_all_when_it_is_mended(session):
    session.folder.mkdir(parents=True)
    blocks = [session.folder / name for name in ("tensorboard", "wandb", "mlflow.db")]
    for path in blocks:
        path.write_text("no folder, and no data base")
    with pytest.warns(UserWarning, match=r"is told nothing more: .*given again") as caught:
        train(session())
    assert len(caught) == 1
    if session.name == "mlflow":
        return  # a process that has opened a file as its data base keeps it open: only another one sees the new one
    for path in blocks:
        path.unlink()
    with warnings.catch_warnings(action="error"), session() as hear:
        hear.trained(MODEL, rows(0, 1, 2), result={"best_epoch": 2})
    assert session.seen(MODEL) == (expected(0, 1, 2), {"result/best_epoch": 2})


def test_nothing_waits_for_a_tracker_that_does_not_answer(tmp_path, monkeypatch):
    class Silent:
        def __init__(self, *_, **__):
            time.sleep(60)

    monkeypatch.setitem(TRACKERS, "silent", Silent)
    monkeypatch.setattr(trackers, "LAST_SECONDS", 0.2)
    start = time.monotonic()
    with pytest.warns(UserWarning, match="silent: no answer"):
        train(tracked(Listener(), ["silent"], folder=tmp_path, name="run", settings={}))
    assert time.monotonic() - start < 5


def test_one_that_there_is_not_or_is_not_installed_is_an_error_before_anything(monkeypatch):
    with pytest.raises(ConfigError, match=r"no tracker 'tensorbord'.*did you mean 'tensorboard'"):
        require_trackers(["tensorbord"])
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"wandb is not installed.*pip install 'asmil\[wandb\]'"):
        require_trackers(["wandb"])


def test_without_trackers_the_listener_is_the_one_that_was_given(tmp_path):
    hear = Listener()
    with tracked(hear, [], folder=tmp_path / "tracked", name="run", settings={}) as same:
        assert same is hear
    assert not Path(tmp_path / "tracked").exists()
