"""A run of twelve slides that is begun, and models for it that nobody trained."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from asmil.bags import make_splits, read_cohort
from asmil.runs import Run
from asmil.training import AttentionRecorder, CellResult, Prediction

CLASSES = ("benign", "tumour")
TILES = 5


@pytest.fixture(scope="session")
def data():
    """A cohort and its two folds."""
    names = [f"s{i}" for i in range(12)]
    cohort = read_cohort(pd.DataFrame({"slide_id": names, "label": [CLASSES[i % 2] for i in range(12)]}))
    return cohort, make_splits(cohort, folds=2)


@pytest.fixture(scope="session")
def result(data):
    """A function that gives a `CellResult`: other numbers for each fold and seed, the same for the same."""
    _, splits = data

    def make(fold=0, seed=0, **changed):
        random = np.random.default_rng([fold, seed])
        torch.manual_seed(10 * fold + seed)
        recorder = AttentionRecorder()
        parts = {"val": splits.fold(fold).val, "test": splits.fold(fold).test}
        predictions = {}
        for part, slides in parts.items():
            prob, maps = random.dirichlet([1, 1], len(slides)), random.dirichlet(np.ones(TILES), len(slides))
            several = zip(slides, prob, maps, strict=True)
            predictions[part] = [Prediction(s, p, m.astype(np.float32), np.ones(3), 0.0) for s, p, m in several]
        for epoch in range(3):
            recorder("epoch", epoch=epoch, val=predictions["val"])
        history = [{"epoch": epoch, "val_loss": 1 / (epoch + 1)} for epoch in range(3)]
        history[1]["jsd"] = 0.5
        given = {
            "fold": fold, "seed": seed, "model_name": "abmil", "model_options": {},
            "model": nn.Linear(3, 2), "anchor": nn.Linear(3, 2),
            "task": None, "best_epoch": 2, "history": history, "recorder": recorder, "val": [],
            "score_samples": {"softmax": random.random(9), "nsf": random.random(9)}, "predictions": predictions,
        }  # fmt: skip
        return CellResult(**(given | changed))

    return make


@pytest.fixture(scope="session")
def made(begin_run, data, result, tmp_path_factory):
    """A run without models, and one with all of its four; nobody writes into them."""
    folder = tmp_path_factory.mktemp("made")
    runs = [begin_run(folder / name, *data, model="abmil", seeds=2, bootstrap=20) for name in ("begun", "whole")]
    for fold in (0, 1):
        for seed in (0, 1):
            runs[1].keep(result(fold, seed))
    return runs


@pytest.fixture
def begun(made, tmp_path):
    """A run that has no model yet; it is to have four."""
    return Run(shutil.copytree(made[0].folder, tmp_path / "run"))


@pytest.fixture
def run(made, tmp_path):
    """A run with all of its models."""
    return Run(shutil.copytree(made[1].folder, tmp_path / "run"))
