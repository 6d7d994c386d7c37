"""The guard against regressions: what got worse is said, and ends the command with a failure."""

import json
from dataclasses import replace

import pytest

from asmil.bench import Row, best_of, check_against, compare, keep_ratios, run_parts, write_rows
from asmil.errors import ConfigError, UnknownPartError

CPU = {"kind": "cpu", "threads": 1}
FASTER = Row("p", "case", "times faster", 10.0, "x", "higher", 0.25)
SHARE = Row("p", "case", "memory", 0.2, "x", "lower", 0.1)
MILLISECONDS = Row("p", "case", "time", 5.0, "ms")


def verdicts(path, rows, machine=CPU):
    return {change.then.measure: change.verdict for change in compare(rows, path, machine=machine)}


@pytest.fixture
def baseline(tmp_path):
    path = tmp_path / "baseline.json"
    keep_ratios(path, [FASTER, SHARE, MILLISECONDS], machine=CPU)
    return path


def test_a_baseline_keeps_ratios_only(baseline):
    assert [row["measure"] for row in json.loads(baseline.read_text())["rows"]] == ["times faster", "memory"]


@pytest.mark.parametrize(
    ("faster", "share", "wanted"),
    [
        (10.0, 0.2, ("same", "same")),
        (8.1, 0.219, ("same", "same")),
        (7.9, 0.221, ("worse", "worse")),
        (12.6, 0.17, ("better", "better")),
    ],
)
def test_worse_and_better_are_beyond_the_tolerance_in_the_rows_own_direction(baseline, faster, share, wanted):
    found = verdicts(baseline, [replace(FASTER, value=faster), replace(SHARE, value=share)])
    assert tuple(found.values()) == wanted


def test_a_row_that_is_gone_is_missing_one_without_value_failed_and_other_parts_are_not_asked_for(baseline):
    assert verdicts(baseline, [replace(FASTER, value=None, note="no memory")]) == {
        "times faster": "failed",
        "memory": "missing",
    }
    assert verdicts(baseline, [replace(FASTER, part="other")]) == {}


def test_the_better_of_two_measurements_counts():
    first = [replace(FASTER, value=5.0), replace(SHARE, value=0.1), MILLISECONDS]
    again = [replace(FASTER, value=9.0), replace(SHARE, value=0.3)]
    assert [row.value for row in best_of(first, again)] == [9.0, 0.1, 5.0]
    assert best_of([replace(FASTER, value=None)], again)[0].value == 9.0


@pytest.mark.parametrize("other", [{"kind": "cuda"}, {"threads": 2}])
def test_ratios_of_another_kind_of_device_or_other_threads_are_refused(baseline, other):
    with pytest.raises(ConfigError, match="same kind of device"):
        compare([FASTER], baseline, machine=CPU | other)


@pytest.mark.parametrize("text", ["", "[]", '{"rows": []}', '{"rows": [{"part": "p"}], "machine": {}}'])
def test_a_file_that_is_no_benchmark_is_named(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"other\.json"):
        compare([FASTER], path, machine=CPU)


def test_rows_come_back_as_they_were_written(tmp_path):
    path = tmp_path / "all.json"
    write_rows(path, [FASTER, MILLISECONDS], machine=CPU)
    assert verdicts(path, [FASTER]) == {"times faster": "same"}


def slowed(times):
    """A part whose step takes so many times as long as it did; no clock, or the test would be one of the machine."""

    def measure(scale):
        yield Row("injected", "case", "times faster", 10.0 / times, "x", "higher", 0.25)

    return measure


@pytest.fixture
def inject(monkeypatch):
    """Put a part of our own in the place of `step`."""

    def put(measure):
        monkeypatch.setattr("asmil.bench.parts.step.measure", measure)

    return put


def test_a_slowed_step_is_reported_after_a_second_look(inject, tiny, tmp_path):
    path = tmp_path / "baseline.json"
    inject(slowed(1))
    ((_, before),) = run_parts(tiny, only=["step"])
    keep_ratios(path, before, machine=CPU)

    inject(slowed(3))
    rows, told = dict(run_parts(tiny, only=["step"])), []
    (change,) = check_against(path, rows, machine=CPU, scale=tiny, tell=told.append)
    assert (change.verdict, told[0]) == ("worse", "step is worse than before, measured again")
    assert change.worse_by == pytest.approx(2.0)


def test_a_step_disturbed_once_is_not_reported(inject, tiny, tmp_path):
    path = tmp_path / "baseline.json"
    inject(slowed(1))
    ((_, before),) = run_parts(tiny, only=["step"])
    keep_ratios(path, before, machine=CPU)

    disturbed = {"step": [replace(before[0], value=before[0].value / 3)]}
    (change,) = check_against(path, disturbed, machine=CPU, scale=tiny)
    assert change.verdict != "worse"


def test_an_unknown_part_is_named(tiny):
    with pytest.raises(UnknownPartError, match="did you mean 'step'"):
        list(run_parts(tiny, only=["stepp"]))
