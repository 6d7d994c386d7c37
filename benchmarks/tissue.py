"""Flags of tiles against decoding them, and tissue masks by method; `python -m benchmarks.tissue`."""

import time
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
from PIL import Image

from asmil.slides import open_slide
from asmil.tiles import QUALITY_FLAGS, TISSUE_METHODS, Thumbnail, find_tissue, tile

REAL = Path(__file__).parents[1] / "tests" / "data" / "CMU-1-Small-Region.svs"
LARGEST = (1536, 2048, 3)
"""Height, width, channels of the largest thumbnail that tissue is looked for on."""


def seconds(cases: dict[str, Callable[[], object]], *, rounds: int = 5) -> dict[str, float]:
    """Processor time of each case, the best of some rounds of all in turn."""
    best = dict.fromkeys(cases, float("inf"))
    for _ in range(rounds):
        for name, case in cases.items():
            start = time.process_time()
            case()
            best[name] = min(best[name], time.process_time() - start)
    return best


def main() -> None:
    """Print both tables."""
    with open_slide(REAL) as slide:
        tiles = slide.read_tiles(tile(slide, find_tissue(slide), mpp=0.5, tile_px=224, min_tissue=0.5))
        rgb = np.asarray(Image.fromarray(slide.thumbnail_at(1.0)).resize((LARGEST[1], LARGEST[0])))
    coded = [imagecodecs.jpeg_encode(one, level=80) for one in tiles]
    cases: dict[str, Callable[[], object]] = {"decode": lambda: [imagecodecs.jpeg_decode(one) for one in coded]}
    cases |= {name: lambda name=name: QUALITY_FLAGS[name](tiles, mpp=0.5) for name in QUALITY_FLAGS.names()}
    flags = seconds(cases)
    print(f"{'flag':>12} us/tile  of decoding")
    for name, value in flags.items():
        print(f"{name:>12} {value / len(tiles) * 1e6:7.0f} {value / flags['decode']:9.0%}")
    print(f"{'all flags':>12} {(sum(flags.values()) - flags['decode']) / flags['decode']:17.0%}")
    print(f"{'method':>12} s for {LARGEST[1]} x {LARGEST[0]} px")
    smooth = Thumbnail.of(rgb, mpp=8.0, smoothing_um=4.0)
    masks: dict[str, Callable[[], object]] = {"smoothing": lambda: Thumbnail.of(rgb, mpp=8.0, smoothing_um=4.0)}
    for name in TISSUE_METHODS.names():
        masks[name] = lambda name=name: TISSUE_METHODS[name](Thumbnail(smooth.channels, 8.0, smooth.smoothing_px))
    for name, value in seconds(masks, rounds=2).items():
        print(f"{name:>12} {value:.2f}")


if __name__ == "__main__":
    main()
