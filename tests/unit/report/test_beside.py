"""What lies beside the page: pictures of the slides that it points at alone, current ones, and the rest by command."""

import gzip
import json
import shutil
import urllib.parse
import zipfile

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from asmil.report import plural, write_bundle, write_heatmaps, write_report
from asmil.report.maps import size_of, slide_views
from asmil.report.slides import ROWS, rows_shown, wrong_slides
from asmil.runs import Run

SLIDE = "case-001_a"


@pytest.fixture
def fresh(run):
    """The run without any picture, and with some wrong predictions."""
    shutil.rmtree(run / "figures")
    table = pd.read_csv(run / "predictions.csv")
    table.loc[[4, 8], ["prob_benign", "prob_tumour"]] = [[0.02, 0.98], [0.1, 0.9]]
    table["predicted"] = np.where(table["prob_tumour"] > 0.5, "tumour", "benign")
    table["threshold"] = 0.5
    table.to_csv(run / "predictions.csv", index=False)
    config = yaml.safe_load((run / "config.yaml").read_text()) | {"annotations": str(run / "annotations")}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    return run


def _written(run):
    return {path.name: path.stat().st_mtime_ns for path in sorted((run / "figures").iterdir())}


def test_the_page_alone_needs_no_picture_and_leads_to_no_file(fresh, read_page):
    page = read_page(write_report(fresh, heatmaps=1))
    assert not (fresh / "figures").exists()
    assert all(link.startswith("#") for link in page.links)
    assert page.images


def test_a_bundle_has_all_that_its_page_leads_to_and_no_more(fresh, read_page, tmp_path):
    path = write_bundle(fresh, heatmaps=2)
    assert path == fresh / "report.zip"
    before = path.read_bytes()
    with zipfile.ZipFile(path) as bundle:
        names = bundle.namelist()
        bundle.extractall(tmp_path / "sent")
    root = tmp_path / "sent" / fresh.name
    page = read_page(root / "report.html")
    links = {urllib.parse.unquote(link) for link in page.links if not link.startswith("#")}
    assert links | {"report.html"} == {name.removeprefix(f"{fresh.name}/") for name in names}
    assert {"predictions.csv", "metrics.json", "failures.csv"} <= links
    run = Run(fresh)
    wrong = set(wrong_slides(run)["slide"])
    assert {"case-002_a", "case-004_a"} <= wrong
    assert {f"figures/{slide}.png" for slide in wrong} <= links
    assert 2 < sum(link.endswith(".png") for link in links) < len(run.predictions)
    with Image.open(root / "figures" / "case-002_a.png") as image:
        assert image.width > 1200
    assert write_bundle(fresh, heatmaps=2).read_bytes() == before
    assert not list(fresh.glob(".*")), "nothing half written is left"


def test_a_bundle_has_the_table_of_patients_where_there_is_one(fresh):
    (fresh / "predictions_patients.csv").write_text("case,risk\np,1\n")
    with zipfile.ZipFile(write_bundle(fresh, heatmaps=0)) as bundle:
        assert bundle.read(f"{fresh.name}/predictions_patients.csv") == b"case,risk\np,1\n"
    assert [path.name for path in Run(fresh).result_files[:2]] == ["predictions.csv", "metrics.json"]


def test_where_there_is_no_room_wrong_slides_come_first_and_the_others_are_named(fresh, read_page, monkeypatch):
    run = Run(fresh)
    wrong = list(wrong_slides(run)["slide"])
    (first,) = slide_views(run, wrong, most=1)
    monkeypatch.setattr("asmil.report.report.MOST_BYTES", int(1.5 * size_of(first)))
    page = read_page(write_report(fresh, heatmaps=4))
    shown = {image["alt"].rpartition(" ")[2] for image in page.images if image["alt"].startswith("Slide ")}
    assert shown == {wrong[0]}
    assert f"Without a picture here: {plural(len(wrong) - 1, 'slide')}" in page.words


def test_what_is_unchanged_is_not_drawn_again(fresh):
    first = write_heatmaps(fresh, [SLIDE])
    before = _written(fresh)
    assert write_heatmaps(fresh, [SLIDE]) == first, "they are told all the same"
    assert _written(fresh) == before


@pytest.mark.parametrize("changed", ["attention", "thumbnail", "weights", "features", "annotation", "cut"])
def test_what_has_changed_is_drawn_again(fresh, changed):
    annotation = fresh / "annotations" / f"{SLIDE}.geojson"
    assert annotation.is_file()
    write_heatmaps(fresh, [SLIDE])
    before, cell = _written(fresh), fresh / "folds" / "1" / "seed_0"
    if changed == "attention":
        with h5py.File(cell / "attention.h5", "a") as file:
            file[SLIDE][:] = file[SLIDE][:][::-1]
    elif changed == "cut":
        path = fresh / "figures" / f"{SLIDE}.png"
        path.write_bytes(path.read_bytes()[:-20])
        path.with_suffix(".geojson").write_text(path.with_suffix(".geojson").read_text()[:-20])
        before = _written(fresh)
    else:
        path = {
            "thumbnail": fresh / "thumbnails" / f"{SLIDE}.jpg",
            "weights": cell / "model.safetensors",
            "features": fresh / "features" / f"{SLIDE}.h5",
            "annotation": annotation,
        }[changed]
        if changed == "features":
            with h5py.File(path, "a") as file:
                file["features"][0] = 1.5
        elif changed == "thumbnail":
            Image.new("RGB", (300, 200), "white").save(path)
        elif changed == "annotation":
            path.write_text(path.read_text() + " ")
        else:
            path.write_bytes(path.read_bytes() + b"0")
    write_heatmaps(fresh, [SLIDE])
    assert all(before[name] != time for name, time in _written(fresh).items())


def test_a_copy_of_a_run_has_the_same_pictures(fresh, tmp_path):
    write_heatmaps(fresh, [SLIDE])
    copy = shutil.copytree(fresh, tmp_path / "copy", copy_function=shutil.copyfile)
    config = yaml.safe_load((copy / "config.yaml").read_text()) | {"annotations": str(copy / "annotations")}
    (copy / "config.yaml").write_text(yaml.safe_dump(config))
    before = _written(copy)
    write_heatmaps(copy, [SLIDE])
    assert _written(copy) == before


def test_every_slide_is_reachable_by_the_commands_that_the_page_names(fresh, read_page):
    from typer.testing import CliRunner

    from asmil.cli import app

    words = read_page(write_report(fresh, heatmaps=1)).words
    other = next(
        slide for slide in Run(fresh).predictions["slide"] if not (fresh / "figures" / f"{slide}.png").exists()
    )
    for command in ("asmil heatmap RUN --slide NAME", "asmil heatmap RUN those", "asmil view RUN", "--gz"):
        assert command in words
    for further, name in (([], f"{other}.geojson"), (["--gz"], f"{other}.geojson.gz")):
        done = CliRunner().invoke(app, ["heatmap", str(fresh), "--slide", other, *further])
        assert done.exit_code == 0, done.output
        assert (fresh / "figures" / name).is_file()
        assert (fresh / "figures" / f"{other}.png").is_file()
    plain = (fresh / "figures" / f"{other}.geojson").read_bytes()
    packed = (fresh / "figures" / f"{other}.geojson.gz").read_bytes()
    assert gzip.decompress(packed) == plain
    assert len(packed) < len(plain) / 5
    assert len(json.loads(plain)["features"]) == len(Run(fresh).slide(other).attention)


def test_a_page_of_ten_thousand_slides_has_some_and_names_the_table_of_all(fresh, read_page):
    table = pd.read_csv(fresh / "predictions.csv")
    more = pd.concat([table] * 834, ignore_index=True)
    more.loc[len(table) :, "slide"] = [f"s{i}" for i in range(len(more) - len(table))]
    top, wrong = more[["prob_benign", "prob_tumour"]].max(axis=1), np.arange(len(more)) % 40 == 0
    more["prob_tumour"] = np.where((more["label"] == "tumour") ^ wrong, top, 1 - top)
    more["prob_benign"] = 1 - more["prob_tumour"]
    more.to_csv(fresh / "predictions.csv", index=False)
    more[["slide", "case", "label"]].to_csv(fresh / "cohort.csv", index=False)
    metrics = json.loads((fresh / "metrics.json").read_text())
    (fresh / "metrics.json").write_text(json.dumps(metrics | {"n_slides": len(more)}))
    lost = pd.DataFrame({"name": [f"l{i}" for i in range(9000)], "result": "failed", "stage": "open", "reason": "gone"})
    lost.to_csv(fresh / "failures.csv", index=False)
    page = read_page(path := write_report(fresh, heatmaps=2))
    rows = [name for name in page.ids if name.startswith("slide-")]
    assert len(rows) == ROWS
    assert path.stat().st_size < 2_000_000
    assert "500 of 10,008 slides" in page.words
    assert "All 10,008 are in predictions.csv of the run" in page.words
    assert "The first 500; all are in failures.csv of the run" in page.words
    shown = rows_shown(Run(fresh))
    assert set(more["slide"][::40]) <= set(shown["slide"]), "every wrong one is there"
    right = more.drop(range(0, len(more), 40))
    sure, least = right[["prob_benign", "prob_tumour"]].max(axis=1), shown[shown["wrong"] == ""]
    assert least[["prob_benign", "prob_tumour"]].max(axis=1).max() == pytest.approx(sure.sort_values().iloc[248])
    assert all(link[1:] in page.ids for link in page.links if link.startswith("#"))


def test_without_a_slide_there_is_no_grey_panel_and_no_grey_tile(fresh, read_page):
    write_heatmaps(fresh, [SLIDE], kinds=(".png",))
    with Image.open(fresh / "figures" / f"{SLIDE}.png") as image:
        width = image.width
    shutil.rmtree(fresh / "thumbnails")
    write_heatmaps(fresh, [SLIDE], kinds=(".png",))
    with Image.open(fresh / "figures" / f"{SLIDE}.png") as image:
        assert image.width < 0.75 * width
    page = read_page(write_report(fresh, heatmaps=1))
    kinds = {image["alt"].partition(" of ")[0] for image in page.images}
    assert kinds == {"Attention percentile map", "Raw attention map"}
    assert "Neither the slide nor a thumbnail of it is at hand" in page.words
