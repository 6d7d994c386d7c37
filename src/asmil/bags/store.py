"""Feature files of any known tool, opened as one set of slides and read as bags."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from asmil.bags.reading.entry import AGAIN, Array, Entry, FeatureInfo, info_of, read_rows
from asmil.bags.reading.places import Place, problem_of, scan
from asmil.bags.reading.source import plain_tensor
from asmil.bags.reading.stored_slide import StoredSlide, doubled_of, require_unlike
from asmil.bags.reading.twins import Fingerprint, find_twins, fingerprint
from asmil.bags.tables import Problem, SlideNames, listed, slide_name
from asmil.encoders import card
from asmil.errors import AsmilError, FeatureError, blaming, require_kind
from asmil.files import path_of, suffix_of
from asmil.shown import Shown, percent

if TYPE_CHECKING:
    from asmil.bags.bag import Bag, StreamedBag

_log = logging.getLogger(__name__)

# What the features of a slide were, told in a megabyte of reading: enough to notice that they changed later.

ROWS, MOST_BYTES = 32, 1 << 20
"""Rows that are looked at, and bytes that are read at most; of a zarr array two rows, however large its chunks."""
BLOCKS, BLOCK_BYTES = 16, 1 << 16
WHOLE = "all:"
"""Begins the digest of a bag of which every row is looked at; until there were such, rows were chosen of any bag."""

ASKED = 3
"""Files that are read for the dimension where none says it unread: of one alone, a wrong one would condemn the rest."""


@dataclass(frozen=True)
class BagContent:
    """A slide's file, its tiles (as they are stored), width, and a digest: of all rows where these fit a megabyte, else
    of some, the first and last among them.

    The digest sees another encoder, other weights, another stain, other tiles, another order of tiles and another type
    of number. It does not see a change that leaves all of the rows that it looks at as they are, nor coordinates. Of
    HDF5 chunks so large that a row costs more than a megabyte it takes bytes as they are stored: there it also sees
    that a file was compressed anew.
    """

    file: str
    tiles: int
    width: int
    digest: str


def content_of(place: Place, *, like: str = "") -> BagContent:
    """The content of the features at a place; the digest by the rule of the one that it is to be `like`.

    Raises:
        FeatureError: the file is damaged.
    """
    if suffix_of(place.path) == ".pt" and (mapped := _mapped_tensor(place.path)) is not None:
        return _content(place, Entry(mapped), like)
    with place.entry() as entry:
        return _content(place, entry, like)


def _content(place: Place, entry: Entry, like: str) -> BagContent:
    tiles, width = entry.features.shape[-2:]
    digest = blake2b(f"{tiles} {width} {entry.features.dtype}".encode(), digest_size=16)
    if entry.keep is not None:
        digest.update(np.asarray(entry.keep).tobytes())
    row_bytes, rows_at_once = _reading(entry.features)
    whole = like.startswith(WHOLE) or not like
    whole &= ceil(tiles / rows_at_once) * row_bytes <= MOST_BYTES
    count = tiles if whole else min(tiles, ROWS, MOST_BYTES // row_bytes)
    if count < 2 <= tiles and isinstance(entry.features, h5py.Dataset):
        for block in _stored_blocks(entry.features):
            digest.update(block)
    else:
        rows = np.unique(np.linspace(0, tiles - 1, max(count, 2)).round().astype(np.int64))
        digest.update(_rows(entry.features, rows).tobytes())
    return BagContent(place.path.name, int(tiles), int(width), WHOLE * whole + digest.hexdigest())


def _reading(array: Array) -> tuple[int, int]:
    """Bytes that are read of a file for one row, and of how many rows these are: it, or the chunks that it lies in."""
    width, chunks = array.shape[-1], getattr(array, "chunks", None)
    if not chunks:
        return max(1, width * array.dtype.itemsize), 1
    return ceil(width / chunks[-1]) * chunks[-1] * chunks[-2] * array.dtype.itemsize, chunks[-2]


def _rows(array: Array, rows: np.ndarray) -> np.ndarray:
    """Rows in rising order, of a (tiles, n) or (1, tiles, n) array."""
    if isinstance(array, np.ndarray | h5py.Dataset):
        return np.asarray(array[0, rows] if array.ndim == 3 else array[rows])
    index = (0, rows) if array.ndim == 3 else (rows,)
    return np.asarray(array.get_orthogonal_selection((*index, slice(None))))


def _stored_blocks(dataset: h5py.Dataset) -> list[bytes]:
    """The two ends of some of the chunks, as they are stored."""
    chunks, blocks = dataset.id.get_num_chunks(), []
    with open(dataset.file.filename, "rb") as file:
        for index in np.unique(np.linspace(0, chunks - 1, min(chunks, BLOCKS)).round().astype(int)):
            info = dataset.id.get_chunk_info(int(index))
            for offset in (0, max(0, info.size - BLOCK_BYTES // 2)):
                file.seek(info.byte_offset + offset)
                blocks.append(file.read(min(info.size, BLOCK_BYTES // 2)))
    return blocks


def _mapped_tensor(path: Path) -> np.ndarray | None:
    """A torch file that is one tensor, mapped; None for anything else, which is read whole."""
    import torch

    try:
        with blaming(FeatureError, f"{path.name} cannot be mapped", fix=AGAIN):
            value = torch.load(path, mmap=True, weights_only=True, map_location="cpu")
            if not isinstance(value, torch.Tensor) or value.layout != torch.strided or value.ndim < 2:
                return None
            if value.dtype == torch.bfloat16:
                return value.detach().view(torch.int16).numpy()
            return plain_tensor(value, path).numpy()
    except FeatureError:
        return None


def seen_in_training(encoder: str | None, slides: Sequence[str]) -> str:
    """A warning where the encoder of this name saw such slides when it was trained, as far as its card says."""
    if not encoder or ":" in encoder:  # those with a colon ask a hub
        return ""
    try:
        seen = card(encoder).seen(slides)
    except AsmilError:  # of another program's encoder there is no card
        return ""
    return f"warning: {seen}" if seen else ""


def open_features(path: str | Path, *, encoder: str | None = None) -> "FeatureStore":
    """Open a folder of feature files (searched recursively) or one file.

    The format of each file is recognised by its content. Only shapes are read, so that a cohort opens in
    seconds. Where slides have features of several encoders or kinds of tiles, in folders or tables of their files,
    `encoder` (the setting `features_encoder`) names those to read: a folder or table, the beginning of its name, or
    both with a slash between; else the encoder that the files themselves say.

    Raises:
        FeatureError: nothing there holds tile features, or those of several encoders or kinds of tiles do; the message
        says what was found.
    """
    return FeatureStore(path, encoder=encoder)


class FeatureStore(Shown):
    """The slides under a path. Files that cannot be used are named in `problems`, never silently left out."""

    def __init__(self, path: str | Path, *, encoder: str | None = None):
        require_kind(encoder, (str, type(None)), called="an encoder", fix="give the name of its folder or table")
        self.path, self.encoder = path_of(path, "a folder of features"), encoder
        if not self.path.exists():
            raise FeatureError("there are no features at this path", found=self.path)
        self.problems: list[Problem]
        self._places, self.problems = scan(self.path, encoder=encoder)
        self.slides: list[str] = sorted(self._places)
        self._names = SlideNames(self.slides)
        if not self.slides:
            fix = self.problems[0].fix if self.problems else ""
            found = (
                listed(self.problems, 1)
                or "no .h5, .pt, .zarr, .npy or .csv file of features; coordinates alone are none"
            )
            raise FeatureError(f"no tile features in {self.path}", found=found, fix=fix or _FOLDER_FIX)
        self.dim: int = self._common_dim()
        self._files = {slide: StoredSlide(slide, place, dim=self.dim) for slide, place in self._places.items()}
        _log.info("%r", self)

    def __len__(self) -> int:
        return len(self.slides)

    def __contains__(self, slide: str) -> bool:
        return len(self._names.find(slide)) == 1

    def facts(self) -> dict[str, object]:
        """Where, how many slides, of which dimension and formats, and how many files were set aside."""
        formats = ", ".join(self.formats)
        return {"path": self.path, "slides": len(self), "dim": self.dim, "format": formats} | (
            {"set aside": len(self.problems)} if self.problems else {}
        )

    @property
    def formats(self) -> dict[str, int]:
        """How many slides are in each format."""
        return dict(Counter(place.format for place in self._places.values()))

    def info(self, slide: str) -> FeatureInfo:
        """What is known about a slide's features; reads coordinates at most.

        Raises:
            FeatureError: no such slide, or its file is damaged.
        """
        name = self._find(slide)
        place = self._places[name]
        with place.entry() as entry:
            return info_of(entry, slide=name, path=place.path, format=place.format)

    def load(
        self, slide: str, *, rows: Sequence[int] | np.ndarray | None = None, slide_mpp: float | None = None
    ) -> "Bag":
        """Read a slide (only the given rows, in the given order) as a bag without label; dtype as stored.

        Coordinates stored in micrometres become level-0 pixels where `slide_mpp`, the um per pixel of level
        0, is given; else the bag has none.

        Raises:
            FeatureError: no such slide, no tiles, another dimension, NaN or infinite values, or a damaged
            file.
        """
        return self._files[self._find(slide)].read(rows, slide_mpp=slide_mpp)

    def stream(
        self,
        slide: str,
        *,
        case: str = "",
        label: int | None = None,
        target: tuple[float, ...] | None = None,
        slide_mpp: float | None = None,
    ) -> "StreamedBag":
        """A slide as a bag that stays in its file: no more than shape and facts are read before it is used.

        Raises:
            FeatureError: no such slide, no tiles, another dimension, or a damaged file.
        """
        return self._files[self._find(slide)].stream(slide_mpp=slide_mpp, case=case, label=label, target=target)

    def repack(self, slide: str, folder: Path) -> None:
        """Have a slide be read from a copy in one piece, in a folder for such copies.

        The copy is made where it is not there yet; features keep their type.

        Raises:
            FeatureError: no such slide, or a damaged file.
        """
        self._files[self._find(slide)].repack(folder)

    def content(self, slide: str, *, like: str = "") -> BagContent:
        """What a slide's features are: file, tiles, width, and a digest that reads a megabyte of them at most.

        `like` is a digest that this one is compared with: it may be of a version that looked at other rows.

        Raises:
            FeatureError: no such slide, or its file is damaged.
        """
        return content_of(self._places[self._find(slide)], like=like)

    def shape(self, slide: str) -> tuple[int, int] | None:
        """Tiles and width as the file says them unread; None where only reading tells."""
        return self._places[self._find(slide)].shape

    def lines(self, slides: Sequence[str]) -> list[str]:
        """How many tiles these slides have, as files say it unread, and whether their encoder knows such slides."""
        counts = [shape[0] for slide in slides if (shape := self.shape(slide)) is not None]
        tiles = f"tiles: not known before the {len(slides):,} files are read"
        if counts:
            low, high, other = min(counts), max(counts), len(slides) - len(counts)
            rest = f"; of {other:,} slides not known unread" if other else ""
            tiles = f"tiles: {sum(counts):,} of {len(counts):,} slides ({low:,} to {high:,}), {self.dim} features{rest}"
        encoder = None
        with suppress(FeatureError):
            encoder = self.info(self.slides[0]).encoder
        return [tiles, *filter(None, [seen_in_training(encoder, slides)])]

    def um_xy(self, slide: str) -> np.ndarray | None:
        """Top-left corners in micrometres, float64 (tiles, 2), or None where the file has no such scale."""
        with self._places[self._find(slide)].entry() as entry:
            scale = entry.um_per_unit or entry.slide_mpp
            if scale is None or (entry.centred and entry.tile_level0_px is None) or not doubled_of(entry)[1]:
                return None
            to_corner = (entry.tile_level0_px or 0.0) / 2 if entry.centred else 0.0
            return (read_rows(entry.coords, entry.keep).astype(np.float64) - to_corner) * scale

    def read_through(
        self, slides: Sequence[str], *, progress: Callable[[int], None] = lambda n: None
    ) -> tuple[dict[str, Fingerprint], list[Problem]]:
        """Read these slides once, one at a time: the fingerprints of the sound ones, and what is wrong with others."""
        from threadpoolctl import threadpool_limits

        prints, found = dict[str, Fingerprint](), list[Problem]()
        with threadpool_limits(1, "blas"):  # several cores wait for each other longer than such products take
            for slide in slides:
                path = self._places[self._find(slide)].path
                try:
                    features = self.array(slide)
                    require_unlike(features, path)
                    doubled, placed = self._files[slide].doubled()
                    prints[slide] = replace(fingerprint(features), doubled=doubled, placed=placed)
                except FeatureError as error:
                    found.append(problem_of(slide, error, path))
                except OSError as error:  # of a chunk that is damaged, say
                    what = f"{path.name} cannot be read ({error})"
                    found.append(Problem(slide, what, "extract the slide again", path))
                progress(1)
        return prints, found

    def array(self, slide: str) -> np.ndarray:
        """The features of a slide as an array that NumPy can work with.

        Raises:
            FeatureError: as `load`.
        """
        return self._files[self._find(slide)].arrays()[0]

    def check(self, *, deep: bool = False) -> list[Problem]:
        """All known problems; `deep` also reads every slide and finds NaN, damage and equal content (`Twin`)."""
        if not deep:
            return list(self.problems)
        prints, found = self.read_through(self.slides)
        twins = []
        for two in find_twins(prints, self.array):
            what = f"has the features of {two.slide} ({percent(two.share, '%')} of the tiles)"
            twins.append(Problem(two.other, what, "keep one of the two"))
        return [*self.problems, *found, *twins]

    def _find(self, slide: str) -> str:
        match self._names.find(slide):
            case [name]:
                return name
            case []:
                own = [problem for problem in self.problems if problem.slide in (slide, slide_name(slide))]
                found = listed(own, 1) or f"slides such as {listed(self.slides, 3)}"
                raise FeatureError(f"there are no features of slide {slide!r} in {self.path}", found=found)
            case several:
                raise FeatureError(f"slide {slide!r} can be several feature files", found=listed(several))

    def _first_dim(self) -> int:
        """The dimension of most of the first slides that can be read, for files whose shape is not known unread."""
        found: Counter[int] = Counter()
        for slide in self.slides:
            try:
                found[self.info(slide).dim] += 1
            except FeatureError as error:
                problem = problem_of(slide, error, self._places[slide].path)
            if found.total() == ASKED:
                break
        if not found:
            raise FeatureError(f"no file in {self.path} can be read", found=problem, fix=_FOLDER_FIX)
        return found.most_common(1)[0][0]

    def _common_dim(self) -> int:
        """The dimension of most slides; slides of another one are set aside."""
        shapes = {slide: place.shape for slide, place in self._places.items() if place.shape is not None}
        if not shapes:
            return self._first_dim()
        dim = Counter(shape[1] for shape in shapes.values()).most_common(1)[0][0]
        for slide, shape in shapes.items():
            if shape[1] != dim:
                self._set_aside(slide, _other_dimension(shape[1], dim))
        return dim

    def try_unread(self, slides: Iterable[str]) -> None:
        """Read these slides where only reading tells their shape, and set aside those of which that fails.

        What other files say of themselves was looked at when the store was opened.
        """
        names = [found[0] for slide in slides if len(found := self._names.find(slide)) == 1]
        for slide in [name for name in names if self._places[name].shape is None]:
            try:
                info = self.info(slide)
            except FeatureError as error:
                self._set_aside(slide, error)
                continue
            if info.dim != self.dim:
                self._set_aside(slide, _other_dimension(info.dim, self.dim))

    def set_aside(self, problems: Iterable[Problem]) -> None:
        """Leave out the slides that these problems are of, and name them from now on."""
        for problem in problems:
            self._places.pop(problem.slide)
            self.problems.append(problem)
        self.slides = sorted(self._places)
        self._names = SlideNames(self.slides)

    def _set_aside(self, slide: str, error: FeatureError) -> None:
        self.set_aside([problem_of(slide, error, self._places[slide].path)])


def _other_dimension(own: int, dim: int) -> FeatureError:
    return FeatureError(f"dimension {own}, most slides have {dim}", fix="extract it with the same encoder")


_FOLDER_FIX = "give the folder of tile features that asmil embed, TRIDENT, CLAM or STAMP wrote"
