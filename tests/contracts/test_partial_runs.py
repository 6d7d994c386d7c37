"""Whatever is made of a run is made of all its models, or says of how many."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from asmil.bags import make_splits, open_features, read_cohort
from asmil.deploy import load_ensemble, write_card
from asmil.errors import RunError
from asmil.evaluation import evaluate
from asmil.report import write_comparison, write_heatmaps, write_paper_figure, write_report
from asmil.runs import Run
from asmil.training import Recipe, TrainSettings, crossval
from asmil.viewer import RunView
from asmil.viewer.pyramid import Pyramid

SENTENCE = "A partial look: 2 of 4 models; 8 slides were never tested."


@pytest.fixture(scope="module")
def whole(begin_run, write_feature_files, tmp_path_factory):
    """An evaluated run of 16 slides, two folds and two seeds; nobody writes into it."""
    folder = tmp_path_factory.mktemp("whole")
    slides = write_feature_files(folder / "features", n_slides=16, dim=8)
    cohort = read_cohort(pd.DataFrame({"slide_id": slides, "label": ["no", "yes"] * 8}))
    splits = make_splits(cohort, folds=2)
    run = begin_run(folder / "run", cohort, splits, model="abmil", seeds=2, features=folder / "features")
    recipe = Recipe("abmil", settings=TrainSettings(epochs=3, min_steps=0), refit=False)
    cells = [(fold, seed) for fold in (0, 1) for seed in (0, 1)]
    store = open_features(folder / "features")
    crossval(cohort, store, splits, recipe=recipe, cells=cells, keep=run.keep, checkpoints=run.checkpoints)
    evaluate(run, bootstrap=10)
    return run


@pytest.fixture
def half(whole, tmp_path):
    """A copy of it without its second fold."""
    run = Run(shutil.copytree(whole.folder, tmp_path / "half"))
    shutil.rmtree(run.folder / "folds" / "1")
    return run


def _copy(run: Run) -> Path:
    """A run is not compared with itself."""
    other = run.folder.with_name("other")
    shutil.rmtree(other, ignore_errors=True)
    return shutil.copytree(run.folder, other)


COMMANDS = {
    "evaluate": lambda run, **options: evaluate(run, bootstrap=10, **options),
    "report": lambda run, **options: write_report(run, heatmaps=1, **options),
    "heatmap": lambda run, **options: write_heatmaps(run, **options),
    "report --against": lambda run, **options: write_comparison(run, _copy(run), **options),
    "figure": lambda run, **options: write_paper_figure("fig1", [run], **options),
    "predict, export": lambda run, **options: load_ensemble(run, **options),
    "export --card": lambda run, **options: write_card(load_ensemble(run, **options), run.card_file),
    "view": lambda run, **options: RunView(run, pyramid=Pyramid(), **options),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unfinished_run_is_refused_and_looked_at_when_asked_for(half, command):
    before = {path for path in half.folder.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match="2 of 4 models are finished; 8 slides were never tested") as error:
        COMMANDS[command](half)
    assert error.value.found == "missing fold 1 seed 0, fold 1 seed 1"
    assert {path for path in half.folder.rglob("*") if path.is_file()} == before
    evaluate(half, bootstrap=10, partial=True)
    COMMANDS[command](half, partial=True)
    with pytest.raises(RunError, match="2 of 4"):
        COMMANDS[command](half)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_broken_model_is_missed_as_one_that_is_not_there(whole, tmp_path, command):
    run = Run(shutil.copytree(whole.folder, tmp_path / "broken"))
    (run.cell(1, 1).folder / "attention.h5").write_bytes(b"")
    with pytest.raises(RunError, match="3 of 4 models are finished") as error:
        COMMANDS[command](run)
    assert error.value.found == "fold 1 seed 1: attention.h5 was emptied"


@pytest.mark.parametrize("command", ["report", "heatmap", "report --against", "export --card", "view"])
def test_what_stands_on_an_evaluation_needs_one_of_these_models(half, command):
    with pytest.raises(RunError, match="has changed since it was evaluated") as error:
        COMMANDS[command](half, partial=True)
    assert error.value.fix == f"asmil evaluate {half.folder} --partial"


def test_the_metrics_and_the_pages_of_a_part_say_so_first(half, whole):
    metrics = evaluate(half, bootstrap=10, partial=True)
    assert metrics["partial"] == json.loads((half.folder / "metrics.json").read_text())["partial"] == SENTENCE
    assert (metrics["folds"], metrics["seeds"], metrics["n_slides"]) == ([0], [0, 1], 8)
    page = write_report(half, heatmaps=0, partial=True).read_text()
    assert 0 < page.index(SENTENCE) < page.index('class="result"')
    assert "<title>Partial: half" in page
    assert "<h1>half: a partial look</h1>" in page
    page = write_comparison(half, whole, partial=True).read_text()
    assert f"half: {SENTENCE}" in page
    assert load_ensemble(half, partial=True).partial == SENTENCE
    card, _ = write_card(load_ensemble(half, partial=True), half.card_file)
    assert SENTENCE in card.read_text()
    assert RunView(half, pyramid=Pyramid(), partial=True).says == SENTENCE


def test_a_whole_run_says_nothing_of_parts(whole):
    assert "partial" not in whole.metrics
    assert "partial look" not in write_report(whole, heatmaps=0).read_text()
    assert RunView(whole, pyramid=Pyramid()).says == load_ensemble(whole).partial == ""


def test_a_part_with_an_odd_model_is_evaluated_by_the_even_ones(whole, tmp_path):
    run = Run(shutil.copytree(whole.folder, tmp_path / "odd"))
    shutil.rmtree(run.cell(1, 1).folder)
    metrics = evaluate(run, bootstrap=10, partial=True)
    assert (metrics["folds"], metrics["seeds"]) == ([0, 1], [0])
    assert metrics["partial"] == "A partial look: 3 of 4 models."
    note = "Numbers are of 2 of them, which have the same seeds in every fold."
    assert metrics["partial_note"] == note
    assert f"3 of 4 models. {note}" in write_report(run, heatmaps=0, partial=True).read_text()
