"""What an encoder is and what it offers, readable without torch: the card, the protocol, and the table of all cards."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    import torch

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

TOKENS = ("pooled", "cls", "mean", "cls+mean", "map")
"""What becomes the features: the model's own pooling, the class token, the mean of the patch tokens, both one after the
other, or the mean over the last feature map."""

PRECISIONS = ("fp32", "fp16", "bf16")

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

    `tile_px` is the input side in pixels and `mpp` the scale it was trained at (None: any). `mean` and `std` are per
    RGB channel on the 0-1 scale. `precision` is the type inference may use on a GPU ("fp32", "fp16", "bf16").
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


def read_cards(path: Path) -> dict[str, EncoderCard]:
    """The cards in a TOML file, by name: a section each, whose keys are fields of `EncoderCard`.

    Raises:
        ValueError: a key that is no field; it names the section.
    """
    known = {field.name for field in fields(EncoderCard)} - {"name"}
    cards = {}
    for name, facts in tomllib.loads(path.read_text(encoding="utf-8")).items():
        if wrong := sorted(facts.keys() - known):
            raise ValueError(f"{path.name}: [{name}] has {wrong[0]!r}, which is no field of EncoderCard")
        cards[name] = EncoderCard(name=name, **{"tile_px": None, "mpp": None, **_tuples(facts)})
    return cards


def _tuples(value: object) -> Any:
    """TOML's lists as tuples, as the dataclass and timm have them."""
    if isinstance(value, dict):
        return {name: _tuples(inner) for name, inner in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
