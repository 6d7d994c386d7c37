"""What decides the features of a slide, and the name of the folder that holds features of one kind."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from asmil.files import safe_name, write_json, written_beside
from asmil.slides import Slide
from asmil.tiles import EDITED, MAX_HOLE_UM2, MIN_AREA_UM2, SMOOTHING_UM, Tissue, find_tissue

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


def store_identity(settings: ExtractSettings, encoder: "Encoder") -> dict[str, object]:
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


def tissue_of(slide: Slide, folder: Path, *, settings: ExtractSettings) -> Tissue:
    """The tissue of a slide: read from `folder/tissue` where it is, else found and saved there, with a thumbnail.

    A file edited or drawn elsewhere is used as it is; one as asmil found it is found again where the settings differ.

    Raises:
        TissueError: a tissue file that is not readable.
    """
    name = safe_name(slide.name)
    path = folder / "tissue" / f"{name}.geojson"
    if path.exists():
        tissue = Tissue.load(path, slide_size=slide.size, slide_mpp=slide.mpp)
        if tissue.settings in (settings.tissue, EDITED):
            return tissue
    thumbnail = folder / "thumbnails" / f"{name}.jpg"
    with written_beside(thumbnail) as partial:
        Image.fromarray(slide.thumbnail(max_px=1024)).save(partial, "JPEG", quality=85)
    write_json(thumbnail.with_suffix(".json"), {"slide_size": slide.size, "slide_mpp": slide.mpp})
    tissue = find_tissue(slide, **settings.tissue)
    tissue.save(path)
    return tissue
