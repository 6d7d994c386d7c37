"""What a feature file says about one slide, and the reading that all formats share."""

import json
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import h5py
import numpy as np

from asmil.bags.columns import plain
from asmil.bags.tables import listed, slide_name
from asmil.errors import FeatureError, blaming
from asmil.files import Facts
from asmil.units import same_mpp

Array: TypeAlias = h5py.Dataset | np.ndarray | Any
"""Any stands for a `zarr.Array`: zarr is optional."""


@dataclass(frozen=True)
class Entry:
    """One slide in an open feature file, as its format describes it: where the arrays are and what they mean.

    `features` are (tiles, dim) or (1, tiles, dim). `coords` (tiles, 2) are top-left corners (x, y), in
    level-0 pixels, or in units of `um_per_unit` micrometres where that is set. With `centred` they are the
    middles of the tiles instead. `keep` are the rows to use, None for all. `mpp` is the scale the tiles were
    encoded at, `slide_mpp` that of level 0. `quality` names the flags stored for each tile. `provenance` reads
    everything else the file says, which takes longer than reading some tiles does and is therefore left until
    it is asked for.
    """

    features: Array
    coords: Array | None = None
    centred: bool = False
    um_per_unit: float | None = None
    tile_level0_px: float | None = None
    tile_um: float | None = None
    mpp: float | None = None
    slide_mpp: float | None = None
    encoder: str | None = None
    keep: np.ndarray | None = None
    quality: tuple[str, ...] = ()
    provenance: Callable[[], Facts] = dict
    notes: tuple[str, ...] = ()


class FeatureFormat(Protocol):
    """One layout of feature files; `source` is what `opened` gives: `h5py.File`, `ZarrSource`, or a `Path`."""

    suffixes: tuple[str, ...]

    def sniff(self, source) -> bool:
        """Whether the source is of this format; at most one format may say so."""

    def slides(self, source) -> dict[str, Array | None]:
        """Feature arrays by key, unread; None where only reading tells the shape.

        The part of a key after its last slash is the slide's file name; before it may stand a table's name.
        """

    def entry(self, source, key: str) -> Entry:
        """All that the source says about one of its `slides`."""


@dataclass(frozen=True)
class FeatureInfo:
    """What is known about a slide's features without reading them.

    `coordinates` is "level0", "um" (micrometres, slide scale unknown) or None. `tile_level0_px` and `tile_um`
    are the side of a tile; `mpp` the scale of the tiles, `slide_mpp` that of level 0; None where unknown.
    `quality` names the flags stored per tile, `notes` say what was inferred.
    """

    slide: str
    path: Path
    format: str
    tiles: int
    dim: int
    dtype: str
    coordinates: str | None
    tile_level0_px: float | None
    tile_um: float | None
    mpp: float | None
    slide_mpp: float | None
    encoder: str | None
    quality: tuple[str, ...]
    provenance: Facts
    notes: tuple[str, ...]

    @property
    def slide_size(self) -> tuple[int, int] | None:
        """Width and height of the slide in level-0 pixels, where the file says them."""
        said = [self.provenance.get(f"level0_{name}") for name in ("width", "height")]
        try:
            width, height = (int(float(length)) for length in said if length is not None)
        except (TypeError, ValueError):  # one of them only, or no number
            return None
        return width, height

    @property
    def bounds(self) -> tuple[int, int, int, int] | None:
        """The scanned part (x, y, width, height) in level-0 pixels, where the file says that it is not the whole."""
        try:
            x, y, width, height = (int(length) for length in json.loads(str(self.provenance["level0_bounds"])))
        except (LookupError, TypeError, ValueError, OverflowError):
            return None
        return x, y, width, height


def require_one_encoder(infos: Iterable[FeatureInfo]) -> None:
    """Refuse features of several encoders, as far as files say theirs: numbers of the same width are not of one kind.

    Raises:
        FeatureError: the slides of each are counted. `uni` and `uni_v1` count as the same.
    """
    slides: dict[str, list[str]] = {}
    for info in infos:
        slides.setdefault(info.encoder or "", []).append(info.slide)
    said = sorted(filter(None, slides), key=len)
    if any(not plain(name).startswith(plain(said[0])) for name in said):
        raise FeatureError(
            "the features are of several encoders, which cannot be learned from together",
            found="; ".join(f"{name}: {len(slides[name])} slides ({listed(slides[name], 3)})" for name in said),
            fix="give the folder of one encoder, or name it: --features-encoder",
        )


def several_scales(infos: Iterable[FeatureInfo]) -> list[str]:
    """A sentence where files say that tiles are of different scales, or of different width: it is learned from all."""
    infos = list(infos)
    for name, unit in (("mpp", "um/px"), ("tile_um", "um wide")):
        slides: dict[float, list[str]] = {}
        for info in infos:
            if (value := getattr(info, name)) is not None:
                near = next((known for known in slides if same_mpp(known, value, APART)), value)
                slides.setdefault(near, []).append(info.slide)
        if len(slides) > 1:
            told = [
                f"{value:.3g} {unit}: {len(own)} slides ({listed(own, 3)})" for value, own in sorted(slides.items())
            ]
            return [f"tiles are of several scales, and all are learned from: {', '.join(told)}"]
    return []


APART = 0.1
"""Of a scale: how far two are apart that are told; scanners of one objective differ by less."""

AGAIN = "the file is damaged or was never finished: extract the slide again"

UNASKED, MOST_PACKED = 1 << 28, 100
"""Bytes of an array that are read whatever a file's size, and how often its own bytes a larger one may be: features
hardly shrink when they are packed, and what claims more is damaged or made to exhaust memory."""


def require_believable(claimed: int, path: Path) -> None:
    """Raise a `FeatureError` where a file claims arrays of more bytes than it can hold."""
    if claimed <= UNASKED:
        return
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    size = sum(file.stat().st_size for file in files)
    if claimed > MOST_PACKED * size:
        found = f"{claimed:,} bytes in a file of {size:,}"
        raise FeatureError(f"{path.name} claims to hold more than it can", found=found, fix=AGAIN)


def require_array(array: object, path: Path, *, kinds: str, what: str) -> None:
    """Raise a `FeatureError` unless this is an array of such kinds of numbers, no larger than its file can hold."""
    shape, dtype = getattr(array, "shape", None), np.dtype(getattr(array, "dtype", None) or "V")
    if shape is None or dtype.kind not in kinds or (dtype.kind == "f" and dtype.itemsize > 8):
        found = type(array).__name__ if shape is None else f"shape {shape} of {dtype}"
        raise FeatureError(f"{what} in {path.name} are not an array of numbers", found=found, fix=AGAIN)
    parts = getattr(array, "chunks", None) or (0,)
    require_believable(max(math.prod(shape), math.prod(parts)) * dtype.itemsize, path)
    if isinstance(array, h5py.Dataset) and (found := _not_stored(array)):
        raise FeatureError(f"{what} in {path.name} are not all there", found=found, fix="extract the slide again")


def _not_stored(array: h5py.Dataset) -> str:
    """What of a data set HDF5 would make up without a word: files that it is made of, bytes that nobody wrote."""
    if array.is_virtual:
        files = {Path(array.file.filename).parent / part.file_name for part in array.virtual_sources()}
        gone = sorted(str(file) for file in files if not file.exists())
        return f"no file {listed(gone, 3)}" if gone else ""
    stored, whole = array.id.get_storage_size() if not array.chunks else 0, array.size * array.dtype.itemsize
    known = array.chunks or array.external or stored == whole
    return "" if known else f"{stored} bytes of shape {array.shape} of {array.dtype}"


def feature_shape(array: Array, path: Path) -> tuple[int, int]:
    """Number of tiles and dimension of a feature array.

    Raises:
        FeatureError: one vector for the whole slide, no tiles, not a matrix of floats, or more than the file can hold.
    """
    if not hasattr(array, "ndim") or array.shape is None:
        found = f"a {type(array).__name__} without shape"
        raise FeatureError(f"features in {path.name} are no array", found=found, fix=AGAIN)
    shape = array.shape[1:] if array.ndim == 3 and array.shape[0] == 1 else array.shape
    if 0 in shape:
        raise FeatureError(f"{path.name} holds no tiles", found=f"shape {array.shape}", fix="extract the slide again")
    if len(shape) == 1:
        raise slide_level(path, f"shape {array.shape}")
    if len(shape) == 2 and array.dtype.kind in "iub":
        found = f"shape {array.shape} of {array.dtype}" + (f"; its own: {own}" if (own := _scales(array)) else "")
        fix = "save what they stand for as float16 or float32: (number - offset) * scale, as whoever made them says"
        raise FeatureError(f"features in {path.name} are whole numbers, as of quantised features", found=found, fix=fix)
    if len(shape) != 2 or array.dtype.kind != "f":
        found, fix = f"shape {array.shape} of {array.dtype}", "save one row of float16 or float32 for each tile"
        raise FeatureError(f"features in {path.name} are not a (tiles, dim) matrix of floats", found=found, fix=fix)
    require_array(array, path, kinds="f", what="features")
    return shape[0], shape[1]


_SCALE = re.compile("scal|offset|zero_?point|quanti", re.IGNORECASE)


def _scales(array: Array) -> str:
    """What is said beside an array under such names; there is no one way in which they are meant."""
    if not hasattr(array, "attrs"):
        return ""
    group = [array.parent] if isinstance(array, h5py.Dataset) else []
    said = [f"{name} {value}" for name, value in attributes(array, *group).items() if _SCALE.search(name)]
    return listed([*said, *(name for held in group for name in held if _SCALE.search(name))])


class OneVectorError(FeatureError):
    """A file holds one vector per slide or patient; beside features of the same slide's tiles this is no fault."""


def slide_level(path: Path, found: str) -> FeatureError:
    """The error for a file that holds one vector per slide or patient."""
    fix = "point at the folder of tile features (TRIDENT: features_<encoder>, not slide_features_<encoder>)"
    return OneVectorError(f"{path.name} holds one vector for the whole slide, not tiles", found=found, fix=fix)


def geometry_of(entry: Entry, path: Path) -> tuple[int, int, float | None, tuple[str, ...]]:
    """Tiles, dimension and tile side in level-0 pixels, and notes, the side taken from the coordinates if unsaid.

    Raises:
        FeatureError: features and coordinates contradict each other.
    """
    tiles, dim = feature_shape(entry.features, path)
    side, notes = entry.tile_level0_px, entry.notes
    if entry.coords is not None:
        require_array(entry.coords, path, kinds="iuf", what="coordinates")
        if entry.coords.shape not in ((tiles, 2), (1, tiles, 2)):
            found = f"features {entry.features.shape}, coordinates {entry.coords.shape}"
            raise FeatureError(f"{path.name}: features and coordinates differ in their tiles", found=found)
        if side is None and entry.um_per_unit is None:
            side = modal_stride(read_rows(entry.coords))
            if side is not None:
                notes = (*notes, TILES_NOTE if side == 1 else STRIDE_NOTE.format(side))
    return tiles, dim, side, notes


STRIDE_NOTE = "tile side {:g} px is the usual distance of neighbours: too small if tiles overlap"
TILES_NOTE = "neighbours are 1 px apart: places that count tiles and not pixels of level 0 are read as pixels"


def info_of(entry: Entry, *, slide: str, path: Path, format: str) -> FeatureInfo:
    """The facts of an entry, its consistency checked and a missing tile side taken from the coordinates."""
    tiles, dim, side, notes = geometry_of(entry, path)
    where = None if entry.coords is None else "level0" if entry.um_per_unit is None else "um"
    tile_um = entry.tile_um
    if tile_um is None and side is not None and entry.slide_mpp is not None:
        tile_um = side * entry.slide_mpp
    return FeatureInfo(
        slide=slide,
        path=path,
        format=format,
        tiles=tiles if entry.keep is None else len(entry.keep),
        dim=dim,
        dtype=str(entry.features.dtype.newbyteorder("=")),
        coordinates=where,
        tile_level0_px=side,
        tile_um=tile_um,
        mpp=entry.mpp,
        slide_mpp=entry.slide_mpp,
        encoder=entry.encoder if isinstance(entry.encoder, str) else None,
        quality=entry.quality,
        provenance=entry.provenance(),
        notes=notes,
    )


def read_rows(array: Array, rows: np.ndarray | None = None) -> np.ndarray:
    """Rows of a (tiles, n) or (1, tiles, n) array in the asked order, all if None; dtype as stored, in this machine's
    order of bytes, as torch has no other."""
    read = _read_rows(array, rows)
    return read.astype(read.dtype.newbyteorder("="), copy=False)


def _read_rows(array: Array, rows: np.ndarray | None) -> np.ndarray:
    single = array.ndim == 3
    if rows is None:
        whole = np.asarray(array[0] if single else array[()])
        return whole if whole.flags.writeable else whole.copy()  # a mapped file is read here
    if isinstance(array, np.ndarray):
        return array[0][rows] if single else array[rows]
    if not isinstance(array, h5py.Dataset):  # zarr decodes whole chunks anyway
        return read_rows(array)[rows] if single else array.get_orthogonal_selection((rows, slice(None)))
    if array.chunks is None and array.id.get_offset() is not None:
        # Mapping a contiguous data set reads 512 of 15,000 rows in a tenth of the time of an HDF5 selection.
        mapped = np.memmap(array.file.filename, array.dtype, "r", offset=array.id.get_offset(), shape=array.shape)
        return np.array(mapped[0][rows] if single else mapped[rows])
    unique, inverse = np.unique(rows, return_inverse=True)
    if 40 * len(unique) > array.shape[-2]:  # a row in an HDF5 selection costs as much as some 40 in a plain read
        return read_rows(array)[rows]
    return (array[0, unique] if single else array[unique])[inverse]


def modal_stride(xy: np.ndarray) -> float | None:
    """Most frequent distance of neighbours within a row or column, or None where no two tiles share one.

    Looking within rows and columns keeps grids apart that start anew in each tissue contour (CLAM).
    """
    steps = []
    for along, across in ((0, 1), (1, 0)):
        ordered = xy[np.lexsort((xy[:, along], xy[:, across]))]
        same = np.diff(ordered[:, across]) == 0
        steps.append(np.diff(ordered[:, along])[same])
    values, counts = np.unique(np.rint(np.concatenate(steps)), return_counts=True)
    values, counts = values[values > 0], counts[values > 0]
    return float(values[counts.argmax()]) if len(values) else None


def attributes(*holders) -> Facts:
    """HDF5 attributes as plain Python values; the first holder wins; the string "None" counts as absent."""
    found: Facts = {}
    for holder in holders:
        for name, value in holder.attrs.items() if holder is not None else ():
            value = value.decode() if isinstance(value, bytes) else value
            value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
            if value is not None and value != "None":
                found.setdefault(name, value)
    return found


def number(attributes, *names: str) -> float | None:
    """The first of the named attributes that can be a length, a scale or a factor, or None."""
    for name in names:
        value = attributes.get(name)
        if isinstance(value, list | tuple | np.ndarray):
            value = value[0] if len(value) else None
        if isinstance(value, int | float | np.integer | np.floating) and 1e-9 < value < 1e9:
            return float(value)
    return None


def stored_side(facts: Facts) -> float | None:
    """The side of a tile in level-0 pixels that the attributes of coordinates state, or None.

    TRIDENT and others store it as `patch_size_level0`. CLAM and mussel store `patch_size` in pixels of `patch_level`,
    so it is multiplied by that level's downsample, and by `custom_downsample` in CLAM's older files.
    """
    side, patch_px = number(facts, "patch_size_level0"), number(facts, "patch_size")
    if side is not None or patch_px is None or "patch_level" not in facts:
        return side
    if number(facts, "patch_level") and "downsample" not in facts:
        return None
    return patch_px * (number(facts, "downsample") or 1.0) * (number(facts, "custom_downsample") or 1.0)


def file_key(file_name: str, encoder: object) -> str:
    """The key of the one slide in a file: of `x.uni.h5` whose encoder is uni (raw2features) it is `uni/x`."""
    name = slide_name(file_name)
    own = name.removesuffix(f".{encoder}")
    return f"{encoder}/{own}" if own and own != name and "/" not in str(encoder) else name


def patches_beside(feature_file: str | Path) -> tuple[np.ndarray, float | None] | None:
    """Of the coordinate file in `patches/` of a folder above: corners in level-0 pixels (tiles, 2), and the tile side.

    None where there is no such file. mussel writes its own, `<slide>.patch.h5`, beside the features,
    torchmil keeps them in `coords/`.
    """
    own = Path(feature_file)
    names = (f"{own.stem}_patches.h5", f"{own.stem}.h5")
    places = [folder / "patches" / name for folder in own.parents[:3] for name in names]
    places += [
        own.with_name(f"{slide_name(own.name)}.patch.h5"),
        *(up / "coords" / own.name for up in own.parents[1:3]),
    ]
    path = next((place for place in places if place.is_file() and place != own), None)
    if path is None:
        return None
    with (
        blaming(FeatureError, f"{path} beside {own.name} cannot be read", fix="write the coordinates again"),
        h5py.File(path, "r", locking="best-effort") as file,
    ):
        side = stored_side({"patch_level": 0} | attributes(file["coords"]))
        require_array(file["coords"], path, kinds="iuf", what="coordinates")
        return file["coords"][()], side
