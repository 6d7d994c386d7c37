"""Tasks in several processes, here or on a Ray cluster; a task whose process dies is done again."""

import logging
import os
import pickle
import secrets
import signal
import sys
import threading
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from multiprocessing import connection, get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.reduction import ForkingPickler
from types import ModuleType
from typing import Any, Literal, Protocol, TypeVar, cast

from asmil.errors import RunError

STOP_SECONDS = 30.0
IMPORTABLE = (
    "what you wrote yourself (a model, a listener) belongs in a file that can be imported, or in a script that calls "
    'asmil below `if __name__ == "__main__":`'
)
_log = logging.getLogger(__name__)
Engine = Literal["local", "ray"]
Kind = Literal["event", "done", "error", "died"]
Happening = tuple[int, Kind, Any]
"""Of which task, what kind, and the event or the exception."""

Task = TypeVar("Task")
Event = TypeVar("Event")
Function = Callable[[Task], Iterator[Event]]
"""A task's work: a module-level generator function; what it yields is sent back as it comes."""


class Pool(Protocol):
    """What an engine offers."""

    def start(self, index: int, task: object) -> None:
        """Begin a task."""

    def wait(self) -> list[Happening]:
        """What happened since."""

    def close(self) -> None:
        """Stop whatever is still at work."""


def run_tasks(
    function: Callable[[Task], Iterator[Event]],
    tasks: Sequence[Task],
    *,
    engine: Engine = "local",
    workers: int = 1,
    gpus: int = 0,
    tries: int = 2,
    tries_in_all: int | None = None,
) -> Iterator[tuple[int, Event | BaseException]]:
    """Yield (index of the task, event) for everything that `function(task)` yields, as it comes.

    What a task raises is yielded as an exception and ends that task only. So does `WorkerDied`, of a task whose
    process died `tries` times without an event between, or `tries_in_all` times. `gpus` (0 or 1) is what each worker
    reserves on Ray.

    Raises:
        RunError: there is no such engine here, or the cluster lacks what the workers need.
    """
    pool = _open(engine, function, workers=workers, gpus=gpus)
    waiting, running = deque(range(len(tasks))), set[int]()
    deaths, all_deaths = Counter[int](), Counter[int]()
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                running.add(waiting[0])
                pool.start(waiting[0], tasks[waiting[0]])
                waiting.popleft()
            for index, kind, value in pool.wait():
                if kind == "event":
                    deaths[index] = 0
                    yield index, value
                    continue
                running.discard(index)
                if kind == "error":
                    yield index, value
                elif kind == "died":
                    deaths[index] += 1
                    all_deaths[index] += 1
                    if deaths[index] < tries and all_deaths[index] != tries_in_all:
                        waiting.append(index)
                    else:
                        yield index, _died(tasks[index], all_deaths[index])
    finally:
        pool.close()


def _open(engine: Engine, function: Function, *, workers: int, gpus: int) -> Pool:
    if engine == "ray":
        return _RayPool(function, workers=workers, gpus=gpus)
    if engine != "local":
        raise RunError(f"there is no engine {engine!r}", fix="use local or ray")
    return _LocalPool(function)


class WorkerDied(RunError):
    """The process of a task died as often as it was tried."""


def _died(task: object, times: int) -> WorkerDied:
    if _of_script(ForkingPickler.dumps(task)):
        return WorkerDied(
            f"the process died {times} times", found="a script that worker processes run too", fix=IMPORTABLE
        )
    return WorkerDied(
        f"the process died {times} times",
        found="killed, out of memory, or a fault in a library",
        fix="run the same command again, with fewer workers: what is finished is kept",
    )


def exit_on_sigterm() -> None:
    """Let SIGTERM (a scheduler's, or of the process that started us) end this process in order: claims are released."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


class _LocalPool:
    """Processes of this machine; each keeps what it has loaded for its next task.

    Each has a pipe of its own: a queue shared by all would be left locked by one that is killed while writing.
    """

    def __init__(self, function: Function):
        self._function = function
        self._context = get_context("spawn")  # forking after torch has started threads can dead-lock
        self._processes: dict[Connection, SpawnProcess] = {}  # by their pipes
        self._tasks: dict[Connection, int] = {}  # pipes of those at work

    def start(self, index: int, task: object) -> None:
        pickled = ForkingPickler.dumps(task)
        pipe = next((pipe for pipe in self._processes if pipe not in self._tasks), None)
        if pipe is None:
            with nullcontext() if _of_script(pickled) else _without_script():
                pipe = self._new_process()
        self._tasks[pipe] = index
        with suppress(OSError):  # of a process that died meanwhile `wait` will tell
            pipe.send_bytes(pickled)

    def wait(self) -> list[Happening]:
        happened: list[Happening] = []
        ready = cast(list[Connection], connection.wait(list(self._tasks)))
        for pipe in ready:
            index = self._tasks[pipe]
            try:
                kind, value, trace = pipe.recv()
            except (EOFError, OSError):
                kind, value, trace = "died", None, ""
                self._processes.pop(pipe).join()
                _log.info("a process died at task %d", index)
            if kind == "log":
                logging.getLogger(value.name).handle(value)
                continue
            if kind == "error":
                value.add_note(trace)
            if kind != "event":
                del self._tasks[pipe]
            happened.append((index, kind, value))
        return happened

    def close(self) -> None:
        for pipe, process in self._processes.items():
            if pipe in self._tasks:
                process.terminate()
            pipe.close()  # which ends an idle one
        for process in self._processes.values():
            process.join(timeout=STOP_SECONDS)
            process.kill()

    def _new_process(self) -> Connection:
        pipe, theirs = self._context.Pipe()
        level = logging.getLogger("asmil").getEffectiveLevel()
        process = self._context.Process(target=_serve, args=(theirs, self._function, level), daemon=True)
        with _without_ctrl_c():
            process.start()
        theirs.close()  # so that its death is the end of the pipe
        self._processes[pipe] = process
        _log.debug("process %s begins", process.pid)
        return pipe


SCRIPT = "__main__"
"""The module of the program that was started: of a script, what a new process would run first."""


def _of_script(pickled: memoryview) -> bool:
    """Whether a task is made of what the script defines."""
    return SCRIPT.encode() in bytes(pickled)


@contextmanager
def _without_script() -> Iterator[None]:
    """Start a process that does not run the user's script again, which it need not unless a task is made of its parts.

    So a script without `if __name__ == "__main__":` works too: run again, it would start processes itself.
    """
    script, sys.modules[SCRIPT] = sys.modules[SCRIPT], ModuleType(SCRIPT)
    try:
        yield
    finally:
        sys.modules[SCRIPT] = script


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Start a process that ctrl-C does not reach: while it imports torch, `_serve` cannot yet say so itself.

    A process inherits which signals are blocked. One that comes to us meanwhile is delivered at the end.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # at its own start it lets signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Starter(logging.Handler):
    """The process that started this one: it is told events, and what is logged as far as it listens."""

    def __init__(self, pipe: Connection):
        super().__init__()
        self._pipe, self._one_at_a_time = pipe, threading.RLock()

    def tell(self, kind: str, value: object, trace: str = "") -> None:
        with self._one_at_a_time:
            self._pipe.send((kind, value, trace))

    def emit(self, record: logging.LogRecord) -> None:
        record.msg, record.args, record.exc_info = self.format(record), None, None
        with suppress(OSError):  # it has closed the pipe, and does not listen any more
            self.tell("log", record)


def _serve(pipe: Connection, function: Function, level: int) -> None:
    """Do the tasks that come through a pipe until it is closed."""
    _follow_parent()
    starter = _Starter(pipe)
    logging.getLogger("asmil").addHandler(starter)
    logging.getLogger("asmil").setLevel(level)
    exit_on_sigterm()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C reaches all: the process that started us says when to stop
    with suppress(EOFError, OSError):
        while True:
            pickled = pipe.recv_bytes()
            try:
                task = _unpickled(pickled)
                for event in function(task):
                    starter.tell("event", event)
                starter.tell("done", None)
            except Exception as error:  # noqa: BLE001  it is told, and raised or noted where the task came from
                starter.tell("error", sendable(error), traceback.format_exc())


def _unpickled(task: bytes) -> object:
    try:
        return pickle.loads(task)
    except (AttributeError, ImportError) as error:
        raise RunError("a worker process does not find what a task is made of", found=error, fix=IMPORTABLE) from error


def sendable(error: BaseException) -> BaseException:
    """The error, or a `RunError` of its text where another process could not read it."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001  whatever its own code raises
        return RunError(f"{type(error).__name__}: {error}")
    return error


def _follow_parent() -> None:
    parent = parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)  # nobody is left to take the results

    threading.Thread(target=follow, daemon=True).start()


RAY_ATTEMPTS = 2
"""Ray gives a node thirty seconds to start, which a busy machine can miss."""


class _RayPool:
    """Each task is a Ray task of one core (and one GPU, where workers reserve one) whose events are streamed.

    Ray does not repeat them: a worker that died is seen here, and its task begun again, as with any engine.

    Raises:
        RunError: Ray is not installed or does not start, or the cluster has not the resources: Ray would wait for ever.
    """

    def __init__(self, function: Function, *, workers: int, gpus: int):
        ray = _ray()
        self._own = not ray.is_initialized()
        if self._own:
            _start_ray(ray, workers)
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
        self._remote = ray.remote(_stream).options(num_cpus=1, num_gpus=gpus, max_retries=0, num_returns="streaming")
        self._function, self._tasks = function, dict[object, int]()

    def start(self, index: int, task: object) -> None:
        """Begin a task."""
        self._tasks[self._remote.remote(self._function, task)] = index

    def wait(self) -> list[Happening]:
        """What happened since."""
        happened: list[Happening] = []
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

    def _next(self, stream: Iterator[object]) -> tuple[Kind, object]:
        try:
            return "event", self._ray.get(next(stream))
        except StopIteration:
            return "done", None
        except self._ray.exceptions.RayTaskError as error:
            return "error", error.cause
        except self._ray.exceptions.RayError:  # of the worker or its node
            return "died", None


def _start_ray(ray: ModuleType, workers: int) -> None:
    options: dict[str, object] = {}
    if _private():  # "local": never a cluster that somebody else left running on this machine
        cpus = max(workers, os.cpu_count() or 1)
        options = {"address": "local", "num_cpus": cpus, "include_dashboard": False}
    for attempt in range(RAY_ATTEMPTS):
        try:
            ray.init(log_to_driver=False, logging_level="ERROR", configure_logging=False, **options)
            return
        except Exception as error:  # Ray raises errors of many kinds here, also a bare Exception
            ray.shutdown()
            if attempt + 1 == RAY_ATTEMPTS:
                found = str(error).partition("\n")[0]
                fix = "see whether RAY_ADDRESS is right; try again when the machine is less busy, or --engine local"
                raise RunError("Ray cannot be started or joined", found=found, fix=fix) from error


def _stream(function: Function, task: object) -> Iterator[object]:
    yield from function(task)


def _private() -> bool:
    """Whether a cluster of this machine alone is meant: none is named."""
    return os.environ.get("RAY_ADDRESS", "local") in ("", "local")


def _ray() -> ModuleType:
    """The library, told to stay private: it reads these when it is imported."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if _private() and sys.modules.get("ray") is None:
        # Ray calls loopback, on which it listens then and nowhere else, the way of Windows and macOS
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        # a token of this command alone: Ray would write one below HOME, which is not always a folder
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    try:
        import ray
    except ImportError as error:
        raise RunError("--engine ray needs Ray", found="it is not installed", fix="pip install 'asmil[ray]'") from error
    return ray
