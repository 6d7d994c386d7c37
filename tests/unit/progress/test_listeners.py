"""How far a command is, in a log and on a terminal."""

import re
import sys
import time

import pytest

from asmil.progress import Bars, Listener, Outcome, Screen, SetAside, listeners, rate_text, steps_of_cells


class Clock:
    """Seconds that pass when told."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(listeners, "time", clock)
    return clock


def test_a_log_gets_a_line_now_and_then_with_rate_and_time_left(clock, capsys):
    with Bars().stage("embedding", total=40) as advance:
        for _ in range(40):
            clock.now += 2
            advance(1)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "embedding: 3/40 slides, 30.0 slides/min, 0:01:14 left"
    assert lines[-1] == "embedding: 40/40 slides, 30.0 slides/min"
    assert len(lines) == 14


def test_a_short_job_is_one_line(clock, capsys):
    with Bars().stage("embedding", total=2, unit="tiles") as advance:
        clock.now += 0.5
        advance(2)
    assert capsys.readouterr().err.splitlines() == ["embedding: 2/2 tiles, 4.0 tiles/s"]


def test_the_rate_is_of_the_parts_where_they_are_counted(clock, capsys):
    with Bars().stage("extract", total=4, parts="tiles") as advance:
        for _ in range(4):
            clock.now += 20
            advance(0, parts=400)
            advance(1)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "extract: 0/4 slides, 20 tiles/s"
    assert lines[-1] == "extract: 4/4 slides, 20 tiles/s"


def test_the_share_of_waiting_is_told(clock, capsys):
    with Bars().stage("extract", total=2, parts="tiles") as advance:
        for waiting in (9.0, 1.0):
            clock.now += 20
            advance(1, parts=400, waiting=waiting)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "extract: 1/2 slides, 20 tiles/s, 45% waiting for pixels"
    assert lines[-1] == "extract: 2/2 slides, 20 tiles/s, 25% waiting for pixels"


def test_an_error_still_says_how_far_it_came(clock, capsys):
    def work():
        with Bars().stage("embedding", total=9) as advance:
            clock.now += 1
            advance(4)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()
    assert capsys.readouterr().err.startswith("embedding: 4/9 slides")


def test_a_job_of_nothing_says_nothing(capsys):
    with Bars().stage("embedding", total=0):
        pass
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    with Bars().stage("embedding", total=5) as advance:
        advance(5)
    assert re.search(r"embedding.*5/5.*slides", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("done", "seconds", "expected"),
    [(0, 0, "0.0 tiles/min"), (3, 60, "3.0 tiles/min"), (30, 20, "1.5 tiles/s"), (5000, 10, "500 tiles/s")],
)
def test_rates_are_in_units_a_person_compares(done, seconds, expected):
    assert rate_text(done, seconds, "tiles") == expected


def test_the_time_left_is_that_of_the_pace_now_not_of_a_slow_beginning(clock, capsys):
    with Bars().stage("embedding", total=100) as advance:
        clock.now += 600  # weights are loaded
        for _ in range(41):
            advance(1)
            clock.now += 1
    first, *others = capsys.readouterr().err.splitlines()
    assert first == "embedding: 1/100 slides, 0.1 slides/min"
    assert others[0].endswith("6/100 slides, 0.6 slides/min, 0:01:34 left")


def test_no_stage_is_silent_for_long_whether_anything_is_done_or_not(monkeypatch, capsys):
    monkeypatch.setattr(listeners, "LOG_EVERY_SECONDS", 0.1)
    with Bars().stage("evaluate"):
        time.sleep(0.45)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 3
    assert set(lines) == {"evaluate: for 0:00:00"}
    with Bars().stage("train", total=9, unit="epochs") as advance:
        time.sleep(0.25)
        advance(4)
        time.sleep(0.45)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "train: 0/9 epochs, for 0:00:00"
    assert sum(line.startswith("train: 4/9 epochs, ") for line in lines) >= 3
    with Bars().stage("report"):
        pass
    assert capsys.readouterr().err == ""


def test_what_need_not_be_done_brings_the_end_nearer_and_is_no_pace(clock, capsys):
    with Bars().stage("train", total=120, unit="epochs") as advance:
        tell = steps_of_cells(advance)
        for fold in (0, 1):
            for epoch in range(11):
                tell(fold, 0, epoch, 60)
                clock.now += 1
            tell(fold, 0, 10, 20)  # its refit takes 10
            for epoch in range(11, 21):
                clock.now += 1
                tell(fold, 0, epoch, 20)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "train: 5/120 epochs, 1.0 epochs/s, 0:01:55 left"
    assert any("/80 epochs" in line for line in lines)
    assert lines[-1].startswith("train: 40/40 epochs")


def test_who_does_not_listen_hears_of_what_was_set_aside_only(capsys):
    outcome, nobody = Outcome(), Listener()
    with nobody.stage("extract", total=3) as advance:
        advance(1, parts=5, waiting=0.1)
    nobody.note("a level is damaged")
    nobody.closing(outcome)
    outcome.failed("a", stage="open", reason="not a slide")
    with pytest.warns(SetAside, match=r"1 set aside: a \(open: not a slide\)") as caught:
        nobody.closing(outcome)
    assert caught[0].filename == __file__
    assert capsys.readouterr().err == ""


def test_a_command_shows_notes_warnings_and_a_closing_table(capsys):
    outcome, screen = Outcome(), Screen()
    outcome.ok("a")
    outcome.failed("b", stage="open", reason="not a slide")
    screen.note("a level is damaged")
    screen.warn("two are equal", fix="keep one")
    screen.closing(outcome)
    shown = capsys.readouterr().err
    for text in ("note: a level is damaged", "warning: two are equal\nfix:     keep one", "not a slide"):
        assert text in shown
    assert shown.splitlines()[-1] == "1 ok, 0 skipped, 1 failed"


def test_many_of_one_reason_are_one_line_though_each_reason_begins_with_its_slide(capsys):
    outcome = Outcome()
    for name in "abcdefgh":
        outcome.failed(name, stage="open", reason=f"{name} is coarser than the scale asked for")
    outcome.failed("i", stage="open", reason="i is cut short")
    Screen().closing(outcome)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[0] for line in lines[1:3]] == ["a, b, c and 5 more", "i"]
    assert lines[1].endswith("a is coarser than the scale asked for")
    assert len(lines) == 4
    for number in range(8):
        outcome.failed(f"{number}" * 40, stage="open", reason="not a slide")
    Screen().closing(outcome)
    assert f"{'0' * 40} and 7 more  failed" in capsys.readouterr().err


def test_a_notebook_without_widgets_gets_lines(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", sys)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    for found, drawn in ((None, False), ("there", True)):
        monkeypatch.setattr("importlib.util.find_spec", lambda name, found=found: found)
        assert listeners.can_draw() is drawn
