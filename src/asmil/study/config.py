"""The settings of a study, read from YAML: which parts are compared, on what, and how they are trained."""

import dataclasses
import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WrapValidator,
)

from asmil.errors import ConfigError
from asmil.settings import KEY, Device, MarkedYaml, Mistake, PositiveInt
from asmil.study.parts import Part, check_label, dataset_part, model_part, stabilizer_options
from asmil.training import TrainSettings


def _seeds(value: Any) -> Any:
    """A count n stands for 0 ... n - 1."""
    return list(range(value)) if isinstance(value, int) and not isinstance(value, bool) else value


def _different(values: list[Any]) -> list[Any]:
    labels = [getattr(value, "label", value) for value in values]
    twice = sorted({str(label) for label in labels if labels.count(label) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} is there twice (parts with other options need a label of their own)")
    return values


def _settings(value: Any, validate: Any) -> TrainSettings:
    try:
        return validate(value)
    except ConfigError as error:  # what the settings themselves refuse
        raise ValueError(f"{error.what} ({error.fix})" if error.fix else error.what) from error


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
            Annotated[dict[str, Any] | None, BeforeValidator(stabilizer_options)],
        ],
        Parts,
    ] = {"none": None, "anchor": {}}
    folds: Annotated[int, Field(ge=2)] = 5
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], BeforeValidator(_seeds), Parts, Distinct] = [0, 1, 2, 3, 4]
    resplit: bool = True
    val_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    settings: Annotated[TrainSettings, WrapValidator(_settings)] = TrainSettings()
    standardize: bool = True
    min_coverage: Annotated[float, Field(gt=0, le=1)] = 0.5
    allow_duplicates: bool = False
    device: Device = "cpu"
    workers: PositiveInt = 1
    engine: Literal["local", "ray"] = "local"


def load_study(path: str | Path, overrides: dict[str, Any] | None = None) -> StudyConfig:
    """Settings from a YAML file and, over them, from flags; a flag that is None was not given.

    Every model is made once and every stabiliser tried, so that a wrong name or option is found before training.

    Raises:
        ConfigError: every problem at once, with file:line:column, the line and a near name.
    """
    source = MarkedYaml(Path(path))
    flags = {key: value for key, value in (overrides or {}).items() if value is not None}
    problems = list(source.problems)
    try:
        config = StudyConfig(**(source.values | flags))
    except ValidationError as error:
        problems += [_mistake(one, source) for one in error.errors()]
    if not problems:
        return config
    marks = [source.mark(problem) for problem in problems]
    places = [(mark.line, mark.column) if mark else (0, 0) for mark in marks]
    shown = [
        source.show(problem) for _, problem in sorted(zip(places, problems, strict=True), key=lambda pair: pair[0])
    ]
    count = "1 problem" if len(shown) == 1 else f"{len(shown)} problems"
    raise ConfigError("\n".join([*shown, f"{count} in the settings of the study."]))


def _mistake(error: Any, source: MarkedYaml) -> Mistake:
    location, text = error["loc"], error["msg"].removeprefix("Value error, ")
    name = ".".join(str(part) for part in location)
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        known = (
            [field.name for field in dataclasses.fields(TrainSettings)] if location[1:] else StudyConfig.model_fields
        )
        near = difflib.get_close_matches(str(location[-1]).replace("-", "_"), known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"
        return Mistake(f"unknown key {name!r}{hint}", location=(KEY, *location))
    if error["type"] == "part":
        key = (KEY, *location, error["ctx"]["at"])
        return Mistake(text, location=key if key in source.marks else location)
    if error["type"] == "missing":
        return Mistake(f"{name} must be given: a list of names")
    return Mistake(f"{name}: {text}, found {error['input']!r}", location=location)
