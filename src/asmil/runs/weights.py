"""A trained model to a file and back: tensors of a safetensors file, on the architecture that the settings name."""

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from asmil.bags import listed
from asmil.draws import shapes_only
from asmil.errors import AsmilError, RunError
from asmil.files import Facts, written_beside
from asmil.models import MODELS, code_of, create_model
from asmil.runs.reading import reading
from asmil.tasks import Task, create_task
from asmil.training import Standardized

_OTHER = "use the run as asmil wrote it; nothing in the file was executed"
_FOREIGN = "is not a safetensors file"
_KEY = "asmil"
"""Of the file's metadata. All facts are in one: the format keeps several keys in no fixed order, and equal weights
should be equal files."""


def write_model(
    path: Path, module: nn.Module, *, model: str, options: Facts, best_epoch: int, task: Task | None = None
) -> None:
    """Write the weights of a module, and beside them the name of the model, the epoch that was chosen, the task.

    All options of the model are written, defaults too: some are in no weight, and defaults change with time.
    """
    facts: dict[str, object] = {"model": model, "options": MODELS.options(model) | options, "best_epoch": best_epoch}
    if code := code_of(model):
        facts["code"] = code
    if task:
        facts["task"] = {"name": task.name, "options": task.options()}
    with written_beside(path) as partial:
        weights = {name: value.contiguous().cpu() for name, value in module.state_dict().items()}
        save_file(weights, partial, metadata={_KEY: json.dumps(facts)})


def read_model(
    path: Path,
    *,
    name: str,
    options: Facts,
    classes: int,
    standardize: bool,
    in_dim: int | None = None,
) -> tuple[nn.Module, Task | None]:
    """The model of a file, in evaluation mode and without gradients, and its task as its training part taught it.

    `name` and `options` are those of `create_model`. In another task than classification the file says how many outputs
    the model has, not `classes`. The weights say how wide the features are; with `in_dim` they have to say this.

    Only a safetensors file is read, which holds numbers and nothing that runs. The architecture is built without memory
    first, so that settings that do not fit the weights are refused before anything is allocated.

    Raises:
        RunError: weights that are missing, not safetensors, not finite, or not of the model that the settings name.
    """
    state, facts = _read(path)
    said, task = facts.get("model"), _task(path, facts)
    if said not in (None, name):
        raise RunError(
            f"{path} does not fit the run's settings",
            found=f"weights of {said}, the settings say {name}",
            fix="give the run its own settings and weights",
        )
    if (code := code_of(name)) != facts.get("code", code):
        found = f"its file has the digest {code}, the weights were trained with {facts['code']}"
        raise RunError(f"the code of {name} changed after {path} was trained", found=found, fix="put it back")
    options = _options(path, name, options, said=facts.get("options"))
    plain = ("projection.linear.weight", "probe.weight", "vectors")
    width = state.get("mean") if standardize else next((state[key] for key in plain if key in state), None)
    if not standardize and "in_dim" in state:  # of a model that was wrapped
        width = torch.empty(int(state["in_dim"]), device="meta")
    if width is None or not width.dim():
        raise RunError(f"{path} does not say how wide its features are", found=listed(state, 3), fix=_OTHER)
    if in_dim not in (None, width.shape[-1]):
        raise RunError(
            f"{path} does not fit the features",
            found=f"{in_dim} values a tile, the model takes {width.shape[-1]}",
            fix="give the features the run was trained on",
        )
    in_dim = width.shape[-1]
    try:
        with shapes_only():
            model = create_model(name, in_dim=in_dim, n_classes=task.outputs if task else classes, **options)
            model = Standardized(model, in_dim) if standardize else model
    except (AsmilError, TypeError, ValueError, RuntimeError) as error:
        raise RunError(f"the settings of {path} make no model", found=error, fix=_OTHER) from error
    # of weights from before it was kept beside them, the factor of the scores is what their options say
    state = {name: value for name, value in model.state_dict().items() if name.endswith(".scale")} | state
    make_room = getattr(getattr(model, "model", model), "make_room", None)  # of weights as many as there was data
    if make_room is not None:
        make_room(state)
    _check_shapes(path, state, model)
    model.load_state_dict(state, assign=True)
    return model.requires_grad_(False).eval(), task


def read_facts(path: Path) -> Facts:
    """What a weights file says of itself, without reading the weights: `model`, `best_epoch`, `task`."""
    with reading(path, fix=_OTHER, what=_FOREIGN), safe_open(path, framework="pt") as file:
        return _said((file.metadata() or {}).get(_KEY))


def _options(path: Path, name: str, given: Facts, *, said: Facts | None) -> Facts:
    """The options that the weights were trained with: those they say, where they say any."""
    if said is None:  # of before 2026-11-29: what was not given had the defaults of then
        return getattr(MODELS.module(name), "DEFAULTS_BEFORE", {}) | given
    if wrong := [f"{option} {value!r}" for option, value in given.items() if said.get(option) != value]:
        raise RunError(
            f"{path} does not fit the run's settings",
            found=f"the settings say {listed(wrong, 3)}, the weights {said}",
            fix="give the run its own settings and weights",
        )
    return said


def _task(path: Path, facts: Facts) -> Task | None:
    if "task" not in facts:
        return None
    try:
        return create_task(facts["task"]["name"], **facts["task"]["options"])
    except (AsmilError, TypeError, KeyError, ValueError) as error:
        raise RunError(f"{path} names no task of asmil", found=str(error)[:200], fix=_OTHER) from error


def _read(path: Path) -> tuple[dict[str, Tensor], Facts]:
    """The tensors of a weights file, and what it says of them."""
    if not path.exists():
        raise RunError(f"{path} is missing", fix="copy the whole run folder")
    with reading(path, fix=_OTHER, what=_FOREIGN), safe_open(path, framework="pt") as file:
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        facts = (file.metadata() or {}).get(_KEY)
    broken = [key for key, value in state.items() if key != "std" and not torch.isfinite(value).all()]
    if broken:
        raise RunError(f"{path} holds NaN or infinite weights", found=listed(broken, 3), fix="train the fold again")
    return state, _said(facts)


def _said(facts: str | None) -> Facts:
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
