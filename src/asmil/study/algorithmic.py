"""Algorithmic tests: toy bags that show whether a model keeps to the assumption of multiple-instance learning.

A bag is positive because of what is in it: nothing in a bag may be evidence against. Each test plants a shortcut that
breaks this rule in the training bags and turns it round in the test bags. A model that keeps the rule ranks the test
bags at least as well as chance; one that took the shortcut ranks them the wrong way round. Hardly any model passes,
so this is a study and no contract: `python -m benchmarks algorithmic` prints who does.

Source: Raff and Holt, "Reproducibility in Multiple Instance Learning: A Case For Algorithmic Unit Tests", NeurIPS 2023,
arXiv 2310.17867.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from asmil.bags import Bag
from asmil.errors import ConfigError
from asmil.models import create_model
from asmil.tasks import auroc
from asmil.training import TrainSettings, fit, predict

SETTINGS = TrainSettings(
    epochs=20, learning_rate=5e-3, weight_decay=0, batch_size=20, tile_dropout=0, select="last", precision="fp32"
)
"""A short training that is enough: 200 steps. The poison is learned in less, see `EPOCHS`."""

EPOCHS = {"sc_standard": 6, "mc_standard": 6}
"""Epochs of the tests that need fewer than `SETTINGS` has."""

LEARNED_AUROC = 0.9
"""Training AUROC from which a model counts as having learned the task; below, the test says nothing."""

ModelFactory = Callable[[int, int], nn.Module]
Draw = np.random.Generator
Tiles = np.ndarray  # (tiles, dim)


def sc_standard(draw: Draw, *, positive: bool, train: bool, dim: int) -> Tiles:
    """Single concept: a positive bag has 1 to 3 tiles of the concept, N(0, 3^2) or N(1, 1), among ten of N(0, 1).

    One tile of poison, N(-10, .1^2), is in every negative bag of the training part and every positive bag of the test.
    """
    bag = [draw.normal(size=(10, dim))]
    if positive:
        for _ in range(draw.integers(1, 4)):
            mean, deviation = ((0, 3), (1, 1))[draw.integers(2)]
            bag.append(draw.normal(mean, deviation, size=(1, dim)))
    return np.concatenate([*bag, *_poison(draw, positive=positive, train=train, dim=dim)])


def mc_standard(draw: Draw, *, positive: bool, train: bool, dim: int) -> Tiles:
    """Two concepts, N(2, .1^2) and N(3, .1^2): positive bags have 1 to 3 tiles of each, negative ones one of either.

    Among 1 to 9 tiles of N(0, 1); the poison as in `sc_standard`.
    """
    bag = [draw.normal(size=(draw.integers(1, 10), dim))]
    if positive:
        bag += [_concept(draw, which, count=draw.integers(1, 4), dim=dim) for which in (0, 1)]
    else:
        bag.append(_concept(draw, draw.integers(2), count=1, dim=dim))
    return np.concatenate([*bag, *_poison(draw, positive=positive, train=train, dim=dim)])


def false_frequency(draw: Draw, *, positive: bool, train: bool, dim: int) -> Tiles:
    """Two concepts as in `mc_standard`: positive bags have one tile of each, negative ones repeat the first alone.

    One tile of it in training, 35 to 44 in the test: how often a concept occurs says nothing. Among 1 to 9 of N(0, 1).
    """
    bag = [draw.normal(size=(draw.integers(1, 10), dim))]
    if positive:
        bag += [_concept(draw, which, count=1, dim=dim) for which in (0, 1)]
    else:
        bag.append(_concept(draw, 0, count=1 if train else draw.integers(35, 45), dim=dim))
    return np.concatenate(bag)


TESTS: dict[str, Callable[..., Tiles]] = {f.__name__: f for f in (sc_standard, mc_standard, false_frequency)}
"""The generators of one bag, by the name of their test."""


def make_algorithmic_bags(name: str, n_bags: int, *, train: bool, dim: int = 8, seed: int = 0) -> list[Bag]:
    """Bags of one test, float32 (tiles, dim); labels alternate 0 and 1, tiles are shuffled within the bag.

    Raises:
        ConfigError: no test of that name.
    """
    if name not in TESTS:
        raise ConfigError("no algorithmic test of that name", found=name, fix=f"the tests: {', '.join(TESTS)}")
    draw = np.random.default_rng((seed, list(TESTS).index(name), int(train)))
    bags = []
    for index in range(n_bags):
        tiles = draw.permutation(TESTS[name](draw, positive=index % 2 == 1, train=train, dim=dim))
        bags.append(Bag(torch.from_numpy(tiles).float(), slide=f"{name}_{index:04d}", label=index % 2))
    return bags


@dataclass(frozen=True)
class Outcome:
    """How a model ranked the bags of one test: AUROC on those it was trained on, and on as many test bags."""

    test: str
    train_auroc: float
    test_auroc: float
    n_bags: int

    @property
    def verdict(self) -> str:
        """ "not learned" below `LEARNED_AUROC` in training; "broken" where the test is below chance; else "kept".

        Below chance is two standard errors under an AUROC of .5 with as many positive as negative bags (Mann-Whitney).
        """
        if self.train_auroc < LEARNED_AUROC:
            return "not learned"
        n = self.n_bags
        return "broken" if self.test_auroc < 0.5 - 2 * ((n + 1) / (3 * n**2)) ** 0.5 else "kept"


def algorithmic_tests(
    model: str | ModelFactory,
    *,
    tests: Sequence[str] = tuple(TESTS),
    n_bags: int = 200,
    in_dim: int = 8,
    settings: TrainSettings | None = None,
    seed: int = 0,
    **options: object,
) -> list[Outcome]:
    """Train a model on each of `tests` and see how it ranks bags in which the shortcut points the other way.

    `model` is the name of a registered one, made with `options`, or a function (in_dim, n_classes) that makes one.

    Raises:
        UnknownPartError: no model of that name.
        ConfigError: a wrong option, or no test of that name.
    """

    def make() -> nn.Module:
        if not isinstance(model, str):
            return model(in_dim, 2)
        return create_model(model, in_dim=in_dim, n_classes=2, **options)

    def sit(name: str) -> Outcome:
        torch.manual_seed(seed)
        trained = make()
        train, test = (make_algorithmic_bags(name, n_bags, train=part, dim=in_dim, seed=seed) for part in (True, False))
        epochs = replace(SETTINGS, epochs=EPOCHS.get(name, SETTINGS.epochs))
        fit(trained, train, [], settings=settings or epochs, seed=seed)
        return Outcome(name, _auroc(trained, train), _auroc(trained, test), n_bags)

    with torch.random.fork_rng(devices=[]):
        return [sit(name) for name in tests]


def _auroc(model: nn.Module, bags: list[Bag]) -> float:
    probabilities = np.array([p.probabilities[1] for p in predict(model, bags, batch_size=64)], np.float64)
    return float(auroc(np.array([bag.label == 1 for bag in bags]), probabilities))


def _concept(draw: Draw, which: int | np.integer, *, count: int | np.integer, dim: int) -> Tiles:
    return draw.normal(2 + which, 0.1, size=(int(count), dim))


def _poison(draw: Draw, *, positive: bool, train: bool, dim: int) -> list[Tiles]:
    return [draw.normal(-10, 0.1, size=(1, dim))] if positive != train else []
