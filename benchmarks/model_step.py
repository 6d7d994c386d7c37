"""A whole training step of asmil and abmil (model, anchor, loss, optimiser, average): against the published form."""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch

from asmil.bench import steps
from asmil.bench.timing import Step

WIDTHS = [f"{in_dim}x{dim}" for in_dim in (384, 1024, 1536) for dim in (128, 512)]
FORMS = {
    "published": steps.textbook_step,
    "per_token": partial(steps.our_step, variant="per_token", feature_dropout=0.0),
    "shared": partial(steps.our_step, variant="shared", feature_dropout=0.0),
    "with dropout": partial(steps.our_step, variant="shared"),
    "limit": partial(steps.limit_step, skinny=False),
    "all products": steps.limit_step,
    "plain abmil": steps.plain_abmil_step,
    "abmil": partial(steps.our_step, name="abmil", stabilized=False),
}


def milliseconds(forms: dict[str, Step], *, rounds: int) -> dict[str, float]:
    """Least processor time of each, one after the other in every round: what a shared machine disturbs least."""
    best = dict.fromkeys(forms, float("inf"))
    for _ in range(rounds + (rounds > 1)):  # the first of several warms up, and is never the fastest
        for name, step in forms.items():
            start = time.process_time()
            step()
            best[name] = min(best[name], 1e3 * (time.process_time() - start))
    return best


def times(tiles: int, in_dim: int, dim: int, *, rounds: int) -> str:
    """A row of the table: the published step's time, how many times faster ours are, and their share of the limit."""
    torch.manual_seed(0)
    features = torch.randn(tiles, in_dim)
    names = ["per_token", "shared", "with dropout", "limit", "all products"]
    rounds = max(1, rounds * 10_000 // max(tiles, 10_000))
    found = milliseconds({name: FORMS[name](features, dim) for name in names}, rounds=max(2, rounds))
    base = None
    if tiles <= 30_000:
        base = milliseconds({"": FORMS["published"](features, dim)}, rounds=max(1, rounds // 3))[""]
    row = [f"{tiles // 1000}k, {in_dim} → {dim}", "-" if base is None else f"{base:.0f}"]
    for name in names[:3]:
        times_faster = "" if base is None else f"{base / found[name]:.1f}x, "
        row.append(f"{found[name]:.1f} ({times_faster}{found['limit'] / found[name]:.2f})")
    limit = "" if base is None else f" ({base / found['limit']:.1f}x)"
    return "| " + " | ".join([*row, f"{found['limit']:.1f}{limit}", f"{found['all products']:.1f}"]) + " |"


def measured_apart(form: str, tiles: int, in_dim: int, dim: int) -> tuple[float, float]:
    """Milliseconds of a step and MiB that it adds at its peak (features not counted), in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.model_step", "--one", form, str(tiles), str(in_dim), str(dim)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = json.loads(output.splitlines()[-1])
    return found["ms"], found["mib"]


def one(form: str, tiles: int, in_dim: int, dim: int) -> None:
    """What `measured_apart` runs; features are a float16 memory map, for the published form float32 in memory."""
    with tempfile.TemporaryDirectory() as folder:
        path, dtype = Path(folder) / "features.npy", "float32" if form == "published" else "float16"
        mapped = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(tiles, in_dim))
        for start in range(0, tiles, 10_000):
            part = mapped[start : start + 10_000]
            part[:] = torch.randn(len(part), in_dim).numpy()
        features = torch.from_numpy(mapped)
        step = FORMS[form](features, dim)
        int(features.view(torch.int16).sum())  # the pages are there, and counted, before the step
        before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
        found = milliseconds({"": step}, rounds=2)[""]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"ms": found, "mib": (peak - before) / 2**20}))


def print_times(sizes: list[int], widths: list[str], *, rounds: int) -> None:
    """The table of times."""
    print("\n| tiles, in → dim | published, ms | per_token | shared | shared, dropout | limit, ms | all products, ms |")
    print("|---|---|---|---|---|---|---|")
    for tiles in sizes:
        for in_dim, dim in (map(int, width.split("x")) for width in widths):
            print(times(tiles, in_dim, dim, rounds=rounds), flush=True)


def print_memory() -> None:
    """The tables of peak memory and of the cost per tile."""
    print("\n| tiles, in → dim | published, MiB | per_token | shared |\n|---|---|---|---|")
    for tiles, in_dim, dim in ((10_000, 384, 128), (10_000, 1024, 512), (30_000, 1024, 512)):
        base, *others = (measured_apart(form, tiles, in_dim, dim)[1] for form in ("published", "per_token", "shared"))
        cells = " | ".join(f"{mib:.0f} (1/{base / mib:.1f})" for mib in others)
        print(f"| {tiles // 1000}k, {in_dim} → {dim} | {base:.0f} | {cells} |", flush=True)
    print("\n| tiles, 384 → 128, shared | ms | us per tile | bytes per tile |\n|---|---|---|---|")
    for tiles in (10_000, 100_000, 300_000, 1_000_000):
        ms, mib = measured_apart("shared", tiles, 384, 128)
        print(f"| {tiles // 1000}k | {ms:.0f} | {1e3 * ms / tiles:.2f} | {mib * 2**20 / tiles:.0f} |", flush=True)


def print_abmil(*, rounds: int) -> None:
    """ABMIL of ours and a plain one."""
    print("\n| tiles, in → dim | plain abmil, ms | ours |\n|---|---|---|")
    for tiles, in_dim, dim in ((1_000, 1024, 512), (10_000, 384, 128), (10_000, 1024, 512)):
        features = torch.randn(tiles, in_dim)
        found = milliseconds({name: FORMS[name](features, dim) for name in ("plain abmil", "abmil")}, rounds=rounds)
        plain, mine = found.values()
        print(f"| {tiles // 1000}k, {in_dim} → {dim} | {plain:.1f} | {mine:.1f} ({plain / mine:.2f}x) |", flush=True)


def main() -> None:
    """Print the tables that `--only` names, or all: times, memory, abmil."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6, help="measurements of each; the least counts")
    parser.add_argument("--tiles", type=int, nargs="+", default=[1_000, 10_000, 30_000, 100_000])
    parser.add_argument(
        "--widths", nargs="+", default=WIDTHS, help="as 384x128: features of a tile, width of the model"
    )
    parser.add_argument("--only", choices=("times", "memory", "abmil"))
    parser.add_argument("--one", nargs=4, metavar=("FORM", "TILES", "IN", "DIM"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        form, *numbers = arguments.one
        one(form, *map(int, numbers))
        return
    print(
        f"{torch.get_num_threads()} thread(s), torch {torch.__version__}; in brackets: times published, share of limit"
    )
    if arguments.only in (None, "times"):
        print_times(arguments.tiles, arguments.widths, rounds=arguments.rounds)
    if arguments.only in (None, "memory"):
        print_memory()
    if arguments.only in (None, "abmil"):
        print_abmil(rounds=arguments.rounds)


if __name__ == "__main__":
    main()
