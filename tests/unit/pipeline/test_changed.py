"""Features of a run's own slides that changed after training: whatever reads them refuses, by the names."""

import json
from pathlib import Path

import pytest

from asmil.bags import FeatureStore, open_features
from asmil.errors import RunError, SplitError
from asmil.report import write_paper_figure
from asmil.runs import Run, evaluate, export, heatmap, plot, predict, train, write_report
from asmil.viewer import Pyramid, RunView

from .small import PATIENTS, Deaf, blank_figures, draw, write_bag


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, dict]:
    """A folder in which a run was made, and its settings; nobody writes into it."""
    folder = tmp_path_factory.mktemp("made")
    with blank_figures() as patched:
        patched.chdir(folder)
        settings = draw(folder)
        train(**settings, listener=Deaf())
        evaluate("run", bootstrap=5, listener=Deaf())
    return folder, settings


@pytest.fixture(autouse=True)
def _blank():
    with blank_figures():
        yield


def _change(*numbers: int) -> None:
    """Other values in files of the same shapes."""
    for number in numbers:
        write_bag(Path(f"features/s{number}.h5"), seed=100 + number)


def _new_slide() -> str:
    Path("new").mkdir(exist_ok=True)
    write_bag(Path("new/n1.h5"), seed=31, shift=1)
    return "new"


def _content() -> dict[Path, bytes | dict]:
    """What is in the run but for the time that was spent on it."""
    found = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    del found[Path("run/seconds.json")]
    return found | {(path := Path("run/metrics.json")): json.loads(found[path]) | {"seconds": None}}


LOOKS = {
    "evaluate": lambda: evaluate("run", bootstrap=5),
    "report": lambda: write_report("run", heatmaps=PATIENTS),
    "bundle": lambda: write_report("run", heatmaps=PATIENTS, bundle=True),
    "heatmap": lambda: heatmap("run"),
    "export": lambda: export("run", card=True),
    "predict": lambda: predict("run", features=_new_slide()),
    "predict --run-features": lambda: predict("run", features=_new_slide(), run_features="features"),
}


@pytest.mark.parametrize("look", LOOKS)
def test_whatever_reads_features_of_other_content_refuses_and_names_them(again, look):
    _change(*range(PATIENTS))
    before = _content()
    with pytest.raises(RunError, match="the features of 10 slides changed after training: s0, s1, s2") as caught:
        LOOKS[look]()
    assert "old features back" in caught.value.fix
    assert _content() == before


@pytest.mark.parametrize("look", LOOKS)
def test_as_they_were_they_are_read(again, look):
    for name in ("s3", "s4"):  # written anew, and elsewhere in the file
        write_bag(Path(f"features/{name}.h5"), seed=int(name[1:]), shift=int(name[1:]) % 2)
    LOOKS[look]()


SINGLE = {
    "heatmap": lambda slide: heatmap("run", [slide]),
    "plot": lambda slide: plot("run", slide),
    "evidence": lambda slide: Run.open("run").evidence(slide),
    "fig4": lambda slide: write_paper_figure("fig4", [Run.open("run")], slides=[slide]),
}


@pytest.mark.parametrize("look", SINGLE)
def test_of_one_slide_its_own_features_are_compared(again, look):
    _change(3)
    SINGLE[look]("s4")
    with pytest.raises(RunError, match="the features of 1 slide changed after training: s3"):
        SINGLE[look]("s3")


def test_the_viewer_says_it_of_the_slide(again):
    _change(3)
    view = RunView("run", pyramid=Pyramid())
    assert "the features of 1 slide changed after training: s3" in " ".join(view.sheet("s3").says)
    assert not len(view.sheet("s3").level0_xy)
    with pytest.raises(RunError, match="changed after training: s3"):
        view.bag("s3")
    assert "changed" not in " ".join(view.sheet("s4").says)
    assert len(view.values("s4", "mean")) == 20


def test_a_command_compares_every_slide_once(again, monkeypatch):
    asked, content = [], FeatureStore.content
    monkeypatch.setattr(
        FeatureStore, "content", lambda store, slide, **said: asked.append(slide) or content(store, slide, **said)
    )
    made = Run.open("run")
    made.require_features(["s3", "s4"])
    assert made.slide("s3").tiles is not None
    assert made.slide("s3").evidence.shape == (20, 2)
    assert made.slide("s5").tiles is not None
    assert asked == ["s3", "s4", "s5"]


def test_a_profile_that_was_measured_is_used_without_the_features(again):
    predict("run", features=_new_slide())
    _change(*range(PATIENTS))
    assert len(predict("run", features=_new_slide()).table) == 1


def test_a_damaged_file_is_told_by_who_reads_it(again):
    Path("features/s3.h5").write_bytes(b"half a file")
    with pytest.raises(RunError, match="s3 has no heatmap"):
        heatmap("run", ["s3"])


def test_of_an_older_run_it_is_said_that_nobody_can_tell(again):
    path = Path("run/identity.json")
    said = json.loads(path.read_text())
    del said["data"]
    path.write_text(json.dumps(said))
    _change(3)
    for look in (lambda hear: evaluate("run", bootstrap=5, listener=hear), lambda hear: heatmap("run", listener=hear)):
        deaf = Deaf()
        look(deaf)
        assert len([note for note in deaf.notes if "older asmil" in note]) == 1


def test_that_features_changed_is_said_before_that_they_are_alike(again):
    for number in range(PATIENTS):
        write_bag(Path(f"features/s{number}.h5"), seed=77)
    with pytest.raises(RunError, match="the features of 10 slides changed after training"):
        train(**again, listener=Deaf())
    with pytest.raises(SplitError, match="same content"):
        train(**again | {"out": "other"}, listener=Deaf())


def test_a_run_of_before_goes_on_by_the_rule_of_its_digests(again):
    path = Path("run/identity.json")
    said, store = json.loads(path.read_text()), open_features("features")
    for slide, kept in said["data"]["features"].items():
        kept[3] = store.content(slide, like="0" * 32).digest
    path.write_text(json.dumps(said))
    for seal in Path("run").glob("folds/*/*/sealed.json"):  # which did not say then what the bags hold
        of = json.loads(seal.read_text())
        del of["of"]["features"]
        seal.write_text(json.dumps(of))
    before = {path: path.stat().st_mtime_ns for path in Path("run").glob("folds/*/*/*")}
    heatmap("run", ["s3"])
    train(**again, listener=Deaf())
    assert {path: path.stat().st_mtime_ns for path in Path("run").glob("folds/*/*/*")} == before
    assert json.loads(path.read_text())["data"] == said["data"]
    _change(3)
    with pytest.raises(RunError, match="changed after training: s3"):
        heatmap("run", ["s3"])
    with pytest.raises(RunError, match="changed after training: s3"):
        train(**again, listener=Deaf())
