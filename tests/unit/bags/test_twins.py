"""The same slide under two names: found whatever became of its file, and not where slides are only of one kind."""

import io

import h5py
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from asmil.bags import (
    find_twins,
    fingerprint,
    landmark_scales,
    landmarks,
    make_splits,
    odd_tiles,
    open_features,
    read_cohort,
    require_apart,
    require_one_size,
    twins_of,
)
from asmil.bags.reading.twins import shared_tiles
from asmil.errors import FeatureError, SplitError
from asmil.slides import open_slide


def tissue(seed: int, tiles: int = 120, dim: int = 48) -> np.ndarray:
    """Tiles of a few kinds that all slides have, as tissue is."""
    rng = np.random.default_rng(seed)
    kinds = np.random.default_rng(0).normal(size=(4, dim))
    return (kinds[rng.integers(0, 4, tiles)] + rng.normal(size=(tiles, dim))).astype(np.float32)


def noisy(bag: np.ndarray) -> np.ndarray:
    """As of a picture that was compressed anew: a fifth of the spread."""
    return bag + 0.2 * bag.std(0) * np.random.default_rng(9).normal(size=bag.shape).astype(np.float32)


SAVED_ANEW = {
    "the same": lambda bag: bag,
    "half precision": lambda bag: bag.astype(np.float16),
    "another order": lambda bag: bag[::-1],
    "cropped": lambda bag: bag[:-7],
    "cropped to two thirds, in another order and half precision": lambda bag: bag[40:][::-1].astype(np.float16),
    "tiles added": lambda bag: np.concatenate([bag, tissue(77, 20)]),
    "with empty glass": lambda bag: np.concatenate([bag, np.zeros((200, bag.shape[1]), np.float32)]),
    "compressed anew": noisy,
    "compressed anew and cropped": lambda bag: noisy(bag)[20:],
}


@pytest.mark.parametrize("change", SAVED_ANEW)
def test_a_slide_is_found_again(change):
    bags = {f"s{i}": tissue(i) for i in range(12)}
    bags["twin"] = SAVED_ANEW[change](bags["s3"])
    prints = {name: fingerprint(bag) for name, bag in bags.items()}
    (found,) = find_twins(prints, bags.__getitem__)
    assert (found.slide, found.other) == ("s3", "twin")
    assert found.share > 0.6
    own = prints.pop("twin")
    assert [twin.other for twin in twins_of(own, prints, lambda name: (bags["twin"], bags[name]))] == ["s3"]


@pytest.mark.parametrize("dim", [2, 8, 48])
@pytest.mark.parametrize("tiles", [(3, 8), (20, 200)])
def test_slides_of_one_kind_are_no_twins(dim, tiles):
    rng = np.random.default_rng(0)
    bags = {f"s{i}": tissue(i, int(rng.integers(*tiles)), dim) for i in range(40)}
    glass = np.ones((30, dim), np.float32)
    bags |= {f"g{i}": np.concatenate([glass, tissue(100 + i, 10, dim)]) for i in range(4)}
    bags |= {"empty": glass, "empty too": glass}
    assert find_twins({name: fingerprint(bag) for name, bag in bags.items()}, bags.__getitem__) == []


def test_small_bags_are_twins_where_all_tiles_are_the_same():
    bag, other = tissue(1, 3, 4), tissue(2, 3, 4)
    assert shared_tiles(fingerprint(bag), fingerprint(bag[::-1])) == 1
    assert shared_tiles(fingerprint(bag), fingerprint(np.concatenate([bag[:2], other]))) == 0
    assert shared_tiles(fingerprint(bag * 0.0), fingerprint(bag * -0.0)) == 0


def test_the_share_of_tiles_is_told_by_a_few_keys():
    bag = tissue(1, 5000, 16)
    for share in (0.5, 0.8, 1.0):
        part = np.concatenate([bag[: int(5000 * share)], tissue(2, int(5000 * (1 - share)) + 1, 16)])
        assert abs(shared_tiles(fingerprint(bag), fingerprint(part)) - share) < 0.2
    assert len(fingerprint(bag).exact) == 64


def test_real_slides_are_like_themselves_alone(data_dir):
    store = open_features(data_dir / "features" / "toolarena_tcga-crc_virchow2_10x")
    bags = {name: store.array(name).astype(np.float32) for name in store.slides}
    bags |= {f"{name} again": noisy(bag)[len(bag) // 8 :] for name, bag in bags.items()}
    twins = find_twins({name: fingerprint(bag) for name, bag in bags.items()}, bags.__getitem__)
    assert [(twin.slide, twin.other) for twin in twins] == [(name, f"{name} again") for name in store.slides]


def test_a_store_reads_each_slide_once_and_names_twins(tmp_path):
    for name, bag in {"a": tissue(1), "b": tissue(2), "c": tissue(1)[5:]}.items():
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["features"] = bag.astype(np.float16)
    problems = open_features(tmp_path).check(deep=True)
    assert [(problem.slide, problem.what) for problem in problems] == [
        ("c", "has the features of a (100% of the tiles)")
    ]


def test_twins_may_share_a_part_and_not_a_fold():
    rows = [
        f"{slide},{case},{label}" for slide, case, label in zip("abcdefghijkl", "AABCDEFGHIJK", "xy" * 6, strict=True)
    ]
    cohort = read_cohort(pd.DataFrame([row.split(",") for row in rows], columns=["slide", "case", "label"]))
    splits = make_splits(cohort, folds=2)
    bags = {slide: tissue(i) for i, slide in enumerate(cohort.slides)}
    bags["b"] = bags["a"]
    twins = find_twins({name: fingerprint(bag) for name, bag in bags.items()}, bags.__getitem__)
    assert require_apart(splits, twins) == [
        "slides of the same content, of which each counts: a and b (100% of the tiles)"
    ]
    bags["c"] = bags["a"]
    bags["d"] = bags["a"]
    bags["e"] = bags["a"]
    twins = find_twins({name: fingerprint(bag) for name, bag in bags.items()}, bags.__getitem__)
    with pytest.raises(SplitError, match=r"same content are in different parts.*a and .*--allow-duplicates"):
        require_apart(splits, twins)
    assert require_apart(splits, twins, allow=True)


def saved_anew(pixels: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def at_scale(pixels: np.ndarray, mpp: float, scale: float) -> np.ndarray:
    height, width = (round(side * mpp / scale) for side in pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX))


@pytest.mark.parametrize(("quality", "left", "top", "part"), [(90, 0, 0, 1.0), (40, 0, 0, 1.0), (70, 37, 11, 0.85)])
def test_real_slides_are_known_again_by_their_landmarks(quality, left, top, part, data_dir):
    """Fifty pieces of colon, of which twenty-five are there twice: all are found, and nothing else."""
    paths, found, mpp = sorted((data_dir / "colon" / "slides").glob("*.tif"))[:50], set(), 0.55
    bags: dict[float, dict[str, np.ndarray]] = {}
    for number, path in enumerate(paths):
        with open_slide(path) as slide:
            pixels = slide.read((0, 0), slide.size, mpp=slide.mpp)
        height, width = (int(side * part) for side in pixels.shape[:2])
        again = saved_anew(pixels[top : top + height, left : left + width], quality)
        for name, one in [(path.stem, pixels), (f"{path.stem} again", again)][: 1 + number % 2]:
            for scale in landmark_scales((one.shape[1], one.shape[0]), mpp):
                bags.setdefault(scale, {})[name] = landmarks(at_scale(one, mpp, scale))
    for own in bags.values():
        prints = {name: fingerprint(bag) for name, bag in own.items() if len(bag) >= 16}
        found |= {(twin.slide, twin.other) for twin in find_twins(prints, own.__getitem__)}
    assert found == {(path.stem, f"{path.stem} again") for path in paths[1::2]}


def test_a_crop_shares_a_scale_with_its_slide_and_glass_has_no_landmarks():
    whole = landmark_scales((80_000, 60_000), 0.25)
    assert whole == (32, 64)
    assert set(whole) & set(landmark_scales((41_000, 30_000), 0.25))
    assert landmark_scales((500, 500), 0.55) == (1, 2)  # no finer than the slide
    glass = np.random.default_rng(0).normal(245, 2, (600, 600, 3)).clip(0, 255).astype(np.uint8)
    assert len(landmarks(glass)) == 0


# The size of the numbers, which the fingerprint has too.


def sized(*factors: float, tiles: int = 40) -> dict:
    return {f"s{i:02d}": fingerprint(factor * tissue(i, tiles, 24)) for i, factor in enumerate(factors)}


@pytest.mark.parametrize("tiles", [1, 40])
@pytest.mark.parametrize("factor", [1e6, 150.0, 1 / 200, 0.0, 1e25])
def test_features_that_are_far_larger_or_smaller_than_those_of_other_slides_are_refused(factor, tiles):
    ordinary = r"11 slides from 1\.\d+ to 1\.\d+ \(s00, s01, s02 and 8 more\)" if tiles > 1 else "11 slides from"
    with pytest.raises(FeatureError, match=f"very different sizes.*{ordinary}") as refused:
        require_one_size(sized(*[1.0] * 5, factor, *[1.0] * 6, tiles=tiles))
    assert "1 slide of" in str(refused.value)
    assert "inf" not in str(refused.value)
    assert "(s05)" in str(refused.value)


def test_one_wild_tile_is_as_bad_as_a_wild_slide():
    bag = tissue(3)
    bag[17] *= 1e5
    with pytest.raises(FeatureError, match=r"1 slide of .*\(wild\)"):
        require_one_size(sized(*[1.0] * 9) | {"wild": fingerprint(bag)})


def test_two_encoders_of_one_width_are_told_by_their_sizes():
    with pytest.raises(FeatureError, match=r"6 slides from .*\(s00, s01, s02 and 3 more\); 4 slides from .*\(s06, s07"):
        require_one_size(sized(*[1.0] * 6, *[4000.0] * 4))


def test_sizes_that_differ_by_much_are_a_remark_and_others_are_none():
    assert require_one_size(sized(*np.geomspace(0.01, 100, 12))) == []  # far apart, with slides all the way
    assert require_one_size(sized(1.0)) == require_one_size({}) == []
    (remark,) = require_one_size(sized(*[1.0] * 9, 30.0))
    assert "9 slides from" in remark
    assert "1 slide of 4" in remark


# Tiles that say nothing, or the same as another.


def odd(folder, *, flat=0, doubled=0, heaped=False):
    """Three slides of 20 tiles; of the first some are zeros, of the second some are at the place of the first tile."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate("abc"):
        features = rng.standard_normal((20, 32), dtype=np.float32)
        xy = np.stack([np.arange(20) * 256, np.full(20, 512)], 1)
        if number == 0:
            features[:flat] = 0
        if number == 1:
            features[: flat // 2], xy[:doubled] = 0.25, xy[19]
        if number == 2 and heaped:
            xy[:] = 0
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file["features"], file["coords"] = features, xy
    return open_features(folder)


def test_tiles_without_content_and_tiles_that_are_there_twice_are_told(tmp_path):
    store = odd(tmp_path, flat=4, doubled=3, heaped=True)
    prints, wrong = store.read_through(store.slides)
    assert not wrong
    assert odd_tiles(prints) == [
        "tiles whose features are one number throughout, as padding and tiles that failed have "
        "(6 in 2 slides: a 4 of 20, b 2 of 20)",
        "tiles at a place that another tile of the slide has, as where two extractions were joined "
        "(3 in 1 slide: b 3 of 20)",
        "tiles that are all at one place, and are read as tiles without places (19 in 1 slide: c 19 of 20)",
    ]
    assert store.load("c").level0_xy is None
    assert store.load("c", rows=[0]).level0_xy is None
    assert store.load("b").level0_xy is not None
    assert store.load("b", rows=[0, 1]).level0_xy is not None  # both at one place, of several
    clean = odd(tmp_path / "clean")
    assert odd_tiles(clean.read_through(clean.slides)[0], places_for="a model needs them") == []


def test_a_model_that_needs_places_refuses_slides_of_one_place(tmp_path):
    store = odd(tmp_path, heaped=True)
    with pytest.raises(FeatureError, match=r"at one place, and camil needs.*1 of 3 slides: c"):
        odd_tiles(store.read_through(store.slides)[0], places_for="camil needs them")
    for name in "ab":
        with h5py.File(tmp_path / f"{name}.h5", "r+") as file:
            del file["coords"]
    with h5py.File(tmp_path / "c.h5", "r+") as file:
        file["coords"][:, 0] = np.arange(20) * 256
    store = open_features(tmp_path)
    found = odd_tiles(store.read_through(store.slides)[0], places_for="camil needs them")
    assert found == ["camil needs them, and 2 of 3 slides have none: a, b"]
