"""The kinds of values that settings have, beside Python's own."""

import re
from typing import Annotated, get_args

from pydantic import AfterValidator, BeforeValidator, Field

PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
PositiveFraction = Annotated[float, Field(gt=0, le=1)]
MOST_SEEDS = 1000
"""Models of a fold that a count can ask for: more is a seed where a count is meant."""
SeedCount = Annotated[int, Field(ge=1, le=MOST_SEEDS)]
Texts = Annotated[list[str], BeforeValidator(lambda value: value if isinstance(value, list | tuple) else [value])]


def split_names(value: object) -> object:
    """A text with commas is a list; anything else is left to the type."""
    return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


Names = Annotated[Texts, BeforeValidator(split_names)]
"""A list, or one text with commas."""


def _known_device(device: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
        raise ValueError("Input should be 'auto', 'cpu', 'mps', 'cuda' or 'cuda:<number>'")
    return device


Device = Annotated[str, AfterValidator(_known_device)]


def _known_shard(shard: str) -> str:
    part = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", shard)
    if shard != "slurm" and not (part and int(part[1]) <= int(part[2])):
        raise ValueError("Input should be '<i>/<n>' with i from 1 to n, or 'slurm'")
    return shard


Shard = Annotated[str, AfterValidator(_known_shard)]


def kinds_of(annotation: object) -> list[object]:
    """The plain types within unions, lists and Annotated."""
    inner = get_args(annotation)
    return [annotation] if not inner else [kind for part in inner for kind in kinds_of(part)]


def no_flag(value: object, annotation: object) -> object:
    """A value as it is; true and false are no numbers, though Python counts with them, and `epochs: true` is no 1.

    Raises:
        ValueError: one is given for a number, or among several.
    """
    kinds = kinds_of(annotation)
    numbers = (int in kinds or float in kinds) and bool not in kinds
    if numbers and any(isinstance(one, bool) for one in (value if isinstance(value, list | tuple) else [value])):
        raise ValueError("Input should be a number")
    return value


def no_gap(value: object) -> object:
    """A value as it is; an empty text, as of a shell's variable that is not set, is none: as a path it would be the
    current folder.

    Raises:
        ValueError: it is empty.
    """
    if isinstance(value, str) and not value.strip():
        raise ValueError("Input should not be empty; leave it out, or say what is meant")
    return value
