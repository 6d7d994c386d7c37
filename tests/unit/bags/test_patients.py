"""Bags of patients: which tiles they hold, where these lie, and that only what is asked for is read."""

import numpy as np
import pandas as pd
import pytest
import torch

from asmil.bags import (
    Bag,
    BagBatch,
    Cohort,
    StreamedBag,
    by_slide,
    load_bags,
    open_features,
    patient_bags,
    require_one_answer,
)
from asmil.bags.loading import GAP
from asmil.errors import CohortError
from asmil.models.parts.neighbours import neighbours

CASES = {"p": ["p1", "p2", "p3"], "q": ["q1"]}


def slide(name, tiles, *, case, side=100.0, seed=0, reads=None, coordinates=True):
    """A slide in a file, on a grid 4 tiles wide that begins anywhere; what is read of it is noted in `reads`."""
    rng = np.random.default_rng([seed, tiles])
    features = torch.from_numpy(rng.normal(size=(tiles, 3)).astype(np.float32))
    xy = torch.stack([torch.arange(tiles) % 4, torch.arange(tiles) // 4], 1) * int(side) + rng.integers(5000, size=2)
    facts = {"slide": name, "tile_level0_px": side, "mpp": 0.5}

    def read(rows):
        index = torch.arange(tiles) if rows is None else torch.from_numpy(np.asarray(rows))
        if reads is not None:
            reads.append((name, len(index)))
        return Bag(features[index], xy[index] if coordinates else None, **facts)

    return StreamedBag(read, tiles=tiles, case=case, label=1, nbytes=12 * tiles, mapped=True, **facts)


def patient(**options):
    slides = [
        slide("p1", 7, case="p", **options),
        slide("q", 5, case="q"),
        slide("p2", 9, case="p", side=50.0),
        slide("p3", 1, case="p", **options),
    ]
    return slides, patient_bags(slides)


def test_a_patient_holds_the_tiles_of_all_slides_in_order():
    slides, (bag, single) = patient()
    assert single is slides[1], "one slide is its own bag"
    assert (bag.slide, bag.case, bag.label, len(bag)) == ("p1", "p", 1, 17)
    assert bag.tiles_of == (("p1", 7), ("p2", 9), ("p3", 1))
    whole = torch.cat([slides[i].features for i in (0, 2, 3)])
    loaded = bag.loaded()
    assert torch.equal(loaded.features, whole)
    assert (loaded.label, loaded.tiles_of) == (1, bag.tiles_of)
    assert not isinstance(loaded, StreamedBag)
    assert BagBatch.from_bags([bag, single]).lengths == (17, 5)


def test_rows_are_read_of_their_slides_only_and_in_the_order_asked_for():
    reads = []
    _, (bag, _) = patient(reads=reads)
    whole = bag.loaded()
    reads.clear()
    index = torch.tensor([15, 0, 8, 3, 7])
    part = bag.rows(index)
    assert torch.equal(part.features, whole.features[index])
    assert torch.equal(part.level0_xy, whole.level0_xy[index])
    assert reads == [("p1", 2)], "of p1 two rows; nothing of p3"


def test_slides_lie_side_by_side_in_steps_of_the_first_ones_tiles():
    _, (bag, _) = patient()
    xy = dict(by_slide(bag, bag.loaded().level0_xy.numpy().T))
    assert {name: part.shape[1] for name, part in xy.items()} == {"p1": 7, "p2": 9, "p3": 1}
    assert xy["p1"].min(1).tolist() == [0, 0]
    assert xy["p2"].min(1).tolist() == [(3 + GAP) * 100, 0]
    assert np.unique(np.diff(np.unique(xy["p2"][0]))).tolist() == [100], "tiles half as wide, so twice as far apart"


@pytest.mark.parametrize("side", [100.0, 37.3])
def test_no_neighbour_is_of_another_slide(side):
    slides = [slide(f"p{i}", 24 + i, case="p", side=side * 2**i, seed=i) for i in range(3)]
    (bag,) = patient_bags(slides)
    of = np.repeat([0, 1, 2], [24, 25, 26])
    beside, there = (values.numpy() for values in neighbours(BagBatch.from_bags(bag)))
    assert (of[beside] == of[:, None])[there].all()
    alone = [neighbours(BagBatch.from_bags(one))[1].sum() for one in slides]
    assert there.sum() == sum(alone), "and none is lost"


def test_without_coordinates_of_a_slide_the_patient_has_none():
    _, (bag, _) = patient(coordinates=False)
    assert bag.loaded().level0_xy is None


def test_values_of_tiles_go_back_to_their_slides():
    _, (bag, single) = patient()
    values = np.arange(34).reshape(2, 17)
    parts = dict(by_slide(bag, values))
    assert list(parts) == ["p1", "p2", "p3"]
    assert np.array_equal(np.concatenate(list(parts.values()), 1), values)
    assert [name for name, _ in by_slide(single, np.ones(5))] == ["q"]


def cohort(labels, **columns):
    names = [name for several in CASES.values() for name in several]
    cases = [case for case, several in CASES.items() for _ in several]
    return Cohort(pd.DataFrame({"slide": names, "case": cases, "label": labels, **columns}), ("no", "yes"))


def test_slides_of_one_patient_with_different_answers_are_refused():
    require_one_answer(cohort(["yes", "yes", "yes", "no"], target_age=[3.0, 3.0, 3.0, np.nan]))
    with pytest.raises(CohortError, match="1 patients: p"):
        require_one_answer(cohort(["yes", "no", "yes", "no"]))
    with pytest.raises(CohortError, match="different ones"):
        require_one_answer(cohort(["yes", "yes", "yes", "no"], target_age=[3.0, np.nan, 3.0, 1.0]))


@pytest.mark.parametrize("budget", [None, 0])
def test_from_files_into_memory_or_streamed(tmp_path, write_feature_files, budget):
    names = write_feature_files(tmp_path / "f", n_slides=6, dim=4)
    table = pd.DataFrame({"slide": names, "case": list("aabbcc"), "label": list("nnyynn")})
    store, told = open_features(tmp_path / "f"), []
    bags = load_bags(store, Cohort(table, ("n", "y")), budget=budget, by_patient=True, tell=told.append)
    assert [isinstance(bag, StreamedBag) for bag in bags] == [budget == 0] * 3
    assert [bag.label for bag in bags] == [0, 1, 0]
    for bag, pair in zip(bags, (names[:2], names[2:4], names[4:]), strict=True):
        assert torch.equal(bag.features, torch.cat([store.load(name).features for name in pair]))
    mixed = Cohort(table.assign(label=list("nyyynn")), ("n", "y"))
    with pytest.raises(CohortError, match="different ones"):
        load_bags(store, mixed, by_patient=True)
