"""The contract of an encoder, checked on any encoder: ours by name, or a foreign object."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from asmil.encoders import FP16_MAX, PRECISIONS, Encoder, create_encoder
from asmil.testing.report import CheckReport, require, run_checks

ANY_SIZE_PX = (16, 33, 50, 224)
"""Tile sides tried on an encoder whose card takes any size; an odd one and the smallest among them."""


def check_encoder(
    encoder: str | Encoder, *, seed: int = 0, expected_failures: Mapping[str, str] | None = None
) -> CheckReport:
    """Examine an encoder, by name (then it must load without arguments) or as an object.

    `expected_failures` maps names of checks to the reason why the encoder cannot keep them; such a check that
    passes makes the report fail too.

    Raises:
        UnknownPartError: no encoder of that name.
        EncoderError: its weights cannot be had.
        ConfigError: a failure is expected of a check that does not exist.
    """
    made = create_encoder(encoder) if isinstance(encoder, str) else encoder
    checks = _EncoderChecks(made, seed=seed)
    return run_checks(f"encoder {made.card.name!r}", checks.all(), expected_failures=expected_failures)


class _EncoderChecks:
    """Each method is one check: it returns, or raises a `ContractError` that says what was seen."""

    def __init__(self, encoder: Encoder, *, seed: int):
        self.encoder, self.random = encoder, np.random.default_rng(seed)
        side = encoder.card.tile_px
        self.sides = ANY_SIZE_PX if side is None else (side,)
        self.tiles = self._various(32 if side is None else side)

    def all(self) -> list[Callable[[], None]]:
        """The checks in the order of the report."""
        return [
            self.identity,
            self.shape_and_type,
            self.finite_on_extreme_tiles,
            self.fits_float16,
            self.batch_equals_loop,
            self.order_of_tiles_is_irrelevant,
            self.same_tiles_same_bits,
            self.tensors_and_arrays,
            self.tells_tiles_apart,
            self.input_is_left_alone,
        ]

    def identity(self) -> None:
        """It has a card with a name and a dimension, a weight hash, and a precision that has a name."""
        card = self.encoder.card
        require(bool(card.name) and card.dim > 0, f"the card has name {card.name!r} and dim {card.dim}")
        require(bool(self.encoder.weight_hash), "weight_hash is empty")
        require(self.encoder.precision in PRECISIONS, f"precision {self.encoder.precision!r}")

    def shape_and_type(self) -> None:
        """Any number of tiles, one included, gives float32 (tiles, dim of the card)."""
        for side in self.sides:
            for count in (1, 3):
                tiles = self.random.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
                vectors, wanted = self.encoder(tiles), (count, self.encoder.card.dim)
                require(tuple(vectors.shape) == wanted, f"shape {tuple(vectors.shape)} instead of {wanted}")
                require(vectors.dtype == torch.float32, f"type {vectors.dtype} instead of float32")

    def finite_on_extreme_tiles(self) -> None:
        """White, black, plain, checkered and noisy tiles give finite values."""
        for side in self.sides:
            for name, tile in self._extremes(side).items():
                require(bool(self._encode(tile[None]).isfinite().all()), f"not finite on a {name} tile")

    def fits_float16(self) -> None:
        """No value leaves the range of float16; rounding to it loses less than a hundredth of the norm."""
        vectors = torch.cat([self._encode(self.tiles), self._encode(self._stack())])
        largest = float(vectors.abs().max())
        require(largest <= FP16_MAX, f"values up to {largest:.3g}")
        lost = float((vectors.half().float() - vectors).norm() / vectors.norm())
        require(lost < 1e-2, f"float16 loses {lost:.1%} of the norm")

    def batch_equals_loop(self) -> None:
        """A tile's features do not depend on the tiles it shares a batch with."""
        alone = torch.cat([self._encode(tile[None]) for tile in self.tiles])
        _same("features of a batch and of single tiles", self._encode(self.tiles), alone)

    def order_of_tiles_is_irrelevant(self) -> None:
        """Shuffled tiles give the features shuffled alike."""
        order = self.random.permutation(len(self.tiles))
        _same("features of shuffled tiles", self._encode(self.tiles[order]), self._encode(self.tiles)[order])

    def same_tiles_same_bits(self) -> None:
        """The same batch gives the same bits, and no random number is drawn."""
        before = torch.get_rng_state()
        first = self._encode(self.tiles)
        require(torch.equal(before, torch.get_rng_state()), "encoding draws random numbers")
        require(torch.equal(first, self._encode(self.tiles)), "the same tiles give other features the second time")

    def tensors_and_arrays(self) -> None:
        """A torch tensor gives what the same numpy array gives."""
        _same("features of a tensor", self._encode(torch.from_numpy(self.tiles)), self._encode(self.tiles))

    def tells_tiles_apart(self) -> None:
        """Different tiles have different features."""
        vectors = self._encode(self._stack())
        distance = torch.cdist(vectors, vectors) + torch.eye(len(vectors)) * 1e9
        require(float(distance.min()) > 0, "two different tiles have equal features")

    def input_is_left_alone(self) -> None:
        """The tiles are not written to."""
        tiles = self.tiles.copy()
        self.encoder(tiles)
        require(np.array_equal(tiles, self.tiles), "the tiles were changed in place")

    def _encode(self, tiles: np.ndarray | Tensor) -> Tensor:
        return self.encoder(tiles).detach().cpu()

    def _various(self, side: int) -> np.ndarray:
        """Five tiles from smooth to noisy, uint8 (5, side, side, 3)."""
        tiles = []
        for grain in (1, 2, 4, 8, 16):
            coarse = self.random.integers(40, 250, (side // grain + 1, side // grain + 1, 3), dtype=np.uint8)
            tiles.append(coarse.repeat(grain, axis=0).repeat(grain, axis=1)[:side, :side])
        return np.stack(tiles)

    def _extremes(self, side: int) -> dict[str, np.ndarray]:
        checkered = np.indices((side, side)).sum(axis=0)[..., None] % 2 * np.full(3, 255)
        return {
            "white": np.full((side, side, 3), 255, np.uint8),
            "black": np.zeros((side, side, 3), np.uint8),
            "plain pink": np.full((side, side, 3), (230, 160, 200), np.uint8),
            "checkered": checkered.astype(np.uint8),
            "noisy": self.random.integers(0, 256, (side, side, 3), dtype=np.uint8),
        }

    def _stack(self) -> np.ndarray:
        return np.stack(list(self._extremes(self.sides[-1]).values()))


def _same(name: str, found: Tensor, wanted: Tensor) -> None:
    difference = float((found - wanted).abs().max())
    require(difference <= 1e-3 * (1 + float(wanted.abs().max())), f"{name} differ by {difference:.2g}")
