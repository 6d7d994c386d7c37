"""Bags that their mean cannot tell: a model that weighs tiles finds the few that decide."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from asmil.bags import load_dataset
from asmil.models import create_model
from asmil.training import TrainSettings, fit, predict

SMALL_LESIONS = {"score_scale": 32.0, "even_start": True, "token_std": 1.0}
SETTINGS = TrainSettings(epochs=25, learning_rate=1e-3, weight_decay=1.0, select="last")


@pytest.fixture(scope="module")
def needle():
    """Bags to learn from, others to be tested on, and where their lesions are; contrast 5, 3 % of 200 tiles."""
    data = load_dataset("needle", contrast=5, witness_rate=0.03, slides=200, tiles_per_slide=200)
    return data.bags[:120], data.bags[120:], data.tile_labels


def found(model, needle):
    """AUROC of the bags, and mean average precision of the attention within positive ones."""
    train, test, truth = needle
    fit(model, train, [], settings=SETTINGS, seed=0)
    told = predict(model, test)
    auroc = roc_auc_score([bag.label for bag in test], [one.probabilities[1] for one in told])
    pairs = zip(test, told, strict=True)
    precision = [average_precision_score(truth[bag.slide], one.attention) for bag, one in pairs if bag.label]
    return auroc, np.mean(precision)


def test_asmil_for_small_lesions_solves_the_easy_needle(needle):
    torch.manual_seed(0)
    auroc, tile_precision = found(create_model("asmil", in_dim=64, n_classes=2, **SMALL_LESIONS), needle)
    assert auroc >= 0.99
    assert tile_precision >= 0.95


def test_a_mean_does_not(needle):
    torch.manual_seed(0)
    auroc, tile_precision = found(create_model("mean", in_dim=64, n_classes=2), needle)
    assert auroc < 0.7
    assert tile_precision < 0.1
