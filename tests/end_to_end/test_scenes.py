"""Files of several scenes: every scene is a slide from tissue to folds, and labels name the file."""

import csv
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import tifffile

from asmil.extraction.claims import Owner
from asmil.report.maps import cut_tiles
from asmil.runs import TilePlaces

from .conftest import feature_files, store_of

pytest.importorskip("imagecodecs")

COLOURS = {"a": (200, 120, 180), "b": (120, 70, 160)}
SCENES = ("0", "1")
EMBED = ("--tile-px", 64, "--tissue-method", "whole")


def write_file(path: Path, colour: tuple[int, int, int], *, seed: int) -> None:
    """Two scenes of 4 x 3 and 5 x 3 tiles of 64 px at .5 um/px, the second darker, and a label picture."""
    random = np.random.default_rng(seed)
    with tifffile.TiffWriter(path, ome=True) as file:
        for number, width in enumerate((256, 320)):
            pixels = random.normal(np.array(colour) - 50 * number, 10, (192, width, 3)).clip(0, 255).astype(np.uint8)
            metadata = {"axes": "YXS", "Name": f"section {number}", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
            file.write(pixels, tile=(64, 64), photometric="rgb", metadata=metadata)
        label = np.zeros((50, 60, 3), np.uint8)
        file.write(label, photometric="rgb", metadata={"axes": "YXS", "Name": "label image"})


def die_over(slide: str, out: Path) -> None:
    """Leave what a killed process does: its claim on the slide, and half a file."""
    owner = replace(Owner.here(), started="1")
    (out / ".claims" / f"{slide}.lock").write_text(owner.text())
    (store_of(out) / f".{slide}.h5.abc.partial.h5").write_bytes(b"half a file")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """Eight files of two scenes, and a table of labels that names the files."""
    folder = tmp_path_factory.mktemp("scenes")
    (folder / "slides").mkdir()
    rows = ["slide_id,label"]
    for i in range(8):
        write_file(folder / "slides" / f"s{i}.ome.tif", COLOURS["ab"[i % 2]], seed=i)
        rows.append(f"s{i}.ome.tif,{'ab'[i % 2]}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_every_scene_is_a_slide_and_a_label_of_the_file_holds_for_all(inside, files, tmp_path):
    embed = ("embed", "--slides", files / "slides", "--out", tmp_path, *EMBED)
    inside(*embed, "--shard", "1/2")
    wanted = [f"s{i}.ome.scene-{scene}" for i in range(8) for scene in SCENES]
    half = {path: path.stat().st_mtime_ns for path in feature_files(tmp_path)}
    assert [path.stem for path in half] == [name for name in wanted if int(name[1]) % 2 == 0]
    die_over("s1.ome.scene-1", tmp_path)
    done = inside(*embed)
    assert "16 ok" in done.stderr
    assert [*tmp_path.glob(".claims/*"), *tmp_path.rglob("*.partial*")] == []
    assert {path: path.stat().st_mtime_ns for path in half} == half
    for name, path in zip(wanted, feature_files(tmp_path), strict=True):
        with h5py.File(path) as file:
            assert path.stem == name == file.attrs["name"]
            assert len(file["features"]) == (12 if name.endswith("0") else 15)
    for place, suffix in (("tissue", "geojson"), ("thumbnails", "jpg")):
        assert sorted(path.stem for path in (tmp_path / place).glob(f"*.{suffix}")) == wanted
    with (tmp_path / "state.csv").open() as file:
        assert [row["slide"] for row in csv.DictReader(file)] == wanted

    data = ("--features", tmp_path / "features", "--labels", files / "labels.csv", "--folds", 2)
    quick = ("--epochs", 1, "--patience", 1, "--seeds", 1, "--workers", 1, "--device", "cpu")
    inside("crossval", *data, *quick, "--out", tmp_path / "run")
    parts, cases = defaultdict(set), {}
    with (tmp_path / "run" / "splits.csv").open() as file:
        for row in csv.DictReader(file):
            parts[row["case"], row["fold"]].add(row["part"])
            cases[row["slide"]] = row["case"]
    assert sorted(cases) == wanted
    assert all(case == name.rpartition(".scene-")[0] for name, case in cases.items())
    assert all(len(part) == 1 for part in parts.values()), "the scenes of a file are in two parts"


def test_the_first_scene_alone_where_it_is_asked_for(inside, files, tmp_path):
    done = inside("embed", "--slides", files / "slides", "--out", tmp_path, *EMBED, "--scenes", "first")
    assert [path.stem for path in feature_files(tmp_path)] == [f"s{i}.ome" for i in range(8)]
    assert "note: the file holds 2 scenes" in done.stderr
    assert "[8: s0.ome, s1.ome," in done.stderr


def test_tissue_and_check_know_scenes_too(inside, files, tmp_path):
    inside("tissue", "--slides", files / "slides", "--out", tmp_path, "--tissue-method", "whole")
    with (tmp_path / "slides.csv").open() as file:
        rows = {row["slide"]: float(row["found_tissue_mm2"]) for row in csv.DictReader(file)}
    assert len(rows) == 16
    assert rows["s0.ome.scene-1"] == pytest.approx(rows["s0.ome.scene-0"] * 320 / 256, rel=0.02)
    done = inside("check", "--slides", files / "slides", "--labels", files / "labels.csv", "--folds", 2)
    assert "16 ok, 0 skipped, 0 failed" in done.stderr  # skipped: that no patients are named


def test_the_report_cuts_tiles_from_the_right_scene(files):
    run = SimpleNamespace(slide_files={path.stem: path for path in (files / "slides").iterdir()})
    brightness = []
    for scene, width in zip(SCENES, (256, 320), strict=True):
        tiles = TilePlaces(np.array([[width - 64.0, 64.0]]), 64.0, (width, 192), 0.5)
        (picture,) = cut_tiles(run, f"s0.ome.scene-{scene}", tiles=tiles, indices=np.array([0]))
        brightness.append(picture.mean())
    assert brightness[0] - brightness[1] == pytest.approx(50, abs=5)
