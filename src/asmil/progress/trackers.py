"""TensorBoard, Weights & Biases and MLflow as listeners: they hear epochs and metrics, and never change a training.

A model that is told again from its first epoch on (after a resume, or because its process died) is shown once: the
files of TensorBoard and of wandb's offline mode begin anew, of servers it is asked which epochs they have. `sent.json`
names the models that were told to their end, of which nothing is told again.
"""

import hashlib
import json
import math
import os
import queue
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from asmil.errors import ConfigError, did_you_mean
from asmil.files import Facts, safe_name, write_json
from asmil.progress.listeners import Advance, Listener
from asmil.progress.outcome import Outcome

if TYPE_CHECKING:
    import wandb
    from torch.utils.tensorboard import SummaryWriter

LAST_SECONDS = 60.0
"""What trackers may take for what is left when everything else is done."""
RESULT = "result"
"""The series of the metrics of all models together."""


AXES = ("epoch", "start", "fold", "seed")
"""What a row has of its place, which is no value."""


class Tracker(Protocol):
    """Where trainings are shown. All is called in one thread; what it raises ends what this tracker is told."""

    def begin(self, model: str, before: int) -> None:
        """The epochs of a model are told, from the first on; `before` counts its other trainings, of other numbers."""

    def epoch(self, model: str, epoch: int, values: Mapping[str, float]) -> None:
        """One of them, in their order."""

    def end(self, model: str, result: Mapping[str, float]) -> None:
        """No further ones come; this is what the model came to."""

    def close(self) -> None:
        """Nothing comes any more, though trainings may not be at their end."""


class _TensorBoard:
    """A folder of event files per model."""

    def __init__(self, folder: Path, kept: Facts, *, name: str, settings: Facts):
        self._folder, self._writers = folder / "tensorboard", dict[str, "SummaryWriter"]()

    def begin(self, model: str, before: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        if model in self._writers:
            self._writers.pop(model).close()
        place = self._folder / safe_name(model)
        if place.exists():
            shutil.rmtree(place)
        self._writers[model] = SummaryWriter(str(place))

    def epoch(self, model: str, epoch: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writers[model].add_scalar(name, value, epoch)
        self._writers[model].flush()

    def end(self, model: str, result: Mapping[str, float]) -> None:
        self.epoch(model, 0, {f"{RESULT}/{name}": value for name, value in result.items()})
        self._writers.pop(model).close()

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()


class _Wandb:
    """A run per model, in a group; offline unless WANDB_MODE says otherwise, always without console, code, packages."""

    def __init__(self, folder: Path, kept: Facts, *, name: str, settings: Facts):
        self._folder, self._name, self._settings = folder, name, settings
        self._token = kept.setdefault("token", secrets.token_hex(4))
        self._runs, self._first = dict[str, "wandb.Run"](), dict[str, int]()

    def begin(self, model: str, before: int) -> None:
        import wandb

        if model in self._runs:
            self._runs.pop(model).finish()
        one = f"{self._token}{hashlib.blake2s(model.encode(), digest_size=6).hexdigest()}"
        for place in self._folder.glob(f"wandb/offline-run-*-{one}-*"):
            shutil.rmtree(place)
        mode = os.environ.get("WANDB_MODE") or "offline"
        if mode == "online" and not wandb.login(prompt=False):
            raise ConfigError("wandb is not logged in here", fix="wandb login, or leave WANDB_MODE out")
        self._folder.mkdir(parents=True, exist_ok=True)
        said: Facts = {"project": os.environ.get("WANDB_PROJECT") or "asmil", "group": self._name, "name": model}
        private = wandb.Settings(
            silent=True,
            console="off",
            disable_git=True,
            disable_code=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
            reinit="create_new",
        )
        said |= {"id": f"{one}-{before}", "dir": str(self._folder), "mode": mode, "resume": "allow"}
        self._runs[model] = run = wandb.init(config=self._settings, settings=private, **said)
        self._first[model] = run.step  # of a run that a server knows, the first step that it lacks

    def epoch(self, model: str, epoch: int, values: Mapping[str, float]) -> None:
        if epoch >= self._first[model]:
            self._runs[model].log(dict(values), step=epoch)

    def end(self, model: str, result: Mapping[str, float]) -> None:
        self._runs[model].summary.update({f"{RESULT}/{name}": value for name, value in result.items()})
        self._runs.pop(model).finish()

    def close(self) -> None:
        for run in self._runs.values():
            run.finish()


class _Mlflow:
    """A run per model below one of them all: in mlflow.db of the folder, or where MLFLOW_TRACKING_URI says."""

    def __init__(self, folder: Path, kept: Facts, *, name: str, settings: Facts):
        from mlflow import MlflowClient
        from mlflow.entities import Param

        folder.mkdir(parents=True, exist_ok=True)
        place = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(folder / 'mlflow.db').resolve()}"
        self._client, self._runs = MlflowClient(tracking_uri=place), kept.setdefault("runs", {})
        called = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "asmil"
        known = self._client.get_experiment_by_name(called)
        self._experiment = known.experiment_id if known else self._client.create_experiment(called)
        self._before, self._steps = kept.setdefault("before", {}), dict[str, set[int]]()
        if self._lost(RESULT):
            self._create(RESULT, name)
            params = [Param(key, str(value)[:500]) for key, value in settings.items()]
            for start in range(0, len(params), 100):  # as many as a call may have
                self._client.log_batch(self._runs[RESULT], params=params[start : start + 100])

    def begin(self, model: str, before: int) -> None:
        if before != self._before.get(model, 0) or self._lost(model):
            self._create(model, model)
        self._before[model] = before
        self._steps.pop(model, None)

    def epoch(self, model: str, epoch: int, values: Mapping[str, float]) -> None:
        if model not in self._steps:
            history = self._client.get_metric_history(self._runs[model], next(iter(values), ""))
            self._steps[model] = {one.step for one in history}
        if epoch not in self._steps[model]:
            self._log(model, values, step=epoch)

    def end(self, model: str, result: Mapping[str, float]) -> None:
        new = {f"{RESULT}/{n}": value for n, value in result.items() if self._last(model, f"{RESULT}/{n}") != value}
        self._log(model, new, step=0)
        self._client.set_terminated(self._runs[model])

    def close(self) -> None:
        """Each call of it was whole."""

    def _create(self, model: str, name: str) -> None:
        parent = {} if model == RESULT else {"mlflow.parentRunId": self._runs[RESULT]}
        self._runs[model] = self._client.create_run(self._experiment, run_name=name, tags=parent).info.run_id

    def _lost(self, model: str) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            return model not in self._runs or self._client.get_run(self._runs[model]).info.lifecycle_stage == "deleted"
        except MlflowException:  # another data base than before
            return True

    def _last(self, model: str, key: str) -> float | None:
        return self._client.get_run(self._runs[model]).data.metrics.get(key)

    def _log(self, model: str, values: Mapping[str, float], *, step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, value in values.items()]
        self._client.log_batch(self._runs[model], metrics=metrics)  # all or nothing: an epoch is there whole


TRACKERS: dict[str, Callable[..., Tracker]] = {"tensorboard": _TensorBoard, "wandb": _Wandb, "mlflow": _Mlflow}


def require_trackers(names: Sequence[str]) -> None:
    """Raise a `ConfigError` for the first that there is not, or whose package is not installed."""
    for name in names:
        if name not in TRACKERS:
            fix = f"{did_you_mean(name, TRACKERS)} there are {', '.join(TRACKERS)}".strip()
            raise ConfigError(f"there is no tracker {name!r}", found=",".join(names), fix=fix)
        if find_spec(name) is None:
            raise ConfigError(f"{name} is not installed", found=f"--log-to {name}", fix=f"pip install 'asmil[{name}]'")


@contextmanager
def tracked(
    hear: Listener, names: list[str], *, folder: Path, name: str, settings: Facts, sent: str = "sent.json"
) -> Iterator[Listener]:
    """A listener that passes all on to `hear`, and trainings to the trackers too, which keep their files in a folder.

    Args:
        names: the trackers; one that fails is taken out of the list, and told of once.
        folder: where their files go, and the file `sent`, which belongs to one process.
        name, settings: of the whole, plain values; they leave this machine where the user has set up a server.
    """
    if not names:
        yield hear
        return
    trackers = _Trackers(hear, names, {"name": name, "settings": settings}, folder=folder, sent=sent)
    try:
        yield trackers
    finally:
        trackers.close()


class _Trackers(Listener):
    """Tells trackers in a thread of its own, so that no training waits for one; those that fail are left alone."""

    def __init__(self, hear: Listener, names: list[str], said: Facts, *, folder: Path, sent: str):
        self._hear, self._names, self._said, self._folder, self._file = hear, names, said, folder, folder / sent
        self._calls: queue.SimpleQueue[tuple[str, list[Facts], Facts | None] | None] = queue.SimpleQueue()
        self._faults: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    @contextmanager
    def stage(
        self, what: str, *, total: int | None = None, unit: str = "slides", parts: str | None = None
    ) -> Iterator[Advance]:
        with self._hear.stage(what, total=total, unit=unit, parts=parts) as advance:
            yield advance

    def note(self, text: str) -> None:
        self._hear.note(text)

    def warn(self, text: str, *, fix: str = "") -> None:
        self._hear.warn(text, fix=fix)

    def closing(self, outcome: Outcome) -> None:
        self._hear.closing(outcome)

    def trained(self, model: str, rows: Sequence[Facts], *, result: Facts | None = None) -> None:
        self._hear.trained(model, rows, result=result)
        self._calls.put((model, [dict(row) for row in rows], result))
        self._say_faults()

    def result(self, metrics: Facts) -> None:
        self._hear.result(metrics)
        self._calls.put((RESULT, [], {name: one["value"] for name, one in metrics.items()}))

    def close(self) -> None:
        """Wait for what is left, for a while."""
        self._calls.put(None)
        self._thread.join(LAST_SECONDS)
        if self._thread.is_alive():
            self._faults.put(f"{', '.join(self._names)}: no answer in {LAST_SECONDS:.0f} s")
        self._say_faults()

    def _say_faults(self) -> None:
        while not self._faults.empty():
            fix = "nothing else is lost by it; the same command, given again, tells what is missing there"
            self._hear.warn(self._faults.get(), fix=fix)

    def _work(self) -> None:
        sent = self._read()
        open_ones: dict[str, Tracker] = {}
        while (call := self._calls.get()) is not None:
            for name in list(self._names):
                with self._left_alone(name):
                    before = json.dumps(sent)
                    if name not in open_ones:
                        kept = sent.setdefault(name, {"done": [], "trainings": {}})
                        open_ones[name] = TRACKERS[name](self._folder, kept, **self._said)
                    self._tell(open_ones[name], sent[name], *call)
                    if json.dumps(sent) != before:
                        write_json(self._file, sent)
        for name in [name for name in self._names if name in open_ones]:
            with self._left_alone(name):
                open_ones[name].close()

    @contextmanager
    def _left_alone(self, name: str) -> Iterator[None]:
        """Whatever a tracker raises is told once, and the others go on."""
        try:
            yield
        except BaseException as error:  # noqa: BLE001
            if name in self._names:  # else another one has said it
                self._names.remove(name)
                said = " ".join(f"{type(error).__name__}: {error}".split())
                self._faults.put(f"{name} is told nothing more: {said[:200]}")

    def _read(self) -> Facts:
        """What was sent before; nothing where that cannot be read: it is told again."""
        try:
            return dict(json.loads(self._file.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return {}

    def _tell(self, tracker: Tracker, kept: Facts, model: str, rows: Sequence[Facts], result: Facts | None) -> None:
        done: list[str] = kept["done"]
        if rows and result is not None and model in done:
            return  # finished before this command began
        if model == RESULT or (rows and rows[0]["epoch"] == 0):
            if model in done:
                done.remove(model)
            first = _numbers(rows[0]) if rows else {}
            known = kept["trainings"].setdefault(model, {"first": first, "before": 0})
            if known["first"] != first:  # another start, or other settings
                known |= {"first": first, "before": known["before"] + 1}
            tracker.begin(model, known["before"])
        for row in rows:
            tracker.epoch(model, int(row["epoch"]), _numbers(row))
        if result is not None:
            tracker.end(model, _numbers(result))
            done.append(model)


def _numbers(row: Mapping[str, object]) -> dict[str, float]:
    """What can be drawn of a row, whose epoch is the place where it is drawn."""
    values = {name: float(value) for name, value in row.items() if isinstance(value, Real)}
    return {name: value for name, value in values.items() if math.isfinite(value) and name not in AXES}
