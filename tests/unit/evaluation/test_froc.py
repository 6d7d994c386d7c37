"""FROC by the rules of CAMELYON16 against a plain evaluation on pixels, on real outlines, and over a whole run."""

import h5py
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage
from shapely.geometry import MultiPolygon, Polygon, box
from typer.testing import CliRunner

from asmil.annotations import Annotations, read_annotations
from asmil.cli import app
from asmil.evaluation import find_lesions, froc_curve
from asmil.evaluation.froc import Findings, _extent, score_findings
from asmil.evaluation.intervals import resample_counts
from asmil.evaluation.run_metrics import evaluate
from asmil.files import write_json
from asmil.runs import Run
from asmil.settings import Settings

PX = 32  # level-0 pixels of a pixel of the plain evaluation, which works on level 5 as the challenge did


def pixel_lesions(area, *, mpp, origin, shape):
    """Numbered lesions (h, w), and the numbers of isolated tumour cells, by distances and moments of pixels."""
    image = Image.new("1", shape[::-1])
    pen = ImageDraw.Draw(image)
    for part in area.geoms:
        pen.polygon([tuple(xy) for xy in (np.array(part.exterior.coords) - origin) / PX], fill=1)
        for hole in part.interiors:
            pen.polygon([tuple(xy) for xy in (np.array(hole.coords) - origin) / PX], fill=0)
    near = ndimage.distance_transform_edt(~np.asarray(image)) < 75 / (mpp * PX * 2)
    numbers, count = ndimage.label(ndimage.binary_fill_holes(near), np.ones((3, 3)))
    small = set()
    for number in range(1, count + 1):
        spread = np.cov(np.argwhere(numbers == number).T, bias=True) + np.eye(2) / 12
        if 4 * np.sqrt(np.linalg.eigvalsh(spread)[-1]) * PX * mpp < 275:
            small.add(number)
    return numbers, small


def plain_findings(numbers, small, detections, *, origin):
    """False findings, and the best score of each lesion that counts."""
    false, best = [], {n: -np.inf for n in range(1, numbers.max() + 1) if n not in small}
    for score, x, y in detections:
        row, column = int((y - origin[1]) // PX), int((x - origin[0]) // PX)
        inside = 0 <= row < numbers.shape[0] and 0 <= column < numbers.shape[1]
        number = numbers[row, column] if inside else 0
        if number == 0:
            false.append(score)
        elif number in best:
            best[number] = max(best[number], score)
    return sorted(false), sorted(best.values())


def compared(annotations, *, mpp, positive, seed):
    """Ours and the plain findings of random detections around the outlines, none near the edge of a lesion."""
    area = annotations.area_of([positive])
    low, high = np.array(area.bounds[:2]) - 4000, np.array(area.bounds[2:]) + 4000
    shape = tuple(np.ceil((high - low) / PX).astype(int)[::-1])
    numbers, small = pixel_lesions(area, mpp=mpp, origin=low, shape=shape)
    lesions = find_lesions(annotations, mpp=mpp, positive=[positive])
    assert len(lesions.areas) == numbers.max()
    assert lesions.itc.sum() == len(small)
    rng = np.random.default_rng(seed)
    inside = [np.array(one.representative_point().coords[0]) for one in lesions.areas]
    middles = np.array([*rng.uniform(low, high, (300, 2)), *inside])
    edge = np.array([min(one.exterior.distance(Polygon(xy + box_corners)) for one in lesions.areas)
                     for xy, box_corners in ((xy, np.array([(0, 0), (1, 0), (1, 1)])) for xy in middles)])  # fmt: skip
    middles = middles[edge > 2 * PX]
    scores = rng.permutation(len(middles)) + 1.0
    ours = score_findings(middles - 0.5, 1, scores, lesions=lesions)  # tiles of a pixel: every one a detection
    plain = plain_findings(numbers, small, np.column_stack([scores, middles]), origin=low)
    return (sorted(ours.false_positives), sorted(ours.lesions)), plain


def drawn(*areas):
    return Annotations("s", {"Tumor": MultiPolygon(areas)}, {"Tumor": np.empty((0, 2))})


def test_findings_are_those_of_the_plain_evaluation():
    ring = Polygon(box(20_000, 0, 24_000, 4000).exterior, [box(21_000, 1000, 23_000, 3000).exterior.coords])
    shapes = [
        box(0, 0, 3000, 2000),
        box(3100, 0, 3400, 2000),  # 25 um beside it: one lesion
        box(9000, 0, 9500, 500),  # 125 um: isolated tumour cells
        box(9000, 9000, 9100, 9800),  # 200 um long and 25 um wide: the ellipse decides
        ring,
    ]
    ours, plain = compared(drawn(*shapes), mpp=0.25, positive="Tumor", seed=0)
    assert ours == plain
    assert np.isfinite(plain[1]).any()


@pytest.mark.parametrize("slide", ["Tumor_001", "Tumor_005"])
def test_real_lesions_and_findings_are_those_of_the_plain_evaluation(data_dir, slide):
    path = data_dir / "tables" / "camelyon16" / "tumor_polygons" / f"{slide}.json"
    ours, plain = compared(read_annotations(path), mpp=0.243, positive="positive", seed=1)
    assert ours == plain


def test_the_extent_is_the_axis_of_the_ellipse_of_equal_moments():
    assert _extent(box(5, 5, 9, 6)) == pytest.approx(4 * 4 / np.sqrt(12))
    angle = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    turned = np.array([[0.8, -0.6], [0.6, 0.8]]) @ np.array([50 * np.cos(angle), 20 * np.sin(angle)])
    assert _extent(Polygon(turned.T + np.array([1e5, -3e5]))) == pytest.approx(100, rel=1e-4)


def test_the_interval_draws_patients_and_equals_a_loop():
    rng = np.random.default_rng(2)
    slides = [Findings(rng.random(9).round(2), rng.random(i % 3).round(2)) for i in range(8)]
    cases = ["a", "a", "b", "b", "c", "d", "e", "f"]
    result = froc_curve(slides, cases=cases, n_boot=200, seed=5)
    scores = []
    for counts in resample_counts(np.array(cases), n=200, seed=5):
        chosen = [s for s, case in zip(slides, cases, strict=True) for _ in range(counts["abcdef".index(case)])]
        scores.append(froc_curve(chosen)["score"])
    assert result["score_ci95"] == pytest.approx(np.quantile(scores, [0.025, 0.975]))
    assert result["score_ci95"][0] < result["score"] < result["score_ci95"][1]


SIDE = 1000


def grid(columns, rows):
    return np.array([(i * SIDE, j * SIDE) for j in range(rows) for i in range(columns)])


def make_run(folder, attention, labels, **settings):
    """A finished run of two folds with these maps (25 tiles each), its features, and probabilities by label."""
    (folder / "features").mkdir(parents=True)
    for slide in attention:
        with h5py.File(folder / "features" / f"{slide}.h5", "w") as file:
            file["features"], file["coords"] = np.ones((25, 4), np.float16), grid(5, 5)
            for part in (file, file["features"], file["coords"]):
                part.attrs.update(patch_size=256, patch_size_level0=SIDE, mpp=1.0, slide_mpp=0.25)
            file.attrs.update(format="asmil", encoder="x", level0_width=5000, level0_height=5000)
    names = list(attention)
    table = pd.DataFrame({"slide": names, "case": [n[0] for n in names], "label": [labels[n] for n in names]})
    table["prob_tumor"] = np.where(table.label == "tumor", 0.8, 0.3)
    table["prob_healthy"] = 1 - table.prob_tumor
    run = folder / "run"
    for fold in (0, 1):
        cell = run / "folds" / str(fold) / "seed_0"
        cell.mkdir(parents=True)
        test = np.arange(len(table)) % 2 == fold
        table.assign(part=np.where(test, "test", "val")).to_csv(cell / "predictions.csv", index=False)
        pd.DataFrame({"epoch": [0], "jsd": [0.1]}).to_csv(cell / "log.csv", index=False)
        with h5py.File(cell / "attention.h5", "w") as file:
            for slide, own in attention.items():
                file[slide] = own.astype(np.float32)
        for name in ("dynamics.h5", "model.safetensors"):  # nothing of them is evaluated
            (cell / name).write_text("-")
    names = table[["slide", "case", "label"]]
    names.to_csv(run / "cohort.csv", index=False)
    parts = [names.assign(fold=k, part=np.where(np.arange(len(table)) % 2 == k, "test", "val")) for k in (0, 1)]
    pd.concat(parts).to_csv(run / "splits.csv", index=False)
    write_json(run / "identity.json", {"model": "asmil"})
    Run(run).write_settings(Settings(features=folder / "features", seeds=1, **settings))
    return Run.open(run)


def map_with(**peaks):
    """Uniform but for some tiles, in multiples of the rest."""
    weights = np.ones(25)
    for tile, value in peaks.items():
        weights[int(tile[1:])] = value
    return weights / weights.sum()


def test_a_run_is_judged_over_all_slides_whose_lesions_are_known(tmp_path):
    attention = {
        "a_hit": map_with(t0=50, t24=20),
        "a_missed": map_with(t12=10),
        "b_healthy": map_with(t7=40),
        "c_unknown": map_with(t3=9),
        "d_broken": map_with(t3=9),
        "e_healthy": map_with(t0=2),
    }
    labels = {name: "healthy" if "healthy" in name else "tumor" for name in attention}
    run = make_run(tmp_path, attention, labels)
    square = [[0, 0], [1900, 0], [1900, 1900], [0, 1900], [0, 0]]
    shape = {
        "type": "Feature",
        "properties": {"class": "Tumor"},
        "geometry": {"type": "Polygon", "coordinates": [square]},
    }
    folder = tmp_path / "annotations"
    for slide in ("a_hit", "a_missed"):
        write_json(folder / f"{slide}.geojson", shape)
    (folder / "d_broken.geojson").write_text("{")
    found = evaluate(
        run, features=tmp_path / "features", annotations=folder, positive=["tumor"], froc=True, bootstrap=30
    )["attention"]
    froc = found["froc"]
    assert set(found["annotations_set_aside"]) == {"c_unknown", "d_broken"}
    assert (froc["n_slides"], froc["n_lesions"], froc["n_itc"]) == (4, 2, 0)
    table = pd.read_csv(run.folder / "findings.csv")
    assert list(table.columns) == ["slide", "confidence", "x", "y"]
    best = table.groupby("slide").confidence.idxmax()
    assert table.loc[best["a_hit"], ["confidence", "x", "y"]].tolist() == [1, 500, 500]
    assert table.loc[best["a_missed"], ["x", "y"]].tolist() == [2500, 2500]
    assert set(table.slide) == {"a_hit", "a_missed", "b_healthy", "e_healthy"}

    def inside(row):
        return row.slide.startswith("a_") and max(row.x, row.y) <= 1900 + 150  # grown by 37.5 um

    hits = {s: [r.confidence for r in rows.itertuples() if inside(r)] for s, rows in table.groupby("slide")}
    false = [row.confidence for row in table.itertuples() if not inside(row)]
    expected = []
    for rate in (0.25, 0.5, 1, 2, 4, 8):
        points = [(0.0, 0.0)]
        for threshold in sorted(set(table.confidence), reverse=True):
            caught = sum(max(hits[s], default=-1) >= threshold for s in ("a_hit", "a_missed"))
            points.append((sum(score >= threshold for score in false) / 4, caught / 2))
        expected.append(np.interp(rate, *zip(*points, strict=True)))
    assert list(froc["sensitivity"].values()) == pytest.approx(expected)
    assert 0 < froc["sensitivity"]["0.25"] <= 0.5, "the lesion that was looked at comes before any false finding"


def test_without_a_scale_the_lesions_of_a_slide_cannot_be_measured(tmp_path):
    run = make_run(tmp_path, {"a": map_with(t0=5), "b": map_with(t0=5)}, {"a": "tumor", "b": "healthy"})
    for path in (tmp_path / "features").iterdir():
        with h5py.File(path, "r+") as file:
            for part in (file, file["features"], file["coords"]):
                del part.attrs["slide_mpp"]
    square = [[0, 0], [900, 0], [900, 900], [0, 900], [0, 0]]
    shape = {
        "type": "Feature",
        "properties": {"class": "Tumor"},
        "geometry": {"type": "Polygon", "coordinates": [square]},
    }
    write_json(tmp_path / "annotations" / "a.geojson", shape)
    options = {"annotations": tmp_path / "annotations", "positive": ["tumor"], "froc": True, "bootstrap": 5}
    found = evaluate(run, features=tmp_path / "features", slide_mpp=0.25, **options)["attention"]
    assert found["froc"]["n_itc"] == 0
    assert found["froc"]["n_lesions"] == 1


def test_the_command_prints_it_and_says_what_was_set_aside(tmp_path):
    attention = {"a": map_with(t0=50), "b": map_with(t3=9), "c": map_with(t5=9), "d": map_with(t5=2)}
    run = make_run(tmp_path, attention, {"a": "tumor", "b": "healthy", "c": "tumor", "d": "healthy"})
    folder = tmp_path / "annotations"
    mask = np.zeros((250, 250), np.uint8)  # 20 level-0 px each
    mask[:50, :50] = 255
    folder.mkdir()
    Image.fromarray(mask).save(folder / "a_mask.png")
    Image.fromarray(mask[:, :99]).save(folder / "c_mask.png")
    flags = ["--positive", "tumor", "--mask-class", "255=tumor", "--froc", "camelyon16", "--bootstrap", "10"]
    done = CliRunner().invoke(app, ["evaluate", str(run.folder), "--annotations", str(folder), *flags])
    assert done.exit_code == 1, done.output
    assert "annotation of c  skipped" in done.output
    assert "has another shape than its slide" in " ".join(done.output.split())
    froc = run.metrics["attention"]["froc"]
    assert (froc["score"], froc["n_slides"], froc["n_lesions"]) == (1, 3, 1)
    assert "at false per slide   0.25: 1" in done.output


def test_of_a_patient_the_slide_that_got_the_attention_is_found_first(tmp_path):
    half = {
        "p1": map_with(t0=50) * 0.9,
        "p2": map_with(t7=50) * 0.1,
        "q1": map_with(t1=2) * 0.5,
        "q2": map_with(t1=2) * 0.5,
    }
    run = make_run(tmp_path, half, {"p1": "tumor", "p2": "tumor", "q1": "healthy", "q2": "healthy"}, bag="patient")
    square = [[0, 0], [1900, 0], [1900, 1900], [0, 1900], [0, 0]]
    shape = {
        "type": "Feature",
        "properties": {"class": "Tumor"},
        "geometry": {"type": "Polygon", "coordinates": [square]},
    }
    write_json(tmp_path / "annotations" / "p1.geojson", shape)
    write_json(tmp_path / "annotations" / "p2.geojson", {"type": "FeatureCollection", "features": []})
    options = {"annotations": tmp_path / "annotations", "positive": ["tumor"], "froc": True, "bootstrap": 5}
    froc = evaluate(run, features=tmp_path / "features", **options)["attention"]["froc"]
    assert froc["score"] == 1
    best = pd.read_csv(run.folder / "findings.csv").groupby("slide").confidence.max()
    assert best["p2"] == pytest.approx(1 / 9, rel=1e-4)
