"""Bags in which a few tiles decide: generated ones, and real tiles put into bags of other images."""

import json
from collections import Counter

import h5py
import numpy as np
import pytest
import torch

from asmil.annotations import AnnotationError
from asmil.bags import DatasetError, load_dataset, make_splits

SIDE, GRID = 32, 8


class TestGenerated:
    @pytest.mark.parametrize(("tiles", "rate", "witnesses"), [(200, 0.002, 1), (200, 0.03, 6), (300, 1, 300)])
    def test_bags_labels_and_truth_agree(self, tiles, rate, witnesses):
        needle = load_dataset("needle", slides=60, tiles_per_slide=tiles, witness_rate=rate, dim=5)
        assert Counter(needle.cohort.labels.tolist()) == {0: 30, 1: 30}
        for bag, slide, label in zip(needle.bags, needle.cohort.slides, needle.cohort.labels, strict=True):
            assert (bag.slide, bag.case, bag.label) == (slide, slide, label)
            assert bag.features.shape == (tiles, 5)
            assert bag.features.dtype == torch.float32
            assert needle.tile_labels[slide].sum() == witnesses * label

    def test_the_truth_is_where_the_tiles_are(self):
        """Far away, what the truth calls positive is all that lies far out, and the order of tiles tells nothing."""
        needle = load_dataset("needle", slides=60, contrast=1000, witness_rate=0.1)
        first = []
        for bag in needle.bags:
            truth = needle.tile_labels[bag.slide].astype(bool)
            assert ((bag.features.norm(dim=1) > 500).numpy() == truth).all()
            first += np.flatnonzero(truth)[:1].tolist()
        assert len(set(first)) > 5

    def test_the_seed_draws_other_slides_of_the_same_world(self):
        one, again, other, fewer = (
            load_dataset("needle", slides=n, seed=s) for n, s in ((60, 0), (60, 0), (60, 1), (4, 0))
        )
        assert all(a.features.equal(b.features) for a, b in zip(one.bags, again.bags, strict=True))
        assert all(a.features.equal(b.features) for a, b in zip(one.bags, fewer.bags, strict=False))
        assert not one.bags[0].features.equal(other.bags[0].features)
        ours, theirs = (_mean_of_witnesses(needle) for needle in (one, other))
        assert (ours - theirs).abs().max() < 0.5 < ours.abs().max()

    def test_the_contrast_is_how_far_the_witnesses_are(self):
        near, far = (_mean_of_witnesses(load_dataset("needle", contrast=c)) for c in (0, 5))
        assert (far - near).norm().item() == pytest.approx(5, abs=0.1)

    def test_a_probe_that_sees_tiles_beats_one_that_sees_means(self):
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import roc_auc_score

        train, test = (load_dataset("needle", contrast=5, slides=120, seed=seed) for seed in (0, 1))
        tiles = np.concatenate([bag.features.numpy() for bag in train.bags])
        probe = LogisticRegression(max_iter=500).fit(tiles, np.concatenate(list(train.tile_labels.values())))
        means = [np.stack([bag.features.mean(0).numpy() for bag in part.bags]) for part in (train, test)]
        of_means = LogisticRegression(max_iter=500).fit(means[0], train.cohort.labels).decision_function(means[1])
        assert roc_auc_score(test.cohort.labels, [probe.decision_function(b.features).max() for b in test.bags]) > 0.99
        assert roc_auc_score(test.cohort.labels, of_means) < 0.75

    @pytest.mark.parametrize(
        "wrong",
        [
            *({"slides": 1}, {"slides": 60.5}, {"tiles_per_slide": 0}, {"kinds": 0}, {"dim": 0}, {"seed": -1}),
            *({"witness_rate": 0}, {"witness_rate": 1.1}, {"contrast": -1}, {"contrast": float("nan")}),
        ],
    )
    def test_impossible_numbers_are_refused(self, wrong):
        ((option, value),) = wrong.items()
        with pytest.raises(DatasetError, match=f"Found: .*{option}={value}.* To fix: "):
            load_dataset("needle", **wrong)

    def test_slides_that_do_not_fit_into_memory_are_refused(self):
        with pytest.raises(DatasetError, match="GB are free"):
            load_dataset("needle", slides=400, tiles_per_slide=10000, dim=10**9)


def _mean_of_witnesses(needle):
    found = [bag.features[torch.from_numpy(needle.tile_labels[bag.slide] == 1)] for bag in needle.bags]
    return torch.cat(found).mean(0)


def _shapes(kind, squares):
    """GeoJSON of one class: two points in each of some squares, or the squares."""
    xy = [(SIDE * (s % GRID), SIDE * (s // GRID)) for s in squares]
    if kind == "colon":
        points = [[x + dx, y + 3] for x, y in xy for dx in (0, SIDE - 1)]  # the first on the edge it belongs to
        name, geometry = "epithelial", {"type": "MultiPoint", "coordinates": points}
    else:
        corners = ((0, 0), (SIDE, 0), (SIDE, SIDE), (0, SIDE), (0, 0))
        boxes = [[[[x + dx, y + dy] for dx, dy in corners]] for x, y in xy]
        name, geometry = "IDC", {"type": "MultiPolygon", "coordinates": boxes}
    return [{"type": "Feature", "properties": {"classification": {"name": name}}, "geometry": geometry}]


@pytest.fixture(params=["colon", "idc"])
def made(request, tmp_path):
    """Sixty slides of 64 tiles, of every third 0 to 15 positive; the values of a tile: slide, tile, if positive."""
    (tmp_path / "features").mkdir()
    (tmp_path / request.param / "annotations").mkdir(parents=True)
    for slide in range(60):
        squares = range(16) if slide % 3 == 0 else []
        rows = [[slide, square, square in squares] for square in range(GRID * GRID)]
        with h5py.File(tmp_path / "features" / f"s{slide:02d}.h5", "w") as out:
            out["features"] = np.array(rows, np.float32)
            out["coords"] = np.array([[SIDE * (s % GRID), SIDE * (s // GRID)] for s in range(GRID * GRID)])
            out["coords"].attrs.update(patch_size=SIDE, patch_size_level0=SIDE, level0_magnification=20)
        text = json.dumps({"type": "FeatureCollection", "features": _shapes(request.param, squares)})
        (tmp_path / request.param / "annotations" / f"s{slide:02d}.geojson").write_text(text)
    return request.param, tmp_path


class TestReal:
    @pytest.fixture
    def load(self, made, monkeypatch):
        of, folder = made
        monkeypatch.setenv("ASMIL_DATA", str(folder))
        options = {"root": folder / "features", "tiles_per_bag": 12, "witness_rate": 0.1}
        return lambda **given: load_dataset(f"needle-{of}", **(options | given))

    def test_sizes_labels_and_truth_agree(self, load):
        needle = load(witness_rate=0.2)
        assert {len(bag) for bag in needle.bags} == {12}
        assert set(Counter(needle.cohort.cases).values()) == {8}
        for bag, slide, label in zip(needle.bags, needle.cohort.slides, needle.cohort.labels, strict=True):
            assert (bag.slide, bag.label, bag.level0_xy) == (slide, label, None)
            truth = needle.tile_labels[slide]
            assert truth.sum() == 2 * label
            assert truth.tolist() == bag.features[:, 2].tolist()
        positives = Counter(needle.cohort.cases[i] for i in np.flatnonzero(needle.cohort.labels))
        assert set(positives.values()) == {3, 5}

    def test_every_bag_has_as_many_tiles_of_another_slide(self, load):
        for bag in load(witness_rate=0.2).bags:
            assert sorted(Counter(bag.features[:, 0].tolist()).values())[-1] == 10

    def test_no_slide_is_in_two_parts_and_no_tile_in_two_bags(self, load):
        needle = load()
        tiles = np.concatenate([bag.features.numpy() for bag in needle.bags])
        assert len(np.unique(tiles, axis=0)) == len(tiles)
        of = {bag.slide: set(bag.features[:, 0].int().tolist()) for bag in needle.bags}
        for bag in needle.bags:
            assert {f"s{slide:02d}" for slide in of[bag.slide]} <= set(bag.case.split("+"))
        splits = make_splits(needle.cohort, folds=3)
        for fold in splits.folds:
            train, val, test = (set().union(*(of[slide] for slide in part)) for part in splits.fold(fold))
            assert not train & val
            assert not train & test
            assert not val & test

    def test_the_seed_decides(self, load):
        one, again, other = (load(seed=seed).bags[0].features for seed in (0, 0, 1))
        assert one.equal(again)
        assert not one.equal(other)

    def test_small_slides_are_joined(self, load):
        needle = load(tiles_per_bag=20)
        assert {len(bag) for bag in needle.bags} == {20}
        assert all(len(case.split("+")) > 3 for case in needle.cohort.cases)

    def test_a_slide_without_annotations_is_named(self, load, made):
        of, folder = made
        (folder / of / "annotations" / "s01.geojson").unlink()
        needle = load()
        assert [problem.slide for problem in needle.cohort.problems] == ["s01"]
        assert not any("s01" in case for case in needle.cohort.cases)

    @pytest.mark.parametrize("wrong", [{"tiles_per_bag": 0}, {"tiles_per_bag": 2.5}, {"witness_rate": 0}, {"seed": -1}])
    def test_impossible_numbers_are_refused(self, load, wrong):
        ((option, value),) = wrong.items()
        with pytest.raises(DatasetError, match=f"{option}={value}"):
            load(**wrong)

    def test_too_large_bags_are_refused(self, load):
        with pytest.raises(DatasetError, match=r"Found: \d+ negative and 320 positive tiles .*use fewer tiles per bag"):
            load(tiles_per_bag=2000)

    def test_what_is_missing_is_named(self, load, made, tmp_path, monkeypatch):
        of, _ = made
        with pytest.raises(DatasetError, match=f"asmil embed --slides {of}/slides .* give root=runs/{of}/features"):
            load(root=None)
        monkeypatch.delenv("ASMIL_DATA")
        with pytest.raises(DatasetError, match="give annotations=FOLDER"):
            load()
        (tmp_path / "s00.geojson").write_text("{}")
        with pytest.raises(AnnotationError, match="is not an annotation file"):
            load(annotations=tmp_path)
        (tmp_path / "s00.geojson").write_text('{"type": "FeatureCollection", "features": []}')
        with pytest.raises(AnnotationError, match="no annotation file has the class"):
            load(annotations=tmp_path)


def test_the_truth_of_real_tiles_agrees_with_that_of_the_evaluation(data_dir):
    """It may leave a tile open, and never contradicts."""
    from shapely.geometry import MultiPoint

    from asmil.annotations import find_annotation, read_annotations
    from asmil.bags import DATASETS
    from asmil.evaluation import tile_truth

    xy = np.array([[x, y] for y in range(0, 512, SIDE) for x in range(0, 512, SIDE)])
    for name, positive in (("colon", "epithelial"), ("idc", "IDC")):
        folder = data_dir / name / "annotations"
        for path in sorted(folder.glob("*.geojson"))[:20]:
            drawn = read_annotations(find_annotation(folder, path.stem))
            shape = MultiPoint(drawn.points_of([positive])) if name == "colon" else drawn.area_of([positive])
            ours = DATASETS.module(f"needle_{name}").truth_of_tiles(xy.astype(float), SIDE, shape)
            theirs = tile_truth(xy, SIDE, drawn, positive=[positive])
            assert theirs[ours == 1].all()
            assert not theirs[ours == 0].any()
