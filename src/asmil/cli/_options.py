"""Command-line options from the fields of `RunConfig`: said once there, explained once here."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

HELP = {
    "slides": "Folder of slides.",
    "features": "Folder (or file) of feature files by asmil, TRIDENT, CLAM, STAMP or ACMIL, instead of slides.",
    "labels": "Table (csv, tsv, xlsx) with a row per slide (slide_id, case_id, label) or per patient.",
    "slide_table": "Table that joins patients to slides (PATIENT, FILENAME), where the labels are per patient.",
    "label": "Column of the label.",
    "bag": "What a prediction is made of: the tiles of a slide, or of all slides of a patient.",
    "task": "What is learned: classification, or a name of `asmil list tasks`.",
    "target": "Columns of another task than classification, with commas between; survival's are recognised.",
    "levels": "Levels of an ordinal task from low to high, with commas between.",
    "task_options": "Option of the task as name=value; repeat for several.",
    "annotations": "Folder of annotations: <slide>.geojson (QuPath), <slide>.xml (ASAP) or <slide>_mask.tif or .png.",
    "positive": "Class of the annotations that is looked for; repeat for several.",
    "exclude_class": "Class of the annotations that is cut out of the positive ones; repeat for several.",
    "mask_class": "What a pixel value of masks means, as 255=tumor; repeat for several.",
    "mask_mpp": "Micrometres per pixel of masks that do not cover their slides from edge to edge.",
    "out": "Output folder.",
    "slide_mpp": "Micrometres per pixel of the slides themselves, where the files do not say it.",
    "objective": "Objective power of the slides (40 = .25 um/px), where the files do not say their mpp.",
    "reader": "Reader of the slides instead of the first that knows them; `asmil list readers`.",
    "scenes": "Of files that hold several slides: all, each a slide <file>.scene-<n>, or the first only.",
    "mpp": "Scale at which tiles are cut, micrometres per pixel.",
    "tile_px": "Side of a tile in pixels at --mpp.",
    "overlap_px": "Pixels two neighbouring tiles share.",
    "min_tissue": "Least share of a tile that is tissue.",
    "tissue_method": "How tissue is found; `asmil list tissue`.",
    "slide_settings": "Table (csv) of settings slide by slide; `asmil tissue` writes one to edit.",
    "exclude_tiles": "Flag whose tiles are left out (blur, fold, pen); repeat for several.",
    "encoder": "Encoder of the tiles: a name of `asmil list encoders`, timm:NAME or hf-hub:NAME.",
    "also_encoder": "Further encoder of the same tiles, in one pass over the pixels; repeat for several.",
    "weights": "Encoder weights without the network: a file, a folder of them, or a json map from name to file.",
    "encoder_precision": "fp32, fp16 or bf16 on a GPU; auto is the card's, as far as the GPU has it.",
    "stain": "Stain normalisation of the tiles: none, macenko or reinhard.",
    "stain_target": "Image whose stain the tiles are brought to, instead of the built-in reference.",
    "tile_batch": "Tiles encoded at once.",
    "model": "MIL model; `asmil list models`.",
    "model_options": "Option of the model as name=value; repeat for several.",
    "stabilize": "Align the attention with an anchor (ASMIL).",
    "beta": "Weight of the alignment with the anchor.",
    "momentum": "Momentum of the anchor's moving average.",
    "anchor": "ema (the paper), or frozen (the authors' script).",
    "anchor_init": "copy of the model (the paper), or independent (new random weights, the authors' script).",
    "max_gradient_ratio": "Self-tuning beta: at most this ratio of the alignment's gradient to the task's.",
    "reduction": "sum of the divergence over tiles (the paper), or mean (1/tiles of it, the authors' script).",
    "anchor_start_epoch": "Epoch in which the alignment begins.",
    "folds": "Outer folds; every patient is tested once.",
    "val_fraction": "Share of the other patients that only selects the epoch.",
    "by_site": "Keep every site within one fold.",
    "splits": "Your own splits: CLAM folder, ACMIL json, or a splits.csv.",
    "seeds": "Models trained per fold; their probabilities are averaged.",
    "epochs": "Most epochs.",
    "learning_rate": "Peak learning rate of AdamW.",
    "weight_decay": "Weight decay of AdamW.",
    "batch_size": "Bags per step.",
    "clip_norm": "Largest norm of the gradient.",
    "patience": "Epochs without a better validation value before training stops.",
    "select": "What keeps an epoch: val_loss, val_auroc (other tasks: val_metric), or last.",
    "tile_dropout": "Share of a bag's tiles left out at random in every epoch of training.",
    "tiles_per_bag": "Most tiles of a bag in a training step, a fresh random sample in every epoch.",
    "standardize": "Standardise features by the training part.",
    "refit": "Train the tested model anew on training and validation part, for as long as the latter selected.",
    "device": "auto, cpu, cuda, cuda:1, mps.",
    "precision": "auto (bf16 on CUDA), fp32, bf16.",
    "workers": "Training processes; 0 is one per core on a CPU and one on a GPU.",
    "together": "Folds and seeds in one pass over the bags: auto (where that is faster), on, or off (one by one).",
    "engine": "What runs several processes: local, or ray (the cluster of RAY_ADDRESS, else this machine).",
    "slide_workers": "Processes that extract slides side by side; 0 is one per GPU.",
    "shard": "Only this part of the slides: i/n, or slurm for the task of a job array.",
    "heatmaps": "Slides shown with a heatmap in the report.",
    "bootstrap": "Bootstrap resamples of the confidence intervals.",
    "min_coverage": "Share of a tile an annotated region must cover for the tile to count as positive.",
    "froc": "Lesions found against false findings, by the rules of camelyon16: into metrics.json and findings.csv.",
}
"""What every setting is, in one sentence."""

INPUT = ("labels", "slide_table", "label")
TASK = ("task", "target", "levels", "task_options")
PAIRS = {"model_options": "model", "task_options": "task"}
"""Settings that are typed as name=value, and the part whose options they are."""
SCALE = ("slide_mpp", "objective", "reader", "scenes")
TILES = ("mpp", "tile_px", "overlap_px", "min_tissue", "slide_settings", "exclude_tiles")
ENCODER = ("encoder", "also_encoder", "weights", "encoder_precision", "stain", "stain_target", "tile_batch", "device")
WORKERS = ("engine", "slide_workers", "shard")
MARKS = ("annotations", "positive", "exclude_class", "mask_class", "mask_mpp")
TRUTH = (*MARKS, "slide_mpp", "min_coverage", "froc", "bootstrap")


def with_settings(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command an option for each named setting (all if none is named); they arrive as keyword arguments.

    Defaults are shown in the help and stay None when not given, so that only what was typed overrides a YAML file.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        own = [
            p for p in inspect.signature(function).parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        parameters = own + [_parameter(name) for name in (names or HELP)]
        signature = inspect.Signature(parameters)
        function.__signature__ = signature  # type: ignore[attr-defined]
        function.__annotations__ = {p.name: p.annotation for p in parameters}
        return function

    return decorate


def _parameter(name: str) -> inspect.Parameter:
    from asmil.config import RunConfig

    field = RunConfig.model_fields[name]
    default = field.default
    shown = None if default in (None, [], {}) else str(default).lower() if isinstance(default, bool) else str(default)
    flag = f"--{name.replace('_', '-')}"
    flag = flag.removesuffix("s") if name in PAIRS else flag
    if isinstance(default, bool):
        flag = f"{flag}/--no-{name.replace('_', '-')}"
    option = typer.Option(flag, help=HELP[name] + (f" [{shown}]" if shown else ""), show_default=False)
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[_type(name, field.annotation), option],
    )


def _type(name: str, annotation: Any) -> Any:
    if name in ("positive", "exclude_class", "mask_class", "exclude_tiles", "also_encoder", *PAIRS):
        return list[str] | None
    if name == "seeds":
        return int | None
    for kind in (bool, int, float, Path):
        if annotation is kind or kind in _flat(annotation):
            return kind | None
    return str | None


def _flat(annotation: Any) -> list[Any]:
    """The plain types within unions and Annotated."""
    inner = get_args(annotation)
    return [annotation] if not inner else [t for a in inner for t in _flat(a)]


def given(settings: dict[str, Any]) -> dict[str, Any]:
    """What was typed, ready for `load_config`: None left out, `name=value` options read as YAML values."""
    from asmil._yaml import read_value
    from asmil.errors import ConfigError

    values = {k: v for k, v in settings.items() if v is not None and v != []}
    for setting, part in PAIRS.items():
        pairs = [text.partition("=") for text in values.get(setting, [])]
        wrong = [f"{n}{s}{v}" for n, s, v in pairs if not (n and s)]
        if wrong:
            fix = f"--{part}-option name=value"
            raise ConfigError(f"a {part} option is name=value", found=", ".join(wrong), fix=fix)
        if pairs:
            values[setting] = {n.strip().replace("-", "_"): read_value(v) for n, _, v in pairs}
    return values
