"""The parts a study names: datasets, models and stabilisers, looked up and tried before anything is trained."""

import difflib
import inspect
import re
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError

from asmil.errors import AsmilError

LABEL = re.compile(r"(?!.*--)[A-Za-z0-9][\w.+=-]*")
READ_AS_MISSING = {"NA", "N/A", "NULL", "NaN", "None", "nan", "null"}
"""Labels that readers of a table would take for an empty cell."""


class Part(BaseModel):
    """A part by name with its options; `label` is its name in tables and folders."""

    model_config = ConfigDict(frozen=True)

    name: str
    label: str
    options: dict[str, Any] = {}


def dataset_part(value: Any) -> Part:
    """A dataset from its name, or from {name, label, options...}; for pydantic."""
    from asmil.bags import DATASETS

    part = _part(value)
    try:
        known = inspect.signature(DATASETS[part.name]).parameters
    except AsmilError as error:
        raise _wrong(_text(error), at="name") from error
    _check_options(part.options, ["root", *(name for name in known if name != "root")], of=f"dataset {part.name!r}")
    return part


def model_part(value: Any) -> Part:
    """A model from its name, or from {name, label, options...}; made once and run on a small bag. For pydantic."""
    from asmil.models import model_options

    part = _part(value)
    try:
        known = model_options(part.name)
    except AsmilError as error:
        raise _wrong(_text(error), at="name") from error
    _check_options(part.options, known, of=f"the model {part.name!r}")
    try:
        _try(part)
    except AsmilError as error:
        raise _wrong(_text(error)) from error
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise _wrong(f"the model {part.name!r} does not work with these options: {error}") from error
    return part


def stabilizer_options(value: Any) -> dict[str, Any] | None:
    """Options of the stabiliser, tried on a small model; null: without. For pydantic."""
    from asmil.attention import AttentionStabilizer
    from asmil.models import create_model

    if value is None:
        return None
    if not isinstance(value, dict):
        raise _wrong(f"a stabiliser is null or {{option: value, ...}}, found {value!r}")
    _check_options(value, stabilizer_defaults(), of="the stabiliser")
    # where the scores are depends on the model: only `auto` can be tried here
    tried = {option: given for option, given in value.items() if option not in ("scores", "tile_dim")}
    try:
        AttentionStabilizer(create_model("abmil", in_dim=4, n_classes=2), **tried)
    except AsmilError as error:
        raise _wrong(_text(error)) from error
    except (TypeError, ValueError) as error:
        raise _wrong(f"the stabiliser does not take these options: {error}") from error
    return value


def stabilizer_defaults() -> dict[str, Any]:
    """The options of the stabiliser and their defaults."""
    from asmil.attention import AttentionStabilizer

    parameters = inspect.signature(AttentionStabilizer).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def _try(part: Part) -> None:
    """Make a model and run it on a small bag; whatever its options make it raise is the caller's to tell."""
    import torch

    from asmil.bags import Bag, BagBatch
    from asmil.models import create_model

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        model = create_model(part.name, in_dim=64, n_classes=2, **part.options).eval()
        coordinates = torch.stack([torch.arange(8) % 3, torch.arange(8) // 3], dim=1) * 256
        bag = Bag(torch.randn(8, 64), coordinates, "probe", "probe", 0, 256.0)
        model(BagBatch.from_bags(bag))


def check_label(label: str) -> str:
    """A label that can be part of a file name and a cell of a table; for pydantic."""
    if not LABEL.fullmatch(label) or label in READ_AS_MISSING:
        raise _wrong(f"{label!r} cannot be a label: use letters, digits and ._+=- (no --), and no word for nothing")
    return label


def _part(value: Any) -> Part:
    if isinstance(value, Part):
        return value
    given = {"name": value} if isinstance(value, str) else dict(value) if isinstance(value, dict) else {}
    name = given.pop("name", None)
    if not isinstance(name, str):
        raise _wrong(f"give a name, or {{name: ..., option: value, ...}}, found {value!r}")
    return Part(name=name, label=check_label(str(given.pop("label", name))), options=given)


def _check_options(options: Iterable[str], known: Iterable[str], *, of: str) -> None:
    for option in options:
        if option not in known:
            raise _wrong(f"{of} has no option {option!r}{_near(option, known)}", at=option)


def _near(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name.replace("-", "_"), known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known) or 'none'}"


def _text(error: AsmilError) -> str:
    found = "" if error.found is None else f", found {error.found}"
    return f"{error.what}{found}" + (f"; {error.fix}" if error.fix else "")


def _wrong(text: str, *, at: str = "") -> PydanticCustomError:
    """What is wrong with a part, and which of its keys."""
    return PydanticCustomError("part", "{text}", {"text": text, "at": at})
