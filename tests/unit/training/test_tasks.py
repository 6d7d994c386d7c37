"""Other tasks than classification are learned, by every model that can, and from the training part alone."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from asmil.attention import AttentionStabilizer
from asmil.bags import Bag, BagBatch, make_splits, open_features, read_cohort
from asmil.errors import AsmilError, CohortError, ConfigError
from asmil.models import create_model, list_models
from asmil.study import train_cells
from asmil.tasks import create_task
from asmil.training import Recipe, Stack, TrainSettings, crossval, fit, predict

NEED_CLASSES = ("dsmil", "dtfd", "hdmil", "knn")
OPTIONS = {
    "regression": {"columns": ["score"]},
    "ordinal": {"columns": ["grade"], "levels": ["0", "1", "2"]},
    "multilabel": {"columns": ["a", "b"]},
    "survival": {},
    "survival_cox": {},
}
TARGETS = {
    "regression": lambda u, rng: (100 + 10 * u,),
    "ordinal": lambda u, rng: (float(int(3 * u)),),
    "multilabel": lambda u, rng: (float(u > 0.5), float(u < 0.3) if rng.random() < 0.8 else float("nan")),
    "survival": lambda u, rng: (20 * np.exp(-2 * u) * rng.uniform(0.8, 1.2), float(rng.random() < 0.7)),
}
TARGETS["survival_cox"] = TARGETS["survival"]
# R2, quadratic kappa, mean AUROC, C-index: what chance reaches, and what is asked for.
ENOUGH = {"regression": 0.5, "ordinal": 0.5, "multilabel": 0.8, "survival": 0.7, "survival_cox": 0.7}


def planted(name: str, n: int, *, seed: int = 0) -> list[Bag]:
    """Bags in which the share of tiles with a raised first value decides the target."""
    rng = np.random.default_rng(seed)
    bags = []
    for i in range(n):
        u, features = rng.random(), rng.normal(size=(20, 6))
        features[: round(20 * u), 0] += 4
        xy = torch.stack([torch.arange(20) % 5, torch.arange(20) // 5], dim=1) * 256
        target = tuple(map(float, TARGETS[name](u, rng)))
        values = torch.from_numpy(features).float()
        bags.append(Bag(values, xy, f"s{i}", f"p{i}", tile_level0_px=256.0, target=target))
    return bags


def fitted(name: str, bags: list[Bag]):
    options = OPTIONS[name] | ({"times": [2.0, 5.0, 10.0]} if name == "survival" else {})
    return create_task(name, **options).fit_targets(np.array([bag.target for bag in bags]))


def settings(name: str, **given) -> TrainSettings:
    usual = {"batch_size": 16 if name == "survival_cox" else 8, "epochs": 10, "warmup_epochs": 1, "learning_rate": 5e-3}
    return TrainSettings(**(usual | {"tile_dropout": 0.0} | given))


@pytest.mark.parametrize(("name", "select"), [*((name, "val_loss") for name in OPTIONS), ("ordinal", "val_metric")])
def test_a_planted_signal_is_learned_with_the_stabiliser(name, select):
    train, val, test = (planted(name, n, seed=seed) for seed, n in enumerate((48, 16, 40)))
    task = fitted(name, train)
    torch.manual_seed(0)
    model = create_model("abmil", in_dim=6, n_classes=task.outputs, dim=16, dropout=0.0)
    stabilizer = AttentionStabilizer(model, gated=False)
    chosen = settings(name, select=select)
    result = fit(model, train, val, settings=chosen, task=task, stabilizer=stabilizer)
    assert {"val_loss", "val_metric"} <= result.history[0].keys()
    found = predict(model, test, task=task)
    values = np.stack([p.probabilities for p in found])
    assert values.shape == (40, len(task.value_names))
    assert task.select_metric(values, np.array([bag.target for bag in test])) > ENOUGH[name]
    assert np.isfinite([p.loss for p in found]).all()
    unknown = predict(model, [replace(bag, target=None) for bag in test], task=task)
    assert np.isnan([p.loss for p in unknown]).all()
    assert np.array_equal(np.stack([p.probabilities for p in unknown]), values)


@pytest.mark.parametrize("name", list_models())
def test_every_model_trains_or_is_refused(name):
    bags = planted("survival", 9)
    task = fitted("survival", bags)
    recipe = Recipe(name, settings=settings("survival", epochs=1, min_steps=0))
    if name in NEED_CLASSES:
        with pytest.raises(ConfigError, match="classification alone"):
            recipe.check(task)
        recipe.check(None)
        return
    recipe.check(task)
    model = recipe.build(in_dim=6, n_classes=task.outputs, train=bags[:6], seed=0)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    stabilizer = recipe.stabilize(model, bags[0])
    fit(model, bags[:6], bags[6:], settings=recipe.settings, task=task, stabilizer=stabilizer)
    moved = [key for key, value in model.state_dict().items() if not torch.equal(value, before[key])]
    assert any("classifier" in key or "probe" in key for key in moved)
    (row,) = predict(model, bags[:1], task=task)
    assert row.attention.sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("name", OPTIONS)
def test_no_value_leaves_the_device_in_a_step_of_a_task(name):
    """Tensors without values stand for those of a GPU: whatever would wait for one is an error here."""
    bags = planted(name, 6)
    task, chosen = fitted(name, bags), settings(name)
    with FakeTensorMode():
        model = create_model("abmil", in_dim=6, n_classes=task.outputs, dim=16)
        empty = [Bag(torch.randn(5, 6), target=bag.target) for bag in bags[:1]]
        batch = BagBatch.from_bags(empty)
        batch = replace(batch, targets=torch.randn(1, len(bags[0].target)))
        stack = Stack([model], [None], keys=[("seed", 0)], settings=chosen, task=task)
        model.train()
        assert stack.step(batch, [1e-3], at=(0, 0), measure=True)["task"].shape == (1,)


def test_what_does_not_fit_the_task_is_refused():
    bags = planted("survival_cox", 6)
    cox, model = fitted("survival_cox", bags), create_model("abmil", in_dim=6, n_classes=1, dim=16)
    with pytest.raises(ConfigError, match="compares the bags"):
        fit(model, bags, bags, settings=settings("survival_cox", batch_size=1), task=cox)
    with pytest.raises(ConfigError, match="of another task"):
        fit(model, bags, bags, settings=settings("survival_cox", select="val_auroc"), task=cox)
    with pytest.raises(CohortError, match="without a target"):
        fit(model, [replace(bag, target=None) for bag in bags], bags, settings=settings("survival_cox"), task=cox)
    with pytest.raises(ConfigError, match="of another task"):
        fit(model, bags, bags, settings=settings("survival_cox", select="val_metric"))
    with pytest.raises(AsmilError, match="classifiers"):
        train_cells(Recipe("abmil"), bags, [], n_classes=2)


@pytest.fixture(scope="module")
def crossvalidated(tmp_path_factory, write_feature_files, begin_run):
    """A survival run of 24 slides in 2 folds, and what it was made of."""
    folder = tmp_path_factory.mktemp("survival")
    names = write_feature_files(folder / "features", n_slides=24, dim=6)
    rng = np.random.default_rng(0)
    columns = {"slide_id": names, "time": rng.exponential(20, 24), "event": [1] * 24}
    cohort = read_cohort(pd.DataFrame(columns), task=create_task("survival"))
    splits = make_splits(cohort, folds=2)
    recipe = Recipe("abmil", settings=TrainSettings(epochs=1, min_steps=0))
    run = begin_run(folder / "run", cohort, splits, model="abmil", task="survival", seeds=1)
    store, cells = open_features(folder / "features"), [(0, 0), (1, 0)]
    crossval(cohort, store, splits, recipe=recipe, cells=cells, keep=run.keep, checkpoints=run.checkpoints)
    return cohort, splits, run


def test_bins_of_time_are_of_the_training_part_alone(crossvalidated):
    cohort, splits, run = crossvalidated
    assert run.task == cohort.task
    for cell in run.cells():
        fold, known = splits.fold(cell.fold), cell.model(run.settings, 0)[1]
        assert known == cohort.task.fit_targets(cohort.subset(fold.train).targets)
        assert known.edges != cohort.task.fit_targets(cohort.subset(fold.train + fold.val).targets).edges
        assert known.edges != cohort.task.fit_targets(cohort.targets).edges


def test_predictions_hold_targets_and_values_under_one_name_in_all_folds(crossvalidated):
    cohort, _, run = crossvalidated
    table = run.cell_predictions
    assert not table.isna().any(axis=None)
    tested = table[table["part"] == "test"].set_index("slide").loc[cohort.slides]
    assert np.array_equal(tested[["target_time", "target_event"]], cohort.targets)
    survival = tested[[name for name in table if name.startswith("survival_")]].to_numpy()
    assert (np.diff(survival, axis=1) <= 0).all()


def test_a_run_is_not_continued_with_another_task(crossvalidated):
    cohort, splits, run = crossvalidated
    with pytest.raises(AsmilError, match="the task is not the one"):
        run.set_data(replace(cohort, task=replace(cohort.task, bins=5)), splits)
