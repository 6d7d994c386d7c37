"""The settings of a run: each written once, with its type, default, sentence, unit, and what it decides."""

import dataclasses
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from asmil.files import Facts
from asmil.settings.kinds import (
    Device,
    Fraction,
    Names,
    NonNegative,
    PositiveFloat,
    PositiveFraction,
    PositiveInt,
    SeedCount,
    Shard,
    Texts,
    no_flag,
    no_gap,
    split_names,
)


class Group(StrEnum):
    """What belongs together on command lines, in reports and in the docs."""

    SOURCE = "slides or features"
    OUT = "output"
    TABLES = "labels"
    TASK = "task"
    SPLITS = "folds"
    TRUTH = "annotations"
    SCALE = "scale of slides"
    TILES = "tiles"
    ENCODER = "encoder"
    MODEL = "model"
    STABILISER = "stabiliser"
    TRAINING = "training"
    MACHINE = "machine"
    EXTRACTION = "processes of extraction"
    RESULTS = "results"


Decides = Literal["features", "training", "content", "evaluation", "nothing"]
"""What changes with a setting: the features; the trained models; the models too, but by what lies at the path, which is
compared itself (`identity`); the numbers about them, which are cheaply made anew; or no result at all."""


def _written_in(group: Group, decides: Decides) -> Callable[..., Any]:
    """How the settings of a group are written.

    `called` is the name that the part which takes the setting has for it, where that is another.
    """

    def setting(
        default: object, sentence: str, *, unit: str = "", decides: Decides = decides, called: str | None = None
    ) -> Any:
        facts: Facts = {"group": group, "unit": unit, "decides": decides, "called": called}
        return Field(default, description=sentence, json_schema_extra=facts)

    return setting


in_source = _written_in(Group.SOURCE, "content")
in_output = _written_in(Group.OUT, "nothing")
in_tables = _written_in(Group.TABLES, "content")
in_task = _written_in(Group.TASK, "training")
in_folds = _written_in(Group.SPLITS, "training")
in_truth = _written_in(Group.TRUTH, "evaluation")
in_scale = _written_in(Group.SCALE, "features")
in_tiles = _written_in(Group.TILES, "features")
in_encoder = _written_in(Group.ENCODER, "features")
in_model = _written_in(Group.MODEL, "training")
in_stabiliser = _written_in(Group.STABILISER, "training")
in_training = _written_in(Group.TRAINING, "training")
in_machine = _written_in(Group.MACHINE, "nothing")
in_extraction = _written_in(Group.EXTRACTION, "nothing")
in_results = _written_in(Group.RESULTS, "evaluation")

_PAPER_START: Facts = {"score_scale": 1, "first_scale": None, "even_start": False, "feature_dropout": 0}
_PAPER_TRAINING: Facts = {
    **{"model": "asmil", "anchor_gated": False, "learning_rate": 1e-4, "weight_decay": 1e-5, "epochs": 100},
    **{"batch_size": 1, "tile_dropout": 0, "standardize": False, "restarts": 0},
}
_SCRIPT_ANCHOR: Facts = {"anchor": "frozen", "anchor_init": "independent", "reduction": "mean", "beta": 1}
PRESETS: dict[str, Facts] = {
    "paper": {**_PAPER_TRAINING, "model_options": {**_PAPER_START, "token_std": 0.02}},
    "published-script": {
        **_PAPER_TRAINING,
        **_SCRIPT_ANCHOR,
        "model_options": {**_PAPER_START, "token_std": 1e-6, "variant": "per_token"},
    },
}
"""Named settings, which those that are given go before. Sources: arXiv 2603.06658, and the script its authors
published, whose anchor has random weights of its own, is never updated, and whose divergence is a mean over tiles."""


class Settings(BaseModel):
    """Every setting of a run, with its default.

    The command line's flag is the name with dashes (`tile_px` is `--tile-px`), a YAML file's key the name. Relative
    paths are relative to the current directory, also those in a YAML file. None: not given, or the default of the part
    it belongs to.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), coerce_numbers_to_str=True, allow_inf_nan=False
    )

    slides: Path | None = in_source(None, "Folder of slides.")
    features: Path | None = in_source(
        None, "Folder (or file) of feature files by asmil, TRIDENT, CLAM, STAMP or ACMIL, instead of slides."
    )
    features_encoder: Annotated[str, Field(min_length=1)] | None = in_source(
        None, "Which features, where there are those of several encoders: the name of their folder or table."
    )
    labels: Path | None = in_tables(
        None, "Table (csv, tsv, xlsx) with a row per slide (slide_id, case_id, label) or per patient."
    )
    slide_table: Path | None = in_tables(None, "Table of patients and their slides (PATIENT, FILENAME).")
    label: str = in_tables("label", "Column of the label.", decides="training")
    slide_column: str | None = in_tables(None, "Column that names the slides, where it is not recognised.")
    case_column: str | None = in_tables(None, "Column that names the patients; the slides' where each is its own.")
    site_column: str | None = in_tables(None, "Column of the site (hospital), where it is not recognised.")
    classes: Names = in_tables(
        [], "Classes in their order, of two the positive one last, with commas between; others are left out."
    )
    spellings: Literal["ask", "same", "different"] = in_tables(
        "ask", "Patients or classes that differ only in how they are written: ask (an error), same or different."
    )
    bag: Literal["slide", "patient"] = in_model(
        "slide", "What a prediction is made of: the tiles of a slide, or of all slides of a patient."
    )

    task: str = in_task("classification", "What is learned: classification, or a name of `asmil list tasks`.")
    target: Names = in_task(
        [], "Columns of a task other than classification, with commas; survival's are recognised.", called="columns"
    )
    levels: Names = in_task([], "Levels of an ordinal task from low to high, with commas between.")
    task_options: dict[str, object] = in_task({}, "Option of the task as name=value; repeat for several.")

    annotations: Path | None = in_truth(
        None, "Folder of annotations: <slide>.geojson (QuPath), .xml (ASAP, ImageScope) or <slide>_mask.tif or .png."
    )
    positive: Texts = in_truth([], "Class of the annotations that is looked for; repeat for several.")
    exclude_class: Texts = in_truth(
        [], "Class of the annotations that is cut out of the positive ones; repeat for several."
    )
    mask_class: Texts = in_truth([], "What a pixel value of masks means, as 255=tumor; repeat for several.")
    mask_mpp: PositiveFloat | None = in_truth(
        None, "Micrometres per pixel of masks that do not cover their slides from edge to edge.", unit="um/px"
    )
    out: Path = in_output(Path("runs/run"), "Output folder.")

    slide_mpp: PositiveFloat | None = in_scale(
        None, "Micrometres per pixel of the slides themselves; it overrules what slide files say.", unit="um/px"
    )
    objective: PositiveFloat | None = in_scale(
        None, "Objective power of the slides (40 = .25 um/px), where the files do not say their mpp.", unit="x"
    )
    reader: str | None = in_scale(None, "Reader of slides instead of the first that knows them; `asmil list readers`.")
    scenes: Literal["first", "all"] = in_scale(
        "all",
        "Of files that hold several slides: all, each a slide <file>.scene-<n>, or the first only.",
        decides="content",
    )

    mpp: PositiveFloat = in_tiles(0.5, "Scale at which tiles are cut, micrometres per pixel.", unit="um/px")
    tile_px: PositiveInt = in_tiles(224, "Side of a tile in pixels at --mpp.", unit="px")
    overlap_px: Annotated[int, Field(ge=0)] = in_tiles(0, "Pixels two neighbouring tiles share.", unit="px")
    min_tissue: PositiveFraction = in_tiles(0.25, "Least share of a tile that is tissue.")
    tissue_method: str = in_tiles("otsu", "How tissue is found; `asmil list tissue`.")
    slide_settings: Path | None = in_tiles(
        None, "Table (csv) of settings slide by slide; `asmil tissue` writes one to edit."
    )
    exclude_tiles: Texts = in_tiles(
        [], "Flag whose tiles are left out (blur, fold, pen); repeat for several.", called="exclude"
    )

    encoder: str = in_encoder(
        "colour-texture", "Encoder of the tiles: a name of `asmil list encoders`, timm:NAME or hf-hub:NAME."
    )
    also_encoder: Texts = in_encoder(
        [], "Further encoder of the same tiles, in one pass over the pixels; repeat for several.", decides="nothing"
    )
    weights: Path | None = in_encoder(
        None, "Encoder weights without the network: a file, a folder of them, or a json map from name to file."
    )
    encoder_precision: Literal["auto", "fp32", "fp16", "bf16"] = in_encoder(
        "auto", "fp32, fp16 or bf16 on a GPU; auto is the card's, as far as the GPU has it."
    )
    stain: Literal["none", "macenko", "reinhard"] = in_encoder(
        "none", "Stain normalisation of the tiles: none, macenko or reinhard."
    )
    stain_target: Path | None = in_encoder(
        None, "Image whose stain the tiles are brought to, instead of the built-in reference."
    )
    tile_batch: PositiveInt = in_encoder(256, "Tiles encoded at once.", unit="tiles", decides="nothing")

    preset: Literal["paper", "published-script"] | None = in_model(
        None, "Settings of ASMIL by name: of its paper, or of the script that its authors published."
    )
    model: str = in_model("asmil", "MIL model; `asmil list models`.")
    model_options: dict[str, object] = in_model({}, "Option of the model as name=value; repeat for several.")
    stabilize: bool = in_model(True, "Align the attention with an anchor (ASMIL).")

    beta: NonNegative = in_stabiliser(0.1, "Weight of the alignment with the anchor.")
    momentum: Fraction = in_stabiliser(0.999, "Momentum of the anchor's moving average.")
    anchor: Literal["ema", "frozen"] = in_stabiliser("ema", "ema (the paper), or frozen (the authors' script).")
    anchor_init: Literal["copy", "independent"] = in_stabiliser(
        "copy",
        "copy of the model (the paper), or independent (new random weights, the authors' script).",
        called="init",
    )
    reduction: Literal["sum", "mean"] = in_stabiliser(
        "sum", "sum of the divergence over tiles (the paper), or mean (1/tiles of it, the authors' script)."
    )
    max_gradient_ratio: PositiveFloat | None = in_stabiliser(
        None, "Self-tuning beta: at most this ratio of the alignment's gradient to the task's."
    )
    anchor_gated: bool = in_stabiliser(
        True,
        "Count each row of attention by how uneven the anchor's is, so that no attention is kept from forming "
        "(the paper: no).",
        called="gated",
    )
    anchor_start_epoch: Annotated[int, Field(ge=0)] = in_stabiliser(
        0, "Epoch in which the alignment begins.", called="start_epoch"
    )

    folds: Annotated[int, Field(ge=2)] = in_folds(5, "Outer folds; every patient is tested once.")
    val_fraction: Annotated[float, Field(gt=0, lt=1)] = in_folds(
        0.2, "Share of the other patients that only selects the epoch."
    )
    by_site: bool = in_folds(False, "Keep every site within one fold.")
    allow_duplicates: bool = in_folds(False, "Let parts of a fold share content.", decides="nothing")
    splits: Path | None = in_folds(None, "Your own splits: CLAM folder, ACMIL json, splits.csv.", decides="content")

    seeds: SeedCount | Annotated[list[Annotated[int, Field(lt=2**63)]], Field(min_length=1)] = in_training(
        3, "Models trained per fold; their probabilities are averaged."
    )
    epochs: PositiveInt | None = in_training(
        None, "Most epochs; not given: 40, or as many as min_steps take where these are more.", unit="epochs"
    )
    min_steps: Annotated[int, Field(ge=0)] = in_training(
        1800, "Steps of the optimiser before which patience ends nothing.", unit="steps"
    )
    restarts: Annotated[int, Field(ge=0)] = in_training(3, "Times that a model which found nothing begins again.")
    learning_rate: PositiveFloat = in_training(1e-3, "Peak learning rate of AdamW.")
    weight_decay: NonNegative | None = in_training(
        None, "Weight decay of AdamW; not given: the model's own (3 of asmil, .01 of the others)."
    )
    batch_size: PositiveInt = in_training(4, "Bags per step.", unit="bags")
    clip_norm: PositiveFloat = in_training(5.0, "Largest norm of the gradient.")
    patience: PositiveInt = in_training(
        15, "Epochs without a better validation value before training stops.", unit="epochs"
    )
    select: Literal["val_loss", "val_auroc", "val_metric", "last"] = in_training(
        "val_loss", "What keeps an epoch: val_loss, val_auroc (other tasks: val_metric), or last."
    )
    tile_dropout: Annotated[float, Field(ge=0, lt=1)] = in_training(
        0.5, "Share of a bag's tiles left out at random in every epoch of training."
    )
    tiles_per_bag: PositiveInt | None = in_training(
        None, "Most tiles of a bag in a training step, a fresh random sample in every epoch.", unit="tiles"
    )
    standardize: bool = in_training(True, "Standardise features by the training part.")
    refit: bool = in_training(
        True, "Train the tested model anew on training and validation part, for as long as the latter selected."
    )

    device: Device = in_machine("auto", "auto, cpu, cuda, cuda:1, mps.")
    precision: Literal["auto", "fp32", "bf16"] = in_machine(
        "auto", "auto (bf16 on CUDA), fp32, bf16.", decides="training"
    )
    workers: Annotated[int, Field(ge=0)] = in_machine(
        0, "Training processes; 0 is one per core on a CPU and one on a GPU.", unit="processes"
    )
    log_to: Names = in_machine(
        [], "Tell epochs and metrics to tensorboard, wandb or mlflow too; several with commas between."
    )
    engine: Literal["local", "ray"] = in_extraction(
        "local", "What runs several processes: local, or ray (the cluster of RAY_ADDRESS, else this machine)."
    )
    slide_workers: Annotated[int, Field(ge=0)] = in_extraction(
        0, "Processes that extract slides side by side; 0 is one per GPU.", unit="processes"
    )
    shard: Shard | None = in_extraction(None, "Only this part of the slides: i/n, or slurm for that of a job array.")

    heatmaps: Annotated[int, Field(ge=0)] = in_results(8, "Slides with maps beside the wrong ones.", unit="slides")
    bootstrap: Annotated[int, Field(ge=0)] = in_results(
        1000, "Bootstrap resamples of the confidence intervals.", unit="resamples"
    )
    min_coverage: PositiveFraction = in_results(
        0.5, "Share of a tile an annotated region must cover for the tile to count as positive."
    )
    min_sensitivity: Annotated[float, Field(gt=0, le=1)] | None = in_results(
        None, "Share of positive validation slides that the operating point must find; not given: Youden's threshold."
    )
    froc: Literal["camelyon16"] | None = in_results(
        None, "Lesions found against false findings, by the rules of camelyon16: into metrics.json and findings.csv."
    )

    @field_validator("*", mode="before")
    @classmethod
    def _as_meant(cls, value: object, info: ValidationInfo) -> object:
        return no_gap(no_flag(value, cls.model_fields[str(info.field_name)].annotation))

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, given: object) -> object:
        if not isinstance(given, dict) or (preset := PRESETS.get(str(given.get("preset")))) is None:
            return given
        values, own = preset | given, given.get("model_options")
        if str(values["model"]).lower() != preset["model"]:
            raise ValueError(f"preset {given['preset']} is of the model asmil, not of {values['model']}: leave one out")
        if isinstance(own, dict):
            values["model_options"] = preset["model_options"] | own
        return values

    @model_validator(mode="after")
    def _fits_together(self) -> "Settings":
        if self.overlap_px >= self.tile_px:
            raise ValueError(f"overlap_px ({self.overlap_px}) must be less than tile_px ({self.tile_px})")
        if self.features_encoder and not self.features:
            raise ValueError("features_encoder chooses among features, which are not given; slides are by encoder")
        if self.slide_mpp and self.objective:
            raise ValueError("give slide_mpp or objective, not both: each says the scale of the slides")
        return self

    def __repr__(self) -> str:
        """What differs from the defaults."""
        given = {name: getattr(self, name) for name in ABOUT if not ABOUT[name].is_default(getattr(self, name))}
        return f"Settings({', '.join(f'{n}={(str(v) if isinstance(v, Path) else v)!r}' for n, v in given.items())})"

    __str__ = __repr__

    @property
    def seed_list(self) -> list[int]:
        """The seeds themselves: a count n stands for 0 ... n - 1."""
        return list(range(self.seeds)) if isinstance(self.seeds, int) else list(self.seeds)

    def of(self, group: Group) -> Facts:
        """The settings of a group, by the names that the part which takes them has for them."""
        return {about.called: getattr(self, name) for name, about in ABOUT.items() if about.group is group}

    def fields_of(self, part: type) -> Facts:
        """What the settings say of the fields of a dataclass (`TrainSettings`, `ExtractSettings`): name -> value."""
        wanted = {field.name for field in dataclasses.fields(part)}
        return {about.called: getattr(self, name) for name, about in ABOUT.items() if about.called in wanted}


class About(NamedTuple):
    """What there is to know of a setting beside its value."""

    name: str
    default: object
    sentence: str
    unit: str
    group: Group
    decides: Decides
    called: str
    commas: bool
    """Whether it may be typed as one text with commas."""

    def is_default(self, value: object) -> bool:
        """Whether a value is the default's."""
        return bool(value == self.default)


def _about(name: str) -> About:
    field = Settings.model_fields[name]
    facts: Any = field.json_schema_extra
    commas = any(getattr(part, "func", None) is split_names for part in field.metadata)
    named = {"called": facts["called"] or name, "commas": commas}
    return About(name, field.default, field.description or "", **facts | named)


ABOUT: dict[str, About] = {name: _about(name) for name in Settings.model_fields}
"""Every setting by name, in the order in which they are written down."""
