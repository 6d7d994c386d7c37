"""One vector of a slide by a slide encoder: its tiles checked against the card, and the vector's file, a bag of one."""

import importlib.metadata
import json
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from asmil.bags.reading.entry import FeatureInfo, number
from asmil.bags.reading.slide_tiles import SlideTiles, new_hdf5, read_slide, stated_side
from asmil.bags.store import FeatureStore
from asmil.encoders import SlideEncoderCard, Tiles, check_tiles
from asmil.errors import FeatureError
from asmil.files import Facts, safe_name
from asmil.units import mpp_of_objective

if TYPE_CHECKING:
    from asmil.encoders import SlideEncoder


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
        FeatureError: the features cannot be read, or have no places where the encoder needs them.
        EncoderError: the vector cannot be computed.
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
