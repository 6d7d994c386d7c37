"""The tissue of a slide as a file in the output folder: found once, then used as it is, edited or not."""

from pathlib import Path

from PIL import Image

from asmil.extraction.settings import ExtractSettings
from asmil.files import safe_name, write_json, written_beside
from asmil.slides import Slide
from asmil.tiles import EDITED, Tissue, find_tissue


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
