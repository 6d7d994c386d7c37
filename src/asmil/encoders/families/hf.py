"""Models of transformers by their name on the hub or their folder: `hf:ORG/NAME`."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from asmil.encoders.cards import EncoderCard
from asmil.encoders.model import ModelEncoder
from asmil.errors import EncoderError
from asmil.files import Facts
from asmil.machine import prepare_torchvision

T = TypeVar("T")
"""A JSON of the repository."""

WITH_CLASS_TOKEN = ("vit", "deit", "dinov2", "dinov2_with_registers", "dinov3_vit", "beit")


class _Vision(nn.Module):
    """What the encoder takes of a transformers model: its tokens, its pooled output, or the projected image of CLIP."""

    def __init__(self, model: Any, *, tokens: str):
        super().__init__()
        self.projection = getattr(model, "visual_projection", None)
        self.model, self.tokens = getattr(model, "vision_model", model), tokens
        if tokens == "cls" and hasattr(model, "pooler"):
            model.pooler = None  # of no use, and made of random numbers where the file has none

    def forward(self, pixels: Tensor) -> Tensor:
        output = self.model(pixel_values=pixels)
        if self.tokens != "pooled":
            return output.last_hidden_state
        return self.projection(output.pooler_output) if self.projection else output.pooler_output


def load_named(
    name: str, *, device: str, weights: str | Path | None, precision: str | None, compile: bool = False
) -> ModelEncoder:
    """Load `hf:ORG/NAME` or `hf:FOLDER` by transformers; `weights` is a folder as `hf download` makes it.

    Code of the repository is never run.

    Raises:
        EncoderError: transformers is missing, or the model, its configuration or its preprocessing cannot be had, or
            it lacks weights, which transformers would make up.
    """
    source = str(weights or name.removeprefix("hf:"))
    card = _describe(name, source)
    from transformers import AutoModel

    model, report = _call(
        f"{name} cannot be loaded",
        AutoModel.from_pretrained,
        source,
        trust_remote_code=False,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
    )
    lacking = [key for key in report["missing_keys"] if not (card.tokens == "cls" and "pooler." in key)]
    lacking += [str(key) for key in report["mismatched_keys"]]
    if lacking:
        raise EncoderError(f"{name} lacks weights of its own architecture", found=", ".join(sorted(lacking)[:4]))
    return ModelEncoder(_Vision(model, tokens=card.tokens), card, device=device, precision=precision, compile=compile)


def card_of(name: str) -> EncoderCard:
    """The card of `hf:ORG/NAME` or `hf:FOLDER`, from its configuration and its preprocessing.

    The class token is taken where the model has one, else what the model pools; of a model of images and texts the
    projected image.

    Raises:
        EncoderError: as `load_named`.
    """
    return _describe(name, name.removeprefix("hf:"))


def _describe(name: str, source: str) -> EncoderCard:
    prepare_torchvision()
    try:
        import transformers
    except ImportError as error:
        raise EncoderError("this encoder needs transformers", found=error, fix="pip install 'asmil[hf]'") from error
    config = _call(
        f"{name} has no configuration that transformers knows",
        transformers.AutoConfig.from_pretrained,
        source,
        trust_remote_code=False,
    )
    facts = _preprocessing(name, source)
    two_towers = config.model_type == "clip"
    if hasattr(config, "vision_config") and not two_towers:
        raise EncoderError(
            f"{name} is a model of images and texts ({config.model_type})", fix="use a model of images, or a CLIP"
        )
    return EncoderCard(
        name=name,
        dim=int(config.projection_dim if two_towers else getattr(config, "hidden_size", 0) or config.hidden_sizes[-1]),
        tile_px=_side(facts) or _side({"size": getattr(config, "image_size", None)}),
        mpp=None,
        licence="unknown: see its model page",
        source=source,
        mean=tuple(facts["image_mean"]),
        std=tuple(facts["image_std"]),
        weights=f"hf-hub:{source}",
        tokens="cls" if config.model_type in WITH_CLASS_TOKEN else "pooled",
        registers=int(getattr(config, "num_register_tokens", 0)),
    )


def _preprocessing(name: str, source: str) -> Facts:
    file = "preprocessor_config.json"
    path = Path(source) / file
    if not Path(source).is_dir():
        from huggingface_hub import hf_hub_download

        path = Path(_call(f"{name} has no {file}", hf_hub_download, source, file))
    try:
        facts: Facts = json.loads(path.read_text(encoding="utf-8"))
        if len(facts["image_mean"]) == len(facts["image_std"]) == 3:
            return facts
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EncoderError(
            f"{name} does not say how its images are normalised",
            found=f"{type(error).__name__}: {error} in {file}",
            fix="write a card for it: see docs/encoders.md",
        ) from error
    raise EncoderError(f"{name} is not for RGB images", found=f"{len(facts['image_mean'])} channels in {file}")


def _side(facts: Facts) -> int | None:
    """The input side in pixels: of the crop where there is one, else of the resize."""
    for key in ("crop_size", "size"):
        size = facts.get(key)
        if isinstance(size, Mapping):
            size = size.get("height") or size.get("shortest_edge")
        if isinstance(size, int) and (key == "size" or facts.get("do_center_crop", True)):
            return size
    return None


def _call(what: str, function: Callable[..., T], *arguments: object, **options: object) -> T:
    try:
        return function(*arguments, **options)
    except Exception as error:  # of a dozen kinds: the hub, the network, the files, code that is not run
        raise EncoderError(
            what,
            found=f"{type(error).__name__}: {error}"[:300],
            fix="gated models want `hf auth login`; without network give what `hf download` fetched: --weights FOLDER; "
            "models with code of their own are not loaded",
        ) from error
