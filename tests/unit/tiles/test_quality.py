"""Tiles that are blurred, marked or folded are flagged, clean real ones are not."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from asmil.errors import TissueError, UnknownPartError
from asmil.slides import open_slide
from asmil.tiles import QUALITY_FLAGS, find_tissue, flag_tiles, tile

MPP = 0.5


@pytest.fixture(scope="module")
def clean(cmu_slide):
    """24 tiles of a real slide (skin) at .5 um/px."""
    with open_slide(cmu_slide) as slide:
        grid = tile(slide, find_tissue(slide), mpp=MPP, tile_px=224, min_tissue=0.9)
        return slide.read_tiles(grid, np.arange(len(grid))[:24])


@pytest.fixture(scope="module")
def fields(data_dir):
    """64 tiles of 16 real colon slides at .55 um/px."""
    tiles = []
    for path in sorted((data_dir / "colon/slides").glob("*.tif"))[:64:4]:
        with open_slide(path) as slide:
            tiles.append(slide.read_tiles(tile(slide, find_tissue(slide, method="whole"), mpp=0.55, tile_px=224)))
    return np.concatenate(tiles)


def blurred(tiles, sigma_px):
    return np.stack([ndimage.gaussian_filter(t, (sigma_px, sigma_px, 0)) for t in tiles])


def compressed(tiles, quality):
    out = []
    for one in tiles:
        data = io.BytesIO()
        Image.fromarray(one).save(data, "JPEG", quality=quality)
        out.append(np.asarray(Image.open(data)))
    return np.stack(out)


def test_clean_real_tiles_have_few_flags(fields, clean):
    shares = {name: flags.mean() for name, flags in flag_tiles(fields, mpp=0.55).items()}
    assert shares["blur"] == shares["fold"] == 0
    assert shares["pen"] <= 0.02
    assert not flag_tiles(clean, mpp=MPP, flags=["blur", "pen"])["blur"].any()


def test_blur_is_seen_from_little_to_much_and_after_jpeg(clean):
    for sigma in (3, 6, 12):  # 1.5, 3 and 6 um
        soft = blurred(clean, sigma)
        assert QUALITY_FLAGS["blur"](soft, mpp=MPP).all(), sigma
        assert QUALITY_FLAGS["blur"](compressed(soft, 80), mpp=MPP).mean() > 0.95, sigma
    assert not QUALITY_FLAGS["blur"](compressed(clean, 40), mpp=MPP).any()


def test_blur_is_judged_at_the_scale_of_tissue(clean):
    """A sharp tile enlarged twice is not out of focus; glass has no focus."""
    enlarged = np.stack([np.asarray(Image.fromarray(t).resize((448, 448), Image.Resampling.BICUBIC)) for t in clean])
    assert not QUALITY_FLAGS["blur"](enlarged, mpp=MPP / 2).any()
    assert QUALITY_FLAGS["blur"](blurred(enlarged, 6), mpp=MPP / 2).all()
    glass = np.full((2, 224, 224, 3), 243, np.uint8)
    glass[1] -= np.random.default_rng(0).integers(0, 4, (224, 224, 3), dtype=np.uint8)
    assert not QUALITY_FLAGS["blur"](glass, mpp=MPP).any()


@pytest.mark.parametrize("ink", [(35, 70, 165), (50, 60, 150), (25, 130, 70), (205, 25, 45), (25, 25, 30)])
def test_pen_is_seen_over_glass_and_over_tissue(clean, ink):
    marked = clean.copy()
    marked[:, :, 60:130] = (0.05 * marked[:, :, 60:130] + 0.95 * np.array(ink)).astype(np.uint8)
    assert QUALITY_FLAGS["pen"](marked, mpp=MPP).all()
    touched = clean.copy()
    touched[:, :, :4] = ink  # two per cent of the tile
    assert not QUALITY_FLAGS["pen"](touched, mpp=MPP).any()


def test_a_fold_doubles_the_optical_density(data_dir):
    path = data_dir / "slides/TCGA-CR-7395-01A-01-TS1.svs"
    with open_slide(path, objective=40) as slide:
        single = slide.read_tiles(tile(slide, find_tissue(slide), mpp=MPP, tile_px=224, min_tissue=0.95))
    folded = single.astype(float)
    folded[:, :, :112] *= np.roll(single, 1, axis=0)[:, :, :112] / 245
    assert QUALITY_FLAGS["fold"](single, mpp=MPP).mean() < 0.05
    assert QUALITY_FLAGS["fold"](folded.clip(0, 255).astype(np.uint8), mpp=MPP).mean() > 0.75


@pytest.mark.parametrize(("tile_px", "mpp"), [(50, 4.0), (32, 0.55), (256, 0.25), (1, 1.0), (8, 100.0), (5, 0.1)])
def test_any_size_and_scale(tile_px, mpp):
    tiles = np.random.default_rng(0).integers(0, 255, (3, tile_px, tile_px, 3), dtype=np.uint8)
    flags = flag_tiles(tiles, mpp=mpp)
    assert list(flags) == ["blur", "fold", "pen"]
    assert all(value.shape == (3,) and value.dtype == bool for value in flags.values())
    assert not flag_tiles(tiles[:0], mpp=mpp)["blur"].size


def test_a_flag_of_a_tile_is_its_own(clean):
    soft = np.concatenate([blurred(clean[:3], 4), clean[3:6]])
    together = flag_tiles(soft, mpp=MPP)
    for index in range(6):
        alone = flag_tiles(soft[index : index + 1], mpp=MPP)
        assert all(alone[name][0] == together[name][index] for name in together)


def test_wrong_input_is_refused(clean):
    with pytest.raises(TissueError, match="uint8"):
        flag_tiles(clean.astype(float), mpp=MPP)
    with pytest.raises(TissueError, match="uint8"):
        flag_tiles(clean[0], mpp=MPP)
    with pytest.raises(TissueError, match="positive"):
        flag_tiles(clean, mpp=0)
    with pytest.raises(UnknownPartError, match="did you mean 'blur'"):
        flag_tiles(clean, mpp=MPP, flags=["blurr"])
