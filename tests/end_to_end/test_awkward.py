"""Real slides and feature files that are awkward: each is done or named with its reason, and nothing stops."""

import csv
import shutil
import unicodedata

import h5py
import pytest

from asmil.bags import open_features
from asmil.files import composed, safe_name
from asmil.runs import Run

from .conftest import QUICK, feature_files, flags, store_of

NO_MPP = ("failed", "no mpp in the file")
REFUSED = {
    "broken": ("failed", "no reader can open"),
    "small_dicom": ("failed", "where on the slide its frames lie"),
    "smalltif": ("failed", "not of 8 bits"),
}
AS_THEY_ARE = {
    "CMU-1-Small-Region.jpeg": ("failed", "0.00499 um/px in the file"),
    "TCGA-CR-7395-01A-01-TS1": NO_MPP,
    "kidney-48-5": NO_MPP,
    "slaid_patch-8-level": NO_MPP,
    "camelyon_jpeg2000": ("failed", "coarser than the scale asked for"),
    **REFUSED,
}
WITH_MPP = {
    "kidney-48-5": ("skipped", "no tile holds enough tissue"),
    "slaid_patch-8-level": ("skipped", "smaller than one tile"),
    **REFUSED,
}
"""Slide -> (result, part of the reason); the others of the ten go through."""


@pytest.mark.parametrize(("options", "expected"), [((), AS_THEY_ARE), (("--slide-mpp", 0.5), WITH_MPP)])
def test_every_real_slide_is_done_or_named(inside, data_dir, tmp_path, options, expected):
    done = inside("embed", "--slides", data_dir / "slides", "--out", tmp_path, "--tile-px", 448, *options, code=1)
    with (tmp_path / "failures.csv").open() as file:
        found = {row["name"]: (row["result"], row["reason"]) for row in csv.DictReader(file)}
    assert {name: result for name, (result, _) in found.items()} == {n: result for n, (result, _) in expected.items()}
    for name, (_, reason) in expected.items():
        assert reason in found[name][1], name
    paths = feature_files(tmp_path)
    assert len(paths) == 10 - len(expected)
    assert f"{len(paths)} ok" in done.stderr
    for path in paths:
        with h5py.File(path) as file:
            assert len(file["features"]) > 0


FOLDERS = {
    "toolarena_tcga-crc_virchow2_10x": (10, 1280),
    "eagle_tcga-crc_ctranspath_2mpp": (7, 768),
}


@pytest.mark.parametrize("folder", FOLDERS)
def test_features_of_others_are_checked_and_trained_on(inside, data_dir, tmp_path, folder):
    features, (number, dim) = data_dir / "features" / folder, FOLDERS[folder]
    store = open_features(features)
    assert (len(store.slides), store.dim) == (number, dim)
    table = tmp_path / "labels.csv"
    rows = [f"{slide},{slide[:12]},{'ab'[i % 2]}" for i, slide in enumerate(store.slides)]
    table.write_text("\n".join(["slide_id,case_id,label", *rows]) + "\n")
    cohort = ("--features", features, "--labels", table, "--folds", 3)
    inside("check", *cohort)
    quick = ("--epochs", 1, "--seeds", 1, "--workers", 1, "--tiles-per-bag", 200, "--device", "cpu")
    inside("crossval", *cohort, *quick, "--out", tmp_path / "run")
    with (tmp_path / "run" / "splits.csv").open() as file:
        tested = [row["slide"] for row in csv.DictReader(file) if row["part"] == "test"]
    assert sorted(tested) == sorted(store.slides)
    inside("evaluate", tmp_path / "run", "--bootstrap", 10)


@pytest.fixture(scope="module")
def odd_cohort(cohort, tmp_path_factory):
    """Slides whose names collide where they are made safe, one decomposed, half of them behind a link; and labels."""
    folder = tmp_path_factory.mktemp("odd")
    (folder / "slides").mkdir()
    (folder / "elsewhere").mkdir()
    (folder / "annotations").mkdir()
    (folder / "annotations" / "of_nobody.geojson").write_text("")
    (folder / "slides" / "link").symlink_to(folder / "elsewhere")
    names = ["A:1", "A_1", "A%3A1", 'b"1?', "b_1_", unicodedata.normalize("NFD", "café"), "c|d", "c_d"]
    rows = ["slide_id,case_id,label"]
    for number, name in enumerate(names):
        source = cohort / "slides" / f"P{number + 1:02}_1.tif"
        shutil.copy(source, folder / ("elsewhere" if number % 2 else "slides") / f"{name}.tif")
        written = composed(name).replace('"', '""')
        drawn = cohort / "annotations" / f"P{number + 1:02}_1.geojson"
        shutil.copy(drawn, folder / "annotations" / f"{safe_name(name)}.tif.geojson")
        rows.append(f'"{written}",p{number},{("normal", "tumour")[number % 2]}')
    (folder / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder, [composed(name) for name in names]


def test_names_that_no_file_can_have_or_are_spelled_in_two_ways_keep_their_slides_apart(inside, odd_cohort, tmp_path):
    folder, names = odd_cohort
    out, slides = tmp_path / "run", folder / "slides"
    quick = QUICK | {"epochs": 2, "heatmaps": 8, "bootstrap": 20}
    given = ("--slides", slides, "--labels", folder / "labels.csv", "--annotations", folder / "annotations")
    done = inside("run", *given, "--positive", "tumour", "--out", out, *flags(quick))
    assert "1 file is of no slide here: of_nobody.geojson" in done.output
    run = Run.open(out)
    assert run.metrics["attention"]["tile_slides"] == 4, "the annotations of half of the slides have tumour"
    assert sorted(run.predictions["slide"]) == sorted(names)
    store = open_features(store_of(out))
    assert store.slides == sorted(names)
    assert len({store.load(name).features.numpy().tobytes() for name in names}) == len(names)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count('<article class="slide"') == len(names), "the page shows all of them"
    inside("heatmap", out)
    for kind in ("png", "geojson"):
        assert len(list((out / "figures").glob(f"*.{kind}"))) == len(names)
    assert len(list((out / "tissue").glob("*.geojson"))) == len(list((out / "thumbnails").glob("*.jpg"))) == len(names)
    inside("predict", out, "--slides", slides, "--heatmaps", "--out", tmp_path / "predicted")
    with (tmp_path / "predicted" / "predictions.csv").open(encoding="utf-8") as file:
        assert {row["slide"] for row in csv.DictReader(file)} == set(names)
    assert len(list((tmp_path / "predicted" / "figures").glob("*.png"))) == len(names)
    for layout in ("asmil", "clam", "stamp", "trident"):
        inside("convert", store_of(out), "--to", layout, "--out", tmp_path / layout)
        assert open_features(tmp_path / layout).slides == sorted(names)
