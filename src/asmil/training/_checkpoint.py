"""Save and continue a training run in the middle: weights, optimiser, anchor, recordings and random states."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from asmil.errors import RunError
from asmil.files import written_beside

if TYPE_CHECKING:
    from asmil.training.fit import FitResult


def save_checkpoint(
    path: Path, parts: dict[str, Any], *, result: "FitResult", best: dict[str, torch.Tensor], seed: int
) -> None:
    """Write the state of all parts (objects with `state_dict`, or None) and of torch's random generators."""
    state = {
        "parts": {name: part.state_dict() for name, part in parts.items() if part is not None},
        "result": dataclasses.asdict(result),
        "best": best,
        "seed": seed,
        "random": torch.get_rng_state(),
        "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    with written_beside(path) as partial:
        torch.save(state, partial)


def load_checkpoint(path: Path, parts: dict[str, Any], *, seed: int) -> tuple["FitResult", dict[str, torch.Tensor]]:
    """Put all parts and random generators back; returns the result so far and the best weights.

    Raises:
        RunError: the file is of another seed or of other parts. Nothing pickled is run: tensors and plain values only.
    """
    from asmil.training.fit import FitResult

    state = torch.load(path, map_location="cpu", weights_only=True)
    present = {name for name, part in parts.items() if part is not None}
    if state["seed"] != seed or set(state["parts"]) != present:
        raise RunError(
            f"checkpoint {path} belongs to another run",
            found=f"seed {state['seed']}, parts {sorted(state['parts'])}; expected seed {seed}, {sorted(present)}",
            fix="delete it, or use another output folder",
        )
    for name in present:
        parts[name].load_state_dict(state["parts"][name])
    torch.set_rng_state(state["random"])
    if state["random_cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["random_cuda"])
    return FitResult(**state["result"]), state["best"]
