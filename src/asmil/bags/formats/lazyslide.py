"""LazySlide (wsidata): a SpatialData zarr per slide with a table of features per encoder and the tiles as shapes."""

import io

import numpy as np

from asmil.bags.reading.entry import Array, Entry, number, require_believable
from asmil.bags.reading.source import ZarrSource, is_array, member, whole
from asmil.errors import FeatureError


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
        features, downsample = whole(table["X"], source), number(spec, "base_downsample")
        width = number(spec, "width")
        corners, notes = _corners(source, region, whole(table["obs"]["tile_id"], source)[()])
        return Entry(
            features=features,
            coords=corners,
            tile_level0_px=float(int(width * downsample)) if width and downsample else None,
            mpp=number(spec, "mpp"),
            slide_mpp=number(slide, "mpp"),
            encoder=name.removesuffix(f"_{region}"),
            provenance=lambda: spec | {f"slide_{name}": value for name, value in slide.items() if name != "raw"},
            notes=notes,
        )


def _corners(source: ZarrSource, region: str, ids: np.ndarray) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Top-left corners in level-0 pixels in the order of the table's rows, from the parquet file of the shapes."""
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        return None, ("the places of the tiles are in a parquet file: pip install 'asmil[lazyslide]' to read them",)
    shapes = parquet.ParquetFile(io.BytesIO(_shapes(source, region)))
    require_believable(3 * 8 * shapes.metadata.num_rows, source.path)  # a run of equal numbers takes no room
    table = shapes.read(columns=["tile_id", "x", "y"])
    known = np.asarray(table["tile_id"])
    order = np.argsort(known, kind="stable")
    at = np.searchsorted(known, ids, sorter=order)
    rows = order[np.minimum(at, len(order) - 1)] if len(order) else order
    if len(rows) != len(ids) or not np.array_equal(known[rows], ids):
        found = f"{len(ids)} rows of features, {len(known)} tiles in shapes/{region}"
        raise FeatureError(f"{source.path.name}: features and shapes differ in their tiles", found=found)
    return np.stack([np.asarray(table["x"])[rows], np.asarray(table["y"])[rows]], axis=1).astype(np.int64), ()


def _shapes(source: ZarrSource, region: str) -> bytes:
    """The parquet file that lies within the zarr, which zarr's store hands out as bytes."""
    from zarr.core.sync import sync

    place = source.group.store_path / "shapes" / region / "shapes.parquet"
    data = sync(place.get())
    if data is None:
        raise FeatureError(f"{source.path.name} has no shapes of its tiles", found=str(place))
    return data.to_bytes()


FORMAT = _Lazyslide()
