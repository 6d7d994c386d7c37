"""Stain normalisation brings tiles of different laboratories together, spares glass, and makes a store of its own."""

import numpy as np
import pytest
import torch
from PIL import Image

from asmil.encoders import create_encoder, with_stain
from asmil.errors import EncoderError
from asmil.slides import open_slide
from asmil.testing import check_encoder
from asmil.tiles import find_tissue, tile

pytest.importorskip("torchstain")
METHODS = ("macenko", "reinhard")


@pytest.fixture(scope="module")
def plain():
    return create_encoder("colour-texture")


@pytest.fixture(scope="module")
def tiles(cmu_slide):
    """Six real tiles of one slide, tissue with some glass."""
    with open_slide(cmu_slide) as slide:
        grid = tile(slide, find_tissue(slide), mpp=1.0, tile_px=96, min_tissue=0.8)
        return slide.read_tiles(grid, np.linspace(0, len(grid) - 1, 6).astype(int))


def other_scanner(tiles):
    """The same tissue, stained more weakly and scanned bluer."""
    density = -np.log(np.maximum(tiles, 1) / 240) * np.array([0.9, 0.6, 0.5])
    return (240 * np.exp(-density)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("method", METHODS)
def test_two_stains_of_the_same_tissue_come_together(tiles, plain, method):
    stained = with_stain(plain, method)
    one, two = (stained.normalize(t).float() for t in (tiles, other_scanner(tiles)))
    before = np.abs(tiles.astype(float) - other_scanner(tiles)).mean()
    assert (one - two).abs().mean() < 0.4 * before
    assert (stained.seen, stained.unchanged) == (12, 0)


@pytest.mark.parametrize("method", METHODS)
def test_glass_stays_and_what_has_no_stain_is_passed_on_and_counted(tiles, plain, method):
    stained = with_stain(plain, method)
    half = tiles[:1].copy()
    half[:, :40] = 245
    assert (stained.normalize(half)[:, :40] == 245).all()
    odd = np.stack([np.full((96, 96, 3), value, np.uint8) for value in (245, 0, 128, 255)])
    odd[3, :, :2] = (120, 40, 90)  # two per cent
    assert torch.equal(stained.normalize(odd)[[0, 3]], torch.as_tensor(odd)[[0, 3]])
    assert stained.seen == 5
    assert stained.unchanged >= 2


@pytest.mark.parametrize("method", METHODS)
def test_the_contract_of_encoders_is_kept(plain, method):
    """White, black, plain, checkered and noisy tiles among others; a batch is a loop, the same tiles the same bits."""
    check_encoder(with_stain(plain, method)).raise_if_failed()


def test_the_hash_tells_encoder_method_and_target_apart(tiles, plain, tmp_path):
    for index in (0, 3):
        Image.fromarray(tiles[index]).save(tmp_path / f"{index}.png")
    made = [with_stain(plain, m, target=t) for m in METHODS for t in (None, tmp_path / "0.png", tmp_path / "3.png")]
    hashes = {plain.weight_hash, *(encoder.weight_hash for encoder in made)}
    assert len(hashes) == 7
    assert made[0].weight_hash == with_stain(plain, "macenko").weight_hash
    assert made[0].card is plain.card


@pytest.mark.parametrize("method", METHODS)
def test_a_target_image_is_the_reference(tiles, plain, method, tmp_path):
    """Tiles brought to the look of an image are nearer to it in colour than they were."""
    target = other_scanner(tiles[2:3])[0]
    Image.fromarray(target).save(tmp_path / "target.png")
    done = with_stain(plain, method, target=tmp_path / "target.png").normalize(tiles[2:3])[0].float().numpy()
    wanted = target.astype(float)
    assert np.abs(done - wanted).mean() < 0.3 * np.abs(tiles[2] - wanted).mean()


def test_the_reference_of_reinhard_is_that_of_its_source(data_dir):
    from torchstain.torch.utils.rgb2lab import rgb2lab

    from asmil.encoders.stain import REINHARD_MEAN, REINHARD_STD, stained_pixels

    pixels = []
    for path in sorted((data_dir / "colon/slides").glob("*.tif")):
        with open_slide(path) as slide:
            pixels.append(slide.read((0, 0), 500, mpp=slide.mpp).reshape(-1, 3)[::40])
    stained = torch.as_tensor(np.concatenate(pixels))
    stained = stained[stained_pixels(stained)]
    lab = rgb2lab(stained.T[:, :, None].float() / 255)[:, :, 0] - torch.tensor([[0.0], [128.0], [128.0]])
    lab[0] /= 2.55
    assert lab.mean(dim=1).numpy() == pytest.approx(REINHARD_MEAN, abs=0.3)
    assert lab.std(dim=1).numpy() == pytest.approx(REINHARD_STD, abs=0.3)


def test_mistakes_are_named(tiles, plain, tmp_path):
    with pytest.raises(EncoderError, match="macenko or reinhard"):
        with_stain(plain, "vahadane")
    with pytest.raises(EncoderError, match="readable image"):
        with_stain(plain, "macenko", target=tmp_path / "absent.png")
    Image.fromarray(np.full((64, 64, 3), 250, np.uint8)).save(tmp_path / "glass.png")
    with pytest.raises(EncoderError, match="too little stained"):
        with_stain(plain, "reinhard", target=tmp_path / "glass.png")
    Image.fromarray(np.full((64, 64, 3), (150, 90, 160), np.uint8)).save(tmp_path / "flat.png")
    for method in METHODS:
        with pytest.raises(EncoderError, match="cannot be told"):
            with_stain(plain, method, target=tmp_path / "flat.png")
