"""Cells trained together are what each would be alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from asmil.bags import Bag
from asmil.models import list_models
from asmil.study.cells import CellPlan, train_cells
from asmil.training import Recipe, TrainSettings, fit

SETTINGS = TrainSettings(
    epochs=3, batch_size=64, learning_rate=1e-2, tile_dropout=0.0, warmup_epochs=0, patience=99, clip_norm=0.5
)
DROPOUTS = {"dropout": 0.0, "feature_dropout": 0.0, "token_drop": 0.0, "attention_dropout": 0.0, "mask_drop": 0.0}
STABILIZER = {"beta": 0.5, "momentum": 0.8, "start_epoch": 1}


def bags(n=18, seed=0):
    generator = torch.Generator().manual_seed(seed)
    made = []
    for i in range(n):
        features = torch.randn(3 + i % 7, 12, generator=generator)
        features[0, 0] += 3 * (i % 2)
        xy = 256 * torch.stack([torch.arange(len(features)) % 3, torch.arange(len(features)) // 3], 1)
        made.append(Bag(features, level0_xy=xy, slide=f"s{i}", case=f"s{i}", label=i % 2, tile_level0_px=256.0))
    return made


PLANS = [
    CellPlan(tuple(range(0, 10)), tuple(range(10, 14)), tuple(range(14, 18)), seed=3),
    CellPlan(tuple(range(6, 18)), tuple(range(0, 3)), tuple(range(3, 6)), seed=4),
]


def options_without_randomness(name):
    from asmil.models import model_options

    return {k: v for k, v in DROPOUTS.items() if k in model_options(name)}


@pytest.mark.parametrize(
    "stabilizer",
    [
        None,
        STABILIZER,
        STABILIZER | {"anchor": "frozen", "init": "independent"},
        {"beta": 9.0, "max_gradient_ratio": 0.3},
    ],
)
@pytest.mark.parametrize("name", ["abmil", "asmil", "dsmil", "clam_mb", "mean", "acmil"])
def test_together_equals_alone(name, stabilizer):
    """One batch holds all bags, and nothing is random: the same losses, predictions and attention as `fit`."""
    data = bags()
    recipe = Recipe(name, options_without_randomness(name), stabilizer, SETTINGS)
    for plan, record in zip(PLANS, train_cells(recipe, data, PLANS, n_classes=2), strict=True):
        train, val = [data[i] for i in plan.train], [data[i] for i in plan.val]
        model = recipe.build(in_dim=12, n_classes=2, train=train, seed=plan.seed)
        alone = fit(
            model,
            train,
            val,
            settings=SETTINGS,
            stabilizer=recipe.stabilize(model, data[0], seed=plan.seed),
            seed=plan.seed,
        )
        assert record.best_epoch == alone.best_epoch
        names = ["train_loss", "val_loss", "val_auroc"] + (["kl"] if stabilizer and name != "mean" else [])
        for ours, theirs in zip(record.history, alone.history, strict=True):
            np.testing.assert_allclose([ours[n] for n in names], [theirs[n] for n in names], rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("name", list_models())
def test_every_model_trains(name):
    """Every registered model, its dropout on, stabilised: finite numbers, and the attention is complete."""
    data = bags()
    recipe = Recipe(name, {}, {"beta": 0.1}, replace(SETTINGS, epochs=2, batch_size=5, tile_dropout=0.5))
    for record in train_cells(recipe, data, PLANS, n_classes=2):
        assert record.probabilities.shape == (2, 18, 2)
        assert np.isfinite(record.probabilities).all()
        if record.attention:
            assert [len(a) for a in record.attention] == [len(bag) for bag in data]
            np.testing.assert_allclose([a.sum() for a in record.attention], 1, atol=1e-4)


def test_bags_outside_the_training_part_change_nothing():
    """Other features and labels in the test bags leave the training as it was."""
    data = bags()
    recipe = Recipe("dsmil", {}, {"beta": 1.0}, replace(SETTINGS, tile_dropout=0.0))
    plan = PLANS[:1]
    changed = [
        replace(bag, features=bag.features * 5, label=1 - bag.label) if i in plan[0].test else bag
        for i, bag in enumerate(data)
    ]
    first, second = (train_cells(recipe, d, plan, n_classes=2)[0] for d in (data, changed))
    known = [*plan[0].train, *plan[0].val]
    np.testing.assert_allclose(first.probabilities[:, known], second.probabilities[:, known], atol=1e-6)
    assert np.abs(first.probabilities[:, 14:] - second.probabilities[:, 14:]).max() > 1e-3


def test_the_plain_facts_of_a_record():
    """The best epoch is the one of lowest validation loss, and the loss is that of the probabilities."""
    data = bags()
    record = train_cells(Recipe("abmil", {}, None, SETTINGS), data, PLANS[:1], n_classes=2)[0]
    val = list(PLANS[0].val)
    labels = [data[i].label for i in val]
    losses = [-np.log(p[val, labels]).mean() for p in record.probabilities]
    np.testing.assert_allclose([row["val_loss"] for row in record.history], losses, rtol=1e-5)
    assert record.best_epoch == int(np.argmin(losses))
