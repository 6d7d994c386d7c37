"""The algorithmic tests: what is in the bags, and that they tell a model that keeps the rule from one that does not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from asmil.errors import ConfigError
from asmil.models import MILOutput
from asmil.study.algorithmic import SETTINGS, TESTS, Outcome, algorithmic_tests, make_algorithmic_bags


def tiles(bags, label):
    return [bag.features.numpy() for bag in bags if bag.label == label]


def poisoned(bags):
    return [bool((bag.mean(1) < -8).any()) for bag in bags]


def near(bag, level):
    """How many tiles of a bag are of the concept around `level`."""
    return int((np.abs(bag - level).max(1) < 0.8).sum())


@pytest.mark.parametrize("name", ["sc_standard", "mc_standard"])
def test_the_poison_changes_sides(name):
    train, test = (make_algorithmic_bags(name, 60, train=t) for t in (True, False))
    assert all(poisoned(tiles(train, 0)))
    assert not any(poisoned(tiles(train, 1)))
    assert all(poisoned(tiles(test, 1)))
    assert not any(poisoned(tiles(test, 0)))


def test_a_single_concept_has_one_to_three_tiles_of_two_kinds():
    counts = [len(bag) for bag in tiles(make_algorithmic_bags("sc_standard", 400, train=True, dim=64), 1)]
    assert set(counts) == {11, 12, 13}
    extra = np.concatenate(tiles(make_algorithmic_bags("sc_standard", 400, train=True, dim=64), 1))
    wide, shifted = extra.std(1) > 2, np.abs(extra.mean(1) - 1) < 0.5
    assert wide.sum() > 100
    assert shifted.sum() > 100


def test_multiple_concepts_are_both_in_positive_bags_and_either_in_negative_ones():
    bags = make_algorithmic_bags("mc_standard", 200, train=False)
    assert {near(bag, 2) for bag in tiles(bags, 1)} == {1, 2, 3}
    assert {near(bag, 3) for bag in tiles(bags, 1)} == {1, 2, 3}
    assert {(near(bag, 2), near(bag, 3)) for bag in tiles(bags, 0)} == {(1, 0), (0, 1)}


def test_only_the_frequency_changes_in_negative_bags():
    train, test = (make_algorithmic_bags("false_frequency", 200, train=t) for t in (True, False))
    assert {near(bag, 2) for bag in tiles(train, 0)} == {1}
    assert {near(bag, 2) for bag in tiles(test, 0)} == set(range(35, 45))
    assert not any(near(bag, 3) for bag in tiles(train + test, 0))
    assert {(near(bag, 2), near(bag, 3)) for bag in tiles(train + test, 1)} == {(1, 1)}


@pytest.mark.parametrize("name", TESTS)
def test_bags_depend_on_the_seed_alone(name):
    torch.manual_seed(1)
    first = make_algorithmic_bags(name, 6, train=True, seed=4)
    torch.manual_seed(2)
    again, other = (make_algorithmic_bags(name, 6, train=True, seed=s) for s in (4, 5))
    assert all(torch.equal(a.features, b.features) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0].features[:2], other[0].features[:2])
    with pytest.raises(ConfigError, match="sc_standard"):
        make_algorithmic_bags("none", 6, train=True)


class Rule(nn.Module):
    """What is the most positive tile? Only that can make a bag positive; `sign` -1 asks what is missing instead."""

    def __init__(self, in_dim, n_classes, *, sign=1):
        super().__init__()
        self.score, self.sign = nn.Sequential(nn.Linear(in_dim, 16), nn.ReLU(), nn.Linear(16, 1)), sign

    def forward(self, batch):
        best = torch.stack([(self.sign * bag).max() for bag in batch.split(self.score(batch.features))]) * self.sign
        logits = torch.stack([torch.zeros_like(best), best], 1)
        even = torch.cat([torch.full((n,), 1 / n) for n in batch.lengths])
        return MILOutput(logits, even, logits)


def test_a_model_that_keeps_the_rule_is_told_from_its_mirror_image():
    long = {"tests": ["sc_standard"], "in_dim": 32, "settings": SETTINGS}
    (kept,) = algorithmic_tests(Rule, **long)
    assert (kept.verdict, kept.test_auroc > 0.7) == ("kept", True)
    (broken,) = algorithmic_tests(lambda d, n: Rule(d, n, sign=-1), **long)
    assert (broken.verdict, broken.test_auroc < 0.3) == ("broken", True)


@pytest.mark.parametrize(
    ("train", "test", "verdict"),
    [(0.95, 0.5, "kept"), (0.95, 0.43, "kept"), (0.95, 0.41, "broken"), (0.89, 0.9, "not learned")],
)
def test_chance_is_kept_within_two_standard_errors(train, test, verdict):
    assert Outcome("t", train, test, n_bags=200).verdict == verdict


def test_a_registered_model_is_made_by_its_name_and_a_wrong_option_is_named():
    short = {"tests": ["mc_standard"], "n_bags": 20, "settings": replace(SETTINGS, epochs=1)}
    (outcome,) = algorithmic_tests("mean", **short)
    assert outcome.test == "mc_standard"
    with pytest.raises(ConfigError):
        algorithmic_tests("mean", **short, no_such_option=1)
