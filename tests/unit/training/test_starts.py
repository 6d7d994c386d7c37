"""Several starts: a model that found nothing begins again, on the word of the validation part, alone or in company."""

import dataclasses
from itertools import islice
from pathlib import Path

import pandas as pd
import pytest
import torch

from asmil.bags import Bag, Cohort, make_bags, make_splits
from asmil.models import create_model
from asmil.training import AttentionRecorder, CellResult, Member, Recipe, TrainSettings, seed_of, train_starts
from asmil.training.cell import Fold, Job, train_fold

SETTINGS = TrainSettings(
    epochs=9, min_steps=45, batch_size=4, learning_rate=5e-3, patience=50, tile_dropout=0, restarts=2
)
"""Of 20 bags: five steps an epoch, so that a start is judged after three of nine epochs."""


class Seeing(torch.nn.Module):
    """A model, or a blind one: its attention can prefer no tile, and its answer is one for all slides.

    The gradient of a square is none at zero, so that the blind stay blind; members that share a pass have to be alike.
    """

    def __init__(self, model: torch.nn.Module, *, blind: bool):
        super().__init__()
        self.model = model
        self.sight = torch.nn.Parameter(torch.tensor(0.0 if blind else 1.0))

    def forward(self, batch):
        return self.model(batch.with_features(batch.features * self.sight.square()))


@pytest.fixture(scope="module")
def bags() -> list[Bag]:
    return make_bags(40, tiles=(8, 30), dim=16, shift=4.0, seed=1)[0]


def begin(blind: set[tuple[int, int]], *, name: str = "abmil", settings: TrainSettings = SETTINGS):
    """A function that begins a seed's start; those in `blind` find nothing."""

    def make(seed: int, start: int) -> Member:
        drawn = seed_of(seed, start)
        torch.manual_seed(drawn)
        model = Seeing(create_model(name, in_dim=16, n_classes=2), blind=(seed, start) in blind)
        return Member(model, settings, key=("seed", drawn), listeners=[AttentionRecorder()], place=seed)

    return make


def trained(bags, blind, *, seeds=(0,), val=None, **options) -> dict[int, Member]:
    val = bags[20:30] if val is None else val
    *_, members = train_starts(begin(blind, **options), seeds, train=bags[:20], val=val, one_pass=True)
    return members


def weights(member: Member) -> list[torch.Tensor]:
    return list(member.model.state_dict().values())


def test_a_start_that_found_nothing_is_followed_by_another(bags):
    seen: list[tuple[int, int]] = []
    for members in train_starts(begin({(0, 0), (0, 1)}), [0], train=bags[:20], val=bags[20:30]):
        seen.append((members[0].start, len(members[0].result.history)))
    assert seen == [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3), *((2, epoch + 1) for epoch in range(9)), (2, 9)]
    assert not members[0].result.nothing
    assert members[0].result.best_value < 0.5


def test_a_start_that_found_something_is_kept_whatever_came_of_it_without(bags):
    once = trained(bags, set(), settings=dataclasses.replace(SETTINGS, restarts=0))
    again = trained(bags, set())
    assert again[0].start == 0
    assert all(torch.equal(a, b) for a, b in zip(weights(once[0]), weights(again[0]), strict=True))


def test_the_last_start_is_trained_to_its_end_and_the_best_of_all_is_kept(bags):
    members = trained(bags, {(0, start) for start in range(3)})
    assert members[0].result.nothing
    assert len(members[0].result.history) in (3, 9)
    values = [trained(bags, {(0, start)}, settings=dataclasses.replace(SETTINGS, restarts=0)) for start in (0,)]
    assert members[0].result.best_value <= values[0][0].result.best_value + 1e-3


def test_company_changes_no_bit_of_a_start(bags):
    alone = {seed: trained(bags, {(0, 0)}, seeds=(seed,))[seed] for seed in (0, 1, 2)}
    together = trained(bags, {(0, 0)}, seeds=(0, 1, 2))
    assert [together[seed].start for seed in (0, 1, 2)] == [1, 0, 0]
    for seed, member in alone.items():
        assert all(torch.equal(a, b) for a, b in zip(weights(member), weights(together[seed]), strict=True))


@pytest.mark.parametrize(
    "kept",
    [
        {"settings": dataclasses.replace(SETTINGS, restarts=0)},
        {"settings": dataclasses.replace(SETTINGS, min_steps=0)},  # nothing says when attention should have formed
        {"name": "mean"},  # even by its nature
    ],
    ids=["no restarts", "no least steps", "no attention"],
)
def test_nothing_begins_again(bags, kept):
    assert trained(bags, {(0, 0)}, **kept)[0].start == 0
    assert len(trained(bags, {(0, 0)}, **kept)[0].result.history) == 9


def test_a_validation_part_of_one_class_says_nothing(bags):
    negative = [bag for bag in bags[20:] if bag.label == 0]
    assert trained(bags, {(0, 0)}, val=negative)[0].start == 0


def test_an_interrupted_start_ends_bit_equal(bags, tmp_path):
    def run(until: int) -> dict[int, Member]:
        settings = dataclasses.replace(SETTINGS, checkpoint_seconds=0)
        several = train_starts(
            begin({(0, 0)}, settings=settings),
            [0, 1],
            train=bags[:20],
            val=bags[20:30],
            checkpoints=path,
            one_pass=True,
        )
        return [*islice(several, until)][-1]

    def path(start: int) -> Path:
        return tmp_path / f"{start}.pt"

    run(11)  # in the middle of the second start
    assert path(1).exists()
    resumed, whole = run(99), trained(bags, {(0, 0)}, seeds=(0, 1))
    assert [resumed[seed].start for seed in (0, 1)] == [1, 0]
    for seed in (0, 1):
        assert all(torch.equal(a, b) for a, b in zip(weights(resumed[seed]), weights(whole[seed]), strict=True))


@dataclasses.dataclass(frozen=True)
class Careless(Recipe):
    """A recipe whose model is blind where it trains on so many bags from a seed."""

    blind: tuple[int, int] = (0, 0)

    def build(self, *, in_dim, n_classes, train, seed):
        model = super().build(in_dim=in_dim, n_classes=n_classes, train=train, seed=seed)
        return Seeing(model, blind=(len(train), seed) == self.blind)


def test_a_refit_that_lost_what_was_found_begins_again(bags, tmp_path):
    cohort = Cohort(
        pd.DataFrame({"slide": [b.slide for b in bags], "case": [b.slide for b in bags]}).assign(
            label=[["neg", "pos"][b.label] for b in bags]
        ),
        ("neg", "pos"),
    )
    splits = make_splits(cohort, folds=2, val_fraction=0.25)
    parts = splits.fold(0)
    both = len(parts.train) + len(parts.val)
    settings = dataclasses.replace(SETTINGS, epochs=20)

    def cell(blind: tuple[int, int]) -> CellResult:
        job = Job(Path(), cohort, splits, Careless("abmil", settings=settings, stabilizer=None, blind=blind))
        kept: list[CellResult] = []
        for _ in train_fold(
            Fold(0, (0,), (0,), tmp_path / "fold"), job, {bag.slide: bag for bag in bags}, keep=kept.append
        ):
            pass
        return kept[0]

    careful, careless = cell((0, 0)), cell((both, 0))
    assert (careful.start, careless.start) == (0, 1)
    right = [
        p.probabilities.argmax() == bags[[b.slide for b in bags].index(p.slide)].label
        for p in careless.predictions["test"]
    ]
    assert sum(right) >= 0.8 * len(right)
    assert careful.history == careless.history  # the choice of the epoch is the same
