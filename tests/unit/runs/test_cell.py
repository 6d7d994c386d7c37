"""A cell holds what a training left; whatever happens to one of its files is seen, named and healed."""

import json
import shutil
from dataclasses import replace

import h5py
import numpy as np
import pytest

from asmil.errors import RunError
from asmil.runs import Run

FILES = (
    "model.safetensors", "anchor.safetensors", "log.csv", "dynamics.h5", "scores.h5", "attention.h5", "predictions.csv",
)  # fmt: skip
FAULTS = {
    "is missing": lambda path: path.unlink(),
    "was emptied": lambda path: path.write_bytes(b""),
    "was cut": lambda path: path.write_bytes(path.read_bytes()[:-5]),
    "was changed": lambda path: path.write_bytes(path.read_bytes() + b" "),
}


def test_what_was_kept_is_read_back(begun, result):
    kept = result(1, 1)
    begun.keep(kept)
    cell = begun.cell(1, 1)
    assert str(cell.state(deep=True)) == "whole"
    table = cell.predictions()
    assert set(table["part"]) == {"val", "test"}
    assert set(table["fold"]) == set(table["seed"]) == {1}
    for part, several in kept.predictions.items():
        rows = table[table["part"] == part].set_index("slide")
        for one in several:
            assert rows.loc[one.slide, ["prob_benign", "prob_tumour"]].tolist() == one.probabilities.tolist()
            np.testing.assert_array_equal(cell.attention(one.slide), one.attention)
    assert set(cell.attentions()) == set(table["slide"])
    assert cell.attention("nobody") is None
    np.testing.assert_array_equal(cell.logged("jsd"), [np.nan, 0.5, np.nan])
    assert len(cell.logged("kl")) == 0
    slide = kept.predictions["val"][0].slide
    assert cell.recorded()[slide] == 3
    np.testing.assert_array_equal(cell.epochs(slide), [kept.predictions["val"][0].attention] * 3)
    epochs, vectors, slides = cell.embeddings()
    assert (epochs.tolist(), vectors.shape, slides) == ([0], (1, len(slides), 3), list(cell.recorded()))
    np.testing.assert_allclose(cell.score_samples()["nsf"], kept.score_samples["nsf"], rtol=1e-6)
    assert (cell.best_epoch, cell.stabilized, cell.name) == (2, True, "fold 1 seed 1")


def test_without_an_anchor_there_are_no_scores(begun, result):
    begun.keep(result(anchor=None, score_samples={}))
    cell = begun.cell(0, 0)
    assert cell.state().whole
    assert not cell.stabilized
    assert cell.score_samples() == {}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", FILES)
def test_a_fault_of_any_file_is_named_and_healed(run, result, name, fault):
    path = run.cell(1, 0).folder / name
    before = path.read_bytes()
    FAULTS[fault](path)
    assert len(run.cells()) == 3
    standing = run.unfinished()
    assert [(cell.fold, cell.seed) for cell in standing.unfinished] == [(1, 0)]
    (line,) = standing.says
    assert line.startswith(f"fold 1 seed 0 is trained again: {name} {fault}")
    with pytest.raises(RunError, match="3 of 4 models are finished") as error:
        run.require_whole()
    assert f"fold 1 seed 0: {name} {fault}" in str(error.value.found)
    run.keep(result(1, 0))
    assert len(run.cells()) == 4
    assert not run.unfinished().unfinished
    if not name.endswith(".h5"):
        assert path.read_bytes() == before


@pytest.mark.parametrize("name", FILES)
def test_other_content_of_the_same_size_is_seen_by_its_digest(run, name):
    path = run.cell(0, 1).folder / name
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    assert run.cell(0, 1).state().whole, "sizes alone do not show it"
    assert run.unfinished().says == [f"fold 0 seed 1 is trained again: {name} was changed"]
    with pytest.raises(RunError, match="3 of 4"):
        run.require_whole(deep=True)


def test_killed_while_it_is_written_anew_it_does_not_count(run, result):
    class Killed(BaseException):
        pass

    class Recorder:
        def save(self, path, *, bags):
            raise Killed

    with pytest.raises(Killed):
        run.keep(result(0, 0, recorder=Recorder()))
    assert str(run.cell(0, 0).state()) == "missing"
    assert "missing fold 0 seed 0" in Run(run.folder).unfinished().reasons


@pytest.mark.parametrize("seal", ["", "[]", "{}", '{"files": {}}', '{"files": {"model.safetensors": 7}}', "outside"])
def test_an_edited_seal_is_no_seal(run, seal):
    path = run.cell(0, 0).folder / "sealed.json"
    if seal == "outside":
        files = json.loads(path.read_text())["files"]
        seal = json.dumps({"files": files | {"../../../config.yaml": {"bytes": 1, "sha256": ""}}})
    path.write_text(seal)
    assert str(run.cell(0, 0).state()) == "sealed.json was changed"


def unsealed(run, *, lost=(), emptied=()):
    """The run as a version left it that sealed nothing."""
    for path in run.folder.glob("folds/*/*/sealed.json"):
        path.unlink()
    for name in lost:
        (run.cell(0, 0).folder / name).unlink()
    for name in emptied:
        (run.cell(0, 0).folder / name).write_bytes(b"")
    return Run(run.folder).unfinished()


def test_a_run_from_before_seals_is_finished_and_says_so(run):
    standing = unsealed(run)
    assert len(standing.whole) == 4
    assert standing.says == ["4 finished models have no seal (an older version): all files are there"]
    assert Run(run.folder).require_whole() == ""


def test_of_a_run_that_seals_its_models_one_without_a_seal_is_damaged(run):
    """Whoever takes a seal away could have changed what it was of."""
    run.write_identity({**run.identity, "code": run.code})
    (run.cell(1, 1).folder / "sealed.json").unlink()
    standing = Run(run.folder).unfinished()
    assert standing.says == ["fold 1 seed 1 is trained again: sealed.json is missing"]
    with pytest.raises(RunError, match="3 of 4 models are finished"):
        Run(run.folder).require_whole()


@pytest.mark.parametrize("name", ["model.safetensors", "log.csv", "dynamics.h5", "attention.h5"])
def test_a_cell_from_before_seals_needs_all_its_files(run, name):
    assert unsealed(run, lost=[name]).says[0] == f"fold 0 seed 0 is trained again: {name} is missing"
    assert unsealed(run, emptied=[name]).says[0] == f"fold 0 seed 0 is trained again: {name} was emptied"


def test_a_cell_from_before_seals_is_not_there_without_its_predictions(run):
    assert "missing fold 0 seed 0" in unsealed(run, lost=["predictions.csv"]).reasons


def test_slide_names_cannot_leave_the_folder(begin_run, tmp_path, result, data):
    cohort, splits = data
    evil = "../../evil"
    table = cohort.table.replace({"slide": {"s0": evil}})
    renamed = type(cohort)(table, cohort.classes)
    run = begin_run(tmp_path / "run", renamed, type(splits)(splits.table.replace({"slide": {"s0": evil}})), seeds=1)
    (fold,) = [k for k in (0, 1) if "s0" in splits.fold(k).test]
    made = result(fold)
    test = [replace(one, slide=evil) if one.slide == "s0" else one for one in made.predictions["test"]]
    run.keep(result(fold, predictions={"val": made.predictions["val"], "test": test}))
    with h5py.File(run.cell(fold, 0).folder / "attention.h5") as file:
        assert not [name for name in file if "/" in name or name.startswith(".")]
    assert run.cell(fold, 0).attention(evil) is not None
    assert evil in run.cell(fold, 0).attentions()


def test_weights_that_were_changed_are_not_those_of_the_seal(run):
    cell = run.cell(0, 0)
    assert cell.weights_digest == cell.state().digests["model.safetensors"]
    path = cell.folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(RunError, match="was changed after it was trained"):
        _ = cell.weights_digest


def test_equal_results_are_equal_files(begin_run, data, result, tmp_path):
    runs = [begin_run(tmp_path / name, *data, seeds=1) for name in "ab"]
    for run in runs:
        run.keep(result(0, 0))
    one, two = (run.cell(0, 0).folder for run in runs)
    for name in (*FILES, "sealed.json"):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


def test_a_cell_from_another_place_is_not_the_one_it_lies_for(run):
    """What the model of fold 0 learned from is tested by fold 1: no number of it would be out of fold."""
    shutil.rmtree(run.cell(0, 0).folder)
    shutil.copytree(run.cell(1, 0).folder, run.cell(0, 0).folder)
    shutil.rmtree(run.cell(0, 1).folder)
    shutil.copytree(run.cell(1, 0).folder, run.cell(0, 1).folder)
    standing = Run(run.folder).unfinished()
    assert standing.says == [f"fold 0 seed {s} is trained again: sealed.json is of fold 1 seed 0" for s in (0, 1)]
    with pytest.raises(RunError, match="2 of 4 models are finished"):
        Run(run.folder).require_whole()


BAGS = {"splits": "these", "features": {"s0": ["s0.h5", 5, 3, "all:a"]}}
OTHER_ENCODER = {"features": {"s0": ["s0.h5", 5, 3, "all:b"]}}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"learning_rate": 0.5}, "is of another run (learning_rate was 0.5, is 0.001)"),
        ({"data": {"splits": "other"}}, "is of a run of other slides, folds or features"),
        (
            {"data": BAGS | {"features": {"s0": ["s0.h5", 5, 3, "all:b"]}}},
            "is of a run of other slides, folds or features",
        ),
    ],
)
def test_a_cell_of_another_run_is_none_of_this(run, result, tmp_path, changed, says):
    other = Run(shutil.copytree(run.folder, tmp_path / "other"))
    run.write_identity({**run.identity, "learning_rate": 0.001, "data": BAGS})
    other.write_identity({**run.identity, **changed})
    other.keep(result(0, 0))
    shutil.rmtree(run.cell(0, 0).folder)
    shutil.copytree(other.cell(0, 0).folder, run.cell(0, 0).folder)
    assert Run(run.folder).unfinished().says == [f"fold 0 seed 0 is trained again: sealed.json {says}"]
    assert str(run.cell(0, 0).state()) == "whole", "by itself it is as it was written"


def test_a_seal_that_says_less_than_ours_is_none_of_another_run(run, result):
    """Those of earlier versions say nothing of what the bags hold."""
    run.write_identity({**run.identity, "data": BAGS})
    run.keep(result(0, 0))
    path = run.cell(0, 0).folder / "sealed.json"
    said = json.loads(path.read_text())
    del said["of"]["features"]
    path.write_text(json.dumps(said))
    assert [str(cell) for cell in Run(run.folder).unfinished().says if "fold 0 seed 0" in cell] == []
