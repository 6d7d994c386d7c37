"""Tasks on a Ray cluster: the one named by RAY_ADDRESS, else one of this machine for as long as they run."""

import os
from typing import Any

from asmil.errors import RunError
from asmil.extraction.engines import Function, Kind

ATTEMPTS = 2
"""Ray gives a node thirty seconds to start, which a busy machine can miss."""


class RayPool:
    """Each task is a Ray task of one core (and one GPU, where workers reserve one) whose events are streamed.

    Ray does not repeat them: a worker that died is seen here, and its task begun again, as with any engine.

    Raises:
        RunError: Ray is not installed or does not start, or the cluster has not the resources: Ray would wait for ever.
    """

    def __init__(self, function: Function, *, workers: int, gpus: int):
        ray = _ray()
        self._own = not ray.is_initialized()
        if self._own:
            _start(ray, workers)
        found = ray.cluster_resources()
        if found.get("CPU", 0) < workers or found.get("GPU", 0) < workers * gpus:
            self.close()
            has = f"{found.get('CPU', 0):.0f} cores and {found.get('GPU', 0):.0f} GPUs"
            raise RunError(
                f"the Ray cluster is too small for {workers} workers",
                found=has,
                fix="start fewer workers, or join more nodes to the cluster",
            )
        self._ray = ray
        self._remote = ray.remote(_serve).options(num_cpus=1, num_gpus=gpus, max_retries=0, num_returns="streaming")
        self._function, self._tasks = function, dict[Any, int]()

    def start(self, index: int, task: Any) -> None:
        """Begin a task."""
        self._tasks[self._remote.remote(self._function, task)] = index

    def wait(self) -> list[tuple[int, Kind, Any]]:
        """What happened since."""
        happened: list[tuple[int, Kind, Any]] = []
        ready, _ = self._ray.wait(list(self._tasks), num_returns=1, timeout=1.0)
        for stream in ready:
            kind, value = self._next(stream)
            index = self._tasks[stream] if kind == "event" else self._tasks.pop(stream)
            happened.append((index, kind, value))
        return happened

    def close(self) -> None:
        """Stop what is still at work, and the cluster if it is ours."""
        for stream in getattr(self, "_tasks", {}):
            self._ray.cancel(stream)
        if self._own:
            _ray().shutdown()

    def _next(self, stream: Any) -> tuple[Kind, Any]:
        try:
            return "event", self._ray.get(next(stream))
        except StopIteration:
            return "done", None
        except self._ray.exceptions.RayTaskError as error:
            return "error", error.cause
        except self._ray.exceptions.RayError:  # of the worker or its node
            return "died", None


def _start(ray: Any, workers: int) -> None:
    address = os.environ.get("RAY_ADDRESS")
    options = {} if address else {"num_cpus": max(workers, os.cpu_count() or 1), "include_dashboard": False}
    for attempt in range(ATTEMPTS):
        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR", configure_logging=False, **options)
            return
        except Exception as error:  # Ray raises errors of many kinds here, also a bare Exception
            ray.shutdown()
            if attempt + 1 == ATTEMPTS:
                found = str(error).partition("\n")[0]
                fix = "see whether RAY_ADDRESS is right; try again when the machine is less busy, or --engine local"
                raise RunError("Ray cannot be started or joined", found=found, fix=fix) from error


def _serve(function: Function, task: Any) -> Any:
    yield from function(task)


def _ray() -> Any:
    """The library, told to stay private: it reads these when it is imported."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if "RAY_ADDRESS" not in os.environ:  # a cluster of ours alone; on a shared one both sides must agree
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    try:
        import ray
    except ImportError as error:
        raise RunError("--engine ray needs Ray", found="it is not installed", fix="pip install 'asmil[ray]'") from error
    return ray
