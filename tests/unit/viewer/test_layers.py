"""What is laid over a slide: held-out attention, disagreement, epochs, tokens and heads."""

import shutil

import h5py
import numpy as np
import pytest

from asmil.attention import diagnostics
from asmil.errors import FeatureError, NotOfferedError, RunError
from asmil.figures import percentiles
from asmil.files import safe_name
from asmil.models import evidence
from asmil.runs import Cell, Run, RunSlide
from asmil.viewer import RunView
from asmil.viewer.pyramid import Pyramid


@pytest.fixture(scope="module")
def view(run_folder) -> RunView:
    return RunView(run_folder, pyramid=Pyramid())


def stored(folder, cell, slide) -> np.ndarray:
    with h5py.File(folder / "folds" / str(cell.fold) / f"seed_{cell.seed}" / "attention.h5") as file:
        return file[safe_name(slide)][()]


def test_the_mean_is_that_of_the_seeds_that_never_saw_the_slide(view, run_folder, made):
    for slide in (made.REAL, made.HOSTILE):
        cells = view.run.tested_on(slide)
        assert [cell.seed for cell in cells] == [0, 1]
        table = Run(run_folder).cell_predictions
        test = table[(table.slide == slide) & (table.part == "test")]
        assert {cell.fold for cell in cells} == set(test.fold)
        maps = [stored(run_folder, cell, slide) for cell in cells]
        np.testing.assert_allclose(view.values(slide, "mean"), np.mean(maps, axis=0), rtol=1e-6)
        ranks = [percentiles(m) for m in maps]
        np.testing.assert_allclose(view.values(slide, "disagreement"), np.std(ranks, axis=0), rtol=1e-5)
        assert view.values(slide, "disagreement").max() > 0.1


def test_all_tokens_and_heads_together_are_the_stored_attention(view, run_folder, made):
    cell = view.run.tested_on(made.REAL)[1]
    name = f"rows-{cell.fold}-{cell.seed}"
    assert view.layers.heads.shape(cell, made.REAL) == {"tokens": ["1", "2", "3"], "heads": ["1", "2"]}
    np.testing.assert_allclose(
        view.values(made.REAL, f"{name}-all-all"), stored(run_folder, cell, made.REAL), rtol=1e-4
    )
    single = {(t, h): view.values(made.REAL, f"{name}-{t}-{h}") for t in range(3) for h in range(2)}
    for values in single.values():
        assert values.sum() == pytest.approx(1, abs=1e-4)
    head = np.mean([single[t, 1] for t in range(3)], axis=0)
    np.testing.assert_allclose(view.values(made.REAL, f"{name}-all-1"), head, rtol=1e-5)
    assert np.abs(single[0, 0] - single[2, 1]).max() > 1e-6


def test_evidence_is_the_mean_of_the_models_that_never_saw_the_slide(view, made):
    assert [entry["id"] for entry in view.layers.offered(made.REAL) if entry["id"].startswith("evidence")] == [
        "evidence-1"  # of two classes: that of the other is its opposite
    ]
    run, bag = view.run, view.bag(made.REAL)
    wanted = []
    for cell in run.tested_on(made.REAL):
        model, _ = cell.model(run.settings, len(run.classes))
        wanted.append(evidence(model, bag).centred[:, 1].numpy())
    np.testing.assert_allclose(view.values(made.REAL, "evidence-1"), np.mean(wanted, axis=0), rtol=1e-5, atol=1e-7)
    table = run.evidence(made.REAL)
    np.testing.assert_allclose(table["evidence_<b>tumour</b>"], np.mean(wanted, axis=0), rtol=1e-5, atol=1e-7)
    assert len(table) == len(bag)
    for wrong in ("evidence-0", "evidence-2", "evidence-x", "evidence"):
        with pytest.raises(NotOfferedError):
            view.values(made.REAL, wrong)


def test_a_model_is_read_once_for_all_slides_and_again_when_its_file_is_another(run_folder, tmp_path, monkeypatch):
    run = Run(shutil.copytree(run_folder, tmp_path / "run"))
    read, model = [], Cell.model
    monkeypatch.setattr(Cell, "model", lambda cell, *a, **b: read.append(cell) or model(cell, *a, **b))
    slides = [slide for slide in run.predictions["slide"] if slide in run.store]
    before = {slide: run.slide(slide).evidence for slide in slides}
    tested = {cell for slide in slides for cell in run.tested_on(slide)}
    assert len(slides) * 2 > len(tested)
    assert sorted(read, key=str) == sorted(tested, key=str)
    cell, other = run.tested_on(slides[0])
    shutil.copy(other.weights, cell.weights)
    again = RunSlide(run, slides[0]).evidence
    assert read[len(tested) :] == [cell]
    assert not np.allclose(again, before[slides[0]])


def test_epochs_are_offered_only_where_they_were_recorded(view, run_folder, made):
    recorded = [slide for slide in view.slides if view.layers.recorded(slide)]
    assert 0 < len(recorded) < len(view.slides)
    slide = recorded[0]
    (cell, *_) = view.layers.recorded(slide)
    (layer, *_) = [entry for entry in view.layers.offered(slide) if entry["id"].startswith("epoch-")]
    with h5py.File(cell.folder / "dynamics.h5") as file:
        kept = file[slide]["attention"][()]
    assert layer["epochs"] == len(kept) == 4
    np.testing.assert_allclose(view.values(slide, f"{layer['id']}-2"), kept[2])
    unrecorded = next(name for name in view.slides if name not in recorded)
    assert not [entry for entry in view.layers.offered(unrecorded) if entry["id"].startswith("epoch-")]
    with pytest.raises(NotOfferedError):
        view.values(unrecorded, f"{layer['id']}-0")


def test_everything_offered_can_be_drawn_and_nothing_else(view):
    for slide in view.slides:
        for entry in view.layers.offered(slide):
            more = {"epoch": "-0", "rows": "-0-all"}.get(entry["id"].split("-")[0], "")
            assert len(view.values(slide, entry["id"] + more)) == len(view.sheet(slide).level0_xy)
    for layer in ("", "mean-0", "cell-9-0", "cell-0", "epoch-0-0-99", "rows-0-0-7-0", "../../labels.csv", "cell--1-0"):
        with pytest.raises(NotOfferedError):
            view.values(view.slides[0], layer)


def test_unrest_of_two_seeds_is_their_divergence(view, run_folder, made):
    maps = [stored(run_folder, cell, made.REAL).astype(float) for cell in view.run.tested_on(made.REAL)]
    assert view.layers.unrest(made.REAL)["seeds"] == pytest.approx(float(diagnostics.jsd(*maps)), rel=1e-3)


def test_a_model_that_does_not_fit_is_an_error_that_says_so(view, made, tmp_path):
    cell = view.run.tested_on(made.REAL)[0]
    for part in view.folder.iterdir():
        (tmp_path / part.name).symlink_to(part)
    (tmp_path / "config.yaml").unlink()
    Run(tmp_path).write_settings(view.run.settings.model_copy(update={"model_options": {"dim": 24}}))
    other = type(view.layers.heads)(Run(tmp_path), load=view.bag)
    with pytest.raises(RunError, match="does not fit"):
        other.weights(cell, made.REAL)


def test_planted_pickles_are_not_opened(view, made, tmp_path):
    cell = view.run.tested_on(made.REAL)[0]
    folder = tmp_path / "folds" / str(cell.fold) / f"seed_{cell.seed}"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"cos\nsystem\n(S'touch hacked'\ntR.")
    for part in view.folder.iterdir():
        if part.name != "folds":
            (tmp_path / part.name).symlink_to(part)
    planted = Run(tmp_path)
    heads = type(view.layers.heads)(planted, load=view.bag)
    with pytest.raises(RunError, match="not a safetensors file"):
        heads.weights(planted.cell(cell.fold, cell.seed), made.REAL)


def test_a_run_on_features_borrows_the_slides_of_the_run_it_is_compared_with(run_folder, made, tmp_path):
    first = RunView(run_folder, pyramid=Pyramid())
    for part in run_folder.iterdir():
        if part.name != "config.yaml":
            (tmp_path / part.name).symlink_to(part)
    for own, found in ((None, True), (tmp_path / "elsewhere", False)):
        Run(tmp_path).write_settings(first.run.settings.model_copy(update={"slides": own}))
        second = RunView(tmp_path, else_slides=first.slides_folder, pyramid=Pyramid())
        assert (second.picture(made.REAL).path is not None) == found


def test_without_features_there_are_words_and_no_map(run_folder, made, tmp_path):
    for part in run_folder.iterdir():
        if part.name != "config.yaml":
            (tmp_path / part.name).symlink_to(part)
    settings = Run(run_folder).settings
    Run(tmp_path).write_settings(settings.model_copy(update={"features": tmp_path / "gone"}))
    view = RunView(tmp_path, pyramid=Pyramid())
    sheet = view.sheet(made.REAL)
    assert len(sheet.level0_xy) == 0
    assert any("features" in sentence for sentence in sheet.says)
    with pytest.raises(FeatureError):
        view.bag(made.REAL)
