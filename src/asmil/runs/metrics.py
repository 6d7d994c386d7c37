"""The shape of metrics.json, as far as something is made of it: an edited file is refused where it is read."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from asmil.errors import RunError

Number = float | None
Interval = tuple[Number, Number]


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class Score(_Part):
    """A value with its 95 % interval; what is not known is None."""

    value: Number = None
    ci95: Interval | None = None


class Patients(_Part):
    """The metrics with one prediction for each patient."""

    test: dict[str, Score] = {}
    n_patients: int | None = None


class Seeds(_Part):
    """What a single seed reaches."""

    values: list[dict[str, Number]] = []
    spread: dict[str, dict[str, Number]] = {}


class Metrics(_Part):
    """What `evaluate` writes. Of a task further keys are read by its own part of the report."""

    task: str | None = None
    partial: str | None = None
    protocol: dict[str, str | bool | Number] = {}
    folds: list[int] = []
    seeds: list[int] = []
    classes: list[str] | None = None
    test: dict[str, Score] = {}
    test_is: str | None = None
    per_fold: list[dict[str, Number]] | None = None
    pooled: dict[str, Score] | None = None
    per_seed: Seeds | None = None
    patients: Patients | None = None
    confusion: list[list[int]] | None = None
    attention: dict[str, Any] = {}
    seconds: dict[str, float] = Field(default={})


def check_metrics(metrics: dict[str, Any], *, path: Path, fix: str) -> dict[str, Any]:
    """The metrics as they are.

    Raises:
        RunError: a part has another shape than `evaluate` gives it.
    """
    try:
        Metrics.model_validate(metrics)
    except ValidationError as error:
        first = error.errors()[0]
        found = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise RunError(f"{path} is not what `asmil evaluate` writes", found=found, fix=fix) from error
    return metrics
