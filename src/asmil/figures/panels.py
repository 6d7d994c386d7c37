"""Pictures of a slide ready to file: its maps side by side with their colour bars, and rows of tiles."""

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from shapely.geometry.base import BaseGeometry

from asmil.figures.heatmap import COLOUR_MAP, colour_tiles, ink, mark_masks, raw_limits, times_uniform
from asmil.figures.style import INK, MUTED

PANEL_PX = 512
MARGIN_PX, GAP_PX, BAR_PX, TEXT_PX = 16, 20, 10, 15
_TITLE_PX, _FOOT_PX = 44, 76
EVIDENCE_MAP, EVEN_MAP = "RdBu_r", "gray"
EVEN_WORDS = "attention is even here: it prefers no tile"


def slide_maps(
    thumbnail: np.ndarray,
    level0_xy: np.ndarray,
    attention: np.ndarray,
    *,
    tile_level0_px: float,
    slide_size: tuple[int, int],
    outlines: Iterable[BaseGeometry] | None = None,
    points: np.ndarray | None = None,
    even: bool = False,
    evidence: np.ndarray | None = None,
    cmap: str = COLOUR_MAP,
) -> dict[str, np.ndarray]:
    """The slide, its percentile map and its raw map, each with the marks, as one set of equal pictures.

    Arguments as for `heatmap`; the colours of the raw map span `raw_limits(attention)`.

    Args:
        even: attention that prefers no tile (`asmil.attention.is_even`) is drawn grey in both: ranks and a range would
            paint noise.
        evidence: (tiles,) for one class, which adds a map: red speaks for it, blue against, as far as `evidence_limit`.

    Returns:
        "slide", "percentile", "raw" and with it "evidence": uint8 (h, w, 3), 512 px on the longer side.

    Raises:
        AsmilError: shapes disagree or a value is not finite.
    """
    image = Image.fromarray(np.ascontiguousarray(np.asarray(thumbnail)[..., :3]))
    factor = PANEL_PX / max(image.size)
    width, height = (max(round(length * factor), 1) for length in image.size)
    base = np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))
    masks = mark_masks(base.shape[:2], slide_size=slide_size, outlines=outlines, points=points)
    maps = {"slide": ink(base, masks)}
    drawn: dict[str, tuple[np.ndarray, str, str, tuple[float, float] | None]] = {
        "percentile": (attention, "percentile", cmap, None),
        "raw": (attention, "raw", cmap, None),
    }
    if even:
        drawn = dict.fromkeys(drawn, (np.ones(len(attention)), "percentile", EVEN_MAP, None))
    if evidence is not None:
        end = evidence_limit(evidence) * len(evidence)
        drawn["evidence"] = (evidence, "raw", EVIDENCE_MAP, (-end, end))
    for name, (values, scale, colours, limits) in drawn.items():
        coloured = colour_tiles(
            base,
            level0_xy,
            values,
            scale=scale,
            limits=limits,
            tile_level0_px=tile_level0_px,
            slide_size=slide_size,
            cmap=colours,
        )
        maps[name] = ink(coloured, masks)
    return maps


def evidence_limit(evidence: np.ndarray) -> float:
    """The end of the colours of evidence, either way from 0: the 99th percentile of its size; 1 where there is none."""
    return float(np.percentile(np.abs(evidence), 99)) if np.any(evidence) else 1.0


def heatmap_panels(
    maps: dict[str, np.ndarray],
    attention: np.ndarray,
    *,
    even: bool = False,
    evidence: tuple[np.ndarray, str] | None = None,
    width_um: float | None = None,
    title: str = "",
    cmap: str = COLOUR_MAP,
) -> np.ndarray:
    """The maps of `slide_maps` side by side, with title, colour bars and a scale bar (below the colours, where the
    slide itself is not among them).

    Args:
        attention: (tiles,), for the numbers under the raw map.
        even: what `slide_maps` was told.
        evidence: (tiles,) of a class and its name, where the maps have it.
        width_um: width of the slide in um; None leaves the scale bar out.

    Returns:
        uint8 (h, w, 3).
    """
    first = next(iter(maps))
    height, width = maps[first].shape[:2]
    column = max(width, 330)  # room for the words under a narrow slide
    below = 0 if first == "slide" or not width_um else 18
    size = (2 * MARGIN_PX + len(maps) * column + (len(maps) - 1) * GAP_PX, _TITLE_PX + height + _FOOT_PX + below)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN_PX, _TITLE_PX / 2), title, fill=INK, font=_font(TEXT_PX + 3), anchor="lm")
    lefts = {name: MARGIN_PX + i * (column + GAP_PX) for i, name in enumerate(maps)}
    for name, left in lefts.items():
        sheet.paste(Image.fromarray(maps[name]), (left, _TITLE_PX))
    foot = _TITLE_PX + height + 14
    if width_um:
        um = scale_bar_um(width_um)
        length, top = width * um / width_um, foot + 60 if below else foot
        draw.rectangle([lefts[first], top + 3, lefts[first] + length, top + 6], fill=INK)
        beside = (lefts[first] + length + 8, top + 5)
        draw.text(beside, length_text(um), fill=INK, font=_font(TEXT_PX), anchor="lm")
    for name, (words, colours) in _legends(attention, evidence, even=even, cmap=cmap).items():
        _draw_bar(sheet, (lefts[name], foot), width=column, words=words, cmap=colours)
    return np.asarray(sheet)


class PanelsFigure(Figure):
    """A figure that a notebook shows by itself, whether pyplot is used in it or not."""

    def _repr_png_(self) -> bytes:
        self.savefig(file := io.BytesIO(), format="png")
        return file.getvalue()


def panels_figure(
    maps: Mapping[str, np.ndarray],
    attention: np.ndarray,
    *,
    even: bool = False,
    evidence: tuple[np.ndarray, str] | None = None,
    title: str = "",
) -> Figure:
    """The maps of `slide_maps` side by side as a figure of matplotlib, each with its colour bar.

    Arguments as for `heatmap_panels`.
    """
    aspect = max(picture.shape[0] / picture.shape[1] for picture in maps.values())
    legends = _legends(attention, evidence, even=even, cmap=COLOUR_MAP)
    figure = PanelsFigure(figsize=(3.2 * len(maps), 3.2 * aspect + 1.1), layout="constrained")
    figure.suptitle(title, parse_math=False)
    for axes, (name, picture) in zip(figure.subplots(1, len(maps), squeeze=False)[0], maps.items(), strict=True):
        axes.imshow(picture)
        axes.set(xticks=[], yticks=[])
        axes.set_frame_on(False)
        (left, words, right), colours = legends.get(name, (("", "", ""), COLOUR_MAP))
        bar = figure.colorbar(ScalarMappable(cmap=colours), ax=axes, orientation="horizontal", ticks=[0, 1])
        first, last = bar.ax.set_xticklabels([left, right])
        first.set_horizontalalignment("left")
        last.set_horizontalalignment("right")
        bar.set_label(words, parse_math=False)
        bar.ax.set_visible(name in legends)
    return figure


def _legends(
    attention: np.ndarray, evidence: tuple[np.ndarray, str] | None, *, even: bool, cmap: str
) -> dict[str, tuple[tuple[str, str, str], str]]:
    """By map: what stands at the left end, in the middle and at the right end of its colours, and these."""
    low, high = raw_limits(attention)
    spread = range_text(attention)
    legends = {
        "percentile": (("0", "attention percentile in the slide", "1"), cmap),
        "raw": ((f"{low:.3g}×", f"attention ÷ even share ({spread})", f"{high:.3g}×"), cmap),
    }
    if even:
        legends = {"percentile": (("", EVEN_WORDS, ""), EVEN_MAP), "raw": (("", spread, ""), EVEN_MAP)}
    if evidence is not None:
        end = evidence_limit(evidence[0])
        legends["evidence"] = ((f"−{end:.2g}", f"evidence for {evidence[1]} (logit)", f"+{end:.2g}"), EVIDENCE_MAP)
    return legends


def _draw_bar(
    sheet: Image.Image, left_top: tuple[int, int], *, width: int, words: tuple[str, str, str], cmap: str
) -> None:
    """A colour bar with the value of its left end, its name and the value of its right end below."""
    left, top = left_top
    # of even attention one grey, as the tiles have it
    shares = np.full(width, 0.5) if cmap == EVEN_MAP else np.linspace(0, 1, width)
    colours = (255 * matplotlib.colormaps[cmap](shares)[:, :3]).astype(np.uint8)
    sheet.paste(Image.fromarray(np.repeat(colours[None], BAR_PX, axis=0)), (left, top))
    draw = ImageDraw.Draw(sheet)
    y = top + BAR_PX + 16
    draw.text((left, y), words[0], fill=INK, font=_font(TEXT_PX), anchor="lm")
    draw.text((left + width, y), words[2], fill=INK, font=_font(TEXT_PX), anchor="rm")
    taken = sum(draw.textlength(word, font=_font(TEXT_PX)) for word in (words[0], words[2]))
    # a narrow slide has no room between the end values: the name goes below them
    below = draw.textlength(words[1], font=_font(TEXT_PX)) + taken + 24 > width
    draw.text((left + width / 2, y + 20 * below), words[1], fill=MUTED, font=_font(TEXT_PX), anchor="mm")


def range_text(attention: np.ndarray) -> str:
    """Least and most attention of a slide in multiples of an even share: "all tiles 0.94 – 1.05×"."""
    shown = times_uniform(attention)
    return f"all tiles {shown.min():.3g} – {shown.max():.3g}×"


@cache
def _font(size_px: float) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf", size=size_px)


def scale_bar_um(width_um: float) -> float:
    """A round length (1, 2 or 5 times a power of ten, in um) of about a fifth of the picture's width."""
    power = 10.0 ** math.floor(math.log10(width_um / 5))
    return max(step * power for step in (1, 2, 5) if step * power <= width_um / 5)


def length_text(um: float) -> str:
    """A length with its unit: "200 um", "2 mm" (with the micro sign)."""
    return f"{um / 1000:g} mm" if um >= 1000 else f"{um:g} µm"


def tile_strip(
    tiles: Sequence[np.ndarray] | np.ndarray,
    captions: Sequence[str] = (),
    *,
    tile_px: int = 128,
    gap_px: int = 4,
) -> np.ndarray:
    """Tiles in one row, each with a caption on its lower edge.

    Args:
        tiles: uint8 (n, h, w, 3), or a sequence of such pictures of any size.
        captions: one line per tile, or none.

    Returns:
        uint8 (tile_px, width, 4) with transparent gaps.
    """
    strip = np.zeros((tile_px, max(len(tiles), 1) * (tile_px + gap_px) - gap_px, 4), dtype=np.uint8)
    font = _font(tile_px / 8)
    for i, tile in enumerate(tiles):
        picture = Image.fromarray(np.asarray(tile)[..., :3]).resize((tile_px, tile_px), Image.Resampling.BICUBIC)
        if i < len(captions):
            top = round(tile_px * 0.82)
            band = Image.new("RGB", (tile_px, tile_px - top), (24, 26, 28))
            ImageDraw.Draw(band).text((tile_px * 0.04, tile_px * 0.015), captions[i], fill="white", font=font)
            picture.paste(band, (0, top))
        left = i * (tile_px + gap_px)
        strip[:, left : left + tile_px, :3] = np.asarray(picture)
        strip[:, left : left + tile_px, 3] = 255
    return strip
