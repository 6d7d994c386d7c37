"""Models of transformers by their name on the hub or their folder: `hf:ORG/NAME`."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from asmil.encoders.cards import PROCESSORS, EncoderCard, of_processor
from asmil.encoders.model import ModelEncoder
from asmil.errors import EncoderError, blaming
from asmil.files import Facts
from asmil.machine import prepare_torchvision

WITH_CLASS_TOKEN = ("vit", "deit", "dinov2", "dinov2_with_registers", "dinov3_vit", "vit_msn", "vit_mae")
PROJECTED = "CLIPVisionModelWithProjection"
_OF_HUB = (
    "gated models want `hf auth login`; without network give what `hf download` fetched: --weights FOLDER; models with "
    "code of their own are not loaded"
)


class _Vision(nn.Module):
    """What the encoder takes of a transformers model: its tokens, its pooled output, or the projected image of CLIP."""

    def __init__(self, model: Any, *, card: EncoderCard):
        super().__init__()
        self.projection = getattr(model, "visual_projection", None)
        self.model, self.card = getattr(model, "vision_model", model), card
        self.masks = model.config.model_type == "vit_mae"
        if card.tokens == "cls" and hasattr(model, "pooler"):
            model.pooler = None  # of no use, and made of random numbers where the file has none

    def forward(self, pixels: Tensor) -> Tensor:
        options = {"noise": self._order(pixels)} if self.masks else {}
        output = self.model(pixel_values=pixels, **options)
        if self.card.tokens != "pooled":
            return output.last_hidden_state
        pooled: Tensor | None = getattr(output, "pooler_output", None)
        if pooled is None:
            raise EncoderError(
                f"{self.card.name} pools nothing, and what becomes its features is not known",
                found=f"{type(self.model).__name__} with {', '.join(output.keys())}",
                fix="write a card for it: see docs/encoders.md",
            )
        return self.projection(pooled) if self.projection else pooled

    def _order(self, pixels: Tensor) -> Tensor:
        """Numbers by which ViT-MAE orders its patches before it masks them: as they are, and no draws of chance."""
        patches = self.model.embeddings.patch_embeddings.num_patches
        return torch.arange(patches, device=pixels.device).expand(len(pixels), -1)


def load_named(
    name: str, *, device: str, weights: str | Path | None, precision: str | None, compile: bool = False
) -> ModelEncoder:
    """Load `hf:ORG/NAME` or `hf:FOLDER` by transformers; `weights` is a folder as `hf download` makes it.

    Code of the repository is never run. Weights in half precision are made float32.

    Raises:
        EncoderError: transformers is missing, or the model, its configuration or its preprocessing cannot be had, or
            it lacks weights, which transformers would make up, or has a projection that would be lost.
    """
    source = str(weights or name.removeprefix("hf:"))
    card, config = _describe(name, source)
    import transformers

    kind = getattr(transformers, PROJECTED) if _is_projected(config) else transformers.AutoModel
    # Masks are for the training of ViT-MAE: an encoder sees the whole tile
    whole = {"mask_ratio": 0.0} if config["model_type"] == "vit_mae" else {}
    with blaming(EncoderError, f"{name} cannot be loaded", fix=_OF_HUB):
        model, report = kind.from_pretrained(
            source,
            dtype=torch.float32,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **whole,
        )
    lacking = [key for key in report["missing_keys"] if not (card.tokens == "cls" and "pooler." in key)]
    lacking += [str(key) for key in report["mismatched_keys"]]
    if lacking:
        raise EncoderError(f"{name} lacks weights of its own architecture", found=", ".join(sorted(lacking)[:4]))
    lost = sorted(key for key in report["unexpected_keys"] if "projection" in key)
    if lost:
        raise EncoderError(
            f"{name} has a projection that its configuration does not name",
            found=f"{', '.join(lost)}; architectures {config.get('architectures')}",
            fix=f'write "architectures": ["{PROJECTED}"] in its config.json, if it is one',
        )
    return ModelEncoder(_Vision(model, card=card), card, device=device, precision=precision, compile=compile)


def card_of(name: str) -> EncoderCard:
    """The card of `hf:ORG/NAME` or `hf:FOLDER`, from its configuration and its preprocessing.

    The class token is taken where the model has one and pools nothing better, else what the model pools; of a model of
    images and texts the projected image.

    Raises:
        EncoderError: as `load_named`.
    """
    return _describe(name, name.removeprefix("hf:"))[0]


def _describe(name: str, source: str) -> tuple[EncoderCard, Facts]:
    """The card, and the configuration of the model."""
    prepare_torchvision()
    try:
        import transformers
    except ImportError as error:
        raise EncoderError("this encoder needs transformers", found=error, fix="pip install 'asmil[hf]'") from error
    with blaming(EncoderError, f"{name} has no configuration that transformers knows", fix=_OF_HUB):
        config: Facts = transformers.AutoConfig.from_pretrained(source, trust_remote_code=False).to_dict()
    two_towers = config["model_type"] == "clip"
    if "vision_config" in config and not two_towers:
        raise EncoderError(
            f"{name} is a model of images and texts ({config['model_type']})", fix="use a model of images, or a CLIP"
        )
    side = (config["vision_config"] if two_towers else config).get("image_size")
    pixels = of_processor(_processor(name, source), name=name, image_px=side if isinstance(side, int) else None)
    projected = two_towers or _is_projected(config)
    dim = config["projection_dim"] if projected else config.get("hidden_size") or config["hidden_sizes"][-1]
    card = EncoderCard(
        name=name,
        dim=int(dim),
        mpp=None,
        licence="unknown: see its model page",
        source=source,
        weights=f"hf-hub:{source}",
        tokens="cls" if config["model_type"] in WITH_CLASS_TOKEN else "pooled",
        registers=int(config.get("num_register_tokens", 0)),
        **pixels,
    )
    return card, config


def _is_projected(config: Facts) -> bool:
    return PROJECTED in (config.get("architectures") or ())


def _processor(name: str, source: str) -> Facts:
    """What the repository says of its image processor, as transformers looks for it."""
    for file in PROCESSORS:
        with blaming(EncoderError, f"{name} has no {file}", fix=_OF_HUB):
            path = _file(source, file)
        try:
            facts: Facts = dict(json.loads(path.read_text(encoding="utf-8"))) if path else {}
        except (OSError, ValueError, TypeError) as error:
            raise EncoderError(f"{name} has no readable {file}", found=error) from error
        if "image_processor" in facts or (facts and file == PROCESSORS[-1]):
            return facts
    raise EncoderError(
        f"{name} does not say how its images are normalised",
        found=f"nothing of images in {' or '.join(PROCESSORS)}",
        fix="fetch these too (--weights FOLDER), or write a card for it: see docs/encoders.md",
    )


def _file(source: str, file: str) -> Path | None:
    """A file of a folder or of a repository; None where there is none."""
    if Path(source).is_dir():
        return Path(source) / file if (Path(source) / file).is_file() else None
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return Path(hf_hub_download(source, file))
    except EntryNotFoundError:  # or, without network, not in the cache
        return None
