"""The settings of a run: one flat model whose keys are the command line's flags, read from YAML or flags."""

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from asmil._yaml import KEY, Location, MarkedYaml, Problem, dump_yaml
from asmil.errors import ConfigError
from asmil.files import write_text

PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Texts = Annotated[list[str], BeforeValidator(lambda value: value if isinstance(value, list | tuple) else [value])]


def _names(value: object) -> object:
    return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


Names = Annotated[Texts, BeforeValidator(_names)]
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


class RunConfig(BaseModel):
    """Every setting of a run, with its default.

    A key is the flag without its dashes (`tile_px` is `--tile-px`). Relative paths are relative to the
    current directory, also those in a YAML file. None: not given, or the default of the part it belongs to.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), coerce_numbers_to_str=True, allow_inf_nan=False
    )

    # what goes in and out
    slides: Path | None = None
    features: Path | None = None
    labels: Path | None = None
    slide_table: Path | None = None
    label: str = "label"
    bag: Literal["slide", "patient"] = "slide"
    task: str = "classification"
    target: Names = []
    levels: Names = []
    task_options: dict[str, Any] = {}
    annotations: Path | None = None
    positive: Texts = []
    exclude_class: Texts = []
    mask_class: Texts = []
    mask_mpp: PositiveFloat | None = None
    out: Path = Path("runs/run")
    # scale of slides that do not say it
    slide_mpp: PositiveFloat | None = None
    objective: PositiveFloat | None = None
    reader: str | None = None
    scenes: Literal["first", "all"] = "all"
    # tiles and features
    mpp: PositiveFloat = 0.5
    tile_px: PositiveInt = 224
    overlap_px: Annotated[int, Field(ge=0)] = 0
    min_tissue: Fraction = 0.25
    tissue_method: str = "otsu"
    slide_settings: Path | None = None
    exclude_tiles: Texts = []
    encoder: str = "colour-texture"
    also_encoder: Texts = []
    weights: Path | None = None
    encoder_precision: Literal["auto", "fp32", "fp16", "bf16"] = "auto"
    stain: Literal["none", "macenko", "reinhard"] = "none"
    stain_target: Path | None = None
    tile_batch: PositiveInt = 256
    # model and stabiliser
    model: str = "asmil"
    model_options: dict[str, Any] = {}
    stabilize: bool = True
    beta: NonNegative = 0.1
    momentum: Fraction = 0.999
    anchor: Literal["ema", "frozen"] = "ema"
    anchor_init: Literal["copy", "independent"] = "copy"
    reduction: Literal["sum", "mean"] = "sum"
    max_gradient_ratio: PositiveFloat | None = None
    anchor_start_epoch: Annotated[int, Field(ge=0)] = 0
    # splits and training
    folds: Annotated[int, Field(ge=2)] = 5
    val_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    by_site: bool = False
    splits: Path | None = None
    seeds: PositiveInt | Annotated[list[int], Field(min_length=1)] = 3
    epochs: PositiveInt = 40
    learning_rate: PositiveFloat = 3e-4
    weight_decay: NonNegative = 1e-2
    batch_size: PositiveInt = 4
    clip_norm: PositiveFloat = 5.0
    patience: PositiveInt = 15
    select: Literal["val_loss", "val_auroc", "val_metric", "last"] = "val_loss"
    tile_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    tiles_per_bag: PositiveInt | None = None
    standardize: bool = True
    refit: bool = True
    # machine
    device: Device = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    workers: Annotated[int, Field(ge=0)] = 0
    together: Literal["auto", "on", "off"] = "auto"
    engine: Literal["local", "ray"] = "local"
    slide_workers: Annotated[int, Field(ge=0)] = 0
    shard: Shard | None = None
    # results
    heatmaps: Annotated[int, Field(ge=0)] = 8
    bootstrap: Annotated[int, Field(ge=0)] = 1000
    min_coverage: Annotated[float, Field(gt=0, le=1)] = 0.5
    froc: Literal["camelyon16"] | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> "RunConfig":
        if self.overlap_px >= self.tile_px:
            raise ValueError(f"overlap_px ({self.overlap_px}) must be less than tile_px ({self.tile_px})")
        if self.slide_mpp and self.objective:
            raise ValueError("give slide_mpp or objective, not both: each says the scale of the slides")
        return self

    @property
    def seed_list(self) -> list[int]:
        """The seeds themselves: a count n stands for 0 ... n - 1."""
        return list(range(self.seeds)) if isinstance(self.seeds, int) else list(self.seeds)


def load_config(path: str | Path | None = None, overrides: dict[str, Any] | None = None) -> RunConfig:
    """Settings from a YAML file and, over them, from flags; a flag that is None was not given.

    Raises:
        ConfigError: every problem at once, those of the file with file:line:column, the line and a near name.
    """
    source = MarkedYaml(Path(path)) if path else None
    flags = {key: value for key, value in (overrides or {}).items() if value is not None}
    values = {**(source.values if source else {}), **flags}
    problems = list(source.problems) if source else []
    try:
        config = RunConfig(**values)
    except ValidationError as error:
        problems += _problems(error)
    if not problems:
        return config
    shown = [_shown(problem, source, flags=flags) for problem in _in_file_order(problems, source)]
    count = "1 problem" if len(shown) == 1 else f"{len(shown)} problems"
    raise ConfigError("\n".join([*shown, f"{count} in the settings; `asmil run --help` lists them all."]))


def dump_config(config: RunConfig, path: str | Path) -> None:
    """Write all settings, defaults included, as YAML that loads back equal; atomically."""
    write_text(path, dump_yaml(config.model_dump(mode="json")))


def _problems(error: ValidationError) -> list[Problem]:
    """One problem per place; the alternatives of a union are joined."""
    texts: dict[Location, list[str]] = {}
    for one in error.errors():
        location = one["loc"]
        name = str(location[0]) if location else ""
        if one["type"] == "extra_forbidden":
            near = difflib.get_close_matches(name.replace("-", "_"), RunConfig.model_fields, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            texts[(KEY, name)] = [f"unknown key {name!r}{hint}"]
            continue
        # (name, 1) is a place in the file; "int" in (name, "int") only says which branch of a union failed
        place = tuple(part for i, part in enumerate(location) if i == 0 or isinstance(part, int))
        text = one["msg"].removeprefix("Value error, ")
        texts.setdefault(place, []).append(f"{name}: {text}, found {one['input']!r}" if name else text)
    return [Problem(_joined(alternatives), location=place) for place, alternatives in texts.items()]


def _joined(texts: list[str]) -> str:
    head, found, tail = texts[0].rpartition(", found")
    others = [text.partition("Input should be ")[2].rpartition(", found")[0] for text in texts[1:]]
    return head + "".join(f" or {other}" for other in others if other) + found + tail


def _in_file_order(problems: list[Problem], source: MarkedYaml | None) -> list[Problem]:
    def line(problem: Problem) -> tuple[float, int]:
        mark = source.mark(problem) if source else None
        return (mark.line, mark.column) if mark else (float("inf"), 0)

    return sorted(problems, key=line)


def _shown(problem: Problem, source: MarkedYaml | None, *, flags: dict[str, Any]) -> str:
    name = next((part for part in problem.location if part != KEY), None)
    if name in flags:
        return f"--{str(name).replace('_', '-')}: {problem.text.removeprefix(f'{name}: ')}"
    return source.show(problem) if source else problem.text
