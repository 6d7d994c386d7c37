"""Tile truth, tile metrics, Dice and FROC: hand-made boxes, naive loops, and the real annotations."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import shapely
from shapely.geometry import MultiPolygon, Point, box

from asmil.annotations import Annotations, read_annotations
from asmil.evaluation import (
    Findings,
    MetricError,
    best_dice_threshold,
    chance_average_precision,
    dice_at,
    find_lesions,
    froc_curve,
    local_maxima,
    scaled,
    score_findings,
    tile_metrics,
    tile_truth,
)


def drawn(*areas, points=(), name="Tumor") -> Annotations:
    return Annotations(Path("s"), {name: MultiPolygon(areas)}, {name: np.array(points, float).reshape(-1, 2)})


def grid(columns: int, rows: int, step: float) -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(columns) * step, np.arange(rows) * step), axis=-1).reshape(-1, 2)


def test_half_a_tile_covered_is_positive_and_less_is_not():
    tiles = grid(3, 1, 10)
    assert tile_truth(tiles, 10, drawn(box(0, 0, 15, 10)), positive=["tumor"]).tolist() == [True, True, False]
    assert tile_truth(tiles, 10, drawn(box(0, 0, 14.9, 10)), positive=["tumor"]).tolist() == [
        True,
        False,
        False,
    ]
    assert not tile_truth(tiles, 10, drawn(box(0, 0, 15, 10)), positive=["other"]).any()


def test_coverage_equals_the_area_of_each_intersection():
    area = Point(500, 500).buffer(400).difference(Point(500, 500).buffer(150))
    tiles = grid(40, 40, 25.5)
    share = shapely.area(shapely.intersection(shapely.box(*tiles.T, *(tiles + 51).T), area)) / 51**2
    for coverage in (0.01, 0.5, 0.99):
        truth = tile_truth(tiles, 51, drawn(area), positive=["tumor"], min_coverage=coverage)
        assert (truth == (share >= coverage)).all()


def test_excluded_classes_are_cut_out():
    both = Annotations(
        Path("s"),
        {"Tumor": MultiPolygon([box(0, 0, 20, 10)]), "_2": MultiPolygon([box(0, 0, 10, 10)])},
        {"Tumor": np.empty((0, 2)), "_2": np.empty((0, 2))},
    )
    assert tile_truth(grid(2, 1, 10), 10, both, positive=["tumor"], exclude=["_2"]).tolist() == [False, True]


def test_a_point_on_an_edge_is_in_one_tile_and_in_every_overlapping_one():
    on_edge = drawn(points=[[10, 5]])
    assert tile_truth(grid(2, 1, 10), 10, on_edge, positive=["Tumor"]).tolist() == [False, True]
    assert tile_truth(grid(3, 1, 5), 10, on_edge, positive=["Tumor"]).tolist() == [False, True, True]


def test_relative_attention_is_one_when_uniform_and_scores_are_refused():
    assert scaled(np.full(7, 1 / 7)) == pytest.approx(np.ones(7))
    assert scaled(np.array([0.1, 0.7, 0.2]), scale="rank").tolist() == [1 / 3, 1, 2 / 3]
    with pytest.raises(MetricError, match="not scores"):
        scaled(np.array([-1.0, 2.0]))


def test_chance_is_what_random_attention_reaches():
    rng = np.random.default_rng(0)
    truth = {f"s{i}": np.arange(20) < 4 for i in range(150)}
    result = tile_metrics({s: rng.random(20) for s in truth}, truth, n_boot=50)["macro"]
    assert result["prevalence"] == pytest.approx(0.2)
    assert result["average_precision"]["chance"] == pytest.approx(chance_average_precision(20, 4))
    assert chance_average_precision(20, 4) == pytest.approx(0.3094, abs=1e-4)
    assert result["average_precision"]["value"] == pytest.approx(0.3094, abs=0.04)


def test_macro_and_pooled_differ_as_defined():
    truth = {"a": np.array([1, 0, 0, 0]), "b": np.array([1, 1]), "c": np.zeros(3)}
    attention = {"a": np.array([0.4, 0.3, 0.2, 0.1]), "b": np.array([0.5, 0.5]), "c": np.ones(3) / 3}
    result = tile_metrics(attention, truth, n_boot=50)
    assert result["macro"]["n_slides"] == 1
    assert result["macro"]["auroc"]["value"] == 1
    assert (result["pooled"]["n_slides"], result["pooled"]["n_tiles"]) == (2, 6)
    assert result["pooled"]["auroc"]["value"] == pytest.approx((3 + 2 * 2) / 9)
    with pytest.raises(MetricError, match="different slides"):
        tile_metrics(attention, {"a": truth["a"]})


def test_dice_and_its_validation_threshold():
    truth, attention = {"a": np.array([1, 1, 0, 0])}, {"a": np.array([0.4, 0.3, 0.2, 0.1])}
    assert dice_at(attention, truth, threshold=1.5) == pytest.approx(2 / 3)
    assert dice_at(attention, truth, threshold=best_dice_threshold(attention, truth)) == 1


def test_local_maxima_are_the_peaks():
    tiles, scores = grid(9, 9, 10), np.random.default_rng(0).random(81)
    found = set(local_maxima(tiles, 10, scores).tolist())
    image = np.pad(scores.reshape(9, 9), 1, constant_values=-1)
    windows = np.lib.stride_tricks.sliding_window_view(image, (3, 3)).max((2, 3))
    assert found == set(np.flatnonzero((windows == scores.reshape(9, 9)).ravel()).tolist())


def test_lesions_merge_and_small_ones_are_isolated_tumour_cells():
    areas = box(0, 0, 1000, 1000), box(1060, 0, 1500, 500), box(5000, 0, 5100, 100)
    lesions = find_lesions(drawn(*areas), mpp=1, positive=["Tumor"])
    assert len(lesions.areas) == 2
    assert sorted(lesions.itc.tolist()) == [False, True]


def test_findings_hit_lesions_points_or_nothing():
    tiles, scores = grid(5, 1, 100), np.array([0.9, 0.1, 0.5, 0.1, 0.7])
    annotations = drawn(box(0, 0, 300, 300).intersection(box(0, 0, 90, 300)), points=[[250, 50], [350, 50]])
    lesions = find_lesions(annotations, mpp=1, positive=["Tumor"])
    found = score_findings(tiles, 100, scores, lesions=lesions)
    assert found.false_positives.tolist() == [0.7]
    assert found.lesions.tolist() == [0.9, 0.5, -np.inf]


def test_froc_equals_a_naive_count():
    rng = np.random.default_rng(1)
    slides = [Findings(rng.random(rng.integers(0, 15)).round(2), rng.random(2).round(2)) for _ in range(6)]
    slides.append(Findings(rng.random(10), np.array([-np.inf])))
    false, hits = (np.concatenate([getattr(s, k) for s in slides]) for k in ("false_positives", "lesions"))
    curve = [(0, 0)] + [
        (sum(false >= t) / 7, sum(hits >= t) / 13) for t in sorted({*false, *hits} - {-np.inf}, reverse=True)
    ]
    naive = np.interp([0.25, 0.5, 1, 2, 4, 8], *zip(*curve, strict=True))
    result = froc_curve(slides)
    assert list(result["sensitivity"].values()) == pytest.approx(naive)
    assert result["score"] == pytest.approx(naive.mean())


def test_real_truth_agrees_with_the_counts_that_came_with_the_data(data_dir):
    labels = pd.read_csv(data_dir / "idc" / "labels.csv").set_index("slide_id")
    for slide in labels.index[:140:12]:
        annotations = read_annotations(data_dir / "idc" / "annotations" / f"{slide}.geojson")
        truth = tile_truth(grid(80, 80, 50), 50, annotations, positive=["idc"])
        assert truth.sum() == labels.n_idc_tiles[slide], slide
    tiles = grid(15, 15, 32)
    truths = [
        tile_truth(tiles, 32, read_annotations(path), positive=["epithelial"])
        for path in sorted((data_dir / "colon" / "annotations").glob("*.geojson"))
    ]
    assert np.mean([t.mean() for t in truths if t.any()]) == pytest.approx(0.3195, abs=1e-4)
