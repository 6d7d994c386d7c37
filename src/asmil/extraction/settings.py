"""What decides the features of a slide, and the name of the folder that holds features of one kind."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from asmil.files import safe_name
from asmil.tiles import MAX_HOLE_UM2, MIN_AREA_UM2, SMOOTHING_UM

if TYPE_CHECKING:
    from asmil.encoders import Encoder


@dataclass(frozen=True)
class ExtractSettings:
    """What decides the features of a slide, beside the slide and the encoder.

    `mpp` is the scale tiles are cut at, `slide_mpp` or `objective` state the slide's own scale where its file does not,
    `reader` names the reader where the file's own is not wanted. Tiles with a quality flag of `exclude` are left out.
    `tissue_threshold`, the areas and `tissue_smoothing_um` are those of `find_tissue`.
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
    tissue_threshold: float | None = None
    min_area_um2: float = MIN_AREA_UM2
    max_hole_um2: float = MAX_HOLE_UM2
    tissue_smoothing_um: float = SMOOTHING_UM

    @property
    def tissue(self) -> dict[str, Any]:
        """The options of `find_tissue`."""
        return {
            "method": self.tissue_method,
            "threshold": self.tissue_threshold,
            "min_area_um2": self.min_area_um2,
            "max_hole_um2": self.max_hole_um2,
            "smoothing_um": self.tissue_smoothing_um,
        }


def encoder_identity(encoder: "Encoder") -> dict[str, str]:
    """What decides an encoder's features: its name, its weights, and the precision it computes in on its device."""
    return {"encoder": encoder.card.name, "weight_hash": encoder.weight_hash, "precision": encoder.precision}


def store_identity(settings: ExtractSettings, encoder: "Encoder") -> dict[str, Any]:
    """What a store is: the encoder and all settings of the call.

    So other settings never touch its files. What a slide has of its own (a row of a table, an edited tissue) is kept in
    its file.
    """
    return encoder_identity(encoder) | asdict(settings)


def store_name(settings: ExtractSettings, encoder: "Encoder") -> str:
    """The folder of a store: what a person tells stores apart by, and six digits of everything.

    Example: `resnet50_256px_0.5mpp_1a2b3c`.
    """
    identity = json.dumps(store_identity(settings, encoder), sort_keys=True)
    digits = hashlib.sha256(identity.encode()).hexdigest()[:6]
    return safe_name(f"{encoder.card.name}_{settings.tile_px}px_{settings.mpp:g}mpp_{digits}")
