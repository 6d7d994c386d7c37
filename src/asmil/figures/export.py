"""Figures and scores as files and text: inline SVG, data URIs, QuPath GeoJSON."""

import base64
import gzip
import hashlib
import html
import io
import json
import re
import zlib
from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from asmil.errors import AsmilError
from asmil.figures.heatmap import percentiles, times_uniform
from asmil.figures.style import CSS_VARIABLES
from asmil.files import suffix_of, written_beside
from asmil.tiles import ORIGIN, Bounds


def figure_svg(figure: Figure, *, title: str = "") -> str:
    """A figure as one `<svg>` element for an HTML page.

    Text stays text in the page's font; colours are CSS variables with the printed colour as fallback, so that
    the page's light and dark themes apply; ids are unique to the figure. The same figure gives the same text.
    """
    buffer, canvas, dpi = io.StringIO(), figure.canvas, figure.dpi
    behind = [figure.patch, *(axes.patch for axes in figure.axes)]
    colours = [(patch.get_facecolor(), patch.get_edgecolor()) for patch in behind]
    try:  # as `savefig` does, which draws all of it once more before, for the layout
        for patch in behind:
            patch.set(facecolor="none", edgecolor="none")
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "asmil"}):
            nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
            FigureCanvasSVG(figure).print_svg(buffer, metadata=nothing)
    finally:
        figure.set_canvas(canvas)
        figure.dpi = dpi
        for patch, (face, edge) in zip(behind, colours, strict=True):
            patch.set(facecolor=face, edgecolor=edge)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    for colour, variable in CSS_VARIABLES.items():
        svg = svg.replace(colour, f"var({variable}, {colour})")
    svg = re.sub(r"(font: [^;\"']*|font-family: )'[^;\"]+", r"\1var(--font, sans-serif)", svg)
    svg = _with_own_ids(svg)
    label = html.escape(title, quote=True)
    return re.sub(
        r"<svg [^>]*?(viewBox=\"[^\"]+\")[^>]*>",
        rf'<svg \1 role="img" aria-label="{_raw(label)}">',
        svg,
        count=1,
    )


def write_figure(figure: Figure, path: str | Path) -> list[Path]:
    """Write a figure on white as PNG (200 dpi) and SVG beside it; a suffix .png or .svg of `path` is replaced."""
    path = Path(path)
    stem = path.with_suffix("") if suffix_of(path) in (".png", ".svg") else path
    written = [stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "svg")]
    for target in written:
        with written_beside(target) as partial, matplotlib.rc_context({"svg.hashsalt": "asmil"}):
            dated = {"Date": None} if suffix_of(target) == ".svg" else {}
            figure.savefig(partial, dpi=200, facecolor="white", metadata=dated)
    return written


def _raw(text: str) -> str:
    return text.replace("\\", r"\\")


def _with_own_ids(svg: str) -> str:
    """Drop ids that nothing refers to; prefix the others by a digest of the figure."""
    used = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", svg))
    prefix = "f" + hashlib.sha256(svg.encode()).hexdigest()[:8] + "-"
    svg = re.sub(r' id="([^"]+)"', lambda m: f' id="{prefix}{m[1]}"' if m[1] in used else "", svg)
    svg = re.sub(r"(url\(#|href=\"#)", rf"\1{prefix}", svg)
    return re.sub(r"\n\s*", "\n", re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL))


def write_png(pixels: np.ndarray, path: str | Path, *, made_of: str = "") -> Path:
    """Write a uint8 picture (h, w, 3) as PNG, atomically; `made_of` is kept in it for `made_of(path)`."""
    said = PngInfo()
    if made_of:
        said.add_text(MADE_OF, made_of)
    with written_beside(path) as partial:
        # photographs of tissue hardly compress: higher levels take five times as long for a few per cent
        Image.fromarray(np.ascontiguousarray(pixels)).save(partial, "png", compress_level=1, pnginfo=said)
    return Path(path)


MADE_OF = "made_of"
_TOLD = re.compile(rb'"made_of":"([0-9a-f]*)"')


def made_of(path: str | Path) -> str:
    """What a whole .png, .geojson or .geojson.gz file was told that it is made of; "" of any other, and of none."""
    try:
        content = Path(path).read_bytes()
        if suffix_of(path) == ".png":
            if not content.endswith(b"IEND\xaeB`\x82"):
                return ""
            with Image.open(io.BytesIO(content)) as image:
                return str(image.info.get(MADE_OF, ""))
        content = gzip.decompress(content) if suffix_of(path) == ".gz" else content
    except (OSError, EOFError, ValueError, SyntaxError, zlib.error):  # SyntaxError is PIL's word for a broken PNG
        return ""
    told = _TOLD.search(content[:4096])
    return told[1].decode() if told and content.endswith(b"]}") else ""


def image_data_uri(pixels: np.ndarray, *, max_px: int | None = None, quality: int = 82) -> str:
    """A uint8 picture as a `data:` URI, at most `max_px` long: JPEG for (h, w, 3), WebP for (h, w, 4)."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if max_px:
        image.thumbnail((max_px, max_px), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    kind = "webp" if image.mode == "RGBA" else "jpeg"
    image.save(buffer, kind, quality=quality, optimize=True)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def tile_scores_geojson(
    path: str | Path,
    level0_xy: np.ndarray,
    attention: np.ndarray,
    *,
    tile_level0_px: float,
    evidence: Mapping[str, np.ndarray] | None = None,
    object_type: str = "tile",
    bounds: Bounds | None = None,
    made_of: str = "",
) -> Path:
    """Write the tiles of a slide with their attention as QuPath objects, atomically; packed where the path ends on .gz.

    Every tile is a square in level-0 pixels with the measurements `attention` (sums to 1 over the slide),
    `attention_percentile` (0 to 100) and `attention_times_uniform`; with `evidence` (tiles,) by class, in logits, also
    `evidence_<class>`. Of a slide whose scanned part (`bounds`) is not all of it, QuPath shows that part alone, and
    positions are counted from its corner. `made_of` is kept in the file for `made_of(path)`.

    Raises:
        AsmilError: not one attention value per tile.
    """
    if np.shape(level0_xy) != (len(attention), 2):
        raise AsmilError(
            "tile scores need one attention value per tile",
            found=f"{np.shape(level0_xy)[0]} tiles, {len(attention)} values",
        )
    columns = (
        np.asarray(attention, dtype=np.float64),
        100 * percentiles(attention),
        times_uniform(attention),
    )
    further = {f"evidence_{name}": np.asarray(values).tolist() for name, values in (evidence or {}).items()}
    side = float(tile_level0_px)
    features = []
    origin = np.asarray(bounds[:2] if bounds else (0, 0))
    rows = zip((np.asarray(level0_xy) - origin).tolist(), *(c.tolist() for c in columns), strict=True)
    for tile, ((x, y), weight, rank, uniform) in enumerate(rows):
        corners = [(x, y), (x + side, y), (x + side, y + side), (x, y + side), (x, y)]
        ring = [[_short(a), _short(b)] for a, b in corners]
        measured = {
            "attention": float(f"{weight:.6g}"),
            "attention_percentile": round(rank, 2),
            "attention_times_uniform": float(f"{uniform:.6g}"),
            **{name: float(f"{values[tile]:.6g}") for name, values in further.items()},
        }
        features.append(
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [ring]},
                "properties": {"objectType": object_type, "measurements": measured},
            }
        )
    said = ({MADE_OF: made_of} if made_of else {}) | ({ORIGIN: list(bounds[:2])} if bounds else {})
    collection = {"type": "FeatureCollection"} | ({"asmil": said} if said else {}) | {"features": features}
    content = json.dumps(collection, separators=(",", ":"), allow_nan=False).encode()
    with written_beside(path) as partial:
        partial.write_bytes(gzip.compress(content, 6, mtime=0) if suffix_of(path) == ".gz" else content)
    return Path(path)


def _short(value: float) -> float:
    """Two decimals, and none of a whole number: a third of the file would be ".0"."""
    return int(value) if value == int(value) else round(value, 2)
