"""Where the model looked: which slides to show, their heatmaps, and their top and bottom tiles."""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from shapely.geometry.base import BaseGeometry

from asmil.annotations import AnnotationError, Annotations, MaskLabels, find_annotation, read_annotations
from asmil.attention import is_even
from asmil.errors import AsmilError, RunError, SlideError, did_you_mean
from asmil.figures import (
    EVEN_WORDS,
    evidence_limit,
    heatmap_panels,
    image_data_uri,
    length_text,
    made_of,
    panels_figure,
    plain_number,
    range_text,
    raw_limits,
    scale_bar_um,
    slide_maps,
    tile_scores_geojson,
    tile_strip,
    times_uniform,
    write_png,
)
from asmil.files import Facts, suffix_of
from asmil.report.slides import decided, has_threshold
from asmil.report.words import sentence
from asmil.runs import Run, TilePlaces, picture_of
from asmil.slides import slide_named

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = (".png", ".geojson")
STRIP_TILES, STRIP_TILE_PX = 6, 112
VIEW_PX, VIEW_QUALITY = 400, 72
"""Of the pictures in a page, which are shown at 250 px: a slide takes about 200 kB."""
MOST_BYTES = 12_000_000
"""Of pictures in a page: with a megabyte of numbers and the third that mail adds it stays below 20 MB."""
NO_TILES = "Neither the slide nor a thumbnail of it is at hand, so that its tiles are not shown."


def write_heatmaps(
    run: Run | str | Path,
    slides: Iterable[str] | None = None,
    *,
    kinds: Sequence[str] = KINDS,
    partial: bool = False,
) -> list[Path]:
    """Write figures/<slide>.png and figures/<slide>.geojson from the stored features and attention of a run.

    Nothing is extracted or predicted again: the maps are those the predictions were made with. A file that is made of
    the same attention, places, features, weights, thumbnail and annotation already is left as it is (`RunSlide.stamp`).

    Args:
        slides: names of slides; None means every slide that has attention and coordinates.
        kinds: ".png", ".geojson" and ".geojson.gz", which is the same in a tenth of the space.
        partial: of an unfinished run, draw what its finished models saw.

    Returns:
        The files, as many per slide as there are kinds.

    Raises:
        RunError: the run is not finished or not evaluated; features changed after training; a slide asked for by name
            has no attention, or no coordinates, in it.
    """
    run = Run.open(run)
    run.require_results(partial=partial)
    names = list(run.predictions["slide"] if slides is None else slides)
    run.require_features(names)
    # most of the time goes into resizing and compressing, which leave the interpreter to other threads
    with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, 4)) as pool:
        pairs = list(pool.map(lambda slide: _write_heatmap(run, slide, kinds), names))
    lost = [name for name, pair in zip(names, pairs, strict=True) if not pair]
    if slides is not None and lost:
        known, fix = (
            list(run.predictions["slide"]),
            "name a slide that the run predicted, and whose features are at hand",
        )
        raise RunError(
            f"{', '.join(lost)} has no heatmap in {run.folder}",
            found="no attention or no tile coordinates",
            fix=fix if lost[0] in known else did_you_mean(lost[0], known) or fix,
        )
    return [path for pair in pairs for path in pair]


def _stamp(run: Run, slide: str) -> str | None:
    """What decides the picture of a slide."""
    settings = run.settings
    drawn = find_annotation(settings.annotations, slide) if settings.annotations else None
    marked = settings.positive, settings.exclude_class, settings.mask_class, settings.mask_mpp
    return run.slide(slide).stamp(class_shown(run, slide), run.classes, *marked, files=[drawn])


def _write_heatmap(run: Run, slide: str, kinds: Sequence[str]) -> tuple[Path, ...]:
    """Picture and tile scores of one slide; nothing where attention or coordinates are absent."""
    found = attention_and_tiles(run, slide)
    if found is None:
        return ()
    attention, tiles = found
    files, stamp = {kind: run.figure_file(slide, kind) for kind in kinds}, _stamp(run, slide)
    missing = [kind for kind, path in files.items() if made_of(path) != stamp]
    if not missing:
        return tuple(files.values())
    outlines, points = marks(run, slide)
    draw_heatmap(
        run.figure_file(slide),
        tiles,
        attention,
        title=slide,
        thumbnail=run.thumbnail_file(slide),
        outlines=outlines,
        points=points,
        evidence=evidence_by_class(run, slide)[0],
        shown=class_shown(run, slide),
        kinds=missing,
        stamp=stamp or "",
    )
    return tuple(files.values())


def evidence_by_class(run: Run, slide: str) -> tuple[dict[str, np.ndarray], str]:
    """Evidence (tiles,) of a slide for each class, or none, and why there is none."""
    try:
        return dict(zip(run.classes, run.slide(slide).evidence.T, strict=True)), ""
    except AsmilError as error:
        return {}, str(error).replace(f"{run.folder}/", "")  # the page is the same wherever the run lies


def class_shown(run: Run, slide: str) -> str | None:
    """The class that a map of evidence is of: of two classes the second on all slides, of more the predicted one."""
    if len(run.classes) <= 2:
        return run.classes[-1] if run.classes else None
    table = run.predictions
    return str(table["predicted"][table["slide"] == slide].iloc[0])


def draw_heatmap(
    stem: Path,
    tiles: TilePlaces,
    attention: np.ndarray,
    *,
    title: str,
    thumbnail: Path,
    outlines: Sequence[BaseGeometry] | None = None,
    points: np.ndarray | None = None,
    evidence: Mapping[str, np.ndarray] | None = None,
    shown: str | None = None,
    kinds: Sequence[str] = KINDS,
    stamp: str = "",
) -> tuple[Path, ...]:
    """Write the picture of a slide under its attention, <stem>.png, and its tiles for QuPath, <stem>.geojson.

    `evidence` (tiles,) by class is written for all of them, and drawn for the class `shown`. Without a thumbnail there
    are the maps alone. `kinds` are as for `write_heatmaps`, `stamp` is kept in the files.
    """
    paths = tuple(Path(f"{stem}{kind}") for kind in kinds)
    for path in paths:
        if suffix_of(path) == ".png":
            continue
        tile_scores_geojson(
            path,
            tiles.level0_xy,
            attention,
            tile_level0_px=tiles.tile_level0_px,
            evidence=evidence,
            bounds=tiles.bounds,
            made_of=stamp,
        )
    if ".png" not in kinds:
        return paths
    own = None if not evidence or shown is None else evidence[shown]
    maps = _maps((attention, tiles), thumbnail, outlines=outlines, points=points, evidence=own)
    said = None if own is None or shown is None else (own, shown)
    picture = heatmap_panels(
        maps, attention, even=is_even(attention), evidence=said, width_um=tiles.width_um, title=title
    )
    write_png(picture, paths[list(kinds).index(".png")], made_of=stamp)
    return paths


def slide_figure(run: Run, slide: str) -> "Figure":
    """The slide, its percentile map, its raw map and its evidence, as a figure of matplotlib.

    Raises:
        RunError: the slide has no attention, or no coordinates.
    """
    if slide not in run.cohort["slide"].tolist():
        raise RunError(f"{slide} is no slide of {run.folder}", fix=did_you_mean(slide, run.cohort["slide"]) or None)
    if (found := attention_and_tiles(run, slide)) is None:
        raise RunError(f"{slide} cannot be drawn", found="no attention, or no coordinates of its tiles at hand")
    shown, by_class = class_shown(run, slide), evidence_by_class(run, slide)[0]
    said = (by_class[shown], shown) if by_class and shown is not None else None
    maps = drawn(run, slide, found, evidence=said and said[0])
    return panels_figure(maps, found[0], even=is_even(found[0]), evidence=said, title=slide)


def attention_and_tiles(run: Run, slide: str) -> tuple[np.ndarray, TilePlaces] | None:
    """Attention (tiles,) and geometry of a slide, or None where either is absent.

    Raises:
        RunError: they are of different length: the features are not those of the run.
    """
    own = run.slide(slide)
    tiles = own.tiles
    attention = None if tiles is None else own.attention
    if attention is None or tiles is None:
        return None
    if len(attention) != len(tiles.level0_xy):
        raise RunError(
            f"attention and features of {slide} disagree",
            found=f"{len(attention)} attention values, {len(tiles.level0_xy)} tiles",
            fix="report with the feature files the run was trained on",
        )
    return attention, tiles


def drawn(
    run: Run, slide: str, found: tuple[np.ndarray, TilePlaces], *, evidence: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """The slide, where it has a thumbnail, and its maps with the annotation, as `slide_maps` gives them."""
    outlines, points = marks(run, slide)
    return _maps(found, run.thumbnail_file(slide), outlines=outlines, points=points, evidence=evidence)


def _maps(
    found: tuple[np.ndarray, TilePlaces],
    thumbnail: Path,
    *,
    outlines: Sequence[BaseGeometry] | None,
    points: np.ndarray | None,
    evidence: np.ndarray | None,
) -> dict[str, np.ndarray]:
    attention, tiles = found
    maps = slide_maps(
        picture_of(thumbnail, tiles.slide_size),
        tiles.level0_xy,
        attention,
        tile_level0_px=tiles.tile_level0_px,
        slide_size=tiles.slide_size,
        outlines=outlines,
        points=points,
        even=is_even(attention),
        evidence=evidence,
    )
    return {name: picture for name, picture in maps.items() if name != "slide" or thumbnail.is_file()}


def marks(run: Run, slide: str) -> tuple[list[BaseGeometry] | None, np.ndarray | None]:
    """Outlines and points (level-0 pixels) of the positive classes, or of all where none is set, or None."""
    folder = run.settings.annotations
    path = find_annotation(folder, slide) if folder else None
    if path is None:
        return None, None
    try:
        annotations = _annotations(run, slide, path)
    except AnnotationError:  # metrics.json names it as set aside
        return None, None
    names = run.settings.positive or list(annotations.classes)
    area, points = annotations.area_of(names, exclude=run.settings.exclude_class), annotations.points_of(names)
    return (None if area.is_empty else [area]), (points if len(points) else None)


def _annotations(run: Run, slide: str, path: Path) -> Annotations:
    tiles, settings = run.slide(slide).tiles, run.settings
    labels = MaskLabels.parsed(settings.mask_class, mpp=settings.mask_mpp)
    size, mpp = (tiles.stated_size, tiles.slide_mpp) if tiles else (None, run.slide(slide).mpp)
    bounds = tiles.bounds if tiles else None
    return read_annotations(path, slide_size=size, slide_mpp=mpp, bounds=bounds, labels=labels)


def slide_views(run: Run, slides: Iterable[str], *, room: float = math.inf, most: int | None = None) -> list[Facts]:
    """What the template shows of slides: pictures as data URIs, facts as text.

    Of those that have attention and coordinates, in their order: `most` of them, as far as their pictures fit into
    `room` bytes.
    """
    table = decided(run) if run.classes else run.predictions
    rows = {row["slide"]: row for _, row in table.iterrows()}
    views: list[Facts] = []
    for slide in slides:
        if len(views) == most:
            break
        if (found := attention_and_tiles(run, slide)) is None:
            continue
        view = _view(run, rows[slide], found)
        room -= size_of(view)
        if room < 0:
            break
        views.append(view)
    return views


def size_of(view: Facts) -> int:
    """Bytes that the pictures of a slide take in a page."""
    return sum(map(len, view["pictures"].values())) + sum(len(strip["picture"]) for strip in view["strips"])


def _view(run: Run, row: pd.Series, found: tuple[np.ndarray, TilePlaces]) -> Facts:
    slide, (attention, tiles) = row["slide"], found
    by_class, why = evidence_by_class(run, slide)
    own, shown = by_class.get(class_shown(run, slide) or ""), class_shown(run, slide)
    pictures = drawn(run, slide, found, evidence=own)
    even = is_even(attention)
    strips = _strips(run, slide, found, own, even=even)
    untold = not strips and not (even and own is None)
    height, width = pictures["raw"].shape[:2]
    low, high = raw_limits(attention)
    view: Facts = {
        "slide": slide,
        "wrong": row["wrong"] if run.classes else None,
        "says": sentence("slides", "view", run=run, row=row.to_dict(), at_threshold=has_threshold(run)),
        "tiles": len(attention),
        "raw_colours": f"{low:.3g} – {high:.3g}×",
        "raw_range": range_text(attention),
        "even": EVEN_WORDS if even else "",
        "evidence": None if own is None else {"of": shown, "end": f"{evidence_limit(own):.2g}"},
        "missing": [*([why] if why and run.classes else []), *([NO_TILES] if untold else [])],
        "annotated": any(mark is not None for mark in marks(run, slide)),
        "pictures": {
            name: image_data_uri(picture, max_px=VIEW_PX, quality=VIEW_QUALITY) for name, picture in pictures.items()
        },
        "strips": strips,
        "aspect": width / height,
        "bar": None,
    }
    if tiles.width_um:
        um = scale_bar_um(tiles.width_um)
        view["bar"] = {"percent": 100 * um / tiles.width_um, "text": length_text(um)}
    return view


def _strips(
    run: Run, slide: str, found: tuple[np.ndarray, TilePlaces], evidence: np.ndarray | None, *, even: bool
) -> list[Facts]:
    """Rows of tiles: of most and least attention where it prefers any, and of most evidence either way."""
    attention, tiles = found
    uniform = times_uniform(attention)
    wanted = (
        {} if even else {"Most attention": (attention, uniform, "×"), "Least attention": (-attention, uniform, "×")}
    )
    if evidence is not None:
        name = class_shown(run, slide)
        wanted |= {
            f"Most evidence for {name}": (evidence, evidence, ""),
            f"Most evidence against {name}": (-evidence, evidence, ""),
        }
    orders = {title: np.argsort(-by, kind="stable")[:STRIP_TILES] for title, (by, _, _) in wanted.items()}
    if not orders:
        return []
    cut = iter(pictures := cut_tiles(run, slide, tiles=tiles, indices=np.concatenate(list(orders.values()))))
    strips: list[Facts] = []
    if not pictures:
        return strips
    for title, (_, shown, unit) in wanted.items():
        digits = "{:.3g}" if unit else "{:.2g}"
        values = [float(digits.format(shown[i])) for i in orders[title]]
        # of evidence the sign is what it says
        captions = [f"{'+' if value > 0 and not unit else ''}{plain_number(value)}{unit}" for value in values]
        strip = tile_strip([next(cut) for _ in captions], captions, tile_px=STRIP_TILE_PX)
        strips.append({"title": title, "picture": image_data_uri(strip)})
    return strips


def cut_tiles(run: Run, slide: str, *, tiles: TilePlaces, indices: np.ndarray) -> list[np.ndarray]:
    """Pictures uint8 (h, w, 3) of some tiles: from the slide where it is at hand and readable, else the thumbnail; none
    where there is neither."""
    boxes = tiles.level0_xy[indices]
    file = slide_named(slide, run.slide_files)
    if file is not None and tiles.slide_mpp is not None:
        side_um = tiles.tile_level0_px * tiles.slide_mpp
        size_px = max(min(round(tiles.tile_level0_px), STRIP_TILE_PX), 1)
        # the report of a finished run must not depend on slides that were moved or damaged since
        with suppress(SlideError), file.open(mpp=tiles.slide_mpp) as opened:
            return [opened.read(corner, size_px, mpp=side_um / size_px) for corner in boxes.round().astype(int)]
    thumbnail = run.thumbnail_file(slide)
    return _from_thumbnail(picture_of(thumbnail, tiles.slide_size), boxes, tiles=tiles) if thumbnail.is_file() else []


def _from_thumbnail(thumbnail: np.ndarray, boxes: np.ndarray, *, tiles: TilePlaces) -> list[np.ndarray]:
    height, width = thumbnail.shape[:2]
    per_px = np.array([width / tiles.slide_size[0], height / tiles.slide_size[1]])
    low = np.clip(np.floor(boxes * per_px), 0, [width - 1, height - 1]).astype(int)
    high = np.clip(np.ceil((boxes + tiles.tile_level0_px) * per_px), low + 1, [width, height]).astype(int)
    return [thumbnail[y0:y1, x0:x1] for (x0, y0), (x1, y1) in zip(low, high, strict=True)]
