"""The same slide under two names: told by a few numbers of each bag, also where it was saved anew or cropped.

Every tile has keys, and of each bag the smallest are kept (min-wise sampling: Broder 1997), so that bags which share
tiles share keys, in whatever order and company the tiles are. One kind of key is of the tile's numbers as feature files
hold them: bags that share half of these are the same. The other kind is of the signs of random projections (Charikar
2002), which mostly stay when a picture is compressed anew: such a pair is then compared tile by tile, because tiles of
one tissue also have the same signs now and then.

Not found are: a crop by a part of a tile, another scale, encoder or stain, a turned or mirrored slide, a serial
section; fewer than a third of the tiles in common; and, of what was not saved to the last digit, bags of less than 16
tiles or features.

Of slides without features landmarks stand for tiles: spots of a thumbnail that are darker or brighter than what is
around them, which lie where the tissue has them and not where a grid was begun. So a crop by any number of pixels is
found, down to some two thirds of the slide.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np

from asmil.bags.tables import listed
from asmil.errors import FeatureError
from asmil.shown import percent

KEPT = 64
"""Keys of each table that are kept of a bag."""
TABLES, BITS = 4, 20
BLOCK = 256
"""Tiles that are looked at together: memory does not grow with the bag, and is not asked for anew, which takes longer
than what is done in it."""
ALIKE = 0.5
"""Share of the kept keys that two bags of the same tiles have in common at least: half of the tiles."""
LIKELY = 0.1
"""Share of the keys of projections from which on two bags are compared tile by tile."""
COMMON = 16
"""A key in more bags than this is of a tile that is everywhere, as empty glass is, and tells nothing."""
COMPARED, NEAR, SAME = 128, 0.8, 1 / 3
"""Tiles that are compared, how much nearer the twin of a tile is than any other tile, and how many have one."""
FEWEST = 16
COLUMNS = 64
"""Features of a tile that its key is of, evenly over its width: as many numbers are no other tile's by chance."""


@dataclass(frozen=True)
class Fingerprint:
    """The smallest keys of a bag's tiles: of their numbers, and of the signs of projections (sorted, uint64).

    `size` is the root mean square of the bag's numbers, NaN where it was not kept; `flat` counts the tiles whose
    features are one number throughout, `doubled` those at a place that a tile before has, `placed` says whether places
    are known: they are not where all tiles are at one.
    """

    exact: np.ndarray
    near: np.ndarray
    tiles: int
    size: float = math.nan
    flat: int = 0
    doubled: int = 0
    placed: bool = True


class Twin(NamedTuple):
    """Two slides of the same content, and the share of the tiles (or landmarks) that they have in common, as far as was
    looked at."""

    slide: str
    other: str
    share: float
    parts: str = "tiles"

    def __str__(self) -> str:
        return f"{self.slide} and {self.other} ({percent(self.share, '%')} of the {self.parts})"


def fingerprint(features: np.ndarray) -> Fingerprint:
    """The fingerprint of a bag (tiles, dim); the order of its tiles and the type of its numbers do not matter."""
    tiles, width = features.shape
    columns = features[:, :: max(1, width // COLUMNS)]
    exact = [_of_numbers(columns[start : start + BLOCK]) for start in range(0, tiles, BLOCK)]
    mean, squares = _moments(features)
    large = min(tiles, width) >= FEWEST
    near = _of_signs(features, mean, squares) if large else np.empty((0, TABLES), np.uint64)
    kept = [_smallest(table) for table in near.T]
    size = float(np.sqrt(squares.mean()))
    keys = _smallest(np.concatenate(exact)), np.sort(np.concatenate(kept))
    return Fingerprint(*keys, tiles, size, flat=flat_tiles(features))


def flat_tiles(features: np.ndarray) -> int:
    """How many tiles (tiles, dim) have one number for all of their features: zeros of padding, a tile that failed."""
    first = features[:, :1]
    likely = (features[:, :8] == first).all(1)
    return int((features[likely] == first[likely]).all(1).sum()) if features.shape[1] > 1 and likely.any() else 0


def _of_numbers(features: np.ndarray) -> np.ndarray:
    words = np.zeros((len(features), -(-features.shape[1] // 4) * 4), np.float16)
    with np.errstate(over="ignore"):
        words[:, : features.shape[1]] = features
    bits = words.view(np.uint16)
    bits[bits == 0x8000] = 0  # -0 is 0; as numbers of half precision they would be added one by one
    return _mixed((words.view(np.uint64) * _odd(words.shape[1] // 4)).sum(1, dtype=np.uint64))


def _moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The means over the tiles of features and of their squares, float64 (dim,)."""
    total, squares = np.zeros(features.shape[1]), np.zeros(features.shape[1])
    for values in _blocks(features):
        total += values.sum(0, dtype=np.float64)
        own = np.einsum("ij,ij->j", values, values)
        squares += own if np.isfinite(own).all() else np.square(values, dtype=np.float64).sum(0)
    return total / len(features), squares / len(features)


def _of_signs(features: np.ndarray, mean: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Keys of each tile, (tiles, tables): which side of random planes through the bag's middle it is on.

    Features are taken in standard deviations; planes are scaled instead of tiles, which are many.
    """
    spread = np.sqrt(np.maximum(squares - mean**2, 0))
    planes = _planes(features.shape[1]) / (spread[:, None] + 1e-6 + 1e-4 * np.abs(mean[:, None]))
    middle = (mean @ planes).astype(np.float32)
    planes = planes.astype(np.float32)
    place, table = np.uint64(1) << np.arange(BITS, dtype=np.uint64), np.arange(1, TABLES + 1, dtype=np.uint64)
    keys = []
    for values in _blocks(features):
        signs = (values @ planes > middle).reshape(-1, TABLES, BITS)
        keys.append((signs * place).sum(-1, dtype=np.uint64) + (table << np.uint64(40)))
    return _mixed(np.concatenate(keys))


def _blocks(features: np.ndarray) -> Iterator[np.ndarray]:
    """Tiles in float32, some at a time; those of another type in memory that the next are put into."""
    memory = np.empty((min(BLOCK, len(features)), features.shape[1]), np.float32)
    for start in range(0, len(features), BLOCK):
        values = features[start : start + BLOCK]
        if values.dtype != np.float32:
            memory[: len(values)] = values
            values = memory[: len(values)]
        yield values


@cache
def _planes(width: int) -> np.ndarray:
    return np.random.default_rng(width).standard_normal((width, TABLES * BITS), dtype=np.float32)


@cache
def _odd(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 1 << 63, count, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


def _mixed(keys: np.ndarray) -> np.ndarray:
    """Spread over all numbers, so that the smallest are a random choice (the finaliser of SplitMix64, Steele 2014)."""
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return keys ^ (keys >> np.uint64(31))


def _smallest(keys: np.ndarray) -> np.ndarray:
    return np.unique(keys)[:KEPT]


def shared_tiles(one: Fingerprint, other: Fingerprint) -> float:
    """The share of the tiles of the smaller bag that are in the other to the last digit, told by the kept keys.

    0 where there are too few different tiles to tell anything by.
    """
    a, b = one.exact, other.exact
    if min(len(a), len(b)) < 2:
        return 0.0
    limit = min(a[-1] if len(a) == KEPT else _LARGEST, b[-1] if len(b) == KEPT else _LARGEST)
    a, b = a[a <= limit], b[b <= limit]  # of both bags, all keys up to here are known
    common = len(np.intersect1d(a, b))
    same = common == len(one.exact) == len(other.exact)
    return common / min(len(a), len(b)) if common >= 8 or same else 0.0


_LARGEST = np.uint64(0xFFFFFFFFFFFFFFFF)


def find_twins(prints: Mapping[str, Fingerprint], load: Callable[[str], np.ndarray]) -> list[Twin]:
    """Slides of the same content, each pair once; `load` gives the features of those that have to be compared.

    Pairs are found through a table of keys, not one by one: a cohort of 10,000 slides takes seconds, and those pairs
    longer that are alike, of which as many as there are slides are compared.
    """
    exact = {pair: shared_tiles(*(prints[name] for name in pair)) for pair in _pairs(prints, "exact")}
    found = {pair: share for pair, share in exact.items() if share >= ALIKE}
    counts = _pairs(prints, "near")
    likely = {pair: n / min(len(prints[name].near) for name in pair) for pair, n in counts.items() if pair not in found}
    best = sorted((pair for pair, share in likely.items() if share >= LIKELY), key=lambda pair: -likely[pair])
    for pair in best[: len(prints)]:
        share = compared_tiles(*(load(name) for name in sorted(pair, key=lambda name: prints[name].tiles)))
        if share >= SAME:
            found[pair] = share
    return [Twin(*pair, share) for pair, share in sorted(found.items())]


def twins_of(
    own: Fingerprint, known: Mapping[str, Fingerprint], load: Callable[[str], tuple[np.ndarray, np.ndarray]]
) -> list[Twin]:
    """Of one more bag its twins among those that are known, the likeliest first; `load` gives both arrays of a pair."""
    exact = {name: shared_tiles(own, other) for name, other in known.items()}
    if found := [Twin("", name, share) for name, share in exact.items() if share >= ALIKE]:
        return sorted(found, key=lambda twin: -twin.share)
    common = {name: len(np.intersect1d(own.near, other.near)) for name, other in known.items()}
    for name in sorted(common, key=lambda name: -common[name])[:3]:
        if common[name] >= LIKELY * max(1, min(len(own.near), len(known[name].near))):
            fewer, more = sorted(load(name), key=len)
            if (share := compared_tiles(fewer, more)) >= SAME:
                found.append(Twin("", name, share))
    return found


def _pairs(prints: Mapping[str, Fingerprint], kind: str) -> Counter[tuple[str, str]]:
    """How many keys each pair of slides has in common, of those that not too many have."""
    names = sorted(prints)
    keys = np.concatenate([getattr(prints[name], kind) for name in names] or [np.empty(0, np.uint64)])
    of = np.repeat(np.arange(len(names)), [len(getattr(prints[name], kind)) for name in names])
    order = np.argsort(keys, kind="stable")
    ends = np.flatnonzero(np.diff(keys[order])) + 1
    counts: Counter[tuple[str, str]] = Counter()
    for group in np.split(of[order], ends):
        if 1 < len(group) <= COMMON:
            counts.update(combinations([names[i] for i in group], 2))
    return counts


def compared_tiles(fewer: np.ndarray, more: np.ndarray) -> float:
    """The share of the tiles of the smaller bag that have a twin in the other; both (tiles, dim).

    A twin is nearer than any other tile of either bag (the ratio test of Lowe 2004), so that neither the scale of
    features nor a tissue that both slides have decides. Of each bag its own middle is taken off.
    """
    if min(len(fewer), len(more)) < FEWEST or fewer.shape[1] != more.shape[1]:
        return 0.0
    ours, theirs = (bag.astype(np.float32) - bag.mean(0, dtype=np.float32) for bag in (fewer, more))
    rows = np.linspace(0, len(ours) - 1, min(COMPARED, len(ours))).round().astype(int)
    first, second = np.sort(_distances(ours[rows], theirs), axis=1)[:, :2].T
    own = np.sort(_distances(ours[rows], ours), axis=1)[:, 1]
    told = own > 1e-3 * np.sqrt(np.square(ours).sum(1).mean())  # a tile that is there twice has no twin of its own
    if told.sum() < FEWEST / 2:
        return 0.0
    return float((first < NEAR * np.minimum(own, second))[told].mean())


def _distances(some: np.ndarray, bag: np.ndarray) -> np.ndarray:
    squares = np.square(some).sum(1)[:, None] + np.square(bag).sum(1) - 2 * some @ bag.T
    return np.sqrt(squares.clip(0))


OTHER_SIZE, GAP = 10.0, 100.0
"""How many times larger the numbers of the next larger slide are where that is told, and where it is refused. Of real
encoders it is once, and twice at most where bags are a few rows (TIGER 1.9)."""


def require_one_size(prints: Mapping[str, Fingerprint]) -> list[str]:
    """Refuse slides whose numbers are far larger or smaller than those of others, with no slide in between.

    That is another encoder, pixels of 0 to 255 where 0 to 1 was meant, or a damaged tile. The others would be nothing
    beside it: features are scaled by their deviation over the tiles of all slides.

    Returns:
        What there is to know where they are larger, and not as much.

    Raises:
        FeatureError: there are such slides; each size is told with its slides.
    """
    size = {name: own.size for name, own in prints.items() if not math.isnan(own.size)}
    order = sorted(size, key=lambda name: (size[name], name))
    steps = [
        (larger, size[larger] / size[smaller] if size[smaller] else math.inf)
        for smaller, larger in pairwise(order)
        if size[larger] > size[smaller]
    ]
    if not (far := [larger for larger, step in steps if step >= OTHER_SIZE]):
        return []
    found, begins = list[str](), [0, *map(order.index, far), len(order)]
    for begin, end in pairwise(begins):
        names, low, high = sorted(order[begin:end]), size[order[begin]], size[order[end - 1]]
        sizes = f"1 slide of {low:.3g}" if len(names) == 1 else f"{len(names)} slides from {low:.3g} to {high:.3g}"
        found.append(f"{sizes} ({listed(names, 3)})")
    what, told = "features are of very different sizes", f"root mean square of a slide's numbers: {'; '.join(found)}"
    if max(step for _, step in steps) < GAP:
        return [f"{what}, as of several encoders or pixels scaled in two ways; {told}"]
    raise FeatureError(
        f"{what}, which cannot be learned from together",
        found=told,
        fix="extract all with the same encoder, from pixels scaled alike; or take the files out that are wrong",
    )


HEAPED = "tiles that are all at one place, and are read as tiles without places"


def odd_tiles(prints: Mapping[str, Fingerprint], *, places_for: str = "") -> list[str]:
    """Sentences about tiles that say nothing, or the same as another: they are kept, and count as all others do.

    `places_for` is what a model needs the places of tiles for, empty where it needs none.

    Raises:
        FeatureError: it needs them, and some slides have all of their tiles at one.
    """
    flat = {name: own.flat for name, own in prints.items() if own.flat}
    heaped = {name: own.doubled for name, own in prints.items() if own.doubled and not own.placed}
    doubled = {name: own.doubled for name, own in prints.items() if own.doubled and own.placed}
    alone = [name for name, own in prints.items() if not own.placed]

    def told(counts: Mapping[str, int]) -> str:
        shares = [f"{name} {count:,} of {prints[name].tiles:,}" for name, count in sorted(counts.items())]
        return f"{sum(counts.values()):,} in {len(counts)} slide{'s' * (len(counts) > 1)}: {listed(shares)}"

    if heaped and places_for:
        raise FeatureError(
            f"all tiles of a slide are at one place, and {places_for}",
            found=f"{len(heaped)} of {len(prints)} slides: {listed(sorted(heaped))}",
            fix="extract these slides again, or take a model that needs no places",
        )
    said = {
        "tiles whose features are one number throughout, as padding and tiles that failed have": flat,
        "tiles at a place that another tile of the slide has, as where two extractions were joined": doubled,
        HEAPED: heaped,
    }
    found = [f"{what} ({told(counts)})" for what, counts in said.items() if counts]
    if alone and places_for:
        found.append(f"{places_for}, and {len(alone)} of {len(prints)} slides have none: {listed(sorted(alone))}")
    return found


# Landmarks: of a slide what tiles are of a bag.

THUMBNAIL_PX = 512
"""A thumbnail is between once and twice as long; slides of which one is up to half of the other share a scale then."""
LANDMARKS, REACH, FAINT = 512, 8, 2.0
"""How many there are at most, how far around each is looked (px), and the grey levels by which they stand out."""


def landmark_scales(size: tuple[int, int], mpp: float) -> tuple[float, float]:
    """The two scales (um/px) at which a slide is looked at: powers of two, so that a crop of it has one of them too."""
    power = np.floor(np.log2(max(size) * mpp / THUMBNAIL_PX)), np.ceil(np.log2(mpp))
    finer = 2.0 ** float(max(power))
    return finer, 2 * finer


def landmarks(pixels: np.ndarray) -> np.ndarray:
    """What is around the spots that stand out most in uint8 (h, w, 3), float32 (landmarks, features).

    Each row is in its own standard deviations.
    """
    from scipy import ndimage  # for slides alone: a check of features needs none of it

    grey = pixels.astype(np.float32).mean(-1)
    smooth = ndimage.gaussian_filter(grey, 1.5)
    blobs = np.abs(smooth - ndimage.gaussian_filter(grey, 3))  # a difference of Gaussians (Lowe 2004)
    peaks = (blobs > FAINT) & (blobs == ndimage.maximum_filter(blobs, REACH - 1))
    inside = np.zeros_like(peaks)
    inside[REACH:-REACH, REACH:-REACH] = True
    y, x = np.nonzero(peaks & inside)
    best = np.argsort(-blobs[y, x], kind="stable")[:LANDMARKS]
    step = np.arange(-REACH, REACH + 1, 2)
    around = smooth[y[best, None, None] + step[:, None], x[best, None, None] + step].reshape(len(best), len(step) ** 2)
    around -= around.mean(1, keepdims=True)
    return around / (around.std(1, keepdims=True) + 1e-3)
