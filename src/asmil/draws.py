"""Random numbers that belong to one model: the same, whichever models are trained beside it.

Dropout, dropped tokens, masks: whatever a model of ours draws in training, it draws here, from a stream of 16-bit
numbers. A model that runs alone takes them from torch's global generator; of many models that run in one pass
(`torch.vmap`) each takes them from a `bank` that was filled for it. Whoever trains seeds either by the same key
(`stream`), so that a model sees the same numbers alone and in any company. Models of other people draw from torch's
global generator, which is seeded in the same way.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

LEVELS = 2**16


def stream(*key: int | str) -> int:
    """A seed for this key (seed, epoch, step ...): other keys give unrelated numbers."""
    return int.from_bytes(blake2b(repr(key).encode(), digest_size=8).digest(), "little") >> 1


class BankIsEmpty(RuntimeError):
    """A model drew more numbers than its bank holds: fill a larger one, which begins with the same, and run again."""


class _Bank:
    """Numbers of one model (in a vmapped pass: of each), and how many are taken."""

    def __init__(self, numbers: Tensor):
        self.numbers, self.taken = numbers, 0

    def take(self, count: int) -> Tensor:
        start, self.taken = self.taken, self.taken + 4 * -(-count // 4)  # words of 64 bits, as when drawn one by one
        if self.taken > self.numbers.shape[0]:
            raise BankIsEmpty
        return self.numbers[start : start + count]


_bank: _Bank | None = None


def fill_banks(seeds: Sequence[int], numbers: int, device: torch.device) -> Tensor:
    """A bank for each seed: int16 (seeds, numbers), drawn on the CPU."""
    words = torch.empty(len(seeds), -(-numbers // 4), dtype=torch.int64)
    for own, seed in zip(words, seeds, strict=True):
        own.random_(-(2**63), None, generator=torch.Generator().manual_seed(seed))
    return words.view(torch.int16).to(device)


@contextmanager
def from_bank(numbers: Tensor) -> Iterator[None]:
    """Within, models draw from these numbers (int16)."""
    global _bank
    _bank = _Bank(numbers)
    try:
        yield
    finally:
        _bank = None


def _take(shape: Sequence[int], device: torch.device) -> Tensor:
    """Whole numbers from -32768 to 32767, int16."""
    count = 1
    for length in shape:
        count *= length
    if _bank is not None:
        return _bank.take(count).view(*shape)
    words = torch.empty(-(-count // 4), dtype=torch.int64, device=device).random_(-(2**63), None)
    return words.view(torch.int16)[:count].view(*shape)


def uniform(shape: Sequence[int], device: torch.device) -> Tensor:
    """Uniform numbers in (0, 1), float32, of 2^24 values."""
    high, low = _take((2, *shape), device).float().unbind(0)
    return (high + LEVELS / 2) / LEVELS + ((low + LEVELS / 2) // 256 + 0.5) / 2**24


def permutation(count: int, device: torch.device) -> Tensor:
    """A random order of `count` things."""
    return uniform((count,), device).argsort(stable=True)


def dropout(values: Tensor, probability: float) -> Tensor:
    """Set each value to 0 with this probability (to 1/65536) and scale the others by 1 / (1 - probability)."""
    if probability == 0:
        return values
    kept = _kept(values, probability).to(values.dtype)
    return values * kept.mul_(1 / (1 - probability))


def drop_(values: Tensor, probability: float) -> Tensor:
    """The zeros of `dropout` alone, in place: for one model whose gradient is written by hand."""
    return values.mul_(_kept(values, probability).to(values.dtype))


def _kept(values: Tensor, probability: float) -> Tensor:
    # A comparison of 16 random bits: torch's own dropout costs five times as much on a CPU.
    dropped = min(round(probability * LEVELS), LEVELS - 1)
    return _take(values.shape, values.device) >= dropped - LEVELS // 2


class _Undrawn(TorchFunctionMode):
    """Leaves out what draws normal numbers."""

    def __torch_function__(self, func: Callable, types: object, args: tuple = (), kwargs: dict | None = None) -> object:
        named, name = kwargs or {}, getattr(func, "__name__", "")
        if name == "normal_":
            return named["tensor"] if "tensor" in named else args[0]
        return (torch.empty if name == "randn" else func)(*args, **named)


@contextmanager
def shapes_only() -> Iterator[None]:
    """Within, tensors have shapes and no memory (torch's device `meta`), and no weights are drawn.

    Drawing normal numbers without memory would make torch import its compiler, which takes as long as torch itself.
    """
    with torch.device("meta"), _Undrawn():
        yield
