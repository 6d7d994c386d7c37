"""Fuzz the readers: `python -m fuzz [N]` cases of every format, or replay one with `--format NAME --case I`."""

import argparse
import faulthandler
import multiprocessing
import os
import tempfile
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MALLOC_ARENA_MAX", "2")  # or every thread would claim memory that it does not use
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

from fuzz.subjects import SUBJECTS
from fuzz.workers import FAULTS, FINE, Result, case_of, results

SHOWN = 12


def main() -> int:
    """Run, print a row for each format and the places of the faults; 1 where there are any."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("cases", type=int, nargs="?", default=500, help="of each format (default 500)")
    parser.add_argument("--format", action="append", choices=list(SUBJECTS), help="only this one; may be repeated")
    parser.add_argument("--case", type=int, help="this one alone, with its traceback; its files stay where it says")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    _warm()
    names = given.format or list(SUBJECTS)
    with tempfile.TemporaryDirectory() as folder:
        seeds = {name: _seed(name, Path(folder)) for name in names}
        if given.case is not None:
            return _replay(names[0], given.case, seeds[names[0]])
        print(f"{'':24}{'cases':>7}{'s':>6}  " + "".join(f"{kind:>10}" for kind in (*FINE, *FAULTS)), flush=True)
        faults = ran = 0
        for name in names:
            start, count = time.monotonic(), max(1, round(given.cases * SUBJECTS[name].share))
            cases, ran = range(given.first, given.first + count), ran + count
            found = list(results(name, cases, seed=seeds[name], workers=given.workers))
            faults += _tell(name, found, seconds=time.monotonic() - start)
    print(f"{faults} of {ran} cases ended otherwise than read or refused")
    return int(faults > 0)


def _warm() -> None:
    """Load what readers load, once, before processes are forked; nothing that starts a thread."""
    import imagecodecs  # noqa: F401
    import openpyxl  # noqa: F401
    import openslide  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import pydicom  # noqa: F401
    import tifffile  # noqa: F401
    import torch
    import zarr  # noqa: F401

    import asmil.runs
    import asmil.settings

    torch.set_num_threads(1)
    _ = asmil.runs.Run, asmil.settings.load_settings


def _seed(name: str, folder: Path) -> Path:
    """The valid files of a format, written in another process: some writers start threads, which no fork survives."""
    place = folder / name
    place.mkdir()
    process = multiprocessing.get_context("fork").Process(target=SUBJECTS[name].write, args=(place,))
    process.start()
    process.join()
    if process.exitcode or not any(place.iterdir()):
        raise SystemExit(f"no valid {name} could be written")
    return place


def _tell(name: str, found: list[Result], *, seconds: float) -> int:
    counts = Counter(result.outcome for result in found)
    row = "".join(f"{counts[kind] or '':>10}" for kind in (*FINE, *FAULTS))
    print(f"{name:24}{len(found):>7}{seconds:>6.0f}  {row}", flush=True)
    wrong = [result for result in found if result.outcome not in FINE]
    kinds = Counter((result.outcome, result.where) for result in wrong)
    for (outcome, where), number in kinds.most_common(SHOWN):
        first = min(result.case for result in wrong if (result.outcome, result.where) == (outcome, where))
        print(f"    {number} x {outcome}, first in case {first}: {where}", flush=True)
    return len(wrong)


def _replay(name: str, case: int, seed: Path) -> int:
    place = Path(tempfile.mkdtemp(prefix="asmil-fuzz-"))
    case_of(name, case, seed=seed, place=place)
    print(f"the files of case {case} of {name}: {place}")
    faulthandler.dump_traceback_later(20, exit=True)
    print(SUBJECTS[name].read(place))
    faulthandler.cancel_dump_traceback_later()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
