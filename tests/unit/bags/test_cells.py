"""Cells of a workbook: rows that a person coloured are named (stripes, headings and single cells are not); texts."""

import openpyxl
import pytest
from openpyxl.styles import PatternFill

from asmil.bags import read_cohort

YELLOW, WHITE = PatternFill("solid", fgColor="FFFF00"), PatternFill("solid", fgColor="FFFFFF")


def lines(path, fill, *cells):
    sheet = (book := openpyxl.Workbook()).active
    sheet.append(["slide", "patient", "label"])
    for number in range(12):
        sheet.append([f"S{number:02d}", f"P{number // 2}", ("benign", "tumour")[number // 2 % 2]])
    for row, columns in cells:
        for column in columns:
            sheet[f"{column}{row}"].fill = fill
    book.save(path / "t.xlsx")
    cohort = read_cohort(path / "t.xlsx")
    assert len(cohort.slides) == 12
    return [line for line in cohort.lines() if "colour" in line]


def test_coloured_rows_are_named(tmp_path):
    (line,) = lines(tmp_path, YELLOW, (3, "ABC"), (7, "AC"))
    assert line == (
        "remark: rows of t.xlsx have a colour, which means nothing here: 3, 7; "
        "a column `verdict` with exclude leaves rows out"
    )


@pytest.mark.parametrize(
    ("fill", "cells"),
    [
        (YELLOW, [(1, "ABC")]),
        (YELLOW, [(row, "ABC") for row in range(2, 14, 2)]),
        (YELLOW, [(3, "C")]),
        (WHITE, [(3, "ABC")]),
    ],
    ids=["heading", "stripes", "a cell", "white"],
)
def test_colours_that_mark_no_rows_are_passed_over(fill, cells, tmp_path):
    assert lines(tmp_path, fill, *cells) == []


def test_line_ends_and_escapes_are_what_they_stand_for(tmp_path):
    """openpyxl 3.1.5 leaves them as Excel writes them (ECMA-376, 22.4.2.4): one cell of a hospital's system was a
    class of its own, tumour_x000D_."""
    rows = [["slide_x000D_", "label"], *([f"S{i}", ("benign", "tumour")[i % 2]] for i in range(12))]
    rows[2], rows[3], rows[4] = ["S1", "tumour_x000D_\n"], ["S_x0032_", "benign"], ["S_x005F_x0033_", "tumour"]
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(tmp_path / "t.xlsx")
    cohort = read_cohort(tmp_path / "t.xlsx")
    assert set(cohort.slides) == {f"S{i}" for i in range(12) if i != 3} | {"S_x0033_"}
    assert list(cohort.classes) == ["benign", "tumour"]
