"""What decides the features of a slide, and the name of the folder that holds features of one kind."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from asmil.files import safe_name

if TYPE_CHECKING:
    from asmil.encoders import Encoder


@dataclass(frozen=True)
class ExtractSettings:
    """What decides the features of a slide, beside the slide and the encoder.

    `mpp` is the scale tiles are cut at, `slide_mpp` or `objective` state the slide's own scale where its file does not,
    `reader` names the reader where the file's own is not wanted. Tiles with a quality flag of `exclude` are left out.
    """

    mpp: float
    tile_px: int
    overlap_px: int = 0
    min_tissue: float = 0.5
    tissue_method: str = "otsu"
    slide_mpp: float | None = None
    objective: float | None = None
    reader: str | None = None
    exclude: tuple[str, ...] = ()


STORE_FIELDS = ("mpp", "tile_px", "overlap_px", "min_tissue")
"""Settings that are one for all slides of a store; the others may differ by slide and are kept in each file."""


def store_identity(settings: ExtractSettings, encoder: "Encoder") -> dict[str, Any]:
    """What all feature files of a store have in common: the tiles and the encoder with its weights."""
    values = asdict(settings)
    common = {name: values[name] for name in STORE_FIELDS}
    return {"encoder": encoder.card.name, "weight_hash": encoder.weight_hash, **common}


def store_name(settings: ExtractSettings, encoder: "Encoder") -> str:
    """The folder of a store: what a person tells stores apart by, and six digits of everything.

    Example: `resnet50_256px_0.5mpp_1a2b3c`.
    """
    identity = json.dumps(store_identity(settings, encoder), sort_keys=True)
    digits = hashlib.sha256(identity.encode()).hexdigest()[:6]
    return safe_name(f"{encoder.card.name}_{settings.tile_px}px_{settings.mpp:g}mpp_{digits}")
