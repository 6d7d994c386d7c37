"""The features of one slide in their file: read, streamed, or copied into one piece."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from math import ceil, prod
from mmap import ACCESS_COPY, ALLOCATIONGRANULARITY, mmap
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import h5py
import numpy as np

from asmil.bags.reading.entry import AGAIN, Array, Entry, geometry_of, read_rows
from asmil.bags.reading.places import Place
from asmil.errors import ConfigError, FeatureError
from asmil.files import written_beside
from asmil.units import row_numbers

if TYPE_CHECKING:
    from asmil.bags.bag import Bag, StreamedBag

Stamp: TypeAlias = tuple[int, ...]

FARTHEST = 2.0**40
"""Level-0 pixels, or micrometres: a million slides side by side."""


@dataclass(frozen=True)
class _Span:
    path: Path
    offset: int
    dtype: np.dtype
    shape: tuple[int, ...]

    def map(self, *, writeable: bool = False) -> np.ndarray:
        """The array in its file. What is written to it stays in memory.

        Without NumPy's memmap, which looks its file up by name several times: that takes as long as some 100 tiles.
        """
        start = self.offset % ALLOCATIONGRANULARITY
        length = start + self.dtype.itemsize * prod(self.shape)
        with self.path.open("rb") as file:
            memory = mmap(file.fileno(), length, access=ACCESS_COPY, offset=self.offset - start)
        array: np.ndarray = np.ndarray(self.shape, self.dtype, memory, start)
        array.flags.writeable = writeable
        return array


@dataclass(frozen=True)
class MappedEntry:
    """An entry without its arrays, and the spans of these in their files as they were when these were opened.

    `finite` is whether all of the features were read before and held no NaN or infinite values.
    """

    path: Path
    stamp: Stamp
    facts: Entry
    features: _Span
    coords: _Span | None
    finite: bool = False

    def entry(self, *, view: bool) -> Entry | None:
        """The entry with mapped arrays, or None where the file is no longer the same.

        Only as a `view` the features can be written to, and so only then `read_rows` gives them without a copy.
        """
        if stamp_of(self.path) != self.stamp:
            return None
        coords = self.facts.coords if self.coords is None else self.coords.map()
        return replace(self.facts, features=self.features.map(writeable=view), coords=coords)


def mapped(entry: Entry, path: Path, *, side: float | None) -> MappedEntry | None:
    """The spans of an entry, with the tile `side` that is known of it; None where an array is not in one piece.

    Coordinates that were read with the entry are kept with it.
    """
    features, coords, stamp = _span(entry.features), _span(entry.coords), stamp_of(path)
    kept = entry.coords if coords is None else None
    if features is None or stamp is None or not (kept is None or type(kept) is np.ndarray):
        return None
    facts = replace(entry, features=np.empty(0), coords=kept, tile_level0_px=side, provenance=dict)
    return MappedEntry(path, stamp, facts, features, coords)


def _span(array: Array | None) -> _Span | None:
    if isinstance(array, np.memmap) and isinstance(array.base, mmap) and array.flags.c_contiguous:
        return _Span(Path(str(array.filename)), array.offset, array.dtype, array.shape)
    if not isinstance(array, h5py.Dataset) or array.chunks is not None or array.external:
        return None
    offset = array.id.get_offset()
    return None if offset is None else _Span(Path(array.file.filename), offset, array.dtype, array.shape)


def stamp_of(path: Path) -> Stamp | None:
    """What a file's time, size and inode are: another stamp is another content. None where there is no file."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return (stat.st_mtime_ns, stat.st_size, stat.st_ino)


def repacked(entry: Entry, path: Path, *, folder: Path, key: str) -> Entry:
    """The entry with mapped arrays of a copy in `folder`, made where it is not there: .npy files, types as stored.

    A copy is named by its source's path, time, size and inode; copies of what the source was before are removed.
    """
    source, now = _short(str(path.resolve()), key), _short(str(stamp_of(path)))
    arrays: dict[str, np.ndarray | None] = {}
    for name, array in (("features", entry.features), ("coords", entry.coords)):
        copy = folder / f"{source}.{now}.{name}.npy"
        if array is not None and not copy.exists():
            for old in folder.glob(f"{source}.*.{name}.npy"):
                old.unlink(missing_ok=True)
            with written_beside(copy) as partial:
                np.save(partial, read_rows(array, entry.keep))
        arrays[name] = None if array is None else np.load(copy, mmap_mode="r")
    return replace(entry, features=arrays["features"], coords=arrays["coords"], keep=None)


def _short(*texts: str) -> str:
    return blake2b("\n".join(texts).encode(), digest_size=8).hexdigest()


Rows = Sequence[int] | np.ndarray | None


class StoredSlide:
    """A slide of a store of dimension `dim`. What was learned of the file is kept, its features are not."""

    def __init__(self, slide: str, place: Place, *, dim: int):
        self.slide, self.place, self.dim = slide, place, dim
        self._mapped: MappedEntry | None = None

    def read(self, rows: Rows = None, *, slide_mpp: float | None = None) -> "Bag":
        """See `FeatureStore.load`."""
        return self._bag(rows, slide_mpp=slide_mpp, view=False)

    def stream(self, *, slide_mpp: float | None, **facts: object) -> "StreamedBag":
        """The slide as a bag with these `facts` that stays in its file; only shapes are read."""
        from asmil.bags.bag import StreamedBag

        stamp = stamp_of(self.place.path)
        with self._entry() as (entry, _):
            tiles, side = self._geometry(entry)
            tiles = tiles if entry.keep is None else len(entry.keep)
            return StreamedBag(
                partial(self._unchanged, stamp, slide_mpp=slide_mpp),
                tiles=tiles,
                slide=self.slide,
                **facts,
                tile_level0_px=_side_px(entry, side, slide_mpp),
                mpp=entry.mpp,
                nbytes=tiles * self.dim * entry.features.dtype.itemsize,
                mapped=self._mapped is not None,
            )

    def repack(self, folder: Path) -> None:
        """Read the slide from a copy in this folder from now on, which is made where it is not there yet."""
        with self.place.entry() as entry:
            _, side = self._geometry(entry)
            copy = repacked(entry, self.place.path, folder=folder, key=self.place.key)
            self._mapped = mapped(copy, self.place.path, side=side)

    def _unchanged(self, stamp: Stamp | None, rows: Rows, *, slide_mpp: float | None) -> "Bag":
        if stamp_of(self.place.path) != stamp:
            raise FeatureError(f"{self.place.path.name} was changed while it was in use", fix="run the command again")
        return self._bag(rows, slide_mpp=slide_mpp, view=True)

    def _bag(self, rows: Rows, *, slide_mpp: float | None, view: bool) -> "Bag":
        """The slide as a bag without label; with `view`, whole features stay in a mapped file."""
        import torch

        from asmil.bags.bag import Bag

        features, level0_xy, side, mpp = self.arrays(rows, slide_mpp=slide_mpp, view=view)
        return Bag(
            features=torch.from_numpy(features),
            level0_xy=None if level0_xy is None else torch.from_numpy(level0_xy),
            slide=self.slide,
            tile_level0_px=side,
            mpp=mpp,
        )

    def arrays(
        self, rows: Rows = None, *, slide_mpp: float | None = None, view: bool = False
    ) -> tuple[np.ndarray, np.ndarray | None, float | None, float | None]:
        """What a bag is made of, without torch: features, corners, side of a tile in level-0 pixels, and mpp."""
        with self._entry(view=view) as (entry, finite):
            tiles, side = self._geometry(entry)
            chosen = _chosen_rows(tiles, rows, keep=entry.keep)
            if not finite:
                require_written(entry, self.place.path)
            features = read_rows(entry.features, chosen)
            coords = None if entry.coords is None else read_rows(entry.coords, chosen)
            heaped = coords is not None and (coords == coords[:1]).all() and not doubled_of(entry)[1]
        if not finite:
            check_finite(features, self.place.path)
            if rows is None and self._mapped is not None:
                self._mapped = replace(self._mapped, finite=True)
        if coords is not None and not np.abs(coords.astype(np.float64)).max(initial=0) < FARTHEST:
            found = f"{coords[~(np.abs(coords.astype(np.float64)) < FARTHEST).all(1)][0].tolist()}"
            raise FeatureError(f"{self.place.path.name} has coordinates that are on no slide", found=found, fix=AGAIN)
        if heaped:
            coords = None
        if coords is not None and entry.um_per_unit is not None:
            coords = coords * (entry.um_per_unit / slide_mpp) if slide_mpp else None
        side = _side_px(entry, side, slide_mpp)
        if coords is not None and entry.centred:
            coords = None if side is None else coords - (int(side // 2) if coords.dtype.kind in "iu" else side / 2)
        return features, None if coords is None else _whole(coords), side, entry.mpp

    def doubled(self) -> tuple[int, bool]:
        """See `doubled_of`."""
        with self._entry() as (entry, _):
            return doubled_of(entry)

    @contextmanager
    def _entry(self, *, view: bool = False) -> Iterator[tuple[Entry, bool]]:
        """What the file says, and whether its features are known to be finite.

        From the second time on the file is not opened as HDF5, where that is possible.
        """
        if self._mapped is not None and (known := self._mapped.entry(view=view)) is not None:
            yield known, self._mapped.finite
            return
        with self.place.entry() as entry:
            self._mapped = mapped(entry, self.place.path, side=geometry_of(entry, self.place.path)[2])
            yield entry, False

    def _geometry(self, entry: Entry) -> tuple[int, float | None]:
        """Tiles in the file and their side, as far as the file knows it."""
        tiles, dim, side, _ = geometry_of(entry, self.place.path)
        if dim != self.dim:
            raise FeatureError(f"{self.place.path.name} has dimension {dim}, the other slides {self.dim}")
        return tiles, side


def doubled_of(entry: Entry) -> tuple[int, bool]:
    """How many tiles are at a place that a tile before has, and whether places are known: several tiles at one place
    alone, at (0, 0) say, have none."""
    if entry.coords is None:
        return 0, False
    xy = read_rows(entry.coords, entry.keep).astype(np.float64)
    places = len(np.unique(xy[:, 0] + 1j * xy[:, 1]))
    return len(xy) - places, places > 1 or len(xy) == 1


def require_written(entry: Entry, path: Path) -> None:
    """Raise a FeatureError where chunks of an HDF5 file were never written: they would be read as zeros."""
    for what, array in (("features", entry.features), ("coordinates", entry.coords)):
        if isinstance(array, h5py.Dataset) and array.chunks and not array.is_virtual:
            stored, whole = array.id.get_num_chunks(), prod(map(ceil, np.divide(array.shape, array.chunks)))
            if stored < whole:
                found = f"{stored} of {whole} chunks of the {what}"
                raise FeatureError(f"{path.name} was never finished", found=found, fix="extract the slide again")


def check_finite(features: np.ndarray, path: Path) -> None:
    """Raise a FeatureError that names the first of the tiles with NaN or infinite values, as a model would see them."""
    if features.dtype == np.float64:
        with np.errstate(over="ignore"):
            features = features.astype(np.float32)
    if features.dtype == np.float16:
        # By bit patterns, 6 times as fast as isfinite: exponents all ones are the largest among either sign.
        sound = features.view(np.int16).max() < 0x7C00 and features.view(np.uint16).max() < 0xFC00
    else:
        with np.errstate(over="ignore"):
            features = features.astype(np.float32, copy=False)
        sound = bool(np.isfinite(features).all())
    if not sound:
        tiles = np.flatnonzero(~np.isfinite(features).all(1))
        found = f"{len(tiles)} of {len(features)} tiles, the first in row {tiles[0]}"
        raise FeatureError(f"{path.name} holds NaN or infinite values", found=found, fix="extract the slide again")


def require_unlike(features: np.ndarray, path: Path) -> None:
    """Raise a `FeatureError` where all tiles are the same, as of an encoder that failed: nothing can be learned."""
    if len(features) > 1 and (features[-1] == features[0]).all() and (features == features[0]).all():
        what = f"{path.name} has the same features for all of its {len(features)} tiles"
        raise FeatureError(what, found=f"{features[0][:3].tolist()} ...", fix="extract the slide again")


def _side_px(entry: Entry, side: float | None, slide_mpp: float | None) -> float | None:
    """The tile's side in level-0 pixels; a file in micrometres needs the slide's scale for it.

    Of a file of centres (slideflow) the side in micrometres is a fact and the step of the grid none: its own rounding.
    """
    if entry.centred and entry.tile_um and slide_mpp:
        return float(int(entry.tile_um / slide_mpp))
    if entry.coords is None or entry.um_per_unit is None:
        return side
    return entry.tile_um / slide_mpp if slide_mpp and entry.tile_um else None


def _whole(coords: np.ndarray) -> np.ndarray:
    rounded = coords if coords.dtype.kind in "iu" else np.rint(coords)
    return rounded.astype(np.int64, copy=False)


def _chosen_rows(tiles: int, rows: Rows, *, keep: np.ndarray | None) -> np.ndarray | None:
    if rows is None:
        return keep
    tiles = tiles if keep is None else len(keep)
    try:
        rows = row_numbers(rows, of=tiles)
    except ConfigError as error:
        raise FeatureError("rows must be among the tiles of the slide", found=error.found, fix=error.fix) from error
    if not len(rows):
        raise FeatureError("rows must be among the tiles of the slide, and at least one", found=f"{tiles} tiles")
    return rows if keep is None else keep[rows]
