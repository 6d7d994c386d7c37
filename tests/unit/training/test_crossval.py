"""Cross-validation on real files: every slide tested once; the same bits for any number of processes."""

import importlib

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from asmil.bags import make_splits, open_features, read_cohort
from asmil.errors import AsmilError, RunError
from asmil.runs import Run
from asmil.training import CellResult, Recipe, TrainSettings, crossval

SETTINGS = TrainSettings(epochs=4, min_steps=0, checkpoint_seconds=0)


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


@pytest.fixture
def train(study, begin_run):
    """A function that cross-validates the study into a run in a folder; returns the run."""
    cohort, store, splits = study

    def into(folder, *, seeds=(0,), folds=(0, 1, 2), workers=1, model="asmil", settings=SETTINGS, keep=None, **options):
        run = begin_run(folder, cohort, splits, model=model, seeds=list(seeds))
        cells = [(cell.fold, cell.seed) for cell in run.unfinished().unfinished if cell.fold in folds]
        crossval(
            cohort,
            store,
            splits,
            recipe=Recipe(model=model, settings=settings),
            cells=cells,
            keep=keep or run.keep,
            checkpoints=run.checkpoints,
            workers=workers,
            **options,
        )
        return run

    return into


def files_of(run):
    return {path.relative_to(run.folder): path.read_bytes() for path in run.folder.glob("folds/**/*") if path.is_file()}


def probabilities(run, seed):
    table = run.cell_predictions
    return table[table["seed"] == seed].sort_values(["fold", "part", "slide"])["prob_pos"].to_numpy()


def test_every_slide_is_tested_once_by_a_model_that_never_saw_its_patient(study, train, tmp_path):
    results: list[CellResult] = []
    train(tmp_path, keep=results.append)
    case_of = dict(zip(study[0].slides, study[0].cases, strict=True))
    assert sorted(p.slide for result in results for p in result.predictions["test"]) == sorted(study[0].slides)
    for result in results:
        fold = study[2].fold(result.fold)
        assert not {case_of[p.slide] for p in result.predictions["test"]} & {
            case_of[slide] for slide in fold.train + fold.val
        }
        for prediction in result.predictions["test"]:
            assert prediction.probabilities.sum() == pytest.approx(1, abs=1e-6)
            assert prediction.attention.sum() == pytest.approx(1, abs=1e-4)
        assert set(result.score_samples) == {"softmax", "nsf"}
        assert len(result.score_samples["nsf"]) == sum(len(bag) for bag in result.val[:8])
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize(("model", "workers"), [("asmil", (1, 2)), ("abmil", (1, 4))])
def test_any_number_of_workers_gives_the_same_bytes(train, tmp_path, model, workers):
    """One, in this process with its two threads; two, of which one trains two folds; and more than there are folds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        runs = [train(tmp_path / str(n), seeds=(0, 1), workers=n, model=model) for n in workers]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    first = files_of(runs[0])
    assert len(first) == 3 * 2 * 8
    for other in runs[1:]:
        assert [str(name) for name, content in files_of(other).items() if first[name] != content] == []


def test_a_seed_more_or_less_changes_no_other_byte(train, tmp_path):
    many, few = train(tmp_path / "many", seeds=(4, 0, 1, 2)), train(tmp_path / "few", seeds=(1,))
    known = files_of(many)
    assert [str(name) for name, content in files_of(few).items() if known[name] != content] == []
    assert np.abs(probabilities(many, 1) - probabilities(many, 0)).max() > 1e-3


class _Killed(BaseException):
    """Not an error that anybody handles."""


def test_a_run_that_was_stopped_goes_on_and_ends_bit_equal(train, tmp_path, monkeypatch):
    """While the second model is written: the first is kept as it is, and nothing is trained again."""
    unbroken, kept = train(tmp_path / "unbroken", seeds=(0, 1)), []

    def keep(result):
        if len(kept) == 3:
            raise _Killed
        Run(tmp_path / "broken").keep(result)
        kept.append(result)

    with pytest.raises(_Killed):
        train(tmp_path / "broken", seeds=(0, 1), keep=keep)
    broken = Run(tmp_path / "broken")
    times = {cell: (cell.folder / "model.safetensors").stat().st_mtime_ns for cell in broken.cells()}
    assert [(cell.fold, cell.seed) for cell in times] == [(0, 0), (0, 1), (1, 0)]
    broken = train(tmp_path / "broken", seeds=(0, 1), workers=2)
    assert files_of(broken) == files_of(unbroken)
    assert all((cell.folder / "model.safetensors").stat().st_mtime_ns == time for cell, time in times.items())
    assert not broken.checkpoints.exists()


def test_seeds_that_are_added_later_are_as_if_they_had_been_there(train, tmp_path):
    at_once = train(tmp_path / "at_once", seeds=(0, 1))
    train(tmp_path / "later", seeds=(0,))
    later = train(tmp_path / "later", seeds=(0, 1))
    assert files_of(at_once) == files_of(later)


def test_a_process_that_dies_is_an_error_that_names_its_models(train, tmp_path, monkeypatch):
    (tmp_path / "dying.py").write_text("import os\ndef keep(result): os._exit(9)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    keep = importlib.import_module("dying").keep
    with pytest.raises(RunError, match=r"fold 1 seed 0.* ended: the process died 3 times"):
        train(tmp_path, folds=[1], workers=2, keep=keep)


class Heard:
    """The rows that were told of each model since its epoch 0, as a tracker keeps them, and its result."""

    def __init__(self, stop_after=None):
        self.rows, self.results, self.left = {}, {}, stop_after

    def __call__(self, model, rows, *, result):
        if rows:
            own = [] if rows[0]["epoch"] == 0 else self.rows[model]
            self.rows[model] = own + rows
        if result is not None:
            self.results[model] = result
        self.left = None if self.left is None else self.left - 1
        if self.left == 0:
            raise _Killed

    def check(self, run):
        """Hold it against what the run has."""
        assert set(self.rows) == {cell.name for cell in run.cells()} == set(self.results)
        for cell in run.cells():
            said = [{name: pytest.approx(value, nan_ok=True) for name, value in row.items()} for row in cell.rows()]
            assert [{name: row.get(name, float("nan")) for name in said[0]} for row in self.rows[cell.name]] == said
            assert self.results[cell.name]["best_epoch"] == cell.best_epoch
            assert self.results[cell.name]["val_loss"] == pytest.approx(cell.chosen["val_loss"])


def test_progress_is_told_of_every_model_and_ends_at_the_end(train, tmp_path):
    for workers in (1, 2):
        last, heard = {}, Heard()

        def hear(fold, seed, *epochs, last=last):
            last[fold, seed] = epochs

        heard.check(train(tmp_path / str(workers), seeds=(0, 1), workers=workers, progress=hear, trained=heard))
        assert set(last) == {(fold, seed) for fold in range(3) for seed in (0, 1)}
        assert all(done == total for done, total in last.values())
        assert {total for _, total in last.values()} <= {5, 6, 7, 8}, "four epochs, and a refit of one to four"


def test_every_epoch_is_told_as_the_log_has_it_also_of_a_training_that_goes_on(train, tmp_path):
    first, heard = Heard(5), Heard()
    with pytest.raises(_Killed):
        train(tmp_path, seeds=(0, 1), trained=first)
    assert {len(rows) for rows in first.rows.values()} == {2, 3}
    heard.check(train(tmp_path, seeds=(0, 1), trained=heard))


def test_models_without_attention_have_no_anchor(train, tmp_path):
    run = train(tmp_path, model="mean")
    assert len(run.cells()) == 3
    assert not any(cell.stabilized for cell in run.cells())


def test_the_anchor_takes_the_features_of_the_model(train, tmp_path):
    cell = train(tmp_path).cells()[0]
    model, anchor = (load_file(cell.folder / f"{name}.safetensors") for name in ("model", "anchor"))
    assert model.keys() == anchor.keys()
    assert torch.equal(model["mean"], anchor["mean"])


def test_trainings_that_diverge_are_named_and_the_others_kept(train, tmp_path):
    settings = TrainSettings(epochs=2, learning_rate=1e30, warmup_epochs=0, clip_norm=1e30)
    with pytest.raises(AsmilError, match=r"[123] of 3") as caught:
        train(tmp_path, model="mean", settings=settings)
    assert "fold 0 seed 0" in str(caught.value.found)
