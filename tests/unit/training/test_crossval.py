"""Cross-validation on real files: every slide tested once, cells kept, resumed and repeated bit for bit."""

import numpy as np
import pandas as pd
import pytest
import torch

from asmil.bags import make_splits, open_features, read_cohort
from asmil.errors import RunError
from asmil.training import Run, TrainSettings, crossval
from asmil.training.recipe import Recipe
from asmil.training.runs import write_attention

SETTINGS = TrainSettings(epochs=4, min_epochs=1, checkpoint_seconds=0)


@pytest.fixture(scope="module")
def study(tmp_path_factory, write_feature_files):
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
    return cohort, open_features(folder / "features"), make_splits(cohort, folds=3)


def run_study(study, folder, *, seeds=(0,), workers=1, model="asmil", together="auto"):
    cohort, store, splits = study
    run = Run.create(folder, identity={"model": model})
    recipe = Recipe(model=model, settings=SETTINGS)
    return crossval(cohort, store, splits, recipe=recipe, run=run, seeds=seeds, workers=workers, together=together)


def test_every_slide_is_tested_once_by_a_model_that_never_saw_its_patient(study, tmp_path):
    run = run_study(study, tmp_path / "run")
    table = run.predictions()
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


def test_other_settings_are_refused_by_name(tmp_path):
    Run.create(tmp_path, identity={"epochs": 4, "model": "asmil"})
    with pytest.raises(RunError, match="epochs was 4, is 5"):
        Run.create(tmp_path, identity={"epochs": 5, "model": "asmil"})


def test_slide_names_cannot_leave_the_folder(tmp_path):
    import h5py

    write_attention(tmp_path / "a.h5", {"../../evil": np.ones(2) / 2})
    with h5py.File(tmp_path / "a.h5") as file:
        assert list(file) == [".._.._evil"] or all("/" not in name for name in file)
