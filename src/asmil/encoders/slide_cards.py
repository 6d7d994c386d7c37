"""Slide encoders: what makes one vector of a slide's tile features, from whom, and of which tiles; without torch."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from asmil.encoders.cards import EncoderCard, read_cards
from asmil.errors import EncoderError, UnknownPartError, as_typed, did_you_mean
from asmil.units import same_mpp

OWN, AUTHORS = "own", "authors"
"""Whose code computes the vector: asmil's, or that of the authors' repository, which is run only when it is trusted."""


@dataclass(frozen=True)
class SlideEncoderCard(EncoderCard):
    """The facts of one slide encoder; the fields of `EncoderCard` that are about tiles say what it was trained on.

    `dim` is the width of the slide's vector; `tile_px` and `mpp` are the tiles that it takes, cut so and encoded by
    `tile_encoder` into `tile_dim` values; `tile_names` are what other programs call that encoder. `places` says whether
    the tiles' places matter. `code` is `OWN` or `AUTHORS`. `config` are facts of the authors' `config_file` that the
    weights do not show: a file that says otherwise belongs to another model. `memory` is what a slide of 20,000 tiles
    takes on a CPU with the weights: measured (`python -m benchmarks slide_encoders`), or computed from the sizes of the
    arrays that are there at once; empty where nobody knows.
    """

    tile_encoder: str = ""
    tile_names: tuple[str, ...] = ()
    tile_dim: int = 0
    places: bool = False
    code: str = OWN
    config: Mapping[str, object] = field(default_factory=dict, hash=False)
    config_file: str = "config.json"
    memory: str = ""


SLIDE_ENCODERS: dict[str, SlideEncoderCard] = read_cards(
    Path(__file__).with_name("slide_cards.toml"), kind=SlideEncoderCard
)
"""The cards by name: rows of `slide_cards.toml`."""


def list_slide_encoders() -> list[str]:
    """Names of all slide encoders, sorted."""
    return sorted(SLIDE_ENCODERS)


def slide_card(name: str) -> SlideEncoderCard:
    """The facts of a slide encoder.

    Raises:
        UnknownPartError: no slide encoder of that name.
    """
    key = name.lower().replace("_", "-")
    if key not in SLIDE_ENCODERS:
        fix = f"{did_you_mean(name, SLIDE_ENCODERS)} known: {', '.join(list_slide_encoders())}"
        raise UnknownPartError(f"there is no slide encoder {name!r}", fix=fix.strip())
    return SLIDE_ENCODERS[key]


@dataclass(frozen=True)
class Tiles:
    """What is known of a slide's tiles: their encoder's name, the width of their features, side and scale (um/px), and
    by how many pixels they overlap; None where it is not known."""

    encoder: str | None
    dim: int
    px: int | None
    mpp: float | None
    overlap: float | None = None


def check_tiles(card: SlideEncoderCard, tiles: Tiles, *, assume: bool = False) -> None:
    """Refuse tiles that a slide encoder does not take; with `assume`, what is not known of them is taken to be right.

    Raises:
        EncoderError: another tile encoder, width, side or scale than the card's; or one of these is not known.
    """
    wanted = {"encoder": card.tile_encoder, "tile side": f"{card.tile_px} px", "scale": f"{card.mpp:g} um/px"}
    wrong = [] if tiles.dim == card.tile_dim else [f"{tiles.dim} features of a tile, wanted {card.tile_dim}"]
    if tiles.encoder is not None and not is_tile_encoder(card, tiles.encoder):
        wrong.append(f"encoder {tiles.encoder}, wanted {card.tile_encoder}")
    if tiles.px is not None and tiles.px != card.tile_px:
        wrong.append(f"tiles of {tiles.px} px, wanted {card.tile_px} px")
    if tiles.mpp is not None and not same_mpp(tiles.mpp, card.mpp or 0):
        wrong.append(f"{tiles.mpp:g} um/px, wanted {card.mpp:g}")
    if tiles.overlap and card.places:
        wrong.append(f"tiles that overlap by {tiles.overlap:g} px, wanted a plain grid")
    tiled = ("--tile-px", card.tile_px, "--mpp", f"{card.mpp:g}")
    command = as_typed("asmil", "embed", "--encoder", card.tile_encoder, *tiled)
    if wrong:
        raise EncoderError(f"{card.name} does not take these tiles", found="; ".join(wrong), fix=command)
    known = (tiles.encoder, tiles.px, tiles.mpp)
    unknown = [f"{what} (wanted {one})" for (what, one), value in zip(wanted.items(), known, strict=True) if not value]
    if unknown and not assume:
        fix = f"--assume-tiles, if you know that they are as wanted; or make them anew: {command}"
        raise EncoderError(
            f"the tiles do not say all that {card.name} asks of them", found=f"not said: {', '.join(unknown)}", fix=fix
        )


def is_tile_encoder(card: SlideEncoderCard, name: str) -> bool:
    """Whether a tile encoder, as asmil or another program calls it, is the one that a slide encoder takes."""
    return _plain(name) in map(_plain, (card.tile_encoder, *card.tile_names))


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))


def check_config(card: SlideEncoderCard, weights: Path) -> None:
    """Refuse weights whose authors' configuration beside them says that they are of another model than the card's.

    Raises:
        EncoderError: a fact of the card's `config` is another there, or the file is no JSON.
    """
    file = weights.parent / card.config_file
    if not card.config or not file.is_file():
        return
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
        stated = {name: _of_path(facts, name) for name in card.config}
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise EncoderError(f"{file.name} of {card.name} is no configuration", found=error) from error
    wrong = {name: value for name, value in stated.items() if value is not None and value != card.config[name]}
    if wrong:
        name, value = next(iter(wrong.items()))
        raise EncoderError(
            f"the weights are not those of {card.name}",
            found=f"{name} is {value!r} in {file.name} and {card.config[name]!r} on the card",
            fix="give the weights of the model that the card names",
        )


def _of_path(facts: Mapping[str, object], path: str) -> object:
    """The value at `a.b` of nested facts; None where there is none."""
    first, _, rest = path.partition(".")
    value = facts.get(first)
    return _of_path(value, rest) if rest and isinstance(value, Mapping) else None if rest else value
