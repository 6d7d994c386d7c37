"""A slide's features with every fact that a layout or slide encoder asks for, and a slide encoder's vector of them."""

import importlib.metadata
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from asmil.bags.reading.entry import FeatureInfo, modal_stride, number
from asmil.bags.reading.stored_slide import require_unlike
from asmil.bags.store import FeatureStore
from asmil.encoders import SlideEncoderCard, Tiles, check_tiles
from asmil.errors import FeatureError
from asmil.extraction import SMALLEST_FEATURE
from asmil.files import Facts, new_hdf5, safe_name
from asmil.units import mpp_of_objective

if TYPE_CHECKING:
    from asmil.encoders import SlideEncoder


@dataclass(frozen=True)
class SlideTiles:
    """The features of a slide (tiles, dim) as stored, and what is known of its tiles; None where it is not.

    `level0_xy` are top-left corners in level-0 pixels, `um_xy` in micrometres; `tile_level0_px` and `tile_um` the
    side of a tile, `tile_px` its side at the tiles' own scale `mpp`; `slide_mpp` is the scale of level 0.
    """

    slide: str
    features: np.ndarray
    info: FeatureInfo
    level0_xy: np.ndarray | None
    um_xy: np.ndarray | None
    tile_level0_px: float | None
    tile_um: float | None
    tile_px: int | None
    mpp: float | None
    slide_mpp: float | None

    @property
    def encoder(self) -> str:
        """The encoder's name, "unknown" where no file says it."""
        return self.info.encoder or "unknown"

    def need(self, name: str) -> np.ndarray:
        """The coordinates of this name.

        Raises:
            FeatureError: the file has none, or none at this scale.
        """
        if (value := getattr(self, name)) is not None:
            return value
        if self.info.coordinates is None:
            what = f"{self.slide} has no coordinates of its tiles"
            fix = "; ".join((*self.info.notes, _FIX["coordinates"]))
            raise FeatureError(what, found=f"a file of format {self.info.format}", fix=fix)
        raise FeatureError(f"the scale of the slide {self.slide} is unknown", fix=_FIX["slide_mpp"])

    def fact(self, name: str) -> float:
        """The number of this name.

        Raises:
            FeatureError: it is unknown; the message names the option that states it.
        """
        if (value := getattr(self, name)) is None:
            self.need("um_xy" if name == "tile_um" else "level0_xy")  # without places no option makes it known
            raise FeatureError(f"the {name} of slide {self.slide} is unknown", fix=_FIX[name])
        return value

    @property
    def overlap_px(self) -> int | None:
        """By how many pixels neighbours overlap, at the tiles' own scale: as the file states it, or by their places."""
        if (stated := number(self.info.provenance, "overlap")) is not None:
            return round(stated)
        xy, side = (self.um_xy, self.tile_um) if self.level0_xy is None else (self.level0_xy, self.tile_level0_px)
        if xy is None or not side or self.tile_px is None or (step := modal_stride(xy)) is None:
            return None
        overlap = round(self.tile_px * (1 - step / side))
        return max(0, overlap) if abs(step - side) > 1 else 0  # places are whole numbers


_FIX = {
    "coordinates": "leave it out, or use --to asmil, which does without",
    "slide_mpp": "give --slide-mpp, or --labels with a column mpp",
    "tile_px": "give --tile-px, the side of a tile as the encoder saw it",
    "mpp": "give --tile-px and, where level 0 has no scale, --slide-mpp",
    "tile_um": "give --slide-mpp, or --labels with a column mpp",
    "tile_level0_px": "give --slide-mpp, or --labels with a column mpp",
}


def read_slide(
    store: FeatureStore, slide: str, *, slide_mpp: float | None = None, tile_px: int | None = None
) -> SlideTiles:
    """Read a slide; `slide_mpp` and `tile_px` are used where the file does not say them.

    Raises:
        FeatureError: the slide cannot be read.
    """
    info = store.info(slide)
    slide_mpp = info.slide_mpp or slide_mpp
    bag = store.load(slide, slide_mpp=slide_mpp)
    side, tile_um = bag.tile_level0_px, info.tile_um
    if tile_um is None and side is not None and slide_mpp is not None:
        tile_um = side * slide_mpp
    tile_px = stated_side(info, tile_um=tile_um) or tile_px
    level0_xy = None if bag.level0_xy is None else bag.level0_xy.numpy()
    um_xy = store.um_xy(slide)
    if um_xy is None and level0_xy is not None and slide_mpp is not None:
        um_xy = level0_xy * slide_mpp
    return SlideTiles(
        slide=slide,
        features=bag.features.numpy(),
        info=info,
        level0_xy=level0_xy,
        um_xy=um_xy,
        tile_level0_px=side,
        tile_um=tile_um,
        tile_px=tile_px,
        mpp=info.mpp or (tile_um / tile_px if tile_um and tile_px else None),
        slide_mpp=slide_mpp,
    )


def stated_side(info: FeatureInfo, *, tile_um: float | None) -> int | None:
    """The side of a tile in pixels at its own scale, as a file states it or as it follows from its micrometres."""
    stated = number(info.provenance, "tile_px", "tile_size_px")
    stated = stated or (number(info.provenance, "patch_size") if info.format == "trident" else None)
    if stated is None and info.mpp and tile_um:
        stated = tile_um / info.mpp
    return round(stated) if stated else None


def half(tiles: SlideTiles) -> np.ndarray:
    """The features in float16.

    Raises:
        FeatureError: a value is too large for float16, or all are so small that they are rounded away.
    """
    largest = float(np.abs(tiles.features).max())
    if largest > np.finfo(np.float16).max or 0 < largest < SMALLEST_FEATURE:
        fix = "the layouts clam, trident, torchmil and anndata keep float32"
        found = f"the largest value is {largest:g}"
        raise FeatureError(f"the features of {tiles.slide} do not fit float16", found=found, fix=fix)
    return tiles.features.astype(np.float16)


def appendable(file: h5py.File, name: str, *, data: np.ndarray, rows: int) -> h5py.Dataset:
    """A dataset in chunks of `rows` rows that can grow, as CLAM and TRIDENT write theirs."""
    return file.create_dataset(name, data=data, chunks=(rows, *data.shape[1:]), maxshape=(None, *data.shape[1:]))


# One vector of a slide by a slide encoder: its tiles checked against the card, and the vector's file, a bag of one.


def check_slide_tiles(
    store: FeatureStore, slide: str, card: SlideEncoderCard, *, slide_mpp: float | None = None, assume: bool = False
) -> None:
    """Refuse a slide whose tiles a slide encoder does not take; reads coordinates at most.

    The scale is what the file states, or follows from its magnification; `assume` is as for `check_tiles`.

    Raises:
        EncoderError: as `check_tiles`. FeatureError: the file is damaged, or holds a slide's vector already.
    """
    info = store.info(slide)
    if said := info.provenance.get("slide_encoder"):
        fix = "give the features of the tiles, not what asmil embed-slides wrote"
        raise FeatureError(f"{slide} is one vector of the slide already", found=f"by {said}", fix=fix)
    check_tiles(card, _tiles(info, slide_mpp=info.slide_mpp or slide_mpp), assume=assume)


def write_slide_vector(
    store: FeatureStore,
    slide: str,
    folder: Path,
    *,
    encoder: "SlideEncoder",
    slide_mpp: float | None = None,
) -> bool:
    """Write `<slide>.h5`, a bag of one tile without a place: the slide's vector in float32; False: it was there.

    The tiles were checked (`check_slide_tiles`). A file counts as there if it was made of the same features by the same
    weights in the same precision; places are not compared. Its `encoder` is the slide encoder, `tile_encoder` that of
    the tiles.

    Raises:
        FeatureError: the features cannot be read, are the same in all tiles, or have no places where the encoder needs
            them.
        EncoderError: the vector cannot be computed, or the tiles overlap by their places and the encoder wants a grid.
    """
    path = folder / f"{safe_name(slide)}.h5"
    card = encoder.card
    settings: Facts = {
        "slide_encoder": card.name,
        "slide_weight_hash": encoder.weight_hash,
        "slide_precision": encoder.precision,
        "tile_encoder": card.tile_encoder,
        "tile_px": card.tile_px,
        "tile_mpp": card.mpp,
    }
    if tile_weights := store.info(slide).provenance.get("weight_hash"):
        settings["tile_weight_hash"] = tile_weights
    if _is_made(path, settings, store=store, slide=slide):
        return False
    made_of = _made_of(store, slide)
    tiles = read_slide(store, slide, slide_mpp=slide_mpp)
    require_unlike(tiles.features, tiles.info.path)
    check_tiles(card, replace(_tiles(tiles.info, slide_mpp=tiles.slide_mpp), overlap=tiles.overlap_px), assume=True)
    import torch

    places: Facts = {}
    if card.places:
        places = {
            "level0_xy": torch.from_numpy(tiles.need("level0_xy")),
            "tile_level0_px": tiles.fact("tile_level0_px"),
        }
    vector = encoder(torch.from_numpy(tiles.features), **places).numpy()
    facts = _facts(tiles, encoder) | {
        "settings": json.dumps(settings, sort_keys=True),
        "made_of": json.dumps(made_of, sort_keys=True),
    }
    with new_hdf5(path) as file:
        file["features"] = vector[None].astype(np.float32)
        for holder in (file, file["features"]):
            holder.attrs.update(facts)
    return True


def _facts(tiles: SlideTiles, encoder: "SlideEncoder") -> Facts:
    """What the file says: what made the vector, and of which tiles."""
    card = encoder.card
    known = {name: value for name in ("weight_hash", "precision") if (value := tiles.info.provenance.get(name))}
    return {
        "format": "asmil",
        "asmil_version": importlib.metadata.version("asmil"),
        "name": tiles.slide,
        "slide": tiles.slide,
        "encoder": card.name,
        "weight_hash": encoder.weight_hash,
        "precision": encoder.precision,
        "slide_encoder": card.name,
        "tile_encoder": tiles.info.encoder or f"{card.tile_encoder} (assumed)",
        **{f"tile_{name}": value for name, value in known.items()},
        "tile_px": card.tile_px,
        "mpp": card.mpp,
        **({"slide_mpp": tiles.slide_mpp} if tiles.slide_mpp else {}),
    }


def _made_of(store: FeatureStore, slide: str, *, like: str = "") -> Facts:
    content = store.content(slide, like=like)
    return {"tiles": content.tiles, "digest": content.digest}


def _is_made(path: Path, settings: Facts, *, store: FeatureStore, slide: str) -> bool:
    """Whether a whole file of these settings, made of these features, is there."""
    try:
        with h5py.File(path, "r") as file:
            stated, made_of = (json.loads(file.attrs[name]) for name in ("settings", "made_of"))
            as_it_is = _made_of(store, slide, like=str(made_of["digest"]))
            return stated == settings and made_of == as_it_is and len(file["features"]) == 1
    except (OSError, KeyError, ValueError, TypeError):  # none, or another one, which is written over
        return False


def _tiles(info: FeatureInfo, *, slide_mpp: float | None) -> Tiles:
    tile_um = info.tile_um
    if tile_um is None and info.tile_level0_px is not None and slide_mpp is not None:
        tile_um = info.tile_level0_px * slide_mpp
    px, mpp = stated_side(info, tile_um=tile_um), info.mpp
    magnification = number(info.provenance, "target_magnification")
    if mpp is None and px and tile_um:
        mpp = tile_um / px
    elif mpp is None and magnification:
        mpp = mpp_of_objective(magnification)
    overlap = number(info.provenance, "overlap")
    encoder = None if info.encoder in (None, "unknown") else info.encoder
    return Tiles(encoder=encoder, dim=info.dim, px=px, mpp=mpp, overlap=overlap)
