"""Workers on one folder: every slide once, whoever dies, and a slide that ends its process is named."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from asmil.errors import EncoderError
from asmil.extraction import EncoderChoice, Extraction, ExtractSettings, claims, extract_folder, start_time, workers
from asmil.extraction.claims import Owner
from asmil.extraction.workers import settle
from asmil.slides import SlideFile, make_slides

KILLED = """
import os, pickle, signal, sys
from asmil.extraction.workers import settle
extraction = pickle.load(open(sys.argv[1], "rb"))
for _ in settle(extraction):
    if "at_first" in sys.argv:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def slides(tmp_path_factory) -> tuple[SlideFile, ...]:
    """Five small slides and the three awkward ones."""
    folder = make_slides(
        tmp_path_factory.mktemp("work"), patients=5, slides_per_patient=(1, 1), size_px=(700, 600), seed=5
    )
    return tuple(SlideFile(path) for path in sorted((folder / "slides").glob("*.tif")))


@pytest.fixture
def extraction(slides, tmp_path):
    """A function that makes the extraction of a call that begins now."""

    def begin(**changes) -> Extraction:
        out = changes.pop("folder", tmp_path / "out")
        return replace(
            Extraction(
                slides=slides,
                folder=out,
                encoders=(EncoderChoice("colour-texture"),),
                settings=ExtractSettings(mpp=0.5, tile_px=64),
                since=start_time(out),
            ),
            **changes,
        )

    return begin


@pytest.fixture(scope="module")
def unbroken(slides, tmp_path_factory) -> dict[str, tuple]:
    """The features of every slide, made in one go."""
    out = tmp_path_factory.mktemp("unbroken")
    settings = ExtractSettings(mpp=0.5, tile_px=64)
    assert (
        len(list(settle(Extraction(slides, out, (EncoderChoice("colour-texture"),), settings, start_time(out))))) == 8
    )
    return features_in(out)


def features_in(out: Path) -> dict[str, tuple]:
    """Datasets and attributes of every feature file, by name."""
    found = {}
    for path in out.glob("features/*/[!.]*.h5"):
        with h5py.File(path) as file:
            found[path.stem] = ({name: file[name][()].tobytes() for name in file}, dict(file.attrs))
    return found


def left_over(out: Path) -> list[Path]:
    return [*out.glob(".claims/*"), *out.rglob("*.partial*")]


def results_of(settled) -> dict[str, str]:
    told = [records[0] for records in settled]
    assert len({record.slide for record in told}) == len(told), "a slide was told twice"
    return {record.slide: record.result for record in told}


EXPECTED = {f"P0{i}_1": "ok" for i in range(1, 6)} | {
    "awkward_blank": "skipped",
    "awkward_no_mpp": "failed",
    "awkward_truncated": "failed",
}


def test_every_slide_is_settled_and_only_what_failed_is_tried_again(extraction, unbroken, tmp_path):
    assert results_of(settle(extraction())) == EXPECTED
    assert features_in(tmp_path / "out") == unbroken
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("features/*/*.h5")}
    skip = tmp_path / "out" / ".state"
    records = {path.stem: path.stat().st_mtime_ns for path in skip.glob("*/*.json")}
    again = results_of(settle(extraction()))
    assert again == {name: "kept" if result == "ok" else result for name, result in EXPECTED.items()}
    assert {path: path.stat().st_mtime_ns for path in files} == files
    changed = {path.stem for path in skip.glob("*/*.json") if path.stat().st_mtime_ns != records[path.stem]}
    assert changed == EXPECTED.keys() - {"awkward_blank"}
    assert left_over(tmp_path / "out") == []
    with (tmp_path / "out" / "state.csv").open() as file:
        assert {row["slide"]: row["result"] for row in csv.DictReader(file)} == EXPECTED


def test_several_workers_in_one_folder_share_the_slides(extraction, unbroken, tmp_path):
    one = extraction()
    told: list[dict[str, str]] = []
    threads = [threading.Thread(target=lambda: told.append(results_of(settle(one)))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == [EXPECTED] * 3
    assert features_in(tmp_path / "out") == unbroken
    assert left_over(tmp_path / "out") == []


def run_killed(extraction: Extraction, folder: Path) -> int:
    """Extract in a process that kills itself when the first slide is settled."""
    import pickle

    (folder / "extraction").write_bytes(pickle.dumps(extraction))
    return subprocess.run([sys.executable, "-c", KILLED, folder / "extraction", "at_first"], check=False).returncode


def test_what_a_killed_process_left_is_done_and_swept(extraction, unbroken, tmp_path):
    assert run_killed(extraction(), tmp_path) == -signal.SIGKILL
    out = tmp_path / "out"
    locks = [path.stem for path in out.glob(".claims/*.lock")]
    assert locks
    (store,) = out.glob("features/*/")
    half = store / f".{locks[0]}.h5.abc.partial.h5"
    half.write_bytes(b"half")
    assert done(results_of(settle(extraction()))) == EXPECTED
    assert features_in(out) == unbroken
    assert left_over(out) == []


@pytest.mark.parametrize("own_clock", [-86_400, 0, 86_400])
def test_halves_are_as_old_as_their_file_system_says_and_those_of_the_future_are_old(
    own_clock, extraction, tmp_path, monkeypatch
):
    """Half files of nobody here: a worker of another machine may be at those that were written just now."""
    (store := tmp_path / "out" / "features" / "a_64px").mkdir(parents=True)
    now = start_time(tmp_path / "out")
    ages = {"young": -5, "ahead": 60, "old": -1000, "future": 1000, "of_1970": -now}
    for name, age in ages.items():
        (store / f".{name}.h5.abc.partial.h5").touch()
        os.utime(store / f".{name}.h5.abc.partial.h5", (now + age, now + age))
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + own_clock)
    list(settle(extraction()))
    assert sorted(path.name.split(".")[1] for path in left_over(tmp_path / "out")) == ["ahead", "young"]


def done(results: dict[str, str]) -> dict[str, str]:
    """A slide whose process was killed between its file and its record is found finished, and kept."""
    return {name: "ok" if result == "kept" else result for name, result in results.items()}


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "ray"])
def test_two_workers_one_killed_give_what_one_gives(extraction, unbroken, tmp_path, engine):
    """A process that is at work when the first slide is settled is killed; the engine starts another."""
    if engine == "ray":
        pytest.importorskip("ray")
    killed = []
    settled = []
    for records in extract_folder(extraction(threads=1), engine=engine, workers=2):
        settled.append(records)
        if not killed:
            claimed = []
            for path in (tmp_path / "out").glob(".claims/*.lock"):
                with suppress(FileNotFoundError, ValueError):  # let go, or not written yet
                    claimed.append(json.loads(path.read_text()))
            killed = [owner["pid"] for owner in claimed if owner["pid"] != os.getpid()][:1]
            for pid in killed:
                os.kill(pid, signal.SIGKILL)
    assert killed, "nobody was at work any more"
    assert done(results_of(settled)) == EXPECTED
    assert features_in(tmp_path / "out") == unbroken
    assert left_over(tmp_path / "out") == []


def test_a_slide_that_ends_its_process_is_named_and_the_others_go_on(extraction, slides, tmp_path):
    """Its lock, as three deaths over it left it."""
    out = tmp_path / "out"
    owner = replace(Owner.here(), started="1", deaths=workers.MOST_DEATHS - 1)
    now = extraction(slides=slides[:2])
    lock = out / ".claims" / f"{slides[0].name}.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text(owner.text())
    results = {records[0].slide: records[0] for records in settle(now)}
    assert [results[slide.name].result for slide in slides[:2]] == ["failed", "ok"]
    assert "died 3 times" in results[slides[0].name].reason
    assert results[slides[0].name].stage == "process"
    assert left_over(out) == []
    assert results_of(settle(extraction(slides=slides[:2]))) == {slides[0].name: "ok", slides[1].name: "kept"}


def test_waiting_for_others_costs_one_look_whatever_the_number_of_slides(extraction, slides, monkeypatch, tmp_path):
    """All slides are claimed by another machine that lives; the last thing it does is to give them back."""
    locks = [tmp_path / "out" / ".claims" / f"{slide.name}.lock" for slide in slides]
    locks[0].parent.mkdir(parents=True)
    for lock in locks:
        lock.write_text(replace(Owner.here(), machine="elsewhere").text())
    calls = {"read": 0, "look": 0, "settled": 0}

    def counted(module, name, key):
        function = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, **k: calls.update({key: calls[key] + 1}) or function(*a, **k))

    counted(claims, "read_owner", "read")
    counted(claims.Claims, "busy", "look")
    counted(workers.Ledger, "settled", "settled")

    def sleep(seconds):
        if calls["look"] == 5:
            assert calls == {"read": len(slides), "look": 5, "settled": 0}
            for lock in locks:
                lock.unlink()

    monkeypatch.setattr(workers.time, "sleep", sleep)
    assert results_of(settle(extraction())) == EXPECTED
    assert calls["look"] >= 6


def test_what_is_not_about_a_slide_is_raised_and_claims_are_released(extraction, monkeypatch, tmp_path):
    def broken(self, device):
        encoder = create(self, device)
        monkeypatch.setattr(type(encoder), "__call__", lambda *_: 1 / 0)
        return encoder

    create = EncoderChoice.create
    monkeypatch.setattr(EncoderChoice, "create", broken)
    with pytest.raises(ZeroDivisionError):
        list(settle(extraction()))
    assert left_over(tmp_path / "out") == []


@pytest.mark.slow
def test_an_encoder_that_is_not_there_is_told_by_workers_too(extraction, tmp_path):
    wrong = EncoderChoice("colour-texture", precision="fp64")
    with pytest.raises(EncoderError, match="fp64"):
        list(extract_folder(extraction(encoders=(wrong,)), workers=2))


def test_two_encoders_are_two_stores_and_two_rows(extraction, slides, tmp_path):
    both = (EncoderChoice("colour-texture"), EncoderChoice("colour-texture", stain="reinhard"))
    (settled,) = settle(extraction(encoders=both, slides=slides[3:4]))
    stores = [record.store for record in settled]
    assert len(set(stores)) == 2
    files = [tmp_path / "out" / "features" / store / f"{slides[3].name}.h5" for store in stores]
    one, two = (h5py.File(file)["features"][()] for file in files)
    assert one.shape == two.shape
    assert not np.array_equal(one, two)
    with (tmp_path / "out" / "state.csv").open() as file:
        assert sorted(row["store"] for row in csv.DictReader(file)) == sorted(stores)


def test_slides_have_settings_of_their_own(extraction, slides, tmp_path):
    no_scale = next(slide for slide in slides if slide.name == "awkward_no_mpp")
    own = {no_scale.name: {"slide_mpp": 0.5}}
    assert results_of(settle(extraction(slides=(no_scale,), own_settings=own))) == {no_scale.name: "ok"}
    (facts,) = [attributes for _, attributes in features_in(tmp_path / "out").values()]
    assert np.isclose(facts["slide_mpp"], 0.5)
