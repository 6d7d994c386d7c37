"""What decides the features of a slide, beside the slide and the encoder."""

from dataclasses import dataclass


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
