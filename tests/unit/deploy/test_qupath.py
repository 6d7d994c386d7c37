"""A run for QuPath: tiles of every slide with their measurements, and a script that finds them and what was drawn."""

import json
import re
import shutil

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
    assert asmil("qupath", out).stdout.startswith(f"{len(PredictedFolder(out).table)} slides.")


def test_a_folder_without_a_run_is_refused(asmil, tmp_path):
    assert "is not a run" in asmil("qupath", tmp_path, code=2).output
    assert not (tmp_path / "qupath.groovy").exists()
