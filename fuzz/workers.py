"""Cases run in processes of their own, each with a limit of time and memory; what became of every one is told."""

import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import NamedTuple

from asmil.errors import AsmilError
from fuzz.base import Lost
from fuzz.mutations import file_damaged
from fuzz.subjects import SUBJECTS

WALL_SECONDS, BYTES = 100.0, 1 << 30
"""Of the clock, and of memory, that one case may take; of the processor its format says how much."""

READ, REFUSED = "read", "refused"
TRACEBACK, HANG, MEMORY, CRASH, LOSS = "traceback", "hang", "memory", "crash", "loss"
UNSOUND = "unsound"  # a fault of this harness
FINE, FAULTS = (READ, REFUSED), (TRACEBACK, HANG, MEMORY, CRASH, LOSS, UNSOUND)


class Result(NamedTuple):
    """What became of a case, and where or why."""

    case: int
    outcome: str
    where: str = ""


def case_of(name: str, case: int, *, seed: Path, place: Path) -> None:
    """Make the damaged files of a case in an empty place: the same number makes the same damage."""
    draw = random.Random(f"{name} {case}")
    _copied(seed, place)
    try:
        SUBJECTS[name].damage(place, draw)
    except Exception:  # noqa: BLE001  damage upon damage that no writer writes: of bytes instead
        _copied(seed, place)
        files = sorted(path for path in place.rglob("*") if path.is_file())
        file_damaged(draw.choice([path for path in files if path.name.startswith("bad")] or files), draw)


def _copied(seed: Path, place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(seed, place)


def run_case(name: str, case: int, *, place: Path) -> Result:
    """Read what lies at a place, and say how that ended."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Result(case, SUBJECTS[name].read(place))
    except AsmilError:
        return Result(case, REFUSED)
    except Lost as lost:
        return Result(case, LOSS, str(lost)[:300])
    except MemoryError as error:
        return Result(case, MEMORY, _where(error))
    except BaseException as error:  # noqa: BLE001  that is what is looked for
        return Result(case, MEMORY if "alloc" in str(error).lower() else TRACEBACK, _where(error))


def _where(error: BaseException) -> str:
    """The kind of an error, and the last line of asmil and the last line of all that it passed."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if f"{os.sep}asmil{os.sep}" in frame.filename]
    places = [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in (own[-1:] or frames[-1:]) + frames[-1:]]
    return f"{type(error).__name__}: {str(error)[:80]!r} at {' < '.join(dict.fromkeys(places))}"


def _work(name: str, cases: range, seed: Path, out: Connection) -> None:
    """Run cases one after another in this process, and tell each as it begins and ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # the kernel ends a process that takes too long
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2 * BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "case"
        _copied(seed, place)
        whole = run_case(name, -1, place=place)  # and whatever is imported when it is used
        if whole.outcome != READ:
            out.send(Result(cases[0], UNSOUND, f"the valid files are not read: {whole}"))
        for case in cases:
            case_of(name, case, seed=seed, place=place)
            now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (now + BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
            out.send(case)
            signal.setitimer(signal.ITIMER_PROF, SUBJECTS[name].seconds)
            result = run_case(name, case, place=place)
            signal.setitimer(signal.ITIMER_PROF, 0)
            out.send(result)
            resource.setrlimit(resource.RLIMIT_AS, (now + 8 * BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    sys.exit(0)


class _Worker:
    """A process at a part of the cases; `next` is the one it has to end, `inside` whether it has begun that."""

    def __init__(self, name: str, cases: range, seed: Path):
        self.name, self.cases, self.seed, self.inside, self.next = name, cases, seed, False, cases.start
        self.ends, theirs = multiprocessing.Pipe(duplex=False)
        self.process = multiprocessing.get_context("fork").Process(target=_work, args=(name, cases, seed, theirs))
        self.process.start()
        theirs.close()

    def rest(self, after: int) -> "_Worker | None":
        """Another worker at the cases after one."""
        cases = range(after + 1, self.cases.stop)
        return _Worker(self.name, cases, self.seed) if len(cases) else None


def results(name: str, cases: range, *, seed: Path, workers: int) -> Iterator[Result]:
    """The result of every case, as they come. A process that dies or hangs costs its own case alone."""
    step = -(-len(cases) // workers)
    parts = [range(start, min(start + step, cases.stop)) for start in range(cases.start, cases.stop, step)]
    working = [_Worker(name, part, seed) for part in parts]
    while working:
        ready = wait([worker.ends for worker in working], timeout=WALL_SECONDS)
        for worker in list(working):
            if worker.ends not in ready and ready:
                continue
            if not ready:
                worker.process.kill()
            try:
                message = worker.ends.recv()
            except EOFError:
                worker.process.join()
                working.remove(worker)
                if worker.next in worker.cases:  # it died within a case, or as it made one
                    ended = _ended(worker.process.exitcode or 0) if ready else HANG
                    yield Result(worker.next, ended if worker.inside else UNSOUND, f"exit {worker.process.exitcode}")
                    working += [again] if (again := worker.rest(worker.next)) else []
                continue
            worker.inside = not isinstance(message, Result)
            if isinstance(message, Result):
                worker.next = message.case + (message.outcome != UNSOUND)
                yield message


def _ended(code: int) -> str:
    if code == -signal.SIGPROF:
        return HANG
    return MEMORY if code in (-signal.SIGKILL,) else CRASH
