"""Probes of features as they are: the linear one, and the nearest neighbours."""

import numpy as np
import pandas as pd
import pytest
import torch

from asmil.bags import Bag, BagBatch, Cohort, make_splits
from asmil.errors import ConfigError, FeatureError
from asmil.models import create_model
from asmil.training import Recipe, Standardized, TrainSettings, fit


def bags_of(vectors, labels, *, prefix="s"):
    rows = zip(np.asarray(vectors, np.float32), labels, strict=True)
    return [Bag(torch.from_numpy(v[None]), None, f"{prefix}{i}", f"{prefix}{i}", y) for i, (v, y) in enumerate(rows)]


def drawn(count, *, seed, dim=6, far=1.0):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    vectors = rng.standard_normal((count, dim))
    vectors[:, 0] += far * np.where(labels, 1, -1)
    return bags_of(vectors, labels.tolist(), prefix=f"{seed}-")


def neighbours(**options):
    """Four training bags in the plane: two of class 0 near the x axis, two of class 1 near the y axis."""
    model = create_model("knn", in_dim=2, n_classes=2, **options)
    model.prepare(bags_of([[2, 0], [1, 0.1], [0.1, 1], [0, 3]], [0, 0, 1, 1]), lambda module: module)
    return model.eval()


def said(model, vectors):
    return model(BagBatch.from_bags(bags_of(vectors, [0] * len(vectors), prefix="new"))).logits.detach()


def test_the_linear_probe_is_an_affine_map_of_the_mean_vector():
    model = create_model("linear", in_dim=3, n_classes=2)
    assert not any(parameter.any() for parameter in model.parameters())
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    bags = [Bag(torch.randn(count, 3), None, str(count), str(count), 0) for count in (1, 4)]
    wanted = torch.stack([bag.features.mean(0) for bag in bags]) @ model.probe.weight.T + model.probe.bias
    torch.testing.assert_close(model(BagBatch.from_bags(bags)).logits, wanted)
    with pytest.raises(FeatureError, match="made with in_dim=3"):
        model(BagBatch.from_bags(Bag(torch.randn(2, 4))))


def test_the_linear_probe_finds_what_logistic_regression_finds():
    from sklearn.linear_model import LogisticRegression

    train, test = drawn(60, seed=0), drawn(200, seed=1)
    model = create_model("linear", in_dim=6, n_classes=2)
    settings = TrainSettings(epochs=150, learning_rate=0.01, weight_decay=0.0, batch_size=20, select="last")
    fit(model, train, [], settings=settings)
    x_train, x_test = (np.stack([bag.features[0].numpy() for bag in part]) for part in (train, test))
    logits = model(BagBatch.from_bags(test)).logits.detach().numpy()
    wanted = LogisticRegression(C=1e6).fit(x_train, [bag.label for bag in train]).decision_function(x_test)
    assert np.corrcoef(logits[:, 1] - logits[:, 0], wanted)[0, 1] > 0.995


def test_the_nearest_by_cosine_vote():
    model = neighbours(k=3)
    found = said(model, [[100, 1], [0.3, 9]]).softmax(1)
    votes = (np.array([[2, 1], [1, 2]]) + 0.5) / 4
    np.testing.assert_allclose(found, votes, atol=1e-6)
    assert said(neighbours(k=1), [[5, 0]]).softmax(1)[0, 0] == pytest.approx(1.5 / 2)
    assert said(neighbours(k=99), [[5, 0]]).softmax(1)[0, 0] == pytest.approx(0.5)


def test_a_training_bag_is_no_neighbour_of_itself():
    model = neighbours(k=1).train()
    bags = bags_of([[2, 0], [1, 0.1], [0.1, 1], [0, 3]], [0, 0, 1, 1])
    alone = create_model("knn", in_dim=2, n_classes=2, k=1).train()
    alone.prepare(bags[:1], lambda module: module)
    np.testing.assert_allclose(alone(BagBatch.from_bags(bags[0])).logits.detach().softmax(1), [[0.5, 0.5]])
    assert alone.eval()(BagBatch.from_bags(bags[0])).logits.detach().argmax() == 0
    assert model(BagBatch.from_bags(bags)).logits.detach().argmax(1).tolist() == [0, 0, 1, 1]


def test_k_is_chosen_by_the_validation_bags_alone():
    """Two clusters with a mislabelled bag at the outer end of each: beside it one neighbour misleads, three do not."""
    angles = np.radians([0, 1, 2, 3, 80, 81, 82, 83])
    train = bags_of(np.stack([np.cos(angles), np.sin(angles)], 1), [1, 0, 0, 0, 1, 1, 1, 0])
    model = create_model("knn", in_dim=2, n_classes=2)
    model.prepare(train, lambda module: module)
    near_liars = [[np.cos(angle), np.sin(angle)] for angle in np.radians([0.1, 82.9])]
    for labels, k in (([0, 1], 3), ([1, 0], 1)):
        model.choose(bags_of(near_liars, labels, prefix="v"))
        assert int(model.k) == k
    settled = create_model("knn", in_dim=2, n_classes=2, k=9)
    settled.prepare(train, lambda module: module)
    settled.choose(bags_of(near_liars, [0, 1], prefix="v"))
    assert int(settled.k) == 9


def test_neighbours_travel_with_the_weights():
    model, other = neighbours(k=3), create_model("knn", in_dim=2, n_classes=2)
    other.load_state_dict(model.state_dict())
    assert torch.equal(said(other.eval(), [[3, 1]]), said(model, [[3, 1]]))


def test_a_k_that_is_no_number_of_neighbours_is_refused():
    with pytest.raises(ConfigError, match="k is a number of neighbours"):
        create_model("knn", in_dim=2, n_classes=2, k=0)


def test_a_refit_keeps_all_bags_and_the_k_that_validation_chose(tmp_path):
    """Of the model that is tested: neighbours are training and validation bags, none of the test part; k is chosen."""
    from asmil.training.cell import Job, folds_of, train_fold

    bags = drawn(24, seed=3, far=0.4)
    rows = [(bag.slide, bag.case, "ab"[bag.label]) for bag in bags]
    cohort = Cohort(pd.DataFrame(rows, columns=["slide", "case", "label"]), ("a", "b"), [])
    splits = make_splits(cohort, folds=2, seed=0)
    recipe = Recipe("knn", stabilizer=None, settings=TrainSettings(epochs=2, min_steps=0))
    job, kept = Job(tmp_path, cohort, splits, recipe), []
    by_slide = {bag.slide: bag for bag in bags}
    (fold,) = folds_of([(0, 0)], tmp_path / "checkpoints")
    list(train_fold(fold, job, by_slide, keep=kept.append))
    train, val, _ = job.parts(0, by_slide)
    model = kept[0].model
    assert isinstance(model, Standardized)
    assert len(model.model.vectors) == len(train) + len(val)

    alone = recipe.build(in_dim=6, n_classes=2, train=train, seed=0)
    alone.prepare(train, lambda module: module)
    alone.choose(val)
    assert int(model.model.k) == int(alone.model.k)
