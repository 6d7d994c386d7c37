"""Memory of slide encoders on a CPU: one slide of 20,000 tiles through networks of full size with random weights.

Each in a process of its own: its peak less what it took before the network was there. Of TITAN and Prov-GigaPath one
layer is run and the weights of the others are added: layers follow one another and leave nothing behind.
"""

import resource
import subprocess
import sys

TILES, ACROSS = 20_000, 150
GIB = 2**30


def measure(name: str) -> float:
    """GiB that a slide takes, with the weights; of this process."""
    import torch

    from asmil.encoders import SlideEncoder, slide_card
    from asmil.encoders.slide_model import NETWORKS

    card = slide_card(name)
    options = {**card.options, **({"depth": 1} if card.places else {})}
    tiles = torch.arange(TILES)
    xy = torch.stack([tiles % ACROSS, tiles // ACROSS], 1) * 512
    torch.empty(1).normal_()
    before = _peak()
    encoder = SlideEncoder(NETWORKS[card.family](card, **options), card, device="cpu")
    features = torch.randn(TILES, card.tile_dim)
    encoder(features, level0_xy=xy, tile_level0_px=512)
    whole, run = (card.millions or 0) * 1e6, sum(weight.numel() for weight in encoder.model.parameters())
    return (_peak() - before) / GIB + (whole - run) * 4 / GIB


def _peak() -> int:
    """The most bytes that this process had so far (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Measure all slide encoders whose network is asmil's own."""
    from asmil.encoders import list_slide_encoders, slide_card
    from asmil.encoders.slide_cards import OWN

    for name in list_slide_encoders():
        if slide_card(name).code == OWN:
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.slide_encoders", "--only", name], stdout=subprocess.PIPE, check=True
            )
            print(f"{name:16} {float(done.stdout):6.2f} GiB", flush=True)


if __name__ == "__main__":
    if "--only" in sys.argv:
        print(measure(sys.argv[-1]))
    else:
        main()
