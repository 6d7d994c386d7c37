"""Models: a bag of tiles in, a `MILOutput` out; one file per model."""

import ast
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asmil.registry import FolderRegistry, door

if TYPE_CHECKING:
    from torch import nn

    from asmil.models.parts.evidence import Evidence, deletion, evidence
    from asmil.models.parts.layers import MILOutput
    from asmil.models.parts.published import load_published
    from asmil.models.parts.wrapped import code_of, of_others, trust, try_out, wrap
else:
    __all__, __getattr__ = door(__name__)


def _of_file(name: str) -> object:
    if ".py:" not in name:
        return None
    from asmil.models.parts.wrapped import model_of

    return model_of(name)


def _of_package(name: str, part: object) -> object:
    from asmil.models.parts.wrapped import as_model

    return as_model(part)


MODELS = FolderRegistry(
    "model",
    "asmil.models",
    "MODEL",
    given=("in_dim", "n_classes"),
    other=_of_file,
    group="asmil.models",
    taken=_of_package,
)


def list_models() -> list[str]:
    """Names that `create_model` takes, sorted; imports no torch."""
    return MODELS.names()


def model_options(name: str) -> dict[str, object]:
    """The options of a model and their defaults.

    Raises:
        UnknownPartError: no model of that name.
    """
    return MODELS.options(name)


def create_model(name: str, *, in_dim: int, n_classes: int, **options: object) -> "nn.Module":
    """Make a model by name for features of `in_dim` and `n_classes` classes.

    Raises:
        UnknownPartError: no model of that name.
        ConfigError: the model has no such option, or its value is of another kind or out of range.
    """
    MODELS.check_options(name, options)
    MODELS.check_kinds(name, options)
    return MODELS[name](in_dim, n_classes, **options)


@dataclass(frozen=True)
class ModelInfo:
    """What a model is (one line), the paper it is from, and what a stabiliser aligns in it ("" for nothing)."""

    name: str
    description: str
    paper: str
    aligned: str


def model_info(name: str) -> ModelInfo:
    """Describe a model from its file without importing it, so that listing models needs no torch; others are imported.

    Raises:
        UnknownPartError: no model of that name.
        PartError: a package offers it, and it cannot be used.
    """
    if ".py:" in name or name.replace("-", "_").lower() in MODELS.packaged():
        made, module = MODELS[name], MODELS.module(name)
        description = (inspect.getdoc(made) or "a model without a description").splitlines()[0]
        aligned = getattr(made, "aligned", getattr(module, "ALIGNED", "The scores of its output."))
        return ModelInfo(name, description, getattr(made, "paper", getattr(module, "PAPER", "")), aligned)
    key = name.replace("-", "_").lower()
    if key not in list_models():
        MODELS.module(name)  # raises, naming the models there are
    tree = ast.parse((Path(__file__).parent / f"{key}.py").read_text(encoding="utf-8"))
    constants = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id in ("PAPER", "ALIGNED")
    }
    description = (ast.get_docstring(tree) or "").splitlines()[0]
    return ModelInfo(key, description, constants.get("PAPER", ""), constants.get("ALIGNED", ""))
