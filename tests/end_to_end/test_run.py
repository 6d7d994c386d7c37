"""`asmil run` on a small cohort: what it writes, what it says, and what it refuses."""

import csv
import json
import math
from html.parser import HTMLParser

import h5py
import pytest
import yaml

from asmil.cli.demo import closing_lines
from asmil.report import wrong_slides
from asmil.runs import Run

from .conftest import feature_files, flags, store_of


def test_metrics_have_the_published_schema(unbroken):
    metrics = json.loads((unbroken / "metrics.json").read_text())
    assert {"task", "protocol", "folds", "seeds", "test", "attention", "seconds"} <= metrics.keys()
    assert (metrics["task"], metrics["folds"], metrics["seeds"]) == ("classification", [0, 1], [0])
    assert {"auroc", "balanced_accuracy", "brier"} <= metrics["test"].keys()
    for score in metrics["test"].values():
        low, high = score["ci95"]
        assert low <= score["value"] <= high
    assert 0 <= metrics["attention"]["entropy"] <= 1
    assert 0 <= metrics["attention"]["jsd_last10"] <= math.log(2)
    assert 0 <= metrics["attention"]["tile_auroc"] <= 1
    assert 0 <= metrics["attention"]["tile_ap"] <= 1
    assert {"extract", "train"} <= metrics["seconds"].keys()
    assert all(seconds >= 0 for seconds in metrics["seconds"].values())


def test_every_slide_is_predicted_once_or_named_as_failed(unbroken, cohort):
    with (cohort / "labels.csv").open() as file:
        labelled = {row["slide_id"] for row in csv.DictReader(file)}
    with (unbroken / "predictions.csv").open() as file:
        predicted = [row["slide"] for row in csv.DictReader(file)]
    with (unbroken / "failures.csv").open() as file:
        failures = {row["name"]: row for row in csv.DictReader(file)}
    assert len(predicted) == len(set(predicted)) == 10
    assert set(predicted) | failures.keys() == labelled
    assert failures["awkward_blank"]["result"] == "skipped"
    assert "tissue" in failures["awkward_blank"]["reason"]
    assert failures["awkward_truncated"]["result"] == "failed"
    assert failures["awkward_no_mpp"]["result"] == "failed"
    assert "mpp" in failures["awkward_no_mpp"]["reason"]


class _Loads(HTMLParser):
    """Everything a browser would fetch for a page."""

    def __init__(self):
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("src", "srcset", "data", "poster", "xlink:href") or (name == "href" and tag in ("link", "use")):
                self.found.append(value or "")


def test_the_report_needs_nothing_from_elsewhere(unbroken):
    page = (unbroken / "report.html").read_text(encoding="utf-8")
    reader = _Loads()
    reader.feed(page)
    outside = [link[:80] for link in reader.found if not link.startswith(("data:", "#"))]
    assert outside == []
    assert "url(http" not in page
    assert "@import" not in page
    assert "awkward_truncated" in page


def test_the_whole_folder_is_there_and_nothing_half_written(unbroken):
    for name in ("config.yaml", "environment.json", "cohort.csv", "splits.csv", "report.html"):
        assert (unbroken / name).stat().st_size > 0
    cell = unbroken / "folds" / "1" / "seed_0"
    names = {"model.safetensors", "anchor.safetensors", "log.csv", "predictions.csv", "attention.h5", "dynamics.h5"}
    assert names <= {file.name for file in cell.iterdir()}
    assert [path for path in unbroken.rglob("*") if "partial" in path.name or path.name == "checkpoint.pt"] == []
    assert len(feature_files(unbroken)) == 10


@pytest.fixture(scope="module")
def from_yaml(inside, quick, unbroken, tmp_path_factory):
    """The same settings in a YAML file, into another folder."""
    folder = tmp_path_factory.mktemp("yaml")
    settings = {name: str(value) if "/" in str(value) else value for name, value in quick.items()}
    (folder / "run.yaml").write_text(yaml.safe_dump(settings))
    inside("run", folder / "run.yaml", "--out", folder / "run", code=1)
    return folder / "run"


@pytest.mark.parametrize("name", ["splits.csv", "predictions.csv", "failures.csv", "folds/0/seed_0/model.safetensors"])
def test_yaml_and_flags_are_the_same_run(unbroken, from_yaml, name):
    assert (from_yaml / name).read_bytes() == (unbroken / name).read_bytes()


def test_changed_settings_are_refused_by_name(inside, quick, run_copy):
    before = {path: path.stat().st_mtime_ns for path in run_copy.rglob("*")}
    done = inside("run", *flags(quick | {"tile_px": 96}), "--out", run_copy, code=2)
    assert "tile_px was 64, is 96" in done.stderr
    assert {path: path.stat().st_mtime_ns for path in run_copy.rglob("*")} == before


def test_a_run_again_keeps_features_and_models(inside, quick, run_copy, unbroken):
    kept = [*feature_files(run_copy), *run_copy.glob("folds/*/*/*")]
    before = {path: path.stat().st_mtime_ns for path in kept}
    inside("run", *flags(quick), "--out", run_copy, code=1)
    assert {path: path.stat().st_mtime_ns for path in kept} == before
    assert (run_copy / "predictions.csv").read_bytes() == (unbroken / "predictions.csv").read_bytes()


def test_edited_tissue_changes_the_features_of_that_slide_only(inside, quick, run_copy):
    name = feature_files(run_copy)[0].stem
    outline = run_copy / "tissue" / f"{name}.geojson"
    square = [[[64, 64], [512, 64], [512, 512], [64, 512], [64, 64]]]
    content = json.loads(outline.read_text())
    content["features"] = content["features"][:1]
    content["features"][0]["geometry"] = {"type": "Polygon", "coordinates": square}
    outline.write_text(json.dumps(content))
    before = {path.name: path.stat().st_mtime_ns for path in feature_files(run_copy)}
    options = {name: quick[name] for name in ("slides", "tile_px")}
    inside("embed", *flags(options), "--out", run_copy, code=1)
    after = {path.name: path.stat().st_mtime_ns for path in feature_files(run_copy)}
    assert {file for file in before if before[file] != after[file]} == {f"{name}.h5"}
    with h5py.File(store_of(run_copy) / f"{name}.h5") as file:
        corners = file["coords"][:]
    assert len(corners) >= 36
    assert corners.min() >= 32
    assert corners.max() <= 480


def test_the_demo_ends_with_its_numbers_and_the_wrong_slide_that_the_page_shows_first(unbroken):
    run = Run.open(unbroken)
    wrong = wrong_slides(run)
    lines = "\n".join(closing_lines(run))
    assert f"AUROC:     {run.metrics['test']['auroc']['value']:.3f}" in lines
    assert f"tile AP {run.metrics['attention']['tile_ap']:.2f}" in lines
    assert f"wrong:     {len(wrong)} of {len(run.predictions)} slides, at thresholds from few" in lines
    assert f"{len(wrong)} of {len(run.predictions)} slides decided wrongly" in run.report_file.read_text(
        encoding="utf-8"
    )
    assert lines.endswith(f"asmil view {unbroken}   and choose {wrong.slide.iloc[0]} from the list")
