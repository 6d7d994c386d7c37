"""The folder of a run: begun, gone on with, moved, looked at; what does not belong to it is named."""

import os
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from asmil.bags import Splits, read_cohort
from asmil.errors import RunError
from asmil.runs import Cell, PredictedFolder, Run, even
from asmil.tasks import create_task


def test_a_run_is_created_where_it_can_be_and_nothing_is_written(tmp_path):
    run = Run.create(tmp_path / "deep" / "run")
    assert not (tmp_path / "deep").exists()
    assert run.identity == {}
    with pytest.raises(RunError, match=r"is not a run.*no such file or folder"):
        Run.open(run.folder)


FOUND_INSTEAD = {
    "run/folds": ("a part of a run, {}/run", "give the run: {}/run"),
    "run/folds/0/seed_0": ("a part of a run, {}/run", "give the run: {}/run"),
    "run/folds/0/seed_0/model.safetensors": ("a part of a run, {}/run", "give the run: {}/run"),
    "run/cohort.csv": ("a part of a run, {}/run", "give the run: {}/run"),
    "run/predictions": ("predictions of new slides", "asmil view {}/run/predictions"),
    "run/predictions/predictions.csv": ("a part of predictions of new slides, {}/run/predictions", "asmil view"),
    "study": ("a study", "its page is {}/study/report.html"),
    "study/arms/a--b--none": ("a part of a study, {}/study", "its page is {}/study/report.html"),
    "embedded": ("features, and no models", "asmil crossval --features {}/embedded --labels TABLE"),
    "embedded/features/store": ("features, and no models", "--features {}/embedded/features/store"),
    ".": ("a folder of runs: run", "give one of them: {}/run"),
    "weights.pt": ("a file, weights.pt", "asmil predict --published FILE"),
    "labels.csv": ("a file, labels.csv", "give a folder that `asmil run`"),
    "empty": ("no identity.json", "give a folder that `asmil run`"),
}


@pytest.mark.parametrize("given", FOUND_INSTEAD)
def test_what_is_no_run_is_told_by_what_it_is(run, given):
    """A folder of another kind, or a part of one: what was found, and what to do."""
    here = run.folder.parent
    for name in ("run/predictions", "study/arms/a--b--none", "embedded/features/store", "empty"):
        (here / name).mkdir(parents=True)
    for name in ("run/predictions/predictions.csv", "run/predictions/attention.h5", "study/study.json",
                 "embedded/features/store/store.json", "weights.pt", "labels.csv"):  # fmt: skip
        (here / name).write_text("{}")
    found, fix = (text.format(here) for text in FOUND_INSTEAD[given])
    with pytest.raises(RunError) as error:
        Run.open(here / given)
    assert error.value.found == found
    assert fix in error.value.fix
    assert PredictedFolder(here / given).there is (given == "run/predictions")


def test_an_output_folder_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(RunError, match="is a file"):
            Run.create(folder)
    (tmp_path / "closed").mkdir(mode=0o500)
    if not os.access(tmp_path / "closed", os.W_OK):  # root may write everywhere
        with pytest.raises(RunError, match="cannot be written to"):
            Run.create(tmp_path / "closed" / "run")


def test_what_was_written_is_read(begun, data):
    cohort, splits = data
    again = Run.open(begun.folder)
    assert again.settings == begun.settings
    assert (again.settings.model, again.settings.seed_list) == ("abmil", [0, 1])
    assert again.identity == {"model": "abmil"}
    assert again.environment["packages"]["torch"]
    assert (again.task, again.classes, again.values) == (None, ["benign", "tumour"], ["prob_benign", "prob_tumour"])
    assert again.cohort["slide"].tolist() == cohort.slides
    assert again.splits["part"].tolist() == splits.table["part"].tolist()
    assert Run.open(again) is again
    assert again == begun


def test_it_goes_on_with_the_same_data_and_refuses_other(run, data):
    """As soon as something was trained; what was not learned from yet may change."""
    begun, (cohort, splits) = run, data
    before = {path: path.read_bytes() for path in begun.folder.iterdir() if path.is_file()}
    Run(begun.folder).set_data(cohort, splits)
    other = splits.table.assign(fold=1 - splits.table["fold"]).sort_values(["fold", "slide"], ignore_index=True)
    with pytest.raises(RunError, match="the cohort is not the one"):
        begun.set_data(cohort, Splits(other))
    with pytest.raises(RunError, match="the task is not the one") as error:
        begun.set_data(replace(cohort, classes=cohort.classes[::-1]), splits)
    assert "--features" in error.value.fix, "what was extracted is not to be lost"
    assert {path: path.read_bytes() for path in begun.folder.iterdir() if path.is_file()} == before


def test_targets_are_compared_too_also_unknown_ones(begin_run, data, tmp_path):
    table = pd.DataFrame({"slide_id": data[0].slides, "er": ["1", "0", ""] * 4, "her2": ["0", "1"] * 6})
    task = create_task("multilabel", columns=["er", "her2"])
    cohort = read_cohort(table, task=task)
    splits = data[1]
    run = begin_run(tmp_path / "run", cohort, splits, task="multilabel")
    run.set_data(cohort, splits)
    (run.checkpoints / "0_0").mkdir(parents=True)
    assert (run.task_name, run.classes, run.values) == ("multilabel", [], ["prob_er", "prob_her2"])
    assert np.isnan(run.cohort["target_er"][2])
    changed = cohort.table.assign(target_er=cohort.table["target_er"].fillna(0.0))
    with pytest.raises(RunError, match="the cohort is not the one"):
        run.set_data(replace(cohort, table=changed), splits)


def test_unknown_targets_are_unknown_in_predictions_too(begin_run, data, result, tmp_path):
    table = pd.DataFrame({"slide_id": data[0].slides, "er": ["1", "0", ""] * 4, "her2": ["0", "1"] * 6})
    cohort = read_cohort(table, task=create_task("multilabel", columns=["er", "her2"]))
    run = begin_run(tmp_path / "run", cohort, data[1], task="multilabel", seeds=1)
    for fold in (0, 1):
        run.keep(result(fold, task=cohort.task.fit_targets(cohort.targets)))
    rows = run.cell_predictions.drop_duplicates("slide").set_index("slide")
    known = cohort.table.set_index("slide")["target_er"]
    np.testing.assert_array_equal(rows["target_er"], known[rows.index])


def test_a_moved_run_is_the_same_run(run, tmp_path):
    shutil.move(run.folder, tmp_path / "moved")
    moved = Run.open(tmp_path / "moved")
    assert moved.require_whole(deep=True) == ""
    assert len(moved.cell_predictions) == 4 * 6 + 2 * 2 * (len(moved.splits.query("part == 'val'")) // 2)
    assert len(moved.test_attention()) == 12


def test_to_another_process_goes_the_place_alone(run, result):
    assert run.cohort is not None
    keep = pickle.loads(pickle.dumps(run.keep))
    assert keep.__self__ == run
    assert vars(keep.__self__) == {"folder": run.folder}
    shutil.rmtree(run.folder / "folds")
    keep(result(0, 0))
    assert [cell.name for cell in run.cells()] == ["fold 0 seed 0"]


@pytest.mark.parametrize(("folder", "found"), [
    ("0 (copy)/seed_0", "folds 0 to 1 and seeds 0, 1"), ("00/seed_0", "folds 0 to 1"), ("2/seed_0", "folds 0 to 1"),
    ("0/seed_7", "seeds 0, 1"), ("0/seed_one", "seeds 0, 1"), ("²/seed_0", "folds 0 to 1"),
])  # fmt: skip
def test_what_is_no_model_of_the_run_is_named(run, folder, found):
    shutil.copytree(run.cell(0, 0).folder, run.folder / "folds" / folder)
    for look in (run.cells, run.unfinished, run.require_whole):
        with pytest.raises(RunError, match="is no model of this run") as error:
            look()
        assert found in str(error.value.found)
        assert error.value.fix == "move it out of the run's folder"


def test_an_empty_folder_of_a_model_is_no_model(run):
    (run.folder / "folds" / "9" / "seed_0").mkdir(parents=True)
    assert len(run.cells()) == 4


def test_a_half_finished_run_says_how_far_it_is(begun, result, data):
    with pytest.raises(RunError, match="0 of 4 models are finished; 12 slides were never tested") as error:
        begun.require_whole(partial=True)
    assert "--partial" not in error.value.fix
    begun.keep(result(0, 0))
    with pytest.raises(RunError, match="1 of 4 models are finished; 6 slides were never tested") as error:
        begun.require_whole()
    assert error.value.found == "missing fold 0 seed 1, fold 1 seed 0, fold 1 seed 1"
    assert "goes on" in error.value.fix
    assert "--partial" in error.value.fix
    assert begun.require_whole(partial=True) == "A partial look: 1 of 4 models; 6 slides were never tested."
    begun.keep(result(1, 1))
    assert begun.require_whole(partial=True) == "A partial look: 2 of 4 models."
    assert [cell.name for cell in begun.cells()] == ["fold 0 seed 0", "fold 1 seed 1"]
    begun.keep(result(0, 1))
    begun.keep(result(1, 0))
    assert begun.require_whole() == begun.require_whole(partial=True) == ""


def test_removed_folds_are_missed(run):
    shutil.rmtree(run.folder / "folds" / "1")
    with pytest.raises(RunError, match="2 of 4 models are finished; 6 slides were never tested"):
        run.require_whole()


def test_a_seed_more_is_what_is_still_to_train(run):
    run.write_settings(run.settings.model_copy(update={"seeds": 3}))
    assert [cell.name for cell in run.unfinished().unfinished] == ["fold 0 seed 2", "fold 1 seed 2"]


def test_results_are_those_of_the_models_there_are(begun, result):
    def evaluated():
        table = begun.cell_predictions.query("part == 'test'").drop_duplicates("slide")
        sentence = begun.require_whole(partial=True)
        begun.write_results({"partial": sentence} if sentence else {}, table.drop(columns=["part", "seed"]))

    for fold, seed in ((0, 0), (0, 1), (1, 0)):
        begun.keep(result(fold, seed))
    with pytest.raises(RunError, match="was not evaluated"):
        begun.require_results(partial=True)
    evaluated()
    assert begun.require_results(partial=True) == "A partial look: 3 of 4 models."
    begun.keep(result(1, 1))
    with pytest.raises(RunError, match="has changed since it was evaluated") as error:
        begun.require_results()
    assert error.value.fix == f"asmil evaluate {begun.folder}"
    assert "then: A partial look: 3 of 4 models." in error.value.found
    evaluated()
    begun.require_results()
    begun.keep(result(0, 0, predictions=result(1, 0).predictions))
    with pytest.raises(RunError, match="has changed since it was evaluated") as error:
        begun.require_results()
    assert error.value.found == "then: All models. Other models than there are. Now: all models"
    evaluated()
    assert begun.require_results() == ""


def test_an_even_choice_has_the_same_seeds_in_every_fold(tmp_path):
    def chosen(*places):
        return [(cell.fold, cell.seed) for cell in even([Cell(*place, tmp_path) for place in places])]

    assert chosen() == []
    whole = [(fold, seed) for fold in range(3) for seed in range(2)]
    assert chosen(*whole) == whole
    assert chosen((0, 0), (0, 1), (0, 2), (1, 0)) == [(0, 0), (0, 1), (0, 2)]
    assert chosen((0, 0), (0, 1), (1, 0), (1, 1), (2, 0)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert chosen((0, 0), (1, 1)) in ([(0, 0)], [(1, 1)])
    assert chosen((0, 0), (0, 1), (1, 1), (1, 2), (2, 1)) == [(0, 1), (1, 1), (2, 1)]
    assert chosen((0, 0), (0, 1), (1, 0)) == [(0, 0), (1, 0)], "of equally many those that test more slides"


def test_it_says_what_it_is_in_a_line_and_in_a_notebook(run):
    assert repr(run).startswith(f"Run(folder {run.folder}, model abmil, folds x seeds 2 x 2, finished 4 of 4")
    table = run.cell_predictions.query("part == 'test'").drop_duplicates("slide")
    test = {"auroc": {"value": 0.91, "ci95": [0.8, 0.97]}}
    run.write_results({"test": test}, table.drop(columns=["part", "seed"]))
    assert repr(run).endswith("AUROC 0.910 (0.800 to 0.970))")
    (run.folder / "splits.csv").unlink()
    assert "splits.csv is missing" in repr(Run(run.folder))


def test_a_name_from_elsewhere_is_text_in_a_notebook(begun):
    evil = Run(begun.folder / "<script>")
    assert "<script>" not in evil._repr_html_()
    assert "&lt;script&gt;" in evil._repr_html_()


def test_the_time_of_stages_is_added_up(begun):
    for _ in range(2):
        with begun.timed("train"):
            pass
    assert list(begun.seconds) == ["train"]
    (begun.folder / "seconds.json").write_text('{"train": "soon", "evaluate": 3}')
    assert begun.seconds == {"evaluate": 3.0}
    (begun.folder / "seconds.json").write_text('{"train"')
    assert begun.seconds == {}, "what only tells the time stops nothing"


def test_a_note_of_features_leads_nowhere_else(begun):
    begun.set_features(begun.folder / "features" / "uni_20x")
    assert begun.features == begun.folder / "features" / "uni_20x"
    (begun.folder / "features" / "run.json").write_text('{"store": "../../../secret"}')
    assert begun.features.parent == begun.folder / "features"


def test_inputs_by_relative_paths_are_found_from_another_folder(tmp_path, monkeypatch, begin_run, data):
    (tmp_path / "made" / "slides").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "made")
    folder = begin_run(tmp_path / "run", *data, slides="slides", annotations="gone", labels="/no/labels.csv").folder
    assert Run.open(folder).settings.slides.as_posix() == "slides"
    monkeypatch.chdir(tmp_path / "elsewhere")
    settings = Run.open(folder).settings
    assert settings.slides == tmp_path / "made" / "slides"
    assert (settings.annotations.as_posix(), settings.labels.as_posix()) == ("gone", "/no/labels.csv")
    (tmp_path / "elsewhere" / "slides").mkdir()
    assert Run.open(folder).settings.slides.as_posix() == "slides", "what is there from here comes first"


def test_a_thumbnail_is_found_where_the_features_were_made(begun, tmp_path):
    """Of `asmil embed`, then `asmil crossval`; the run's own comes first."""
    store = tmp_path / "embedded" / "features" / "store"
    elsewhere, own = tmp_path / "embedded" / "thumbnails" / "s1.jpg", begun.folder / "thumbnails" / "s1.jpg"
    for folder in (store, elsewhere.parent, own.parent):
        folder.mkdir(parents=True, exist_ok=True)
    elsewhere.write_bytes(b"")
    begun.write_settings(begun.settings.model_copy(update={"features": store}))
    run = Run.open(begun.folder)
    assert run.thumbnail_file("s1") == elsewhere
    assert run.thumbnail_file("s2") == own.with_name("s2.jpg")
    own.write_bytes(b"")
    assert run.thumbnail_file("s1") == own


def test_predictions_with_rows_of_other_slides_or_too_few_are_refused(run):
    table = run.cell_predictions.query("part == 'test' and seed == 0").drop(columns=["part", "seed"])
    run.write_results({"n_slides": len(table)}, table)
    path = run.folder / "predictions.csv"
    table[:-2].to_csv(path, index=False)
    with pytest.raises(RunError, match="is not as the run was evaluated") as error:
        _ = Run(run.folder).predictions
    assert error.value.found == f"{len(table) - 2} rows for {len(table)} slides"
    table.assign(slide=[*table["slide"][:-1], "other"]).to_csv(path, index=False)
    with pytest.raises(RunError, match="not of it: other"):
        _ = Run(run.folder).predictions
