"""The settings of a study, read from YAML: the parts it names, tried before anything is trained, and how it trains."""

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    WrapValidator,
    field_validator,
)
from pydantic_core import PydanticCustomError

from asmil.errors import AsmilError, ConfigError, did_you_mean
from asmil.files import Facts, path_of
from asmil.settings import KEY, MOST_SEEDS, Device, MarkedYaml, Mistake, Names, PositiveInt, no_flag, no_gap
from asmil.training import TrainSettings, check_task

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

# The parts a study names: datasets, models and stabilisers, looked up and tried before anything is trained.

T = TypeVar("T")
LABEL = re.compile(r"(?!.*--)[A-Za-z0-9][\w.+=-]*")
LONGEST = 60
"""Letters of a label; three make the name of a folder, which has at most 255."""
READ_AS_MISSING = {"NA", "N/A", "NULL", "NaN", "None", "nan", "null"}
"""Labels that readers of a table would take for an empty cell."""
OWN, ROOTS = "own", {"labels", "table", "labels_table", "label_table", "csv", "file", "path"}
"""The data set of the user's own, and what its `root` is called by whom nobody told."""


class Part(BaseModel):
    """A part by name with its options; `label` is its name in tables and folders."""

    model_config = ConfigDict(frozen=True)

    name: str
    label: str
    options: Facts = {}


def dataset_part(value: object) -> Part:
    """A dataset from its name, or from {name, label, options...}; for pydantic."""
    from asmil.bags import DATASETS

    part = _part(value)
    try:
        known = DATASETS.options(part.name)
    except AsmilError as error:
        raise _wrong(told(error), at="name") from error
    if part.name == OWN and "root" not in part.options and (said := ROOTS & part.options.keys()):
        at = min(said)
        raise _wrong(f"the dataset {OWN!r} has no option {at!r}; its table of labels is `root`", at=at)
    _check_options(part.options, ["root", *known], of=f"dataset {part.name!r}")
    return part


def model_part(value: object) -> Part:
    """A model from its name, or from {name, label, options...}; made once and run on a small bag. For pydantic."""
    from asmil.models import model_options, trust

    part = _part(value)
    try:
        trust(part.name)
        known = model_options(part.name)
    except AsmilError as error:
        raise _wrong(told(error), at="name") from error
    _check_options(part.options, known, of=f"the model {part.name!r}")
    try:
        _try(part)
    except AsmilError as error:
        raise _wrong(told(error)) from error
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise _wrong(f"the model {part.name!r} does not work with these options: {error}") from error
    return part


def stabilizer_options(value: object) -> dict[str, object] | None:
    """Options of the stabiliser, tried on a small model; null: without. For pydantic."""
    from asmil.attention import AttentionStabilizer
    from asmil.models import create_model

    if value is None:
        return None
    if not isinstance(value, dict):
        raise _wrong(f"a stabiliser is null or {{option: value, ...}}, found {value!r}")
    _check_options(value, stabilizer_defaults(), of="the stabiliser")
    # where the scores are depends on the model (`arms.unfit`): here alone whether it can be a place at all
    if not isinstance(scores := value.get("scores", "auto"), str):
        raise _wrong(f"scores are auto or the name of a submodule, found {scores!r}", at="scores")
    tried = {option: given for option, given in value.items() if option != "scores"}
    try:
        AttentionStabilizer(create_model("abmil", in_dim=4, n_classes=2), **tried)
    except AsmilError as error:
        raise _wrong(told(error)) from error
    except (TypeError, ValueError) as error:
        raise _wrong(f"the stabiliser does not take these options: {error}") from error
    return value


def stabilizer_defaults() -> dict[str, object]:
    """The options of the stabiliser and their defaults."""
    from asmil.attention import AttentionStabilizer

    parameters = inspect.signature(AttentionStabilizer).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def _try(part: Part) -> None:
    """Make a model and run it on a small bag; whatever its options make it raise is the caller's to tell."""
    import torch

    from asmil.bags import Bag, BagBatch
    from asmil.models import create_model, of_others, try_out

    if of_others(part.name):
        try_out(part.name, in_dim=64, n_classes=2, **part.options)
        return
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        model = create_model(part.name, in_dim=64, n_classes=2, **part.options).eval()
        coordinates = torch.stack([torch.arange(8) % 3, torch.arange(8) // 3], dim=1) * 256
        bag = Bag(torch.randn(8, 64), coordinates, "probe", "probe", 0, 256.0)
        model(BagBatch.from_bags(bag))


def check_label(label: str) -> str:
    """A label that can be part of a file name and a cell of a table; for pydantic."""
    if len(label) > LONGEST:
        raise _wrong(f"a label has at most {LONGEST} letters, of which folders are made, found {len(label)}")
    if not LABEL.fullmatch(label) or label in READ_AS_MISSING:
        raise _wrong(f"{label!r} cannot be a label: use letters, digits and ._+=- (no --), and no word for nothing")
    return label


def _part(value: object) -> Part:
    if isinstance(value, Part):
        return value
    given = {"name": value} if isinstance(value, str) else dict(value) if isinstance(value, dict) else {}
    name = given.pop("name", None)
    if not isinstance(name, str):
        raise _wrong(f"give a name, or {{name: ..., option: value, ...}}, found {value!r}")
    return Part(name=name, label=check_label(str(given.pop("label", name))), options=given)


def _check_options(options: Mapping[str, object], known: Iterable[str], *, of: str) -> None:
    for option, given in options.items():
        if option not in known:
            raise _wrong(f"{of} has no option {option!r}{_near(option, known)}", at=option)
        try:
            no_gap(given)
        except ValueError as error:
            raise _wrong(f"{option} of {of}: {error}", at=option) from error


def _near(name: str, known: Iterable[str]) -> str:
    return "; " + (did_you_mean(name, known) or f"known: {', '.join(known) or 'none'}")


def told(error: AsmilError) -> str:
    """An error in one line: what, what was found, what to do."""
    found = "" if error.found is None else f", found {error.found}"
    return f"{error.what}{found}" + (f"; {error.fix}" if error.fix else "")


def _wrong(text: str, *, at: str = "") -> PydanticCustomError:
    """What is wrong with a part, and which of its keys."""
    return PydanticCustomError("part", "{text}", {"text": text, "at": at})


def _seeds(value: object) -> object:
    """A count n stands for 0 ... n - 1."""
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    if not 1 <= value <= MOST_SEEDS:
        raise ValueError(f"Input should be a count from 1 to {MOST_SEEDS}, or a list of seeds")
    return list(range(value))


def _differ_in_more_than_case(labels: Iterable[object]) -> None:
    """Raise a ValueError for labels whose folders would be one where file names have no case."""
    known = dict[str, str]()
    for label in map(str, labels):
        if (other := known.setdefault(label.casefold(), label)) != label:
            raise ValueError(f"{other} and {label} differ in case alone, and would be one folder on some disks")


def _different_names(values: dict[str, T]) -> dict[str, T]:
    _differ_in_more_than_case(values)
    return values


def _different(values: list[T]) -> list[T]:
    labels = [getattr(value, "label", value) for value in values]
    twice = sorted({str(label) for label in labels if labels.count(label) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} is there twice (parts with other options need a label of their own)")
    _differ_in_more_than_case(labels)
    return values


def _settings(value: object, validate: Callable[[object], TrainSettings]) -> TrainSettings:
    kinds = {field.name: field.type for field in dataclasses.fields(TrainSettings)}
    for name, given in value.items() if isinstance(value, dict) else ():
        try:
            no_gap(no_flag(given, kinds.get(name)))
        except ValueError as error:
            raise _wrong(f"{name}: {error}, found {given!r}", at=name) from error
    try:
        checked = validate(value)
        check_task(checked, None)  # studies compare classifiers
    except ConfigError as error:  # what the settings themselves refuse
        if isinstance(value, dict) and value.get("select") and "select an epoch" in error.what:
            raise _wrong(f"select: {told(error)}", at="select") from error
        raise ValueError(f"{error.what} ({error.fix})" if error.fix else error.what) from error
    return checked


Parts = Field(min_length=1)
Distinct = AfterValidator(_different)


class StudyConfig(BaseModel):
    """Every setting of a study, with its default.

    All models x stabilisers x datasets are the arms; every fold and seed of an arm is a cell, one trained model.
    With `resplit` each seed draws its own folds (repeated cross-validation); datasets with official splits keep
    theirs. Relative paths are relative to the current directory.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), coerce_numbers_to_str=True, allow_inf_nan=False
    )

    out: Path = Path("runs/study")
    datasets: Annotated[list[Annotated[Part, BeforeValidator(dataset_part)]], Parts, Distinct]
    models: Annotated[list[Annotated[Part, BeforeValidator(model_part)]], Parts, Distinct]
    stabilizers: Annotated[
        dict[
            Annotated[str, AfterValidator(check_label)],
            Annotated[Facts | None, BeforeValidator(stabilizer_options)],
        ],
        Parts,
        AfterValidator(_different_names),
    ] = {"none": None, "anchor": {}}
    folds: Annotated[int, Field(ge=2)] = 5
    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=2**63)]], BeforeValidator(_seeds), Parts, Distinct] = [
        0,
        1,
        2,
        3,
        4,
    ]
    resplit: bool = True
    val_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    settings: Annotated[TrainSettings, WrapValidator(_settings)] = TrainSettings()
    standardize: bool = True
    min_coverage: Annotated[float, Field(gt=0, le=1)] = 0.5
    allow_duplicates: bool = False
    device: Device = "cpu"
    workers: PositiveInt = 1
    engine: Literal["local", "ray"] = "local"
    log_to: Names = []

    @field_validator("*", mode="before")
    @classmethod
    def _as_meant(cls, value: object, info: ValidationInfo) -> object:
        return no_gap(no_flag(value, cls.model_fields[str(info.field_name)].annotation))


def load_study(
    path: str | Path, overrides: Mapping[str, object] | None = None, *, only: str | None = None
) -> StudyConfig:
    """Settings from a YAML file and, over them, from flags; a flag that is None was not given.

    Every model is made once and every stabiliser tried, with each model that it would be trained with (of the arms
    that are called `only`), so that a wrong name or option is found before training.

    Raises:
        ConfigError: every problem at once, with file:line:column, the line and a near name.
    """
    from asmil.study.arms import unfit  # arms are made of settings

    source = MarkedYaml(path_of(path, "a file of a study"))
    flags = {key: value for key, value in (overrides or {}).items() if value is not None}
    problems = list(source.problems)
    try:
        config = StudyConfig(**(source.values | flags))
        problems += [_misfit(name, text, source) for name, text in unfit(config, only=only)] if not problems else []
    except ValidationError as error:
        broken = bool(source.problems)  # what comes after is not read, and no mistake of its own
        problems += [_mistake(one, source) for one in error.errors() if not (broken and one["type"] == "missing")]
    if not problems:
        return config
    marks = [source.mark(problem) for problem in problems]
    places = [(mark.line, mark.column) if mark else (0, 0) for mark in marks]
    shown = [
        source.show(problem) for _, problem in sorted(zip(places, problems, strict=True), key=lambda pair: pair[0])
    ]
    count = "1 problem" if len(shown) == 1 else f"{len(shown)} problems"
    raise ConfigError("\n".join([*shown, f"{count} in the settings of the study."]))


def _misfit(stabilizer: str, text: str, source: MarkedYaml) -> Mistake:
    """What is wrong with a stabiliser and a model, at the place of the one."""
    there = [("stabilizers", stabilizer, name) for name in ("scores", "tile_dim")]
    named = [place for place in there if (KEY, *place) in source.marks]
    return Mistake(text, location=(KEY, *named[0]) if len(named) == 1 else ("stabilizers", stabilizer))


def _mistake(error: "ErrorDetails", source: MarkedYaml) -> Mistake:
    location, text = error["loc"], error["msg"].removeprefix("Value error, ")
    name = ".".join(str(part) for part in location)
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        known = (
            [field.name for field in dataclasses.fields(TrainSettings)] if location[1:] else StudyConfig.model_fields
        )
        return Mistake(f"unknown key {name!r}{_near(str(location[-1]), known)}", location=(KEY, *location))
    if error["type"] == "part":
        key = (KEY, *location, error["ctx"]["at"])
        return Mistake(text, location=key if key in source.marks else location)
    if error["type"] == "missing":
        return Mistake(f"{name} must be given: a list of names")
    return Mistake(f"{name}: {text}, found {error['input']!r}", location=location)
