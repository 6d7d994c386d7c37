"""The page of a run: complete, self-contained, honest about the split, and safe with names from elsewhere."""

import importlib.util
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from asmil.errors import AsmilError, RunError
from asmil.report import write_heatmaps, write_report
from asmil.report.claims import protocol, verdict
from asmil.report.inputs import RunFiles
from asmil.report.maps import slide_views
from asmil.report.sections import near_one, number
from asmil.slides import open_slide

_SPEC = importlib.util.spec_from_file_location("fake_run", Path(__file__).with_name("fake_run.py"))
fake_run = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(fake_run)

VOID = {"meta", "link", "img", "br", "input", "hr"}


class Page(HTMLParser):
    """Checks that tags close in order, and collects what a test asks about."""

    def __init__(self, path: Path):
        super().__init__()
        self.open, self.text, self.images, self.links, self.headings, self.ids = [], [], [], [], [], []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if "id" in attrs:
            self.ids.append(attrs["id"])
        if tag == "img":
            self.images.append(attrs)
        if tag == "a":
            self.links.append(attrs["href"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        if "id" in dict(attrs):
            self.ids.append(dict(attrs)["id"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A run with its page and the stored heatmap of one slide; only read."""
    folder = fake_run.write_fake_run(tmp_path_factory.mktemp("runs") / "run", slides=12, epochs=8)
    files = write_heatmaps(folder, ["case-001_a"])
    assert [f.name for f in files] == ["case-001_a.png", "case-001_a.geojson"]
    assert write_report(folder, heatmaps=4) == folder / "report.html"
    return folder


@pytest.fixture
def run(finished, tmp_path) -> Path:
    """A copy that a test may spoil."""
    return shutil.copytree(finished, tmp_path / "run")


def test_the_page_of_a_full_run(finished):
    path = finished / "report.html"
    page = Page(path)
    assert path.stat().st_size < 2_000_000
    assert page.headings == [
        "How to read this", "Cohort", "Metrics", "Attention", "Where the model looked", "All slides",
        "Settings, environment, time",
    ]  # fmt: skip
    assert "0.900" in page.words
    assert "95 % interval 0.830 – 0.950" in page.words
    assert "Test AUROC, mean of the folds" in page.words
    assert "pooled AUROC 0.880 (0.810 – 0.930)" in page.words
    assert "One seed alone reaches AUROC 0.870 ± 0.014" in page.words
    assert {"3.2e-06", "0.99981", "0.870 ± 0.014"} <= set(page.text), "small differences are rounded away"
    assert "With 6 patients the value is provisional" in page.words
    assert "no patient is in two parts of a fold" in page.words
    assert "case-999_a skipped tissue no tissue was found" in page.words, "the skipped slide is not named"
    assert page.source.count("<svg") == 10
    assert len(page.ids) == len(set(page.ids)), "two elements share an id"
    assert len(page.images) == 4 * 5
    assert all(image["alt"] and image["src"].startswith("data:image/") for image in page.images)
    assert {"figures/case-001_a.png", "figures/case-001_a.geojson"} <= set(page.links)
    assert all(not link.startswith("#") or link[1:] in page.ids for link in page.links)
    assert [p.name for p in finished.iterdir() if p.name.startswith(".")] == []


def test_the_page_fetches_nothing(finished):
    source = (finished / "report.html").read_text()
    assert re.findall(r"(?:src|href|action)=\"(?!data:|#|figures/)([^\"]*)", source) == []
    assert re.findall(r"@import|fetch\(|url\((?!#f)", source) == []


def test_the_same_run_gives_the_same_page(run):
    before = (run / "report.html").read_bytes()
    assert write_report(run, heatmaps=4).read_bytes() == before


def test_predictions_alone_are_enough(run):
    for path in run.iterdir():
        if path.name != "predictions.csv":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    page = Page(write_report(run))
    assert "Where the model looked" not in page.headings
    assert "The run recorded no attention." in page.words
    assert page.source.count("<svg") >= 4


@pytest.mark.parametrize(
    "lost",
    [("metrics.json", "environment.json", "thumbnails", "failures.csv"),
     ("config.yaml", "cohort.csv", "splits.csv", "annotations")],
)  # fmt: skip
def test_any_part_may_be_missing(run, lost):
    for name in lost:
        shutil.rmtree(run / name) if (run / name).is_dir() else (run / name).unlink()
    Page(write_report(run, heatmaps=1))


def test_without_predictions_it_says_what_to_do(tmp_path):
    with pytest.raises(RunError, match="asmil evaluate"):
        write_report(tmp_path)


def test_a_leaking_split_is_named(run):
    splits = pd.read_csv(run / "splits.csv")
    rows = (splits.case == "case-000") & (splits.fold == 1) & (splits.slide == "case-000_a")
    splits.loc[rows, "part"] = "test"
    splits.to_csv(run / "splits.csv", index=False)
    said = protocol(RunFiles(run))
    assert said["warns"] == [
        "Patients in two parts of one fold: 1. The results leak.", "Slides tested in more than one fold: 1.",
    ]  # fmt: skip
    assert "Checked in the split table" not in " ".join(said["says"])


def test_the_protocol_claims_what_the_files_show_and_no_more(run):
    says = " ".join(protocol(RunFiles(run))["says"])
    assert "6 patients were divided into 3 folds" in says
    assert "A model had 4 slides to train on, 4 slides to validate on, 4 slides to test on." in says
    assert "lowest loss on its validation slides" in says
    assert "patient of its own" not in says
    for name in ("splits.csv", "cohort.csv", "predictions.csv"):
        table = pd.read_csv(run / name)
        table.assign(case=table["slide"]).to_csv(run / name, index=False)
    (run / "config.yaml").write_text("select: last\n")
    says = " ".join(protocol(RunFiles(run))["says"])
    assert "Every slide is listed as a patient of its own." in says
    assert "the last one of each training counts" in says
    (run / "splits.csv").unlink()
    (run / "config.yaml").unlink()
    (run / "metrics.json").unlink()
    says = " ".join(protocol(RunFiles(run))["says"])
    assert "it cannot be checked that patients were kept apart" in says
    assert "do not say how the epoch of each training was chosen" in says
    assert "test slides were used" not in says


def test_numbers_keep_the_digits_that_matter():
    assert [number(x) for x in (0.5, 3.22e-6, 0.0, 12.34, 3.0, None, float("nan"))] == [
        "0.500", "3.2e-06", "0.000", "12.3", "3", "–", "–",
    ]  # fmt: skip
    assert [near_one(x) for x in (0.99981, 0.74, 1.0)] == ["0.99981", "0.740", "1"]


def test_names_from_elsewhere_cannot_become_markup(run):
    evil = "<script>alert('x')</script>"
    table = pd.read_csv(run / "predictions.csv")
    table.loc[0, ["slide", "case"]] = evil
    table.to_csv(run / "predictions.csv", index=False)
    pd.DataFrame([{"name": evil, "stage": "tissue", "reason": '"><img src=x onerror=alert(1)>'}]).to_csv(
        run / "failures.csv", index=False
    )
    config = yaml.safe_load((run / "config.yaml").read_text()) | {"model": evil}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    page = Page(write_report(run, heatmaps=1))
    assert evil not in page.source
    assert "<img src=x" not in page.source
    assert evil in page.words


def test_a_slide_called_NA_stays_a_slide(run):
    table = pd.read_csv(run / "predictions.csv")
    table.loc[0, "slide"] = "NA"
    table.to_csv(run / "predictions.csv", index=False)
    assert RunFiles(run).predictions["slide"][0] == "NA"
    assert RunFiles(run).predictions["tile_auroc"][0] == ""


def test_three_classes_draw_one_curve_each(tmp_path):
    run = fake_run.write_fake_run(tmp_path / "run", slides=18, epochs=4, classes=("0", "1", "2"))
    page = Page(write_report(run, heatmaps=0))
    assert page.source.count("<svg") == 10
    assert "0 / 1 / 2" in page.words


@pytest.mark.parametrize(
    ("value", "ci95", "says"),
    [
        (0.55, [0.45, 0.65], "Not distinguishable from chance"),
        (0.95, [0.93, 0.97], "the 95 % interval lies above 0.5."),
        (0.8, [0.6, 0.9], "but it is wide"),
        (0.3, [0.2, 0.4], "Worse than chance"),
        (0.8, None, "No interval was computed"),
    ],
)
def test_the_verdict_claims_no_more_than_the_interval(value, ci95, says):
    low, high = ci95 or (None, None)
    assert says in verdict(value, low, high, cases=100)


def test_attention_of_other_features_is_refused(run):
    with h5py.File(run / "features" / "case-001_a.h5", "a") as file:
        for name in ("coords", "features"):
            fewer = file[name][:-3]
            del file[name]
            file[name] = fewer
    with pytest.raises(RunError, match="disagree"):
        write_heatmaps(run, ["case-001_a"])


def test_heatmaps_of_all_slides_and_of_unknown_ones(run):
    for path in sorted((run / "features").glob("*.h5"))[4:]:
        path.unlink()
    assert len(write_heatmaps(run)) == 2 * 4
    with Image.open(run / "figures" / "case-001_a.png") as image:
        assert image.width > 1200
    with pytest.raises(AsmilError, match="no heatmap"):
        write_heatmaps(run, ["case-005_a"])
    with pytest.raises(AsmilError, match="no heatmap"):
        write_heatmaps(run, ["nobody"])


def test_stored_scores_are_the_mean_of_the_seeds(run):
    slide = "case-001_a"
    _, geojson = write_heatmaps(run, [slide])
    features = json.loads(geojson.read_text())["features"]
    stored = [f["properties"]["measurements"]["attention"] for f in features]
    cells = sorted((run / "folds").glob("1/seed_*/attention.h5"))
    assert len(cells) == 2
    maps = []
    for cell in cells:
        with h5py.File(cell) as file:
            maps.append(file[slide][:])
    assert stored == pytest.approx(np.mean(maps, axis=0), rel=1e-4)


def test_tiles_come_from_the_slide_where_it_is_at_hand(run, cmu_slide):
    slides = run.parent / "slides"
    slides.mkdir()
    for path in (run / "features").iterdir():
        if path.stem not in ("case-001_a", "case-002_a"):
            path.unlink()
    shutil.copy(cmu_slide, slides / "case-001_a.svs")
    with open_slide(cmu_slide) as slide:
        size, mpp = slide.size, slide.mpp
    with h5py.File(run / "features" / "case-001_a.h5", "a") as file:
        file.attrs.update(level0_width=size[0], level0_height=size[1], slide_mpp=mpp)
    without = {v["slide"]: v["top"] for v in slide_views(RunFiles(run), 12)}
    config = yaml.safe_load((run / "config.yaml").read_text()) | {"slides": str(slides)}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    having = {v["slide"]: v["top"] for v in slide_views(RunFiles(run), 12)}
    assert having["case-001_a"] != without["case-001_a"]
    assert having["case-002_a"] == without["case-002_a"]
    (slides / "case-001_a.svs").write_bytes(b"moved away")
    damaged = {v["slide"]: v["top"] for v in slide_views(RunFiles(run), 12)}
    assert damaged == without
