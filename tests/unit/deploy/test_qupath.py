"""A run for QuPath: tiles of every slide with their measurements, and a script that finds them and what was drawn."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from asmil.deploy import write_qupath
from asmil.deploy.qupath import groovy_text
from asmil.runs import PredictedFolder, Run, figure_file, outlines_file


def test_the_script_finds_what_is_written_of_a_run(asmil, run):
    done = asmil("qupath", run)
    script = (run / "qupath.groovy").read_text()
    assert groovy_text(str(run.resolve())) in script
    assert "FOLDER_OF_THE_RUN" not in script
    slides = Run.open(run).predictions["slide"]
    assert done.stdout.startswith(f"{len(slides)} slides.")
    kinds = re.findall(r"'(figures|tissue|outlines)'", script)
    assert set(kinds) == {figure_file(run, "s").parent.name, "tissue", outlines_file(run, "s").parent.name}
    for slide in slides:
        measured = [
            one["properties"]["measurements"]
            for one in json.loads(figure_file(run, slide, ".geojson").read_text())["features"]
        ]
        assert len(measured) >= 5
        assert all({"attention", "evidence_benign", "evidence_tumour"} <= set(tile) for tile in measured)
        total = [sum(tile[f"evidence_{name}"] for name in ("benign", "tumour")) for tile in measured]
        assert max(map(abs, total)) < 1e-3  # logits less their mean over the classes


def test_a_moved_run_gets_a_new_script(asmil, run, tmp_path):
    asmil("qupath", run)
    moved = shutil.move(run, tmp_path / "a 'new' $place")
    write_qupath(moved)
    assert r"""a 'new' \$place""" in (tmp_path / "a 'new' $place" / "qupath.groovy").read_text()


def test_predictions_need_their_tiles(asmil, run, trained, tmp_path):
    out = tmp_path / "out"
    call = ("predict", run, "--features", trained / "features", "--out", out)
    asmil(*call)
    assert "--heatmaps" in asmil("qupath", out, code=2).output
    asmil(*call, "--heatmaps")
    done, rows = asmil("qupath", out), PredictedFolder(out).slides
    assert done.stdout.startswith(f"{len(rows)} slides.")
    assert "no tiles for QuPath" not in done.stderr
    figure_file(out, rows[1], ".geojson").unlink()
    done = asmil("qupath", out)
    assert done.stdout.startswith(f"{len(rows) - 1} slides.")
    assert f"slides of which there are no tiles for QuPath: {rows[1]}" in done.stderr


def test_a_folder_without_a_run_is_refused(asmil, tmp_path):
    assert "is not a run" in asmil("qupath", tmp_path, code=2).output
    assert not (tmp_path / "qupath.groovy").exists()


@pytest.mark.skipif(not (shutil.which("groovy") and shutil.which("java")), reason="needs groovy, as QuPath has it")
def test_an_image_gets_the_tiles_of_its_slide_and_of_no_other(tmp_path):
    """An image P1.2.tif that was not predicted has the name of slide P1 at its beginning."""
    out, names = tmp_path / "predicted", ["P1", "P1.ome", "x:y", "a$b", "S 1.TIF"]
    (out / "figures").mkdir(parents=True)
    for name in names:
        figure_file(out, name, ".geojson").write_text("{}")
    PredictedFolder(out).write([{"slide": name, "prob_a": 1.0, "prediction": "a"} for name in names], ())
    write_qupath(out)
    top = (out / "qupath.groovy").read_text().partition("// tiles of asmil are never edited")[0]
    assert top.count("getProjectEntry()?.getImageName()") == 1
    top = re.sub("import static .*", "def found(asked) {", top).replace("getProjectEntry()?.getImageName()", "asked")
    (tmp_path / "top.groovy").write_text(top + "file('figures').name }\nargs.each { println(found(it) ?: '-') }\n")
    images = {
        "P1.svs": "P1.geojson", "P1": "P1.geojson", "P1.ome.tif": "P1.ome.geojson", "P1.2.tif": "-", "P1.scn - 2": "-",
        "x:y.NDPI": "x%3Ay.geojson", "a$b.zarr": "a$b.geojson", "S 1.TIF": "S 1.TIF.geojson",
    }  # fmt: skip
    home = Path(shutil.which("java")).resolve().parents[1]
    call = ["groovy", tmp_path / "top.groovy", *images]
    done = subprocess.run(call, capture_output=True, text=True, env=os.environ | {"JAVA_HOME": str(home)}, check=True)
    lines = done.stdout.splitlines()
    assert [line for line in lines if "asmil:" not in line] == list(images.values())
    assert sum("nothing of P1" in line for line in lines) == 2
