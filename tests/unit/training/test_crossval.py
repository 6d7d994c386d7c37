"""Cross-validation on real files: every slide tested once, cells kept, resumed and repeated bit for bit."""

import numpy as np
import pandas as pd
import pytest
import torch

from asmil.bags import make_splits, open_features, read_cohort
from asmil.training import Recipe, TrainSettings, crossval

SETTINGS = TrainSettings(epochs=4, min_epochs=1, checkpoint_seconds=0)


@pytest.fixture(scope="module")
def study(tmp_path_factory, write_feature_files, begin_run):
    """30 slides of 15 patients as feature files, with labels."""
    folder = tmp_path_factory.mktemp("study")
    names = write_feature_files(folder / "features", n_slides=30, dim=12)
    table = pd.DataFrame(
        {
            "slide_id": names,
            "case_id": [f"p{i // 2}" for i in range(30)],
            "label": [["neg", "pos"][i // 2 % 2] for i in range(30)],
        }
    )
    table.to_csv(folder / "labels.csv", index=False)
    cohort = read_cohort(folder / "labels.csv")
    return cohort, open_features(folder / "features"), make_splits(cohort, folds=3), begin_run


def run_study(study, folder, *, seeds=(0,), workers=1, model="asmil", together="auto"):
    cohort, store, splits, begin_run = study
    run = begin_run(folder, cohort, splits, model=model, seeds=list(seeds))
    crossval(
        cohort, store, splits, recipe=Recipe(model=model, settings=SETTINGS), keep=run.keep,
        cells=[(cell.fold, cell.seed) for cell in run.unfinished().unfinished], checkpoints=run.checkpoints,
        workers=workers, together=together,
    )  # fmt: skip
    run.refresh()
    return run


def test_every_slide_is_tested_once_by_a_model_that_never_saw_its_patient(study, tmp_path):
    run = run_study(study, tmp_path / "run")
    table = run.cell_predictions
    test = table[table.part == "test"]
    assert sorted(test.slide) == sorted(study[0].slides)
    for cell in run.cells():
        own = cell.predictions()
        fold = study[2].fold(cell.fold)
        tested = set(own.case[own.part == "test"])
        trained = {c for s, c in zip(study[0].slides, study[0].cases, strict=True) if s in fold.train + fold.val}
        assert not tested & trained
    np.testing.assert_allclose(test[["prob_neg", "prob_pos"]].sum(1), 1, atol=1e-6)
    maps = run.test_attention()
    assert all(abs(m.sum() - 1) < 1e-4 for m in maps.values())


def test_cells_are_written_whole_and_kept(study, tmp_path):
    run = run_study(study, tmp_path / "run")
    files = {
        "model.safetensors",
        "anchor.safetensors",
        "log.csv",
        "predictions.csv",
        "attention.h5",
        "dynamics.h5",
        "scores.h5",
        "sealed.json",
    }
    for cell in run.cells():
        assert {p.name for p in cell.folder.iterdir()} == files
    before = {c: c.folder.joinpath("model.safetensors").stat().st_mtime_ns for c in run.cells()}
    again = run_study(study, tmp_path / "run")
    assert {c: c.folder.joinpath("model.safetensors").stat().st_mtime_ns for c in again.cells()} == before


def test_processes_give_the_bits_of_one_thread(study, tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone = run_study(study, tmp_path / "alone", seeds=(0, 1), together="off")
    finally:
        torch.set_num_threads(threads)
    beside = run_study(study, tmp_path / "beside", seeds=(0, 1), workers=2, together="off")
    for a, b in zip(alone.cells(), beside.cells(), strict=True):
        for name in ("model.safetensors", "anchor.safetensors", "predictions.csv", "log.csv"):
            assert (a.folder / name).read_bytes() == (b.folder / name).read_bytes(), name


def test_models_without_attention_train_without_the_stabiliser(study, tmp_path):
    run = run_study(study, tmp_path / "run", model="mean")
    assert not list((tmp_path / "run").rglob("anchor.safetensors"))
    assert len(run.cells()) == 3
