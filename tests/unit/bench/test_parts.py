"""Every part runs, and its rows can be read, compared and printed."""

import io
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from asmil.bench import PARTS, Change, Row, print_changes, print_rows, run_parts, write_curve
from asmil.bench.parts.models import grid_batch


@pytest.mark.parametrize("name", PARTS.names())
def test_a_part_gives_rows_with_ratios_and_names_of_their_own(name, tiny):
    rows = list(PARTS[name](tiny))
    assert all(row.value is not None and row.value > 0 for row in rows), rows
    assert len({row.name for row in rows}) == len(rows)
    assert len({row.part for row in rows}) == 1
    assert any(row.tolerance for row in rows)
    assert all(row.unit == "x" for row in rows if row.tolerance)


def test_parts_run_in_an_order_and_all_of_them(monkeypatch, tiny):
    for name in PARTS.names():
        monkeypatch.setattr(f"asmil.bench.parts.{name}.measure", lambda scale, name=name: [Row(name, "", "", 1.0)])
    found = dict(run_parts(tiny))
    assert sorted(found) == PARTS.names()
    assert next(iter(found)) == "step"


def test_a_bag_that_does_not_fit_is_a_row_that_says_so(monkeypatch, tiny):
    monkeypatch.setattr("asmil.bench.parts.curve.free_bytes", lambda device: 2**19)
    rows = list(PARTS["curve"](replace(tiny, curve_tiles=(10, 1_000_000))))
    assert rows[0].value is not None
    assert rows[-1].value is None
    assert "needs about" in rows[-1].note


def test_a_textbook_form_that_does_not_fit_is_left_out(monkeypatch, tiny):
    free = iter([2**40, 1])
    monkeypatch.setattr("asmil.bench.parts.step.free_bytes", lambda device: next(free))
    rows = list(PARTS["step"](tiny))
    assert [(row.case[:4], row.note[:16]) for row in rows if row.value is None] == [("200 ", "textbook skipped")]
    assert "memory / textbook" in [row.measure for row in rows if row.case.startswith("50 ")]


def test_a_model_that_fails_costs_its_own_rows(monkeypatch, tiny):
    from asmil.bench.parts import models

    real = models.create_model

    def create(name, **options):
        if name == "abmil":
            raise RuntimeError("not enough memory\nand more")
        return real(name, **options)

    monkeypatch.setattr(models, "create_model", create)
    failed, *others = PARTS["models"](tiny)
    assert (failed.value, failed.note) == (None, "failed: not enough memory")
    assert len(others) == 5


def test_tiles_of_a_generated_bag_fill_a_grid():
    batch = grid_batch(7)
    assert len({tuple(xy) for xy in batch.level0_xy.tolist()}) == 7
    assert batch.level0_xy.max() == 512
    assert torch.equal(batch.features, grid_batch(7).features)


ROWS = [
    Row("p", "small", "time", 1234.5, "ms"),
    Row("p", "small", "times faster", 9.876, "x"),
    Row("p", "large", "times faster", None, note="needs 9 GiB"),
]


def printed(function, *arguments, **options):
    text = io.StringIO()
    function(*arguments, console=Console(file=text, width=150), **options)
    return text.getvalue()


def test_a_table_has_a_line_per_case_and_a_column_per_measure():
    assert printed(print_rows, "p", ROWS, as_markdown=True).splitlines() == [
        "**p**",
        "",
        "|  | time, ms | times faster |",
        "| --- | --- | --- |",
        "| small | 1,234 | 9.88 |",
        "| large |  | - |",
        "large: needs 9 GiB",
        "",
    ]


def test_the_terminal_shows_notes_and_what_changed():
    assert "large: needs 9 GiB" in printed(print_rows, "p", ROWS)
    then = Row("p", "case", "ratio", 2.0, "x", "lower", 0.25)
    text = printed(print_changes, [Change(then, replace(then, value=3.0)), Change(then, then), Change(then, None)])
    assert "worse" in text
    assert "+50%" in text
    assert "missing" in text
    assert "1 of 3 ratios" in text


def test_the_curve_is_drawn_from_the_points_that_there_are(tmp_path):
    cases = [(f"{n} tiles, 384 -> 128", value) for n, value in ((1000, 2.0), (30_000, 1.5), (1_000_000, None))]
    rows = [Row("curve", case, m, v) for case, v in cases for m in ("time per tile", "memory per tile")]
    written = write_curve(tmp_path / "curve", rows)
    assert sorted(path.suffix for path in written) == [".png", ".svg"]
    assert "30k" in (tmp_path / "curve.svg").read_text() or (tmp_path / "curve.png").stat().st_size > 5000
    assert write_curve(tmp_path / "none", []) == []
