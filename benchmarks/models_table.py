"""Every registered model on one bag of 10 000 tiles: size, time, memory, contract, what a stabiliser aligns."""

import argparse

import torch

from asmil.bags import BagBatch
from asmil.bench.parts.models import grid_batch, model_speed
from asmil.errors import AsmilError
from asmil.models import create_model, list_models, model_info
from asmil.testing import check_model

COLUMNS = ("model", "parameters", "forward ms", "step ms", "extra MiB", "check_model", "a stabiliser aligns")


def row(name: str, batch: BagBatch, *, seconds: float) -> list[str]:
    """A model's row; one that fails says how and costs no other's."""
    try:
        speed = model_speed(name, batch, seconds=seconds)
    except (AsmilError, RuntimeError) as error:
        return [name, "", "", "", "", f"failed: {str(error).splitlines()[0]}".replace("|", "/"), ""]
    model = create_model(name, in_dim=batch.features.shape[1], n_classes=2)
    failed = ", ".join(check_model(name).failed)
    return [
        name,
        f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M",
        f"{1e3 * speed.forward_seconds:.0f}",
        f"{1e3 * speed.step_seconds:.0f}",
        f"{speed.step_bytes / 2**20:.0f}",
        f"not {failed}" if failed else "yes",
        model_info(name).aligned or "nothing",
    ]


def main() -> None:
    """Print a Markdown table, line by line as the models are measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="time per measurement")
    parser.add_argument("--tiles", type=int, default=10_000)
    parser.add_argument("--models", nargs="+", choices=list_models(), help="these models only")
    arguments = parser.parse_args()
    batch = grid_batch(arguments.tiles)
    shape = " x ".join(map(str, batch.features.shape))
    print(f"{shape} features, {torch.get_num_threads()} threads, torch {torch.__version__}\n")
    print("| " + " | ".join(COLUMNS) + " |")
    print("|" + " --- |" * len(COLUMNS), flush=True)
    for name in arguments.models or list_models():
        print("| " + " | ".join(row(name, batch, seconds=arguments.seconds)) + " |", flush=True)


if __name__ == "__main__":
    main()
