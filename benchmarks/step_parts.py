"""A training step of four bags at once and in parts of some thousand tiles: time and memory, in turns, on a CPU."""

import argparse
from functools import partial
from itertools import product
from unittest.mock import patch

import torch

from asmil.attention import AttentionStabilizer
from asmil.bags import Bag, BagBatch
from asmil.bench.timing import best_seconds, first_call
from asmil.models import create_model
from asmil.training import Stack, Standardized, TrainSettings

AT_ONCE = 10**9
SHAPES = ((1_000, 1_024), (2_000, 1_024), (4_000, 384), (10_000, 1_024))


def steps_of(name: str, tiles: int, dim: int, *, stabilize: bool, parts: list[int]) -> list[partial[None]]:
    """A step of the same model for each number of tiles of a part; the features are float16, as they are stored."""
    features = [torch.randn(tiles, dim, generator=torch.Generator().manual_seed(i)).half() for i in range(4)]
    bags = [Bag(own, label=i % 2, slide=str(i)) for i, own in enumerate(features)]
    model = Standardized(create_model(name, in_dim=dim, n_classes=2), dim).fit_statistics(bags).train()
    stabilizer = AttentionStabilizer(model.model) if stabilize else None
    stack = Stack([model], [stabilizer], keys=[("bench",)], settings=TrainSettings())

    def step(most: int) -> None:
        with patch("asmil.training.stack.ON_CPU", most):
            stack.step(BagBatch.from_bags(bags), [1e-4], at=(0, 0), measure=False)

    return [partial(step, most) for most in parts]


def main() -> None:
    """Print milliseconds and peak megabytes at once, and the ratios of each size of parts to them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=["asmil", "abmil", "clam_sb"])
    parser.add_argument("--parts", type=int, nargs="*", default=[8_192, 4_096, 2_048], help="tiles of a part")
    parser.add_argument("--seconds", type=float, default=6, help="of each step")
    given = parser.parse_args()
    torch.set_num_threads(1)
    sizes = [AT_ONCE, *given.parts]
    print("| model | four bags | stabiliser | at once: ms, MB | " + " | ".join(f"{n:,}" for n in given.parts) + " |")
    print("|---" * (4 + len(given.parts)) + "|")
    for name, (tiles, dim), stabilize in product(given.models, SHAPES, (False, True)):
        steps = steps_of(name, tiles, dim, stabilize=stabilize, parts=sizes)
        peaks = [first_call(step)[1] for step in steps]
        taken = best_seconds(steps, seconds=given.seconds)
        ratios = [f"{t / taken[0]:.2f}, {p / peaks[0]:.2f}" for t, p in zip(taken[1:], peaks[1:], strict=True)]
        first = f"{1e3 * taken[0]:.0f}, {peaks[0] / 1e6:.0f}"
        print(f"| {name} | {tiles:,} x {dim} | {'yes' if stabilize else 'no'} | {first} | " + " | ".join(ratios) + " |")


if __name__ == "__main__":
    main()
