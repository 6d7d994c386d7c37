"""Pictures and QuPath objects of a predicted slide's attention."""

from pathlib import Path

import numpy as np
from PIL import Image

from asmil.bags import FeatureStore
from asmil.errors import FeatureError
from asmil.figures import heatmap_panels, slide_maps, tile_scores_geojson, write_png
from asmil.files import safe_name

EMPTY_PX, EMPTY_GREY = 600, 236
"""The longer side and the grey of the sheet that stands for a slide without a thumbnail."""


def write_heatmap(
    folder: str | Path, store: FeatureStore, slide: str, *, attention: np.ndarray, thumbnails: Path
) -> tuple[Path, Path]:
    """Write `figures/<slide>.png` and `figures/<slide>.geojson` into a folder.

    Args:
        attention: (tiles,), in the order of the feature file.
        thumbnails: folder of `<slide>.jpg`, where `asmil embed` puts them; the picture is grey where there is none.

    Raises:
        FeatureError: the features have no coordinates in level-0 pixels.
    """
    bag, info = store.load(slide), store.info(slide)
    if bag.level0_xy is None or bag.tile_level0_px is None:
        raise FeatureError(
            f"{slide} has no heatmap",
            found="features without coordinates in level-0 pixels",
            fix="leave --heatmaps out",
        )
    level0_xy, side, name = bag.level0_xy.numpy(), bag.tile_level0_px, safe_name(slide)
    stated = [info.provenance.get(f"level0_{length}") for length in ("width", "height")]
    extent = level0_xy.max(axis=0) + side
    size = int(stated[0] or extent[0]), int(stated[1] or extent[1])
    maps = slide_maps(
        _picture(thumbnails / f"{name}.jpg", size), level0_xy, attention, tile_level0_px=side, slide_size=size
    )
    width_um = size[0] * info.slide_mpp if info.slide_mpp else None
    stem = Path(folder) / "figures" / name
    picture = write_png(heatmap_panels(maps, attention, width_um=width_um, title=slide), Path(f"{stem}.png"))
    return picture, tile_scores_geojson(Path(f"{stem}.geojson"), level0_xy, attention, tile_level0_px=side)


def _picture(thumbnail: Path, size: tuple[int, int]) -> np.ndarray:
    if thumbnail.is_file():
        with Image.open(thumbnail) as image:
            return np.asarray(image.convert("RGB"))
    factor = EMPTY_PX / max(size)
    height, width = (max(round(length * factor), 1) for length in size[::-1])
    return np.full((height, width, 3), EMPTY_GREY, dtype=np.uint8)
