"""The trained models of a run: tensors from safetensors files, on the architecture that the run's settings name."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from asmil.bags.problem import listed
from asmil.config import RunConfig
from asmil.errors import AsmilError, RunError
from asmil.models import create_model
from asmil.training import Run, Standardized
from asmil.training.runs import Cell

_OTHER = "use the run as asmil wrote it; nothing in the file was executed"


@dataclass(frozen=True)
class Member:
    """One trained model of a run, in evaluation mode: its fold, its seed, and the SHA-256 of its weights file."""

    fold: int
    seed: int
    model: nn.Module
    digest: str

    @property
    def name(self) -> str:
        """As in the run's folder: `fold 0 seed 1`."""
        return f"fold {self.fold} seed {self.seed}"


def load_members(run: Run, *, config: RunConfig, classes: int, device: str = "cpu") -> tuple[Member, ...]:
    """The models of all finished cells.

    Only safetensors files are read, which hold numbers and nothing that runs. The architecture is built without memory
    first, so that settings that do not fit the weights are refused before anything is allocated.

    Raises:
        RunError: no finished cell, or weights that are missing, not safetensors, not finite, or not of the model that
            the settings name.
    """
    cells = run.cells()
    if not cells:
        raise RunError(f"{run.folder} has no finished fold", fix="let `asmil crossval` or `asmil run` finish")
    return tuple(_member(cell, config, classes=classes, device=device) for cell in cells)


def _member(cell: Cell, config: RunConfig, *, classes: int, device: str) -> Member:
    path = cell.folder / "model.safetensors"
    state, name = _read(path)
    if name not in (None, config.model):
        raise RunError(
            f"{path} does not fit the run's settings",
            found=f"weights of {name}, config.yaml says {config.model}",
            fix="give the run its own config.yaml and weights",
        )
    width = state["mean"] if config.standardize else state.get("projection.linear.weight")
    if width is None:
        raise RunError(f"{path} does not say how wide its features are", found=listed(state, 3), fix=_OTHER)
    in_dim = width.shape[-1]
    try:
        with torch.device("meta"):
            model = create_model(config.model, in_dim=in_dim, n_classes=classes, **config.model_options)
            model = Standardized(model, in_dim) if config.standardize else model
    except (AsmilError, TypeError, ValueError) as error:
        raise RunError(f"the settings in {path.parents[3] / 'config.yaml'} make no model", found=error) from error
    _check_shapes(path, state, model)
    model.load_state_dict(state, assign=True)
    model.requires_grad_(False).eval().to(device)
    return Member(cell.fold, cell.seed, model, hashlib.sha256(path.read_bytes()).hexdigest())


def _read(path: Path) -> tuple[dict[str, Tensor], str | None]:
    """The tensors of a weights file, and the name of the model where the file says it."""
    try:
        with safe_open(path, framework="pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            facts = (file.metadata() or {}).get("asmil")
    except FileNotFoundError as error:
        raise RunError(f"{path} is missing", fix="copy the whole run folder") from error
    except (SafetensorError, OSError) as error:
        raise RunError(f"{path} is not a safetensors file", found=str(error)[:200], fix=_OTHER) from error
    broken = [key for key, value in state.items() if key != "std" and not torch.isfinite(value).all()]
    if broken:
        raise RunError(f"{path} holds NaN or infinite weights", found=listed(broken, 3), fix="train the fold again")
    return state, _model_name(facts)


def _model_name(facts: str | None) -> str | None:
    try:
        said = json.loads(facts or "{}")
    except ValueError:
        return None
    return said.get("model") if isinstance(said, dict) else None


def _check_shapes(path: Path, state: dict[str, Tensor], model: nn.Module) -> None:
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in state.items()}
    wrong = [
        f"{key} is {found.get(key, 'missing')}, expected {expected.get(key, 'none')}"
        for key in sorted({*expected, *found})
        if expected.get(key) != found.get(key)
    ]
    if wrong:
        raise RunError(
            f"{path} does not fit the run's settings",
            found=listed(wrong, 3),
            fix="give the run its own config.yaml and weights: model and model_options decide the shapes",
        )
