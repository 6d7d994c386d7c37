"""What an encoder is and what it offers, readable without torch: the card, the protocol, and the table of all cards."""

import json
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from asmil.errors import EncoderError
from asmil.files import Facts

if TYPE_CHECKING:
    import torch

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

TOKENS = ("pooled", "cls", "mean", "cls+mean", "map")
"""What becomes the features: the model's own pooling, the class token, the mean of the patch tokens, both one after the
other, or the mean over the last feature map."""

PRECISIONS = ("fp32", "fp16", "bf16")

INTERPOLATIONS = ("bilinear", "bicubic", "none")
"""How tiles of another size are resized, with antialiasing as Pillow does it; "none": they are refused."""

FP16_MAX = float(np.finfo(np.float16).max)
"""The largest value that a feature file can hold."""


COLLECTIONS = {
    "TCGA": re.compile(r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}", re.IGNORECASE),
    "CPTAC": re.compile(r"C3[LN]-\d{5}", re.IGNORECASE),
    "GTEx": re.compile(r"GTEX-", re.IGNORECASE),
}
"""How the names of a public collection's slides begin."""


@dataclass(frozen=True)
class EncoderCard:
    """The facts of one encoder.

    `tile_px` is the input side in pixels and `mpp` the scale it was trained at (None: any). Tiles of that side are
    taken as they are; others are resized to `resize_px` (None: `tile_px`) by `interpolation` (see `INTERPOLATIONS`),
    and the inner `tile_px` of them taken. `mean` and `std` are per RGB channel on the 0-1 scale. `precision`
    is the type inference may use on a GPU ("fp32", "fp16", "bf16").
    `weights` is a repository of the Hugging Face hub and `files` the names its weights may have there. `architecture`
    and `options` are timm's name of the model and its arguments; classes among these are given by name. `tokens` says
    what becomes the features (see `TOKENS`), `registers` how many tokens between the class token and the patches
    do not. `millions` counts the parameters. `ignored` are beginnings of names in the weights file that the encoder
    has no use for. `family` says how the model is made (see `families/`).

    `trained_on` names collections of slides that it was trained on, as far as they are known by their names
    (`COLLECTIONS`); where it is empty, that is not known.

    `about` is one line for lists, `note` what a user should know of scale or licence, and `checked` what of all this
    was checked, against which source and when; where it is empty, nobody has.
    """

    name: str
    dim: int
    tile_px: int | None
    mpp: float | None
    licence: str
    source: str
    gated: bool = False
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    resize_px: int | None = None
    interpolation: str = "bilinear"
    precision: str = "fp32"
    weights: str | None = None
    files: tuple[str, ...] = ("model.safetensors", "pytorch_model.bin")
    architecture: str | None = None
    options: Mapping[str, object] = field(default_factory=dict, hash=False)
    tokens: str = "pooled"
    registers: int = 0
    millions: float | None = None
    ignored: tuple[str, ...] = ()
    family: str = "timm"
    trained_on: tuple[str, ...] = ()
    about: str = ""
    note: str = ""
    checked: str = ""

    def seen(self, slides: Iterable[str]) -> str:
        """A sentence, where slides are of collections that the encoder was trained on; else nothing."""
        slides = list(slides)
        counts = {name: sum(bool(COLLECTIONS[name].match(slide)) for slide in slides) for name in self.trained_on}
        found = ", ".join(f"{count} of {len(slides)} slides are of {name}" for name, count in counts.items() if count)
        what = (
            f"the encoder {self.name} was trained on slides of that collection, without labels: results on them may be"
        )
        return f"{found}; {what} better than on others" if found else ""

    @property
    def repository(self) -> str | None:
        """`ORG/NAME` on the Hugging Face hub, where the card names one."""
        return self.weights.partition(":")[2] if self.weights else None


PROCESSORS = ("processor_config.json", "preprocessor_config.json")
"""Files of a repository of transformers that say how pixels are prepared, in the order in which it looks for them."""

_DONE = {"do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb", "do_reduce_labels"}
_OTHERS = ("rescale_offset", "include_top", "offset", "size_divisor")
_PILLOW = {2: "bilinear", 3: "bicubic"}


def of_processor(facts: Facts, *, name: str, image_px: int | None = None) -> Facts:
    """What the image processor of a transformers model does to a tile, as fields of a card.

    Factors of rescaling become part of mean and std. `image_px` is the side of the model's input, for a processor that
    leaves the size as it is.

    Raises:
        EncoderError: it does something else than to resize, crop, rescale and normalise RGB, or does not say how.
    """
    try:
        return _steps(facts.get("image_processor", facts), name=name, image_px=image_px)
    except (AttributeError, TypeError, ValueError) as error:
        found = f"{type(error).__name__}: {error}"
        raise EncoderError(f"the file of {name}'s image processor is none", found=found) from error


def _steps(facts: Facts, *, name: str, image_px: int | None) -> Facts:
    kind = str(facts.get("image_processor_type") or facts.get("feature_extractor_type") or "")
    foreign = [step for step in facts if step.startswith("do_") and facts[step] and step not in _DONE]
    foreign += [step for step in _OTHERS if facts.get(step)]
    pct = facts.get("crop_pct") if facts.get("do_resize", True) else None
    if pct and not kind.startswith("ConvNext"):
        foreign.append("crop_pct")
    if foreign:
        raise EncoderError(
            f"{name} prepares its images in a way that asmil does not",
            found=", ".join(f"{step} = {facts[step]}" for step in foreign) + f" ({kind or 'its processor'})",
            fix="write a card for it: see docs/encoders.md",
        )
    mean, std = _normalisation(facts, name=name)
    resize = _side(facts.get("size"), name=name) if facts.get("do_resize", "size" in facts) else None
    crop = _side(facts.get("crop_size"), name=name) if facts.get("do_center_crop", "crop_size" in facts) else None
    if pct and resize is not None and resize < 384:  # of ConvNextImageProcessor: larger ones are resized only
        crop, resize = resize, int(resize / pct)
    if crop is not None and resize is not None and crop > resize:
        raise EncoderError(f"{name} pads its images", found=f"resized to {resize} px and cropped to {crop} px")
    return {
        "tile_px": crop or resize or image_px,
        "resize_px": resize if crop and resize != crop else None,
        "interpolation": _PILLOW.get(facts.get("resample", -1), "none") if resize else "none",
        "mean": mean,
        "std": std,
    }


def _normalisation(facts: Facts, *, name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std on the 0-1 scale, with which pixels of 0 to 255 become what the processor makes of them."""
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    if facts.get("do_normalize", True):
        try:
            mean, std = (tuple(map(float, facts[part])) for part in ("image_mean", "image_std"))
        except (KeyError, TypeError, ValueError) as error:
            raise EncoderError(
                f"{name} does not say how its images are normalised",
                found=f"{type(error).__name__}: {error} in its processor's file",
                fix="write a card for it: see docs/encoders.md",
            ) from error
        if len(mean) != 3 or len(std) != 3:
            raise EncoderError(f"{name} is not for RGB images", found=f"{len(mean)} channels in its processor's file")
    factor = facts.get("rescale_factor", 1 / 255) if facts.get("do_rescale", True) else 1.0
    if not isinstance(factor, int | float) or factor <= 0 or min(std) <= 0:
        raise EncoderError(f"{name} cannot be normalised", found=f"rescale_factor = {factor}, image_std = {std}")
    scale = 1.0 if math.isclose(factor, 1 / 255, rel_tol=1e-6) else 255 * factor
    return tuple(value / scale for value in mean), tuple(value / scale for value in std)


def _side(size: object, *, name: str) -> int:
    """The side in pixels to which a square is resized or cropped."""
    if isinstance(size, Mapping):
        sides = {size[key] for key in ("height", "width") if size.get(key)}
        sides = sides or {size.get("shortest_edge") or size.get("longest_edge")}
        size = sides.pop() if len(sides) == 1 else size
    if not isinstance(size, int) or size <= 0:
        raise EncoderError(f"{name} takes no square images", found=f"size {size} in its processor's file")
    return size


def of_timm(facts: Facts, *, name: str) -> Facts:
    """What timm's evaluation does to a tile, from a model's pretrained configuration, as fields of a card.

    Raises:
        EncoderError: the input is not square, or not RGB.
    """
    channels, *sides = facts["input_size"]
    if channels != 3 or len(set(sides)) != 1:
        raise EncoderError(f"{name} is not for square RGB images", found=f"input_size {facts['input_size']}")
    side, interpolation = int(sides[0]), facts.get("interpolation")
    resize = math.floor(side / facts.get("crop_pct", 1.0))
    return {
        "tile_px": side,
        "resize_px": None if resize == side else resize,
        "interpolation": interpolation if interpolation in INTERPOLATIONS else "none",
        "mean": tuple(map(float, facts["mean"])),
        "std": tuple(map(float, facts["std"])),
    }


def contradictions(card: EncoderCard, weights: Path) -> str:
    """Where the files beside a card's weights prepare pixels in another way than the card; nothing, where they do not.

    Looked at is what the authors' repository has under the names of timm and of transformers. Each fact is told with
    both values.
    """
    if weights.name not in card.files:
        return ""  # a file that a person named: what lies beside it may be another model's
    found = []
    for file in ("config.json", *PROCESSORS):
        try:
            facts = json.loads((weights.parent / file).read_text(encoding="utf-8"))
            stated = of_timm(facts["pretrained_cfg"], name=file) if file == "config.json" else {}
            stated = stated or of_processor(facts, name=file)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # not there, or not of these two
        except EncoderError as error:
            found.append(f"{file}: {error.what}: {error.found}")
            continue
        # Sizes of a card that was checked are its authors', whatever a file says that was written by a program
        for name in ("mean", "std") if card.checked else ("mean", "std", "tile_px", "resize_px", "interpolation"):
            theirs, ours = stated[name], getattr(card, name)
            if not _same(theirs or stated["tile_px"], ours or card.tile_px):
                found.append(f"{name} is {theirs} in {file} and {ours} on the card")
    return "; ".join(found)


def _same(one: object, other: object) -> bool:
    if isinstance(one, tuple) and isinstance(other, tuple):
        return bool(np.allclose(one, other, rtol=0, atol=1e-3))
    return one == other


class Encoder(Protocol):
    """What an encoder offers; `asmil.testing.check_encoder` checks it.

    `weight_hash` tells one set of weights (or version of a formula) from another; `precision` ("fp32", "fp16", "bf16")
    is what it really computes in on its device. A call takes uint8 (tiles, height, width, 3), tensor or array, of any
    size the card allows, and returns a float32 tensor (tiles, dim).
    """

    card: EncoderCard
    weight_hash: str
    precision: str
    device: "torch.device"

    def __call__(self, tiles: "torch.Tensor | np.ndarray") -> "torch.Tensor": ...


Card = TypeVar("Card", bound=EncoderCard)


def read_cards(path: Path, *, kind: type[Card]) -> dict[str, Card]:
    """The cards in a TOML file, by name: a section each, whose keys are fields of this kind of card.

    Raises:
        ValueError: a key that is no field; it names the section.
    """
    known = {field.name for field in fields(kind)} - {"name"}
    cards = {}
    for name, facts in tomllib.loads(path.read_text(encoding="utf-8")).items():
        if wrong := sorted(facts.keys() - known):
            raise ValueError(f"{path.name}: [{name}] has {wrong[0]!r}, which is no field of {kind.__name__}")
        cards[name] = kind(name=name, **{"tile_px": None, "mpp": None, **_tuples(facts)})
    return cards


def _tuples(value: object) -> Any:
    """TOML's lists as tuples, as the dataclass and timm have them."""
    if isinstance(value, dict):
        return {name: _tuples(inner) for name, inner in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
