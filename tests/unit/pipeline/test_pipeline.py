"""The whole line from Python: equal to the command's, nothing written by a start that fails, nothing lost."""

import json
from pathlib import Path

import h5py
import pandas as pd
import pytest
from typer.testing import CliRunner

import asmil
from asmil.cli import app
from asmil.errors import AsmilError, ConfigError, RunError
from asmil.progress import SetAside
from asmil.runs import Run, evaluate, extract, run, train, write_report
from asmil.settings import Settings
from asmil.slides.synthetic import make_slides

from .small import Deaf, blank_figures, draw, write_bag


@pytest.fixture(autouse=True)
def _blank():
    with blank_figures():
        yield


@pytest.fixture
def small(tmp_path, monkeypatch) -> dict:
    """Settings of a run that is not made yet; the current folder holds what it needs."""
    monkeypatch.chdir(tmp_path)
    return draw(tmp_path)


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> tuple[Path, dict]:
    """A folder in which a run was made, and its settings; nobody writes into it."""
    folder = tmp_path_factory.mktemp("made")
    with blank_figures() as patched:
        patched.chdir(folder)
        settings = draw(folder)
        run(**settings, listener=Deaf())
    return folder, settings


TIMES = {"seconds.json", "environment.json"}


def _flags(settings: dict) -> list[str]:
    pairs = {f"--{name.replace('_', '-')}": value for name, value in settings.items()}
    options = [("--model-option", f"{name}={value}") for name, value in pairs.pop("--model-options", {}).items()]
    return [str(text) for pair in [*pairs.items(), *options] for text in pair]


def _content(folder: Path) -> dict[str, object]:
    """What is in a run folder by file name, without the times."""
    found: dict[str, object] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in TIMES):
        name = str(path.relative_to(folder))
        if path.suffix == ".h5":  # HDF5 keeps times of its own
            found[name] = _arrays(path)
        elif path.name == "log.csv":
            found[name] = pd.read_csv(path).drop(columns="seconds", errors="ignore").to_csv()
        elif path.name == "metrics.json":
            found[name] = json.loads(path.read_text()) | {"seconds": None}
        elif path.suffix != ".html":
            found[name] = path.read_bytes()
    return found


def _arrays(path: Path) -> dict[str, bytes | list]:
    found: dict[str, bytes | list] = {}

    def read(name, part):
        if hasattr(part, "dtype"):
            found[name] = part[()].tolist() if part.dtype == object else part[()].tobytes()

    with h5py.File(path) as file:
        file.visititems(read)
    return found


def test_a_run_of_python_is_the_one_of_the_command_line(again):
    ours = _content(Path("run"))
    Path("run").rename("of_python")
    done = CliRunner().invoke(app, ["run", *_flags(again)])
    assert done.exit_code == 0, done.output
    theirs = _content(Path("run"))
    assert ours.keys() == theirs.keys()
    assert not [name for name in ours if ours[name] != theirs[name]]
    assert len(ours) > 15


def test_stage_by_stage_is_the_run(again):
    whole = _content(Path("run"))
    Path("run").rename("in_one_go")
    made = train(**again, listener=Deaf())
    metrics = made.evaluate()
    assert metrics["test"].keys() == made.metrics["test"].keys()
    assert made.report() == made.folder / "report.html"
    assert _content(made.folder) == whole


def test_the_front_door_has_the_stages(again):
    made = asmil.run(asmil.Settings(**again), listener=Deaf())
    assert isinstance(made, asmil.Run)
    assert made.outcome is not None
    assert made.outcome.counts["ok"] == 10, "slides of given features count as done"
    assert asmil.evaluate(made.folder)["test"] == made.metrics["test"]
    assert asmil.write_report(made) == made.folder / "report.html"


WRONG = [
    ({"model": "amil"}, "did you mean"),
    ({"model_options": {"dims": 8}}, "did you mean 'dim'"),
    ({"model_options": {"dim": -8}}, "positive widths"),
    ({"model_options": {"dim": "wide"}}, "dim of the model .abmil. must be a whole number"),
    ({"label": "grade"}, "grade"),
    ({"labels": "label.csv"}, "label.csv"),
    ({"labels": None}, "no table of labels"),
    ({"splits": "splits"}, "splits"),
    ({"folds": 7}, "too few patients"),
    ({"features": "feature"}, "no features at this path"),
    ({"task": "survivals"}, "did you mean 'survival'"),
    ({"target": "age"}, "classification has no options"),
    ({"select": "val_metric"}, "val_auroc"),
    ({"device": "cuda:77"}, "no device cuda:77"),
    ({"annotations": "drawn"}, "no annotations"),
    ({"mask_class": "tumour"}, "mask"),
    ({"features": None, "slides": "slides", "encoder": "uni3"}, "did you mean"),
    ({"features": None, "slides": "slides", "also_encoder": "uni3"}, "did you mean"),
    ({"features": None, "slides": "slides", "tissue_method": "otsus"}, "did you mean 'otsu'"),
    ({"features": None, "slides": "slides", "reader": "tif"}, "did you mean"),
    ({"features": None, "slides": "slides", "exclude_tiles": "blurred"}, "did you mean 'blur'"),
    ({"features": None, "slides": "slides", "stain_target": "he.png"}, "he.png"),
    ({"features": None, "slides": "slides", "weights": "w.pth"}, "w.pth"),
    ({"features": None, "slides": "slides", "slide_settings": "own.csv"}, "own.csv"),
    ({"features": None, "slides": "slides", "model": "amil"}, "did you mean"),
    ({"features": None, "slides": "labels.csv"}, "slide"),
    ({"features": None}, "no slides"),
    ({"features": None, "slides": "slides", "shard": "1/2"}, "all slides"),
]


@pytest.mark.parametrize(("wrong", "said"), WRONG, ids=lambda value: "-".join(value) if isinstance(value, dict) else "")
def test_a_start_that_fails_leaves_out_as_it_was(small, wrong, said):
    Path("slides").mkdir()
    for number in range(10):
        Path(f"slides/s{number}.tif").write_bytes(bytes([number]))
    with pytest.raises(AsmilError, match=said):
        run(**small | wrong)
    assert not Path("run").exists()
    Path("run").mkdir()
    Path("run/mine.txt").write_text("kept")
    with pytest.raises(AsmilError, match=said):
        run(**small | wrong)
    assert [path.name for path in Path("run").iterdir()] == ["mine.txt"]


def test_out_that_cannot_be_a_folder_is_refused_first(small):
    for out, said in (("labels.csv", "is a file"), ("labels.csv/run", "lies below a file")):
        for stage in (run, train, extract):
            with pytest.raises(ConfigError, match=said):
                stage(**small | {"out": out, "model": "amil"})


def _trained(folder: Path = Path("run")) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.glob("folds/*/*/*")}


def test_features_that_changed_after_training_are_named_and_refused(again):
    before = _trained()
    write_bag(Path("features/s3.h5"), seed=99)
    write_bag(Path("features/s5.h5"), seed=98)
    for stage in (run, train):
        with pytest.raises(RunError, match="the features of 2 slides changed after training: s3, s5") as caught:
            stage(**again, listener=Deaf())
        assert "--out" in caught.value.fix
    assert _trained() == before


def test_features_of_another_size_are_seen_when_a_run_is_looked_at(again):
    write_bag(Path("features/s3.h5"), seed=3, tiles=21)
    for look in (evaluate, write_report):
        with pytest.raises(RunError, match="the features of 1 slide changed after training: s3"):
            look("run")


def test_a_run_is_looked_at_without_its_features(again):
    for path in Path("features").iterdir():
        path.unlink()
    assert evaluate("run", bootstrap=5)["test"]


def test_features_may_lie_elsewhere_and_be_written_anew(again):
    before = _trained()
    Path("features").rename("moved")
    write_bag(Path("moved/s3.h5"), seed=3, shift=1)
    train(**again | {"features": "moved"}, listener=Deaf())
    assert _trained() == before


def test_other_labels_and_other_slides_are_named(again):
    table = Path("labels.csv").read_text()
    Path("labels.csv").write_text(table.replace("s0,P0,a", "s0,P0,b"))
    with pytest.raises(RunError, match=r"label, site or targets: 1 slide: s0 \(s0 was P0, a; is P0, b\)"):
        train(**again)
    Path("labels.csv").write_text(table)
    write_bag(Path("features/s20.h5"), seed=9)
    Path("labels.csv").write_text(table + "s20,P20,a\n")
    with pytest.raises(RunError, match="new: 1 slide: s20"):
        train(**again)


def test_before_anything_is_trained_settings_may_change(small):
    class Stopped(Exception):
        pass

    class Stops(Deaf):
        def stage(self, what, **options):
            if what == "train":
                raise Stopped
            return super().stage(what, **options)

    with pytest.raises(Stopped):
        train(**small, listener=Stops())
    assert Path("run/identity.json").exists()
    made = train(**small | {"epochs": 1}, listener=Deaf())
    assert made.identity["epochs"] == 1


def test_a_run_of_an_older_asmil_goes_on_and_says_what_is_not_known(again):
    path = Path("run/identity.json")
    settings = {name: value for name, value in json.loads(path.read_text()).items() if name not in ("data", "code")}
    young = ("anchor_init", "reduction", "max_gradient_ratio", "bag", "task", "target", "levels", "task_options")
    old = {name: value for name, value in settings.items() if name not in young}
    path.write_text(json.dumps(old | {"features": "elsewhere", "labels": "labels.csv", "tile_px": 64, "reader": None}))
    config = Path("run/config.yaml")
    config.write_text(config.read_text() + "together: auto\n")
    before, deaf = _trained(), Deaf()
    with pytest.raises(RunError, match="reduction was 'sum', is 'mean'"):
        train(**again | {"reduction": "mean"})
    train(**again, listener=deaf)
    assert _trained() == before
    assert [note for note in deaf.notes if "older asmil" in note]


@pytest.fixture(scope="module")
def slides(tmp_path_factory) -> Path:
    """Eight drawn slides of as many patients, and one file that is none."""
    folder = make_slides(
        tmp_path_factory.mktemp("drawn"), patients=8, slides_per_patient=(1, 1), size_px=(620, 600), awkward=False
    )
    (folder / "slides" / "torn.tif").write_bytes(b"II*\0")
    with (folder / "labels.csv").open("a") as file:
        file.write("torn,P99,normal,A\n")
    return folder


def test_from_slides_what_is_set_aside_is_warned_of_and_features_are_never_lost(slides, small):
    own = small | {"features": None, "slides": slides / "slides", "labels": slides / "labels.csv"}
    own |= {"tile_px": 32, "min_tissue": 0.05, "mpp": 1.0}
    extraction = ("slides", "out", "tile_px", "min_tissue", "mpp", "device")
    extracted = extract(**{name: own[name] for name in extraction}, listener=Deaf())
    written = {path: path.stat().st_mtime_ns for path in extracted.features.glob("*.h5")}
    with pytest.warns(SetAside, match=r"1 set aside: torn \(extract"):
        made = run(**own)
    assert {path: path.stat().st_mtime_ns for path in made.features.glob("*.h5")} == written
    assert [row.name for row in made.outcome.set_aside] == ["torn"]
    assert "torn,failed,extract" in (made.folder / "failures.csv").read_text()
    before = _trained()
    with pytest.raises(RunError, match="epochs was 2, is 3") as caught:
        run(**own | {"epochs": 3})
    assert f"--features {made.features} --out NEW" in caught.value.fix
    with pytest.raises(RunError, match="tile_px was 32, is 48") as caught:
        run(**own | {"tile_px": 48})
    assert caught.value.fix.startswith("choose another --out")
    assert _trained() == before
    other = train(**own | {"features": made.features, "slides": None, "epochs": 3, "out": "other"}, listener=Deaf())
    assert other.outcome.whole, "a slide without features is told as what the tables say"


def test_slides_of_which_none_can_be_used_are_an_error(small, tmp_path):
    Path("slides").mkdir()
    for number in range(10):
        Path(f"slides/s{number}.tif").write_bytes(bytes([number]))
    settings = small | {"features": None, "slides": "slides"}
    with pytest.raises(RunError, match="no slide could be used") as caught:
        run(**settings, listener=Deaf())
    assert "10 failed" in caught.value.found
    with pytest.raises(RunError, match="no slide could be used"):
        extract(slides="slides", out="features_only", listener=Deaf())


def test_a_file_without_a_label_is_a_remark_and_a_damaged_one_of_a_labelled_slide_is_a_loss(small):
    write_bag(Path("features/stranger.h5"), seed=7)
    made = train(**small, listener=Deaf())
    assert made.outcome.whole
    assert "stranger,noted,data" in Path("run/failures.csv").read_text()
    Path("features/s7.h5").write_bytes(b"half a file")
    made = train(**small | {"out": "other", "folds": 2}, listener=Deaf())
    assert [row.name for row in made.outcome.set_aside] == ["s7"]


def test_a_partial_look_has_to_be_asked_for(again):
    for path in Path("run/folds/1/seed_0").iterdir():
        path.unlink()
    with pytest.raises(RunError, match="1 of 2 models"):
        evaluate("run")
    deaf = Deaf()
    evaluate("run", partial=True, listener=deaf)
    assert "1 of 2 models" in deaf.outcome.set_aside[0].reason
    command = ["evaluate", "run", "--bootstrap", "10"]
    assert CliRunner().invoke(app, command).exit_code == 2
    assert CliRunner().invoke(app, [*command, "--partial"]).exit_code == 1


def test_a_run_is_put_to_use_from_python(again):
    made = Run.open("run")
    Path("new").mkdir()
    write_bag(Path("new/n1.h5"), seed=31, shift=1)
    write_bag(Path("new/s0.h5"), seed=0)
    found = made.predict(features="new", heatmaps=True, listener=Deaf())
    assert found.folder == Path("run/predictions")
    assert found.table.slide.tolist() == ["n1", "s0"]
    assert found.table.prob_a.add(found.table.prob_b).tolist() == pytest.approx([1, 1])
    assert [slides for text, slides in found.warnings.items() if "by the one member that never saw it" in text] == [
        ["s0"]
    ]
    assert repr(found) == "Predictions(2 slides in run/predictions; 2 ok, 0 skipped, 0 failed)"
    assert Path("run/predictions/figures/n1.png").exists()
    assert [path.name for path in made.heatmap("s0")] == ["s0.png", "s0.geojson"]
    card = made.export(card=True, listener=Deaf()).card
    assert card[0] == Path("run/card.md")
    with pytest.raises(ConfigError, match="slides or features"):
        made.predict()


def test_settings_may_be_a_file_and_names_go_over_it(small):
    lines = [f"{name}: {value}" for name, value in small.items() if name != "model_options"]
    Path("run.yaml").write_text("\n".join(lines) + "\n")
    made = train("run.yaml", out="other", model_options={"dim": 4}, listener=Deaf())
    assert (made.folder, made.settings.model_options, made.settings.folds) == (Path("other"), {"dim": 4}, 2)


def test_what_would_be_passed_over_is_refused(again):
    made = Run.open("run")
    for stage in (made.evaluate, made.report):
        with pytest.raises(ConfigError, match="a run is used as it was trained") as error:
            stage(epochs=7, bootstrap=5)
        assert error.value.found == "epochs"
    with pytest.raises(ConfigError, match="weights are those of the encoder"):
        made.predict(features="features", weights="theirs.pt", out="new")
    with pytest.raises(ConfigError, match="a seed is given twice"):
        train(**again | {"seeds": [0, 0], "out": "other"})


def test_settings_given_by_name_are_checked_like_those_of_a_file(small):
    with pytest.raises(ConfigError, match=r"^fold: unknown key 'fold'; did you mean 'folds'\?") as caught:
        run(**small | {"fold": 3})
    assert "--" not in str(caught.value).splitlines()[0]
    with pytest.raises(ConfigError, match="'together' has ended"):
        run(Settings(**small), together="off")
