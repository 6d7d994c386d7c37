"""Cells of a run trained together: the files of one by one, a stop of one's own, and nothing lost on the way."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from asmil.bags import Bag, BagBatch, make_splits, open_features, read_cohort
from asmil.errors import AsmilError, ConfigError
from asmil.models import create_model, model_options
from asmil.runs import Run
from asmil.training import TrainSettings, _fit_together, crossval
from asmil.training._cell import Job
from asmil.training._group import cell_of
from asmil.training._grouping import grouped
from asmil.training._stack import Stack
from asmil.training._steps import cohort_steps, own_steps
from asmil.training._together import Together
from asmil.training.recipe import Recipe

SETTINGS = TrainSettings(
    epochs=5, min_epochs=2, patience=1, learning_rate=1e-2, batch_size=4, clip_norm=0.5, checkpoint_seconds=0
)
RANDOM = ("dropout", "feature_dropout", "token_drop", "attention_dropout", "mask_drop")


@pytest.fixture(scope="module")
def study(tmp_path_factory, write_feature_files, begin_run):
    """17 slides as feature files, with labels; folds of unlike size."""
    folder = tmp_path_factory.mktemp("together")
    names = write_feature_files(folder / "features", n_slides=17, dim=8)
    table = pd.DataFrame({"slide_id": names, "case_id": names, "label": [["neg", "pos"][i % 2] for i in range(17)]})
    table.to_csv(folder / "labels.csv", index=False)
    cohort = read_cohort(folder / "labels.csv")
    return cohort, open_features(folder / "features"), make_splits(cohort, folds=2), begin_run


def recipe_of(model="asmil", *, settings=SETTINGS, stabilizer=None, refit=True):
    options = {name: 0.0 for name in RANDOM if name in model_options(model)}
    return Recipe(model, options, stabilizer, settings, refit=refit)


def train(study, folder, *, recipe, seeds=(0, 1), **options):
    cohort, store, splits, begin_run = study
    run = begin_run(folder, cohort, splits, model=recipe.model, seeds=list(seeds))
    cells = [(cell.fold, cell.seed) for cell in run.unfinished().unfinished]
    crossval(
        cohort, store, splits, recipe=recipe, cells=cells, keep=run.keep, checkpoints=run.checkpoints, **options
    )  # fmt: skip
    run.refresh()
    return run


def assert_alike(one, other, *, atol=1e-4):
    """The same cells with the same files, and in them the same numbers within rounding.

    `atol` is that of probabilities. The bias of scores has no gradient under softmax but rounding, of which Adam makes
    a whole step; through the level of NSF it reaches what is predicted.
    """
    assert len(one.cells()) == len(other.cells()) > 0
    for a, b in zip(one.cells(), other.cells(), strict=True):
        assert [p.name for p in sorted(a.folder.iterdir())] == [p.name for p in sorted(b.folder.iterdir())]
        pd.testing.assert_frame_equal(a.log(), b.log(), rtol=1e-3, atol=atol)
        pd.testing.assert_frame_equal(a.predictions(), b.predictions(), rtol=1e-3, atol=atol)
        for name in ("model", "anchor"):
            if (a.folder / f"{name}.safetensors").exists():
                mine, theirs = (load_file(c.folder / f"{name}.safetensors") for c in (a, b))
                for key in mine:
                    if not key.endswith(("key.bias", "score.bias")):
                        torch.testing.assert_close(mine[key], theirs[key], rtol=1e-3, atol=10 * atol)
        for slide, attention in a.attentions().items():
            np.testing.assert_allclose(attention, b.attention(slide), atol=1e-5)
        with h5py.File(a.folder / "dynamics.h5") as mine, h5py.File(b.folder / "dynamics.h5") as theirs:
            assert set(mine) == set(theirs)
            np.testing.assert_allclose(
                mine[".embeddings/embedding"], theirs[".embeddings/embedding"], rtol=1e-2, atol=1e-2
            )


@pytest.mark.parametrize(
    ("model", "stabilizer"),
    [
        ("asmil", {"beta": 0.5, "momentum": 0.8, "start_epoch": 1}),
        ("clam_mb", {"beta": 5.0, "max_gradient_ratio": 0.3}),
        ("dsmil", {"anchor": "frozen", "init": "independent"}),
        ("mean", {}),
    ],
)
def test_together_equals_one_by_one(study, tmp_path, model, stabilizer):
    recipe = recipe_of(model, stabilizer=stabilizer)
    alone, together = (train(study, tmp_path / how, recipe=recipe, together=how) for how in ("off", "on"))
    assert min(len(cell.log()) for cell in alone.cells()) < SETTINGS.epochs, "early stopping was not tried"
    assert_alike(alone, together, atol=1e-3 if model == "asmil" else 1e-4)
    assert not together.checkpoints.exists()


def test_the_seeds_of_processes_and_of_one_are_alike(study, tmp_path):
    """Two groups in two processes, and all cells in one."""
    recipe = recipe_of("abmil", settings=replace(SETTINGS, epochs=3))
    one, two = (train(study, tmp_path / str(n), recipe=recipe, workers=n, together="on") for n in (1, 2))
    assert_alike(one, two)


class _Killed(BaseException):
    """Not an error that anybody handles."""


@pytest.mark.parametrize("writes", [2, 5, 8])
def test_killed_and_continued_is_bit_equal(study, tmp_path, monkeypatch, writes):
    """In the selection, at its end and in the refit: with dropout, as the state of the generator counts."""
    recipe = Recipe("abmil", {}, {"beta": 0.1}, replace(SETTINGS, epochs=4, patience=9))
    unbroken = train(study, tmp_path / "unbroken", recipe=recipe, together="on")
    save, count = _fit_together._Company.save, []

    def killed(company, path):
        save(company, path)
        count.append(path)
        if len(count) == writes:
            raise _Killed

    monkeypatch.setattr(_fit_together._Company, "save", killed)
    with pytest.raises(_Killed):
        train(study, tmp_path / "broken", recipe=recipe, together="on")
    assert not Run.open(tmp_path / "broken").cells()
    monkeypatch.setattr(_fit_together._Company, "save", save)
    broken = train(study, tmp_path / "broken", recipe=recipe, together="auto")
    for a, b in zip(unbroken.cells(), broken.cells(), strict=True):
        for name in ("model.safetensors", "anchor.safetensors", "predictions.csv", "log.csv"):
            assert (a.folder / name).read_bytes() == (b.folder / name).read_bytes(), name


def test_killed_while_cells_are_written(study, tmp_path, monkeypatch):
    """Those that were written are kept as they are, the others are written from the checkpoint."""
    from asmil.training import _group

    recipe = recipe_of("mean", settings=replace(SETTINGS, epochs=2))
    keep, written = _group._keep, []

    def killed(cell, *args, **options):
        if len(written) == 2:
            raise _Killed
        keep(cell, *args, **options)
        file = Run(tmp_path / "run").cell(cell.fold, cell.seed).folder / "predictions.csv"
        written.append((file, file.stat().st_mtime_ns))

    monkeypatch.setattr(_group, "_keep", killed)
    with pytest.raises(_Killed):
        train(study, tmp_path / "run", recipe=recipe, together="on")
    monkeypatch.setattr(_group, "_keep", keep)
    monkeypatch.setattr(_fit_together._Company, "train_epoch", None)  # nothing is trained again
    run = train(study, tmp_path / "run", recipe=recipe, together="on")
    assert len(run.cells()) == 4
    assert all(file.stat().st_mtime_ns == at for file, at in written)


def test_a_model_that_diverges_fails_alone(study, tmp_path, monkeypatch):
    """Weights of one model turn to NaN: it is named, and the others end as they would without it."""
    recipe = recipe_of("abmil", stabilizer={"beta": 0.1}, settings=replace(SETTINGS, epochs=3))
    step, count = Stack.step, []

    def poisoned(stack, gradients, rates):
        step(stack, gradients, rates)
        count.append(None)
        if len(count) == 2:
            stack.weights[3] = torch.nan

    well = train(study, tmp_path / "well", recipe=recipe, together="on")
    monkeypatch.setattr(Stack, "step", poisoned)
    with pytest.raises(AsmilError, match=r"1 of 4 trainings failed.*fold 1 seed 1"):
        train(study, tmp_path / "ill", recipe=recipe, together="on")
    cells = Run.open(tmp_path / "ill").cells()
    assert [(c.fold, c.seed) for c in cells] == [(f, s) for f in range(2) for s in range(2) if (f, s) != (1, 1)]
    for cell in cells:
        mine = cell.predictions().filter(like="prob")
        np.testing.assert_allclose(mine, well.cell(cell.fold, cell.seed).predictions().filter(like="prob"), atol=1e-5)


def test_methods_with_stages_are_trained_one_by_one(study, tmp_path):
    heard = []
    recipe = Recipe("ibmil", {}, None, replace(SETTINGS, epochs=2))
    run = train(study, tmp_path, recipe=recipe, together="on", seeds=(0,), tell=heard.append)
    assert len(run.cells()) == 2
    assert not any("together" in line for line in heard)


def test_an_unknown_way_is_refused(study, tmp_path):
    with pytest.raises(ConfigError, match="auto, on or off"):
        train(study, tmp_path, recipe=recipe_of(), together="yes")


def test_small_bags_are_trained_together_and_large_ones_alone(study, tmp_path):
    cohort, store, splits, _ = study
    cells = [cell_of(tmp_path, fold, seed) for fold in splits.folds for seed in range(5)]
    job = Job(store.path, cohort, splits, Recipe("abmil", settings=SETTINGS))
    small, large = (
        grouped(cells, job, workers=1, tiles=dict.fromkeys(cohort.slides, n), dim=dim)
        for n, dim in ((16, 64), (8000, 1024))
    )
    assert max(map(len, small)) > 4
    assert large == [[cell] for cell in cells]
    assert sorted(str(cell) for group in small for cell in group) == sorted(map(str, cells))


def test_groups_fit_into_memory(study, tmp_path, monkeypatch):
    from asmil.training import _grouping

    cohort, store, splits, _ = study
    cells = [cell_of(tmp_path, fold, seed) for fold in splits.folds for seed in range(5)]
    job = Job(store.path, cohort, splits, Recipe("abmil", settings=SETTINGS))
    tiles = dict.fromkeys(cohort.slides, 16)
    load = _grouping.load_of(job, tiles=tiles, dim=64)
    monkeypatch.setattr(_grouping, "available_memory", lambda: int(2 * 4 * 8 * load.weight_bytes))
    groups = grouped(cells, job, workers=1, tiles=tiles, dim=64, always=True)
    assert max(map(len, groups)) < 4
    assert sum(map(len, groups)) == 10


def test_own_steps_are_the_batches_of_each_alone():
    draw = np.random.default_rng(0)
    order, trains = draw.permutation(30).tolist(), draw.random((4, 30)) < 0.6
    steps = own_steps(order, trains, batch_size=4)
    for row, own in enumerate(trains):
        alone = [i for i in order if own[i]]
        batches = [[b for b, s in zip(step.bags, step.share[row], strict=True) if s] for step in steps]
        assert [b for b in batches if b] == [alone[i : i + 4] for i in range(0, len(alone), 4)]
        np.testing.assert_allclose([step.share[row].sum() for step in steps if step.sizes[row]], 1, rtol=1e-6)


def test_cohort_steps_hold_every_bag_once():
    order, trains = list(range(10))[::-1], np.arange(10)[None] % 2 == 0
    steps = cohort_steps(order, trains, batch_size=2)
    assert [bag for step in steps for bag in step.bags] == order
    assert [int(step.sizes[0]) for step in steps] == [2, 2, 1]


def test_a_stack_steps_like_adamw_and_rows_without_a_step_stay():
    torch.manual_seed(0)
    models = [torch.nn.Linear(3, 2) for _ in range(3)]
    settings = TrainSettings(weight_decay=0.1, clip_norm=0.5)
    stack = Stack(models, settings=settings)
    rates = np.array([[1e-2, 2e-2, 3e-2]] * 3)
    active = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=float)
    gradients = torch.randn(3, 3, 8)
    for factors, own in zip(stack.rates(rates, active), gradients, strict=True):
        stack.step([own[:, :6].view(3, 2, 3), own[:, 6:]], factors)
    for row, model in enumerate(models):
        groups = [{"params": [model.weight], "weight_decay": 0.1}, {"params": [model.bias], "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=rates[0, row])
        for step in np.flatnonzero(active[:, row]):
            model.weight.grad, model.bias.grad = gradients[step, row, :6].view(2, 3), gradients[step, row, 6:].clone()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
        torch.testing.assert_close(stack.parameters["weight"][row], model.weight, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(stack.parameters["bias"][row], model.bias, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["abmil", "asmil"])
def test_no_value_leaves_the_device_in_a_joint_step(name):
    """Tensors without values stand for those of a GPU: whatever would wait for one is an error here."""
    stabilizer = {"beta": 1.0, "max_gradient_ratio": 0.3}
    models = [create_model(name, in_dim=8, n_classes=2, dim=16) for _ in range(3)]
    together = Together(models, [], settings=SETTINGS, stabilizer=stabilizer, anchors=models)
    together.template.train()
    together._begin()
    rates = together.stack.rates(np.full((1, 3), 1e-3), np.ones((1, 3)))[0]
    with FakeTensorMode(allow_non_fake_inputs=True):
        batch = BagBatch.from_bags(Bag(torch.randn(5, 8), label=1))
        for measure in (True, False):
            row = together._step(batch, torch.ones(3, 1), rates=rates, measure=measure)
        assert {value.shape for value in row.values()} == {(3,)}
        with pytest.raises(DataDependentOutputException):
            row["task"].tolist()


def test_a_folder_of_groups_of_finished_cells_is_passed_over(study, tmp_path):
    recipe = recipe_of("mean", settings=replace(SETTINGS, epochs=1))
    run = train(study, tmp_path, recipe=recipe, together="on")
    stale = run.checkpoints / "together_0_0" / "cells.json"
    stale.parent.mkdir(parents=True)
    stale.write_text(json.dumps([[0, 0], [1, 0]]))
    assert len(train(study, tmp_path, recipe=recipe, together="on").cells()) == len(run.cells())
