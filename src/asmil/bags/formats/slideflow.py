"""slideflow: a tensor per slide, the centres of its tiles in `<slide>.index.npz`, `bags_config.json` for all."""

from pathlib import Path

import numpy as np

from asmil.bags.reading.entry import Array, Entry, Facts, modal_stride, number
from asmil.bags.reading.source import facts_in, load_array, plain_array
from asmil.bags.tables import slide_name
from asmil.errors import FeatureError


class _Slideflow:
    suffixes = (".pt",)

    def sniff(self, source: Path) -> bool:
        return _index_of(source) is not None or (source.parent / "bags_config.json").is_file()

    def slides(self, source: Path) -> dict[str, Array | None]:
        return {slide_name(source.name): None}

    def entry(self, source: Path, key: str) -> Entry:
        config = facts_in(source.parent / "bags_config.json")
        tile_um, tile_px = number(config, "tile_um"), number(config, "tile_px")
        centres, notes = _centres(source)
        return Entry(
            features=load_array(source),
            coords=centres,
            centred=True,
            tile_um=tile_um,  # a magnification ("20x") in some bags, and then no number
            mpp=tile_um / tile_px if tile_um and tile_px else None,
            encoder=_encoder(config),
            provenance=lambda: config,
            notes=notes,
        )


def _index_of(source: Path) -> Path | None:
    """The file of tile centres beside a bag."""
    candidates = (source.with_suffix(f".index.{kind}") for kind in ("npz", "npy"))
    return next((path for path in candidates if path.is_file()), None)


def _centres(source: Path) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """The middles of the tiles in level-0 pixels, and notes: the side that parts them from corners is not stored."""
    index = _index_of(source)
    if index is None:
        return None, ("no .index.npz beside the bag: tiles have no coordinates",)
    centres = plain_array(index)
    if centres.ndim != 2 or centres.shape[1] < 2:
        raise FeatureError(f"{index.name} does not hold one (x, y) per tile", found=f"shape {centres.shape}")
    centres = centres[:, :2].astype(np.int64)
    if modal_stride(centres) is None:
        return None, ("centres of tiles are known, but not the side of a tile: no coordinates",)
    return centres, ("stored centres became top-left corners by half a side (tile_um, where the slide's mpp is known)",)


def _encoder(config: Facts) -> str | None:
    extractor = config.get("extractor")
    name = extractor.get("class") if isinstance(extractor, dict) else None
    return name.rsplit(".", 1)[-1] if isinstance(name, str) else None


FORMAT = _Slideflow()
