"""One process makes a run at a time: another is refused by name, and a dead one's lock is taken over."""

from dataclasses import replace
from pathlib import Path

import pytest

from asmil.errors import RunError
from asmil.extraction.claims import Owner
from asmil.runs import Run, train
from asmil.runs import run as run_all
from asmil.settings import Settings

from .small import Deaf, blank_figures, draw


@pytest.fixture
def small(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return draw(tmp_path)


def content(folder: Path) -> dict:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if ".making" not in path.parts}


@pytest.mark.parametrize("start", [train, run_all])
def test_a_second_training_on_one_folder_is_refused(small, start):
    train(**small, listener=Deaf())
    before = content(Path("run"))
    with Run("run").held(Settings(), Deaf()):
        (lock,) = Path("run/.making").glob("*.lock")
        lock.write_text(replace(Owner.here(), host="theirs", token="theirs").text())
        with pytest.raises(RunError, match="another process is making a run in run") as error:
            start(**small | {"seeds": 2}, listener=Deaf())
        assert f"process {Owner.here().pid} on theirs" in error.value.found
        assert content(Path("run")) == before
        lock.unlink()


def test_while_it_is_trained_it_is_held_and_afterwards_it_is_not(small):
    seen = []

    class Looks(Deaf):
        def stage(self, what, **options):
            seen.extend([path.name for path in Path("run/.making").glob("*.lock")] for _ in range(what != "open"))
            return super().stage(what, **options)

    train(**small, listener=Looks())
    assert seen
    assert all(seen)
    assert not Path("run/.making").exists()


def test_the_lock_of_a_dead_process_is_taken_over_and_told(small):
    Path("run/.making").mkdir(parents=True)
    dead = replace(Owner.here(), host="there", started="1", token="dead")  # our number, another start
    Path("run/.making/making-a-run.lock").write_text(dead.text())
    deaf = Deaf()
    train(**small, listener=deaf)
    assert [note for note in deaf.notes if f"process {dead.pid} on there" in note and "has died" in note]
    assert not Path("run/.making").exists()


def test_a_start_that_is_refused_lets_go(small):
    train(**small, listener=Deaf())
    with pytest.raises(RunError, match="epochs was 2, is 3"):
        train(**small | {"epochs": 3}, listener=Deaf())
    assert not Path("run/.making").exists()
    with blank_figures():
        run_all(**small, listener=Deaf())
