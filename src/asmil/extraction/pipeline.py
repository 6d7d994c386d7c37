"""One slide from file to feature file: thumbnail, tissue, tiles, features, in one stream of pixels."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from asmil.encoders import Encoder
from asmil.extraction.embedding import embed
from asmil.extraction.feature_file import is_finished, write_features
from asmil.extraction.settings import ExtractSettings
from asmil.extraction.tissue import tissue_of
from asmil.files import safe_name
from asmil.slides import open_slide
from asmil.tiles import tile


def extract_slide(
    path: Path,
    folder: Path,
    *,
    encoder: Encoder,
    settings: ExtractSettings,
    tile_batch: int = 256,
    progress: Callable[[int], None] | None = None,
) -> bool:
    """Write `features/<slide>.h5`, `tissue/<slide>.geojson` and `thumbnails/<slide>.jpg` under `folder`.

    A finished feature file of the same encoder, settings and tissue is kept (returns False). A tissue file that is
    already there is used as it is: edit it in QuPath and run again.

    Raises:
        AsmilError: the slide cannot be read, has no scale or no tissue, or the encoder fails on it.
    """
    name = safe_name(path.stem)
    features, tissue_file = folder / "features" / f"{name}.h5", folder / "tissue" / f"{name}.geojson"
    if is_finished(features, settings=_identity(settings, encoder, tissue_file)):
        return False
    with open_slide(path, mpp=settings.slide_mpp, objective=settings.objective, reader=settings.reader) as slide:
        tissue = tissue_of(slide, folder, method=settings.tissue_method)
        grid = tile(
            slide, tissue, mpp=settings.mpp, tile_px=settings.tile_px,
            overlap_px=settings.overlap_px, min_tissue=settings.min_tissue,
        )  # fmt: skip
        vectors = embed(slide, grid, encoder, batch_size=tile_batch, progress=progress)
        identity = _identity(settings, encoder, tissue_file)
        write_features(features, vectors, grid, encoder=encoder, slide=slide, extra={"settings": identity})
    return True


def _identity(settings: ExtractSettings, encoder: Encoder, tissue_file: Path) -> dict[str, Any]:
    """What a feature file must have been made with to count as finished; an edited tissue file changes it."""
    content = tissue_file.read_bytes() if tissue_file.exists() else b""
    tissue = hashlib.sha256(content).hexdigest()[:16]
    return asdict(settings) | {"encoder": encoder.card.name, "weight_hash": encoder.weight_hash, "tissue": tissue}
