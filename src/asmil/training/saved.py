"""A trained model from its cell: tensors of a safetensors file, on the architecture that the settings name."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from asmil.bags import listed
from asmil.errors import AsmilError, RunError
from asmil.models import create_model
from asmil.tasks import Task, create_task
from asmil.training.runs import Cell
from asmil.training.standardize import Standardized

_OTHER = "use the run as asmil wrote it; nothing in the file was executed"


def load_model(
    cell: Cell,
    *,
    name: str,
    options: dict[str, Any],
    classes: int,
    standardize: bool,
    in_dim: int | None = None,
    device: str = "cpu",
) -> nn.Module:
    """The model of a cell, in evaluation mode and without gradients; `name` and `options` are those of `create_model`.

    In another task than classification the file says how many outputs the model has (`load_task`), not `classes`.

    The weights say how wide the features are; with `in_dim` they have to say this.

    Only a safetensors file is read, which holds numbers and nothing that runs. The architecture is built without memory
    first, so that settings that do not fit the weights are refused before anything is allocated.

    Raises:
        RunError: weights that are missing, not safetensors, not finite, or not of the model that the settings name.
    """
    path = cell.folder / "model.safetensors"
    state, facts = _read(path)
    said, task = facts.get("model"), _task(path, facts)
    if said not in (None, name):
        raise RunError(
            f"{path} does not fit the run's settings",
            found=f"weights of {said}, the settings say {name}",
            fix="give the run its own settings and weights",
        )
    width = state.get("mean") if standardize else state.get("projection.linear.weight")
    if width is None:
        raise RunError(f"{path} does not say how wide its features are", found=listed(state, 3), fix=_OTHER)
    if in_dim not in (None, width.shape[-1]):
        raise RunError(
            f"{path} does not fit the features",
            found=f"{in_dim} values a tile, the model takes {width.shape[-1]}",
            fix="give the features the run was trained on",
        )
    in_dim = width.shape[-1]
    try:
        with torch.device("meta"):
            model = create_model(name, in_dim=in_dim, n_classes=task.outputs if task else classes, **options)
            model = Standardized(model, in_dim) if standardize else model
    except (AsmilError, TypeError, ValueError) as error:
        raise RunError(f"the settings of {path.parents[3]} make no model", found=error) from error
    _check_shapes(path, state, model)
    model.load_state_dict(state, assign=True)
    return model.requires_grad_(False).eval().to(device)


def load_task(cell: Cell) -> Task | None:
    """The task of a cell with what it learned from the targets of the training part; None for classification.

    Raises:
        RunError: the weights file is missing, or no safetensors file, or names no task that there is.
    """
    path = cell.folder / "model.safetensors"
    return _task(path, _read(path)[1])


def _task(path: Path, facts: dict[str, Any]) -> Task | None:
    if "task" not in facts:
        return None
    try:
        return create_task(facts["task"]["name"], **facts["task"]["options"])
    except (AsmilError, TypeError, KeyError, ValueError) as error:
        raise RunError(f"{path} names no task of asmil", found=str(error)[:200], fix=_OTHER) from error


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a weights file, and what it says of them."""
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
    return state, _said(facts)


def _said(facts: str | None) -> dict[str, Any]:
    try:
        said = json.loads(facts or "{}")
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


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
            fix="give the run its own settings and weights: model and model_options decide the shapes",
        )
