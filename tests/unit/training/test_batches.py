"""Batches: the same bits wherever the features are, read ahead, and never more memory than the batches take."""

import threading
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from asmil.bags import Bag, BagBatch, load_bags, make_bags, open_features, read_cohort
from asmil.errors import FeatureError
from asmil.models import create_model
from asmil.training import Standardized, TrainSettings, fit, predict
from asmil.training.batches import bag_batches, bag_order, packed

SETTINGS = TrainSettings(epochs=2, batch_size=3, min_steps=0, tile_dropout=0.3)


def write(folder: Path, *, slides: int = 8, tiles: int = 30, dim: int = 16) -> Path:
    for index in range(slides):
        with h5py.File(folder / f"s{index}.h5", "w") as file:
            x = np.random.default_rng(index).standard_normal((tiles + index, dim))
            file["features"] = (x + index % 2).astype(np.float16)
            file["coords"] = np.arange(2 * (tiles + index)).reshape(-1, 2)
    return folder


def load(folder: Path, **options) -> list[Bag]:
    store = open_features(folder)
    labels = [int(slide[1:]) % 2 for slide in store.slides]
    table = pd.DataFrame({"slide": store.slides, "case": store.slides, "label": labels})
    return load_bags(store, read_cohort(table, features=store), **options)


def epoch_of(bags: list[Bag], settings: TrainSettings = SETTINGS) -> list[BagBatch]:
    """All batches of an epoch; copies, because their memory is used again."""
    order = bag_order(bags, settings=settings, epoch=1)
    steps = [order[i : i + settings.batch_size] for i in range(0, len(order), settings.batch_size)]
    batches = bag_batches(bags, steps, settings=settings, epoch=1, device="cpu")
    return [batch.with_features(batch.features.clone()) for batch in batches]


@pytest.mark.parametrize("changes", [{}, {"tile_dropout": 0.0}, {"tiles_per_bag": 5, "batch_size": 1}])
def test_streamed_batches_are_those_of_memory_bit_for_bit(changes, tmp_path):
    settings = replace(SETTINGS, **changes)
    write(tmp_path)
    memory, streamed = (epoch_of(load(tmp_path, budget=budget), settings) for budget in (None, 0))
    for one, other in zip(memory, streamed, strict=True):
        assert (one.slides, one.lengths) == (other.slides, other.lengths)
        for name in ("features", "offsets", "labels", "level0_xy"):
            assert torch.equal(getattr(one, name), getattr(other, name)), name
            assert getattr(one, name).dtype == getattr(other, name).dtype


def test_a_training_on_streamed_bags_ends_with_the_same_weights(tmp_path):
    write(tmp_path)
    trained = []
    for budget in (None, 0):
        bags = load(tmp_path, budget=budget)
        torch.manual_seed(0)
        model = Standardized(create_model("abmil", in_dim=16, n_classes=2), 16).fit_statistics(bags[:6])
        result = fit(model, bags[:6], bags[6:], settings=SETTINGS)
        assert 0 < result.waiting < result.seconds
        trained.append((model.state_dict(), [p.probabilities for p in predict(model, bags)]))
    assert all(torch.equal(trained[0][0][name], trained[1][0][name]) for name in trained[0][0])
    assert np.array_equal(trained[0][1], trained[1][1])


def test_place_and_tiles_of_a_bag_do_not_depend_on_its_company():
    bags = make_bags(12, tiles=(5, 40), dim=4)[0]
    part = bags[3:9]
    whole = [bags[i].slide for i in bag_order(bags, settings=SETTINGS, epoch=1)]
    names = {bag.slide for bag in part}
    assert [part[i].slide for i in bag_order(part, settings=SETTINGS, epoch=1)] == [s for s in whole if s in names]
    assert whole != [bags[i].slide for i in bag_order(bags, settings=SETTINGS, epoch=2)]
    settings = replace(SETTINGS, batch_size=1)
    alone, beside = ({b.slides[0]: b.features for b in epoch_of(x, settings)} for x in (part, bags))
    assert all(torch.equal(alone[slide], beside[slide]) for slide in names)
    other = {b.slides[0]: b.features for b in epoch_of(bags, replace(settings, data_seed=1))}
    assert not all(torch.equal(beside[slide], other[slide]) for slide in names)


def test_only_the_drawn_rows_are_read(tmp_path, monkeypatch):
    bags = load(write(tmp_path), budget=0)
    read = []
    for bag in bags:
        monkeypatch.setitem(vars(bag), "_read", lambda rows, inner=bag._read: read.append(rows) or inner(rows))
    epoch_of(bags, replace(SETTINGS, tiles_per_bag=5))
    assert [len(rows) for rows in read] == [5] * len(bags)


def test_the_next_batch_is_made_while_the_caller_works_and_no_further():
    bags, made = make_bags(4, tiles=(5, 6), dim=4)[0], []
    second = threading.Event()

    def lists():
        for bag in bags:
            made.append(threading.get_ident())
            if len(made) == 2:
                second.set()
            yield [bag]

    batches = packed(lists(), device="cpu", ahead=True)
    next(batches)
    assert second.wait(30)
    assert len(made) == 2
    assert threading.get_ident() not in made
    assert len(list(batches)) == 3


def test_what_is_wrong_with_a_file_reaches_the_caller(tmp_path):
    write(tmp_path)
    with h5py.File(tmp_path / "s3.h5", "r+") as file:
        file["features"][:] = np.inf
    with pytest.raises(FeatureError, match=r"s3\.h5 holds NaN or infinite"):
        epoch_of(load(tmp_path, budget=0))


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory cannot be reset here")
def test_memory_of_a_streamed_epoch_is_that_of_its_batches(tmp_path):
    """82 MB of features in batches of 1.2 MB: some batches at a time, and nothing that stays of a slide."""
    bags = load(write(tmp_path, slides=200, tiles=400, dim=512), budget=8_000_000)
    order = list(range(len(bags)))
    settings = replace(SETTINGS, tile_dropout=0.0)

    def epoch() -> None:
        steps = [order[i : i + 3] for i in range(0, len(order), 3)]
        for batch in bag_batches(bags, steps, settings=settings, epoch=0, device="cpu"):
            batch.features.sum()

    epoch()
    Path("/proc/self/clear_refs").write_text("5")
    before = _peak()
    epoch()
    assert _peak() - before < 30_000_000


def _peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
