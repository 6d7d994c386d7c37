"""How far a command is, in a log and on a terminal."""

import re

import pytest

from asmil.cli import _progress
from asmil.cli._progress import progress, rate_text


class Clock:
    """Seconds that pass when told."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(_progress, "time", clock)
    return clock


def test_a_log_gets_a_line_now_and_then_with_rate_and_time_left(clock, capsys):
    with progress("embedding", total=40) as advance:
        for _ in range(40):
            clock.now += 2
            advance(1)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "embedding: 8/40 slides, 30.0 slides/min, 0:01:04 left"
    assert lines[-1] == "embedding: 40/40 slides, 30.0 slides/min"
    assert len(lines) == 5


def test_a_short_job_is_one_line(clock, capsys):
    with progress("embedding", total=2, unit="tiles") as advance:
        clock.now += 0.5
        advance(2)
    assert capsys.readouterr().err.splitlines() == ["embedding: 2/2 tiles, 4.0 tiles/s"]


def test_the_rate_is_of_the_parts_where_they_are_counted(clock, capsys):
    with progress("extract", total=4, parts="tiles") as advance:
        for _ in range(4):
            clock.now += 20
            advance(0, parts=400)
            advance(1)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "extract: 0/4 slides, 20 tiles/s"
    assert lines[-1] == "extract: 4/4 slides, 20 tiles/s"


def test_the_share_of_waiting_is_told(clock, capsys):
    with progress("extract", total=2, parts="tiles") as advance:
        for waiting in (9.0, 1.0):
            clock.now += 20
            advance(1, parts=400, waiting=waiting)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "extract: 1/2 slides, 20 tiles/s, 45% waiting for pixels, 0:00:20 left"
    assert lines[-1] == "extract: 2/2 slides, 20 tiles/s, 25% waiting for pixels"


def test_an_error_still_says_how_far_it_came(clock, capsys):
    def work():
        with progress("embedding", total=9) as advance:
            clock.now += 1
            advance(4)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()
    assert capsys.readouterr().err.startswith("embedding: 4/9 slides")


def test_a_job_of_nothing_says_nothing(capsys):
    with progress("embedding", total=0):
        pass
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    with progress("embedding", total=5) as advance:
        advance(5)
    assert re.search(r"embedding.*5/5.*slides", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("done", "seconds", "expected"),
    [(0, 0, "0.0 tiles/min"), (3, 60, "3.0 tiles/min"), (30, 20, "1.5 tiles/s"), (5000, 10, "500 tiles/s")],
)
def test_rates_are_in_units_a_person_compares(done, seconds, expected):
    assert rate_text(done, seconds, "tiles") == expected
