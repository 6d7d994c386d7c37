"""A run whose settings or tables were edited after training: nothing is made of it, and the file is named."""

import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml


@pytest.fixture(scope="module")
def trained(asmil, crossval_of, tmp_path_factory):
    """An evaluated run, and the command that made it."""
    folder = tmp_path_factory.mktemp("edited")
    command = crossval_of(folder, site=["x", "x", "y"] * 4)
    asmil(*command, "--out", folder / "run")
    asmil("evaluate", folder / "run", "--bootstrap", 5)
    return folder / "run", command


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained[0], tmp_path / "run")


def edit_yaml(run, **values):
    settings = yaml.safe_load((run / "config.yaml").read_text()) | values
    (run / "config.yaml").write_text(yaml.safe_dump({n: v for n, v in settings.items() if v != "gone"}))


def edit_table(run, name, change):
    table = pd.read_csv(run / name, dtype=str)
    change(table).to_csv(run / name, index=False)


def swapped(column, values=("no", "yes")):
    """A change that exchanges two values in the first row that has one of them."""
    return lambda table: table.assign(**{column: [values[table[column][0] == values[0]], *table[column][1:]]})


def swap_classes(run):
    said = json.loads((run / "task.json").read_text())
    said["options"]["classes"].reverse()
    (run / "task.json").write_text(json.dumps(said))


EDITS = {
    "a setting": ("config.yaml", lambda run: edit_yaml(run, learning_rate=0.1), "learning_rate was 0.001, is 0.1"),
    "another model": ("config.yaml", lambda run: edit_yaml(run, model="mean"), "model was 'abmil', is 'mean'"),
    "seeds": ("config.yaml", lambda run: edit_yaml(run, seeds=2), "seeds was 1, is 2"),
    "a setting gone": ("config.yaml", lambda run: edit_yaml(run, epochs="gone"), "epochs is missing"),
    "a label": ("cohort.csv", lambda run: edit_table(run, "cohort.csv", swapped("label")), "other patient, label"),
    "a site": ("cohort.csv", lambda run: edit_table(run, "cohort.csv", swapped("site", "xy")), "other patient, label"),
    "a slide gone": ("cohort.csv", lambda run: edit_table(run, "cohort.csv", lambda t: t[1:]), "gone: 1 slide"),
    "a part": (
        "splits.csv",
        lambda run: edit_table(run, "splits.csv", swapped("part", ("train", "val"))),
        "other folds",
    ),
    "its label": (
        "splits.csv",
        lambda run: edit_table(run, "splits.csv", swapped("label")),
        "another patient or label",
    ),
    "classes": ("task.json", swap_classes, "['yes', 'no']"),
}
COMMANDS = {
    "evaluate": ("evaluate", "RUN"),
    "report": ("report", "RUN"),
    "view": ("view", "RUN", "--port", 0),
    "predict": ("predict", "RUN", "--features", "FEATURES", "--out", "OUT"),
    "export": ("export", "RUN", "--card"),
    "heatmap": ("heatmap", "RUN"),
    "qupath": ("qupath", "RUN"),
    "figure": ("figure", "fig1", "RUN"),
}


@pytest.fixture
def called(asmil, run, trained, tmp_path):
    """What a command says that refuses the run."""
    places = {"RUN": run, "FEATURES": trained[0].parent / "features", "OUT": tmp_path / "out"}
    return lambda name: asmil(*(places.get(word, word) for word in COMMANDS[name]), code=2)


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_file_is_named_with_what_is_different(run, called, edit):
    name, change, says = EDITS[edit]
    change(run)
    said = called("evaluate")
    assert f"{run / name} is not as the run was trained" in said
    assert says in said
    assert "the command that made the run again" in said


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_it(run, called, command):
    edit_yaml(run, model_options={"dim": 7})
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert f"{run / 'config.yaml'} is not as" in called(command)
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_settings_of_results_may_be_edited(asmil, run):
    edit_yaml(run, bootstrap=7, heatmaps=0, features=str(run.parent / "moved"), workers=3)
    asmil("evaluate", run)


@pytest.mark.parametrize("edit", EDITS)
def test_the_command_that_made_it_writes_the_file_as_it_was(asmil, run, trained, edit):
    change = EDITS[edit][1]
    cells = {path: path.stat().st_mtime_ns for path in run.glob("folds/*/*/*")}
    change(run)
    asmil(*trained[1], "--out", run)
    asmil("evaluate", run, "--bootstrap", 5)
    assert {path: path.stat().st_mtime_ns for path in run.glob("folds/*/*/*")} == cells


def test_an_empty_config_is_refused_and_not_filled_from_defaults(asmil, run):
    for text in ("", "# nothing\n", "{}\n"):
        (run / "config.yaml").write_text(text)
        assert f"{run / 'config.yaml'} holds no settings" in asmil("evaluate", run, code=2)


@pytest.mark.parametrize("command", ["evaluate", "crossval"])
def test_an_empty_identity_names_the_file_and_no_flag(asmil, run, trained, command):
    (run / "identity.json").write_text("")
    words = ("evaluate", run) if command == "evaluate" else (*trained[1], "--out", run)
    said = asmil(*words, code=2)
    assert f"{run / 'identity.json'} cannot be read" in said
    assert "--out" not in said


def test_models_without_an_identity_are_not_gone_on_with(asmil, run, trained):
    (run / "identity.json").unlink()
    assert "nothing that says what made them" in asmil(*trained[1], "--learning-rate", 0.1, "--out", run, code=2)


@pytest.mark.parametrize("command", ["evaluate", "report", "heatmap", "export", "figure"])
def test_a_run_that_is_read_only_is_refused_at_the_start_in_words(run, called, monkeypatch, command):
    monkeypatch.setattr(os, "access", lambda path, mode: not (mode & os.W_OK and Path(path).is_relative_to(run)))
    monkeypatch.setattr("asmil.runs.Run.cell_predictions", property(lambda run: pytest.fail("it was begun")))
    said = called(command)
    assert "cannot be written to" in said
    assert "no right to write in" in said


def test_predictions_of_a_run_that_is_read_only_go_elsewhere(asmil, run, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: not (mode & os.W_OK and Path(path).is_relative_to(run)))
    features = ("--features", trained[0].parent / "features")
    assert "choose another --out" in asmil("predict", run, *features, code=2)
    asmil("predict", run, *features, "--out", tmp_path / "out")


def test_the_folder_of_a_run_is_no_place_for_predictions(asmil, run, trained):
    before = (run / "predictions.csv").read_bytes()
    said = asmil("predict", run, "--features", trained[0].parent / "features", "--out", run, code=2)
    assert "--out is the run itself" in said
    assert (run / "predictions.csv").read_bytes() == before


def test_a_table_that_a_report_would_not_read_is_refused(run, asmil, trained):
    out = asmil("report", run, "--labels", "nowhere.csv", code=2)
    assert "reads columns of the table for groups alone" in out
    asmil("report", run, "--labels", "nowhere.csv", "--subgroup", "site", code=2)  # a column that the run has itself
    asmil("report", run, "--labels", trained[0].parent / "labels.csv", "--subgroup", "slide_id")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--annotations", "FOLDER"], "name the class that is looked for, --positive CLASS"),
        (["--positive", "tumour", "--froc", "camelyon16"], "--positive and --froc without effect"),
    ],
)
def test_what_has_no_effect_on_an_evaluation_is_said(given, said, run, asmil, tmp_path):
    (tmp_path / "outlines").mkdir()
    given = [tmp_path / "outlines" if text == "FOLDER" else text for text in given]
    assert said in asmil("evaluate", run, "--bootstrap", 5, *given)
    assert "annotations" not in asmil("evaluate", run, "--bootstrap", 5)


def test_export_without_a_place_writes_into_the_run(run, asmil):
    assert str(run / "model.onnx") in asmil("export", run)
    assert (run / "model.onnx").is_file()
    assert "ends in .onnx" in asmil("export", run, "--out", run / "model.pt", code=2)


def test_a_run_is_not_compared_with_itself(run, asmil):
    assert "a run is not compared with itself" in asmil("report", run, "--against", run / ".", code=2)


def test_a_column_that_no_table_has_is_asked_for_by_its_own_flag(run, asmil):
    out = asmil("report", run, "--subgroup", "grade_of_somebody", code=2)
    assert "name one of them with --subgroup" in out
    assert "--site-column" not in out


def test_slides_that_are_not_drawn_for_want_of_features_are_named(trained, asmil, tmp_path):
    """All that can be drawn is; of one that is asked for by name it is an error that does not ask for that name."""
    run, features = shutil.copytree(trained[0], tmp_path / "run"), tmp_path / "features"
    shutil.copytree(trained[0].parent / "features", features)
    edit_yaml(run, features=str(features))
    lost = sorted(features.glob("*.h5"))[0]
    lost.unlink()
    out = asmil("heatmap", run, code=1)
    assert f"{lost.stem}  skipped  heatmaps  nothing is drawn: no attention, or its features are gone" in out
    assert "11 ok, 1 skipped, 0 failed" in out
    assert len(list((run / "figures").glob("*.png"))) == 11
    out = asmil("heatmap", run, "--slide", lost.stem, code=2)
    assert "did you mean" not in out
    assert "whose features are at hand" in out
