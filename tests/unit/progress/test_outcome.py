"""The closing table: what is counted, what goes on, what stops a command."""

import csv

import pytest

from asmil.errors import SlideError, TissueError
from asmil.progress import Outcome, Screen


def test_one_bad_slide_is_noted_and_the_next_goes_on():
    outcome = Outcome()
    for name, error in (
        ("a", None),
        ("b", SlideError("not a slide")),
        ("c", TissueError("no tissue")),
        ("d", OSError(5, "I/O")),
    ):
        with outcome.attempt(name, stage="open"):
            if error:
                raise error
            outcome.ok(name)
    assert outcome.counts == {"ok": 1, "skipped": 1, "failed": 2}
    assert [(row.name, row.result, row.stage) for row in outcome.rows] == [
        ("b", "failed", "open"),
        ("d", "failed", "open"),
        ("c", "skipped", "open"),
    ]
    assert not outcome.whole


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, MemoryError])
def test_what_is_not_about_one_slide_stops_the_command(error):
    outcome = Outcome()
    with pytest.raises(error), outcome.attempt("a", stage="open"):
        raise error
    assert outcome.rows == []


def test_a_name_counts_once_by_its_worst_result():
    outcome = Outcome()
    outcome.ok("a")
    outcome.skipped("a", stage="tissue", reason="first")
    outcome.failed("a", stage="embed", reason="second")
    outcome.skipped("a", stage="tissue", reason="third")
    outcome.failed("a", stage="train", reason="fourth")
    assert [row.reason for row in outcome.rows] == ["second"]
    assert outcome.counts == {"ok": 0, "skipped": 0, "failed": 1}


def test_a_remark_leaves_it_whole_and_a_blank_slide_does_not():
    outcome = Outcome()
    outcome.ok("a", "b")
    outcome.noted("b", stage="data", reason="is in the table more than once")
    assert outcome.whole
    assert outcome.counts == {"ok": 2, "skipped": 0, "failed": 0}
    outcome.skipped("a", stage="tissue", reason="blank")
    assert [row.name for row in outcome.set_aside] == ["a"]
    assert str(outcome) == "1 ok, 1 skipped, 0 failed"


def test_the_table_shows_names_as_they_are(capsys):
    outcome = Outcome()
    outcome.failed("slide [bold]1[/]", stage="open", reason="cut short [/nothing]")
    Screen().closing(outcome)
    shown = capsys.readouterr().err
    assert "slide [bold]1[/]" in shown
    assert "cut short [/nothing]" in shown
    assert "0 ok, 0 skipped, 1 failed" in shown


def test_failures_are_a_csv_that_reads_back(tmp_path):
    outcome = Outcome()
    outcome.failed("b", stage="open", reason='says "no", twice\nand more')
    outcome.write(tmp_path / "run" / "failures.csv")
    with (tmp_path / "run" / "failures.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [{"name": "b", "result": "failed", "stage": "open", "reason": 'says "no", twice\nand more'}]
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["failures.csv"]


def test_without_failures_the_csv_is_a_header(tmp_path):
    Outcome().write(tmp_path / "failures.csv")
    assert (tmp_path / "failures.csv").read_text() == "name,result,stage,reason\n"


def test_all_remarks_of_a_name_are_kept_and_no_reason_is_wrapped(capsys):
    outcome, typed = Outcome(), "--case-column 'the patient of the slide' --labels 'my labels of the year.csv'"
    outcome.noted("cohort", stage="data", reason="one")
    for reason in ("one", f"two: give {typed} {'and so on ' * 30}"):
        outcome.noted("cohort", stage="data", reason=reason)
    assert outcome.rows[0].reason.startswith("one; two: give")
    Screen().closing(outcome)
    assert typed in capsys.readouterr().err
    outcome.failed("cohort", stage="data", reason="three")
    assert [row.reason for row in outcome.rows] == ["three"]
