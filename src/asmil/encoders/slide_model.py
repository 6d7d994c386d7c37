"""A slide encoder at work: its network with the weights of its authors, from a file, a folder or the hub."""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from asmil.draws import shapes_only
from asmil.encoders.families import slide_pooling, slide_transformers
from asmil.encoders.loading import check_device
from asmil.encoders.model import PRECISION_OF, half_type
from asmil.encoders.slide_cards import AUTHORS, SlideEncoderCard, check_config, slide_card
from asmil.encoders.weights import find_weights, fitted, how_to_get, read_weights, weight_hash
from asmil.errors import EncoderError
from asmil.machine import TRUSTED, prepare_torchvision, trusted

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "chief": slide_pooling.Chief,
    "feather": slide_pooling.Feather,
    "madeleine": slide_pooling.Madeleine,
    "titan": slide_transformers.Titan,
    "gigapath": slide_transformers.GigaPath,
    "prism": slide_transformers.Prism,
}
"""Networks of asmil's own code, by the family that a card names."""


class SlideEncoder:
    """Makes one vector of the features of a slide's tiles.

    `weight_hash` is that of the weights (of authors' code, of that too); `precision` what it computes in: half
    precision, as its authors run it, on CUDA only.
    """

    def __init__(
        self,
        model: nn.Module,
        card: SlideEncoderCard,
        *,
        device: str,
        precision: str | None = None,
        code_hash: str = "",
    ):
        self.card, self.device = card, torch.device(device)
        weights = weight_hash(model.state_dict())
        self.weight_hash = hashlib.sha256(f"{weights} {code_hash}".encode()).hexdigest()[:16] if code_hash else weights
        self.model = model.float().eval().requires_grad_(False).to(self.device)
        cuda = self.device.type == "cuda"
        capability = torch.cuda.get_device_capability(self.device) if cuda else None
        self.dtype = half_type(precision, card=card, capability=capability)
        self.precision = PRECISION_OF[self.dtype]

    @torch.inference_mode()
    def __call__(
        self,
        features: Float[Tensor, "tiles tile_dim"],
        *,
        level0_xy: Int[Tensor, "tiles 2"] | None = None,
        tile_level0_px: float | None = None,
    ) -> Float[Tensor, " dim"]:
        """Encode a slide; float32 on the CPU.

        Args:
            features: of its tiles, any float type. level0_xy: the tiles' corners in level-0 pixels, tile_level0_px:
                their side there; both are needed where the card's `places` says so, and not looked at elsewhere.

        Raises:
            EncoderError: places are needed and not given, or the vector is not as wide as the card says, or not finite.
        """
        places: tuple[object, ...] = ()
        if self.card.places:
            if level0_xy is None or not tile_level0_px:
                raise EncoderError(f"{self.card.name} needs the places of the tiles, in level-0 pixels, and their side")
            places = (level0_xy.cpu().double(), tile_level0_px)
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype is not None):
            vector: Tensor = self.model(features.to(self.device, torch.float32), *places)
        if vector.shape != (self.card.dim,):
            found = f"shape {tuple(vector.shape)}, {self.card.dim} values"
            raise EncoderError(f"{self.card.name} does not give what its card says", found=found)
        vector = vector.float().cpu()
        if not vector.isfinite().all():
            found, fix = f"computed in {self.precision}", "--encoder-precision fp32, or look at the tiles' features"
            raise EncoderError(f"the vector of {self.card.name} is not finite", found=found, fix=fix)
        return vector


def create_slide_encoder(
    name: str | SlideEncoderCard,
    *,
    device: str = "cpu",
    weights: str | Path | None = None,
    precision: str | None = None,
) -> SlideEncoder:
    """Load a slide encoder.

    Args:
        name: one of `list_slide_encoders()`, or a card of your own. device, weights, precision: as for
            `create_encoder`; `weights` may also be the folder of the authors' own files. Where the card's code is that
            of the authors, it is run only if `ASMIL_TRUST` names that folder, or without one the hub's repository.

    Raises:
        UnknownPartError: no slide encoder of that name.
        EncoderError: the weights cannot be had, do not fit or are of another model, or code is not trusted.
    """
    check_device(device, precision)
    card = slide_card(name) if isinstance(name, str) else name
    if card.code == AUTHORS:
        return _with_authors_code(card, weights, device=device, precision=precision)
    file = _weights_file(card, weights)
    check_config(card, file)
    with shapes_only():
        model = NETWORKS[card.family](card, **card.options)
    renamed: Callable[..., dict[str, Tensor]] = getattr(model, "renamed", dict)
    state = fitted(renamed(read_weights(file)), model, card=card, file=file.name, of_timm=False)
    model.load_state_dict(state, assign=True)
    return SlideEncoder(model, card, device=device, precision=precision)


def _weights_file(card: SlideEncoderCard, weights: str | Path | None) -> Path:
    """The file of the weights: in the folder of the authors' files, or as `find_weights` finds it."""
    if weights is not None and (own := [Path(weights) / f for f in card.files if (Path(weights) / f).is_file()]):
        return own[0]
    file = find_weights(card, weights)
    if weights is None and card.config:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError

        with suppress(EntryNotFoundError):  # it is looked at where there is one
            hf_hub_download(str(card.repository), card.config_file)
    return file


class Care(nn.Module):
    """CARE by its authors' own code: `wsi_embedding` of the tiles and their cells.

    Source: Zhang et al. 2026 (arXiv 2602.21637); what it is called with: zdipath/CARE 7cd2301, care_wsi_encoder_api.py,
    and mahmoodlab/TRIDENT a91fa84, which divides the corners by the side and drops the rest, as here.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(
        self, features: Float[Tensor, "tiles tile_dim"], level0_xy: Float[Tensor, "tiles 2"], side: float
    ) -> Float[Tensor, " dim"]:
        places = slide_transformers.cells(level0_xy, side).to(features.device)
        count = torch.tensor([len(features)], device=features.device)
        return self.model(features[None], count, places[None]).wsi_embedding[0]


def _with_authors_code(
    card: SlideEncoderCard, weights: str | Path | None, *, device: str, precision: str | None
) -> SlideEncoder:
    """Load a model by the code in its repository, if a person trusts that.

    Raises:
        EncoderError: nobody does, or transformers is missing, or the code does not load here.
    """
    repository = str(card.repository)
    trusts = [Path(name).expanduser().resolve() for name in trusted()]
    known = repository in trusted() if weights is None else Path(weights).resolve() in trusts
    if not known:
        raise EncoderError(
            f"{card.name} is code of its authors, in {weights or repository}, which is run only if you say so",
            found=f"{TRUSTED}={os.environ.get(TRUSTED, '')}",
            fix=f"read that code, then {TRUSTED}={weights or repository} asmil ...",
        )
    prepare_torchvision()
    try:
        from huggingface_hub import snapshot_download
        from transformers import AutoModel

        wanted = ["*.py", "*.json", "*.safetensors", "*.bin"]
        folder = Path(weights or snapshot_download(repository, allow_patterns=wanted))
        model = AutoModel.from_pretrained(folder, trust_remote_code=True, dtype=torch.float32)
    except ImportError as error:
        fix = "pip install 'asmil[hf]', and what the authors' code imports besides"
        raise EncoderError(f"the code of {card.name} cannot be imported", found=error, fix=fix) from error
    except Exception as error:  # whatever code of elsewhere raises
        found = f"{type(error).__name__}: {error}"[:300]
        raise EncoderError(f"the code of {card.name} does not load here", found=found, fix=how_to_get(card)) from error
    code = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(folder.glob("*.py")))).hexdigest()
    return SlideEncoder(Care(model), card, device=device, precision=precision, code_hash=code)
