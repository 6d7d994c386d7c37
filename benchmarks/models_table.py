"""Every registered model on one bag of 10 000 tiles: size, time, memory, contract, what a stabiliser aligns."""

import argparse
import json
import resource
import subprocess
import sys

import torch
from torch.nn.functional import cross_entropy

from asmil.bags.bag import Bag, BagBatch
from asmil.models import create_model, list_models, model_info
from asmil.testing import check_model
from benchmarks.model_step import milliseconds

SIDE, IN_DIM, TILE_PX = 100, 1024, 256
COLUMNS = ("model", "parameters", "forward ms", "step ms", "extra MiB", "check_model", "a stabiliser aligns")


def grid_batch() -> BagBatch:
    """One labelled bag of random features, (10 000, 1024), whose tiles fill a square grid."""
    corners = TILE_PX * torch.cartesian_prod(torch.arange(SIDE), torch.arange(SIDE))
    features = torch.randn(SIDE**2, IN_DIM, generator=torch.Generator().manual_seed(0))
    return BagBatch.from_bags(Bag(features, level0_xy=corners, label=0, tile_level0_px=float(TILE_PX)))


def peak_mib() -> float:
    """The most memory this process ever held, in MiB (Linux counts KiB, macOS bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def measure(name: str, *, seconds: float) -> list[str]:
    """The measured cells of a model's row."""
    torch.manual_seed(0)
    model, batch = create_model(name, in_dim=IN_DIM, n_classes=2), grid_batch()

    def forward() -> None:
        with torch.no_grad():
            model(batch)

    def step() -> None:
        model.zero_grad()
        output = model(batch)
        extra = sum(loss.mean() for loss in output.losses.values())
        (cross_entropy(output.logits, batch.labels) + extra).backward()

    model.train()
    before = peak_mib()
    step()
    memory = peak_mib() - before
    step_ms = milliseconds(step, seconds=seconds)
    model.eval()
    forward_ms = milliseconds(forward, seconds=seconds)
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    failed = ", ".join(check_model(name).failed)
    return [
        f"{millions:.2f} M",
        f"{forward_ms:.0f}",
        f"{step_ms:.0f}",
        f"{memory:.0f}",
        f"not {failed}" if failed else "yes",
        model_info(name).aligned or "nothing",
    ]


def row(name: str, *, seconds: float) -> list[str]:
    """A model's row. It is measured in a process of its own: a peak counts once, and a crash costs one row."""
    command = [sys.executable, "-m", "benchmarks.models_table", "--one", name, "--seconds", str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        error = (done.stderr.strip().splitlines() or [f"ended with code {done.returncode}"])[-1]
        return [name, "", "", "", "", f"failed: {error}".replace("|", "/"), ""]
    return [name, *json.loads(done.stdout.splitlines()[-1])]


def main() -> None:
    """Print a Markdown table, line by line as the models are measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="time per measurement")
    parser.add_argument("--models", nargs="+", choices=list_models(), help="these models only")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    if arguments.one:
        print(json.dumps(measure(arguments.one, seconds=arguments.seconds)))
        return
    print(f"{SIDE**2} tiles of {IN_DIM} features, {torch.get_num_threads()} threads, torch {torch.__version__}\n")
    print("| " + " | ".join(COLUMNS) + " |")
    print("|" + " --- |" * len(COLUMNS), flush=True)
    for name in arguments.models or list_models():
        print("| " + " | ".join(row(name, seconds=arguments.seconds)) + " |", flush=True)


if __name__ == "__main__":
    main()
