"""LazySlide (wsidata): a SpatialData zarr per slide with a table of features per encoder and the tiles as shapes."""

import io

import numpy as np

from asmil.bags.reading.entry import AGAIN, Array, Entry, number, require_believable
from asmil.bags.reading.source import ZarrSource, is_array, member, whole
from asmil.bags.tables import listed
from asmil.errors import FeatureError

BOX_BYTES = 8 + 93
"""A tile's number, and its box as a polygon of five points in WKB."""


class _Lazyslide:
    suffixes = (".zarr", ".zip")

    def sniff(self, source: ZarrSource) -> bool:
        return "slide_properties" in source.group.attrs or "tables" in source.group

    def slides(self, source: ZarrSource) -> dict[str, Array | None]:
        tables = dict(source.group["tables"].groups()) if "tables" in source.group else {}
        found = {name: member(table, "X") for name, table in tables.items() if member(table, "obs", "tile_id")}
        found = {name: array for name, array in found.items() if is_array(array)}
        if not found:
            fix = "extract features first: zs.tl.feature_extraction(wsi, model)"
            raise FeatureError(f"{source.path.name} holds no table of tile features", found=sorted(tables), fix=fix)
        return {f"{table}/{source.file_name}": array for table, array in found.items()}

    def entry(self, source: ZarrSource, key: str) -> Entry:
        name = key.partition("/")[0]
        table = source.group["tables"][name]
        region = table.attrs.get("region", "tiles")
        region = region if isinstance(region, str) else region[0]
        spec = source.group.attrs.get("tile_spec", {}).get(region, {})
        slide = source.group.attrs.get("slide_properties", {})
        downsample, width = number(spec, "base_downsample"), number(spec, "width")
        ids = whole(table["obs"]["tile_id"], source)[()]
        corners, side, notes = _boxes(source, region, ids)
        if side is None and width and downsample:
            side = float(int(width * downsample))
        return Entry(
            features=whole(table["X"], source),
            coords=corners,
            tile_level0_px=side,
            mpp=number(spec, "mpp"),
            slide_mpp=number(slide, "mpp"),
            encoder=name.removesuffix(f"_{region}"),
            provenance=lambda: spec | {f"slide_{name}": value for name, value in slide.items() if name != "raw"},
            notes=notes,
        )


def _boxes(source: ZarrSource, region: str, ids: np.ndarray) -> tuple[np.ndarray | None, float | None, tuple[str, ...]]:
    """Top-left corners in level-0 pixels in the order of the table's rows, the tiles' side, and notes.

    They are in the parquet file of the shapes, as boxes (WKB) and, where wsidata alone wrote it, as columns x and y.
    """
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        return (
            None,
            None,
            ("the places of the tiles are in a parquet file: pip install 'asmil[lazyslide]' to read them",),
        )
    moved = [to.get("type") for to in source.group["shapes"][region].attrs.get("coordinateTransformations", ())]
    if set(moved) - {"identity"}:
        return None, None, (f"shapes/{region} lies in other coordinates than the slide ({listed(moved)}): not read",)
    shapes = parquet.ParquetFile(io.BytesIO(_shapes(source, region)))
    require_believable(BOX_BYTES * shapes.metadata.num_rows, source.path)  # a run of equal numbers takes no room
    columns = [name for name in ("tile_id", "x", "y", "geometry") if name in shapes.schema_arrow.names]
    if "tile_id" not in columns or not ("geometry" in columns or {"x", "y"} <= set(columns)):
        what, found = f"shapes/{region} of {source.path.name} do not say where tiles are", shapes.schema_arrow.names
        raise FeatureError(what, found=f"columns {listed(found)}", fix="write it with wsidata: tile_id, and geometry")
    table = shapes.read(columns=columns)
    rows = _rows_of(ids, np.asarray(table["tile_id"]), f"{source.path.name}: shapes/{region}")
    corners, side = None, None
    if "geometry" in columns:
        import shapely  # here, because every store looks at all formats

        boxes = shapely.bounds(shapely.from_wkb(table["geometry"].to_pylist()))[rows]
        sides = np.unique(boxes[:, 2:] - boxes[:, :2])
        corners, side = boxes[:, :2], float(sides[0]) if len(sides) == 1 else None
    if {"x", "y"} <= set(columns):
        corners = np.stack([np.asarray(table["x"])[rows], np.asarray(table["y"])[rows]], axis=1)
    if corners is None or not np.isfinite(corners).all():
        raise FeatureError(f"shapes/{region} of {source.path.name} hold tiles without a place", fix=AGAIN)
    return np.rint(corners).astype(np.int64), side, ()


def _rows_of(ids: np.ndarray, known: np.ndarray, what: str) -> np.ndarray:
    """Where each of the tiles is among those that are known.

    Raises:
        FeatureError: one of them is not.
    """
    order = np.argsort(known, kind="stable")
    at = np.searchsorted(known, ids, sorter=order)
    rows = order[np.minimum(at, len(order) - 1)] if len(order) else order
    if len(rows) != len(ids) or not np.array_equal(known[rows], ids):
        found = f"{len(ids)} rows of features, {len(known)} tiles with a place"
        raise FeatureError(f"{what} and the features differ in their tiles", found=found)
    return rows


def _shapes(source: ZarrSource, region: str) -> bytes:
    """The parquet file that lies within the zarr, which zarr's store hands out as bytes."""
    from zarr.core.sync import sync

    place = source.group.store_path / "shapes" / region / "shapes.parquet"
    data = sync(place.get())
    if data is None:
        raise FeatureError(f"{source.path.name} has no shapes of its tiles", found=str(place))
    return data.to_bytes()


FORMAT = _Lazyslide()
