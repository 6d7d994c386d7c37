"""The page of a run: complete, self-contained, honest about the split, and safe with names from elsewhere."""

import json
import re
import shutil

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from asmil.errors import AsmilError, RunError
from asmil.report import write_heatmaps, write_report
from asmil.report.maps import slide_views
from asmil.report.slides import wrong_slides
from asmil.runs import Run
from asmil.slides import open_slide

COPY = "copy the whole run folder"


def test_the_page_of_a_full_run(finished, read_page):
    path = finished / "report.html"
    page = read_page(path)
    assert path.stat().st_size < 2_000_000
    assert page.headings == [
        "How good is it?", "Can I trust it?", "What went wrong?",
        "Wrong slides", "Unsteady and lost slides", "Slides decided rightly", "All slides", "What to trust",
        "What was done", "Cohort", "Metrics", "Calibration", "Is acting on it worth it?", "Subgroups", "Attention",
        "Does attention lie on the annotation?", "Settings, environment, time",
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
    assert page.source.count("<svg") == 12
    assert len(page.ids) == len(set(page.ids)), "two elements share an id"
    wrong = wrong_slides(Run(finished))
    assert len(wrong)
    assert len(page.images) == (len(wrong) + 4) * 5, "maps and tiles of every wrong slide, and of 4 right ones"
    assert all(image["alt"] and image["src"].startswith("data:image/") for image in page.images)
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links), "it can be sent as it is"
    assert [p.name for p in finished.iterdir() if p.name.startswith(".")] == []


def test_the_page_fetches_nothing(finished):
    source = (finished / "report.html").read_text()
    assert re.findall(r"(?:src|href|action)=\"(?!data:|#)([^\"]*)", source) == []
    assert re.findall(r"@import|fetch\(|url\((?!#f)", source) == []


def test_the_same_run_gives_the_same_page(run):
    before = (run / "report.html").read_bytes()
    assert write_report(run, heatmaps=4).read_bytes() == before


def test_what_a_run_need_not_have_is_left_out(run, read_page):
    optional = ("environment.json", "thumbnails", "failures.csv", "features", "annotations", "figures", "tissue")
    for name in optional:
        shutil.rmtree(run / name) if (run / name).is_dir() else (run / name).unlink()
    page = read_page(write_report(run, heatmaps=1))
    assert "Slides decided rightly" not in page.headings
    assert page.images == []
    assert "No slide failed at any stage." in page.words


@pytest.mark.parametrize("lost", ["config.yaml", "cohort.csv", "splits.csv", "metrics.json", "predictions.csv"])
def test_what_it_cannot_do_without_is_named(run, lost):
    (run / lost).unlink()
    with pytest.raises(RunError, match=lost.replace(".", r"\.")) as error:
        write_report(run)
    assert error.value.fix == (f"asmil evaluate {run}" if lost in ("metrics.json", "predictions.csv") else COPY)


def test_names_from_elsewhere_cannot_become_markup(run, read_page):
    evil = "<script>alert('x')</script>"
    for path in (run / "predictions.csv", run / "cohort.csv"):
        table = pd.read_csv(path)
        table.loc[0, ["slide", "case"]] = evil
        table.to_csv(path, index=False)
    pd.DataFrame([{"name": evil, "stage": "tissue", "reason": '"><img src=x onerror=alert(1)>'}]).to_csv(
        run / "failures.csv", index=False
    )
    config = yaml.safe_load((run / "config.yaml").read_text()) | {"model": evil}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    identity = json.loads((run / "identity.json").read_text()) | {"model": evil}
    (run / "identity.json").write_text(json.dumps(identity))
    page = read_page(write_report(run, heatmaps=1))
    assert evil not in page.source
    assert "<img src=x" not in page.source
    assert evil in page.words


def test_a_slide_called_NA_stays_a_slide(run):
    for path in (run / "predictions.csv", run / "cohort.csv"):
        table = pd.read_csv(path)
        table.loc[0, "slide"] = "NA"
        table.to_csv(path, index=False)
    assert Run(run).predictions["slide"][0] == "NA"
    assert np.isnan(Run(run).predictions["tile_auroc"][0]), "blank: it is not annotated"


def test_three_classes_draw_one_curve_each(tmp_path, read_page, make_run):
    run = make_run(tmp_path / "run", slides=18, epochs=4, classes=("0", "1", "2"))
    page = read_page(write_report(run, heatmaps=0))
    assert page.source.count("<svg") == 14, "a decision curve for each class"
    assert "0 / 1 / 2" in page.words
    assert "Found of 0" in page.text
    assert "Each class against the rest" in page.text
    assert re.search(r"\d+ of 18 slides decided wrongly: \d+ \d taken for \d", page.words)
    assert "Positive is" not in page.words


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
    slides_of = Run(run).predictions["slide"]
    without = {v["slide"]: v["strips"][0] for v in slide_views(Run(run), slides_of)}
    config = yaml.safe_load((run / "config.yaml").read_text()) | {"slides": str(slides)}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    having = {v["slide"]: v["strips"][0] for v in slide_views(Run(run), slides_of)}
    assert having["case-001_a"] != without["case-001_a"]
    assert having["case-002_a"] == without["case-002_a"]
    (slides / "case-001_a.svs").write_bytes(b"moved away")
    damaged = {v["slide"]: v["strips"][0] for v in slide_views(Run(run), slides_of)}
    assert damaged == without


def test_even_attention_is_said_and_evidence_that_cannot_be_had_too(run, read_page):
    """The weights of this run are of no model; of one slide the attention prefers no tile."""
    for cell in run.glob("folds/*/seed_*"):
        with h5py.File(cell / "attention.h5", "a") as file:
            for slide in list(file):
                file[slide][:] = 1 / len(file[slide])
    words = read_page(write_report(Run(run), heatmaps=1)).words
    assert "attention is even here: it prefers no tile" in words
    assert "Most attention" not in words
    assert "model.safetensors" in words
