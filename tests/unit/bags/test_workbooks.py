"""What a workbook says beside its cells: sheets, what they hide, merged cells, damage."""

import re
import warnings
import zipfile
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import openpyxl
import pandas as pd
import pytest
from openpyxl.cell.rich_text import CellRichText, TextBlock
from openpyxl.cell.text import InlineFont
from openpyxl.styles import Font
from openpyxl.worksheet.worksheet import Worksheet

from asmil.bags import read_cohort, read_splits, read_table
from asmil.errors import CohortError
from asmil.tasks import create_task

SLIDES = [f"S{i:02d}" for i in range(12)]
LABELS = ["benign", "benign", "Tumour", "Tumour"] * 3
TABLE = pd.DataFrame({"Slide": SLIDES, "patient": [f"P{i // 2}" for i in range(12)], "label": LABELS})


def test_of_several_sheets_one_is_named(tmp_path):
    with pd.ExcelWriter(tmp_path / "book.xlsx") as book:
        pd.DataFrame({"note": ["read me"]}).to_excel(book, sheet_name="README", index=False)
        TABLE.to_excel(book, sheet_name="my labels", index=False)
        pd.DataFrame().to_excel(book, sheet_name="empty", index=False)
    with pytest.raises(CohortError, match=r"several sheets.*README, my labels.*book.xlsx#README"):
        read_cohort(tmp_path / "book.xlsx")
    assert read_cohort(f"{tmp_path / 'book.xlsx'}#my labels").slides == SLIDES
    with pytest.raises(CohortError, match="no sheet 'other'"):
        read_cohort(f"{tmp_path / 'book.xlsx'}#other")
    with pytest.raises(CohortError, match="no such table"):
        read_table(tmp_path / "none.xlsx#a")


def workbook(path: Path, change: Callable[[Worksheet], None]) -> Path:
    """The table as a workbook, rows 2 to 13, as somebody left its sheet."""
    TABLE.to_excel(path / "t.xlsx", index=False)
    book = openpyxl.load_workbook(path / "t.xlsx")
    change(book.active)
    book.save(path / "t.xlsx")
    return path / "t.xlsx"


def rewritten(path: Path, *changes: tuple[str, str, str]) -> Path:
    """With other XML in members (a name, a pattern, what stands for it), as other programs write it."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    for name, pattern, text in changes:
        members[name], count = re.subn(pattern.encode(), text.encode(), members[name])
        assert count == 1
    with zipfile.ZipFile(path, "w") as new:
        for name, data in members.items():
            new.writestr(name, data)
    return path


SHEET = "xl/worksheets/sheet1.xml"


def hide_rows(*rows: int) -> Callable[[Worksheet], None]:
    def change(sheet: Worksheet) -> None:
        for row in rows:
            sheet.row_dimensions[row].hidden = True

    return change


@pytest.mark.parametrize(("rows", "found"), [
    ((3,), "1 of 13: rows 3"),
    ((2, 3, 4, 7, 9, 10), "6 of 13: rows 2, 3, 4, 7, 9, 10"),
])  # fmt: skip
def test_hidden_rows_are_asked_about(rows, found, tmp_path):
    with pytest.raises(CohortError, match=f"t.xlsx has rows that its sheet hides.*{found}.*show them .*or delete them"):
        read_table(workbook(tmp_path, hide_rows(*rows)))
    assert len(read_table(workbook(tmp_path, hide_rows(14, 20)))) == 12  # nothing is in these


def test_rows_that_a_filter_hides_are_asked_about_as_other_programs_write_them(tmp_path):
    def change(sheet: Worksheet) -> None:
        sheet.auto_filter.ref = "A1:C13"
        sheet.auto_filter.add_filter_column(1, ["p1"])
        hide_rows(5)(sheet)

    row = ('<row r="5" hidden="1"', "<row hidden='true' customHeight=\"1\" r='5'")
    path = rewritten(workbook(tmp_path, change), (SHEET, *row))
    with pytest.raises(CohortError, match="1 of 13: rows 5"):
        read_table(path)


def strike(*cells: str) -> Callable[[Worksheet], None]:
    def change(sheet: Worksheet) -> None:
        for cell in cells:
            sheet[cell].font = Font(strike=True)

    return change


def strike_words(sheet: Worksheet) -> None:
    sheet["C5"] = CellRichText(TextBlock(InlineFont(strike=True), "benign"), " Tumour")
    sheet["C6"] = CellRichText(TextBlock(InlineFont(b=True), "be"), "nign")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (strike("A3", "B3", "C3", "A7", "B7", "C7"), "2 of 13: rows 3, 7"),
        (strike("A4"), "1 of 13: rows 4"),
        (strike_words, "1 of 13: rows 5"),
    ],
)
def test_rows_struck_through_are_asked_about(change, found, tmp_path):
    """A person's way to say: not this one."""
    with pytest.raises(CohortError, match=rf"t\.xlsx has rows that are struck through.*{found}.*delete them"):
        read_table(workbook(tmp_path, change))


def shared(path: Path, **fonts: str) -> Path:
    """With texts in a table of their own, as Excel writes them, some of them as words of a font."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name).decode() for name in old.namelist()}
    texts = list(dict.fromkeys(re.findall(r"<is><t>([^<]*)</t></is>", members[SHEET])))
    members[SHEET] = re.sub(
        r't="inlineStr"><is><t>([^<]*)</t></is>', lambda m: f't="s"><v>{texts.index(m[1])}</v>', members[SHEET]
    )
    runs = (f"<r><rPr>{fonts[t]}</rPr><t>{t}</t></r>" if t in fonts else f"<t>{t}</t>" for t in texts)
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    members["xl/sharedStrings.xml"] = f'<sst xmlns="{main}">{"".join(f"<si>{run}</si>" for run in runs)}</sst>'
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
    part = f'<Override PartName="/xl/sharedStrings.xml" ContentType="{kind}"/></Types>'
    members["[Content_Types].xml"] = members["[Content_Types].xml"].replace("</Types>", part)
    with zipfile.ZipFile(path, "w") as new:
        for name, text in members.items():
            new.writestr(name, text)
    return path


def test_words_struck_through_are_seen_as_excel_writes_them(tmp_path):
    path = shared(workbook(tmp_path, lambda sheet: None), benign="<strike/>", Tumour="<b/>")
    with pytest.raises(CohortError, match=r"struck through.*6 of 13: rows 2, 3, 6, 7, 10, 11"):
        read_table(path)
    path = shared(workbook(tmp_path, lambda sheet: None), benign='<strike val="0"/>', Tumour="<b/>")
    assert read_table(path)["label"].tolist() == LABELS


def test_words_of_other_fonts_and_lines_beside_the_table_strike_nothing_out(tmp_path):
    def change(sheet: Worksheet) -> None:
        strike("D3", "A20", "A21")(sheet)  # empty cells, and a blank one
        sheet["A21"] = " "
        sheet["C6"] = CellRichText(TextBlock(InlineFont(b=True), "Tu"), "mour")

    read = read_table(workbook(tmp_path, change))
    assert (read["Slide"].tolist(), read["label"][4]) == (SLIDES, "Tumour")


def test_a_cell_of_a_style_that_there_is_not_is_read(tmp_path):
    """As some writers leave it; the value is what it is."""
    path = workbook(tmp_path, lambda sheet: None)
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name).decode() for name in old.namelist()}
    members[SHEET], changed = re.subn(r'<c r="C5"', '<c r="C5" s="99"', members[SHEET])
    with zipfile.ZipFile(path, "w") as new:
        for name, text in members.items():
            new.writestr(name, text)
    assert changed == 1
    assert read_table(path)["label"].tolist() == LABELS


@pytest.mark.parametrize("merged", ["B2:B3", "A4:B6"])
def test_cells_merged_over_rows_are_refused(merged, tmp_path):
    path = workbook(tmp_path, lambda sheet: sheet.merge_cells(merged))
    with pytest.raises(CohortError, match=f"t.xlsx has cells that are merged over several rows.*{merged}.*every row"):
        read_table(path)


def test_cells_merged_in_a_row_or_below_the_table_are_none_of_it(tmp_path):
    def change(sheet: Worksheet) -> None:
        sheet["A15"] = "a note"
        sheet.merge_cells("A15:C15")
        sheet.merge_cells("A20:A25")

    assert read_table(workbook(tmp_path, change))["Slide"].tolist() == [*SLIDES, "a note"]


def test_a_hidden_column_that_is_used_is_named(tmp_path):
    def change(sheet: Worksheet) -> None:
        for column in "AC":
            sheet.column_dimensions[column].hidden = True

    path = workbook(tmp_path, change)
    heads = list(TABLE)
    says = f"hidden in the sheet, and used: {heads[0]}, {heads[2]}"
    assert [p.what for p in read_cohort(path).problems if "hidden" in p.what] == [says]
    assert not [p for p in read_cohort(TABLE).problems if "hidden" in p.what]


def test_a_hidden_sheet_is_read_where_it_is_named(tmp_path):
    with pd.ExcelWriter(tmp_path / "book.xlsx") as book:
        pd.DataFrame().to_excel(book, sheet_name="empty", index=False)
        TABLE.to_excel(book, sheet_name="old", index=False)
        book.book["old"].sheet_state = "hidden"
    with pytest.raises(CohortError, match=r"cells in a hidden sheet only.*old \(hidden\).*book.xlsx#old"):
        read_cohort(tmp_path / "book.xlsx")
    assert read_cohort(f"{tmp_path / 'book.xlsx'}#old").slides == SLIDES


def test_damaged_workbooks_are_no_tables(tmp_path):
    TABLE.to_excel(tmp_path / "t.xlsx", index=False)
    whole = (tmp_path / "t.xlsx").read_bytes()
    for place in range(0, len(whole), 97):
        (tmp_path / "t.xlsx").write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        with suppress(CohortError):
            read_table(tmp_path / "t.xlsx")


@pytest.mark.parametrize("cells", [["B2"], ["C5", "C6"]])
def test_formulas_that_nobody_calculated_are_refused(cells, tmp_path):
    """As scripts write them: the values are there only once a spreadsheet has opened and saved the file."""

    def change(sheet: Worksheet) -> None:
        for cell in cells:
            sheet[cell] = f'=LEFT("{sheet[cell].value}", 9)'

    with pytest.raises(CohortError, match=f"t.xlsx has formulas without their values.*{', '.join(cells)}.*open it"):
        read_table(workbook(tmp_path, change))


def test_formulas_with_values_and_those_that_give_nothing_are_read(tmp_path):
    def change(sheet: Worksheet) -> None:
        sheet["B2"], sheet["C2"] = "=A1", '=""'

    calculated = [
        (
            SHEET,
            rf'<c r="{cell}"[^>]*><f>([^<]*)</f><v */?>(</v>)?</c>',
            rf'<c r="{cell}" t="str"><f>\1</f><v>{value}</v></c>',
        )
        for cell, value in (("B2", "P9"), ("C2", ""))
    ]
    path = rewritten(workbook(tmp_path, change), *calculated)
    assert read_table(path).iloc[0].tolist() == ["S00", "P9", ""]


def test_formulas_after_the_cells_are_of_other_things(tmp_path):
    """Icon sets, sparklines and lists of another sheet have formulas with a prefix of their own, and no values."""
    listed = '<extLst><ext xmlns:xm="m" uri="u"><xm:f>Data!$A$1:$A$2</xm:f></ext></extLst></worksheet>'
    path = rewritten(workbook(tmp_path, lambda sheet: None), (SHEET, "</worksheet>", listed))
    assert len(read_table(path)) == 12


@pytest.mark.parametrize(("calculated", "refused"), [("1", True), ("0", False)])
def test_formulas_that_are_all_0_and_are_yet_to_be_calculated_are_refused(tmp_path, calculated, refused):
    """As XlsxWriter 3.3.1 writes them: a value of 0 for each, and that the workbook is to be calculated when opened."""

    def change(sheet: Worksheet) -> None:
        sheet["B2"] = "=A1"

    formula = ('<c r="B2"[^>]*><f>([^<]*)</f><v */?>(</v>)?</c>', r'<c r="B2"><f>\1</f><v>0</v></c>')
    told = ("xl/workbook.xml", 'fullCalcOnLoad="1"', f'fullCalcOnLoad="{calculated}"')
    path = rewritten(workbook(tmp_path, change), (SHEET, *formula), told)
    if refused:
        with pytest.raises(CohortError, match=r"formulas without their values.*B2"):
            read_table(path)
    else:
        assert read_table(path).iloc[0, 1] == "0"


def notes(path: Path, change: Callable[[Worksheet], None]) -> Path:
    """The workbook with a fourth column that no run uses, and rows 14 and 15 that have cells in it alone."""

    def also(sheet: Worksheet) -> None:
        for row in range(1, 16):
            sheet.cell(row, 4, "notes" if row == 1 else f"n{row}")
        change(sheet)

    return workbook(path, also)


def formula(sheet: Worksheet) -> None:
    sheet["D3"] = "=1+1"


@pytest.mark.parametrize("change", [hide_rows(14, 15), lambda s: s.merge_cells("D2:D5"), formula, strike("D3")])
def test_what_is_in_columns_that_are_not_used_refuses_no_workbook(change, tmp_path):
    cohort = read_cohort(notes(tmp_path, change))
    assert cohort.slides == SLIDES
    assert cohort.cases == TABLE["patient"].tolist()
    with pytest.raises(CohortError, match=r"t\.xlsx has"):
        read_cohort(tmp_path / "t.xlsx", label="notes")


def test_cells_merged_over_a_used_column_and_another_are_refused(tmp_path):
    with pytest.raises(CohortError, match=r"merged over several rows.*C4:D6"):
        read_cohort(notes(tmp_path, lambda sheet: sheet.merge_cells("C4:D6")))


@pytest.mark.parametrize("name", ["Patient (study)", "Hospital number"])
def test_merged_cells_that_may_say_who_is_who_are_refused_where_no_column_does(name, tmp_path):
    """They would be passed over as those of a column that is not used, and each slide be a patient."""

    def change(sheet: Worksheet) -> None:
        sheet["B1"] = name
        for row in range(2, 14, 2):
            sheet.cell(row, 2, 40000 + row)
            sheet.merge_cells(start_row=row, start_column=2, end_row=row + 1, end_column=2)

    with pytest.raises(CohortError, match=r"merged over several rows.*B2:B3"):
        read_cohort(workbook(tmp_path, change))


def test_targets_and_folds_of_a_workbook_are_judged_too(tmp_path):
    def change(sheet: Worksheet) -> None:
        for row in range(1, 14):
            sheet.cell(row, 4, "ki67" if row == 1 else row / 7)
            sheet.cell(row, 5, "fold" if row == 1 else row // 8)
        hide_rows(4)(sheet)
        sheet["A4"] = sheet["B4"] = sheet["C4"] = sheet["E4"] = None

    path = workbook(tmp_path, change)
    assert len(read_cohort(path)) == 11
    with pytest.raises(CohortError, match=r"hides.*rows 4"):
        read_cohort(path, task=create_task("regression", columns=["ki67"]))
    assert len(read_splits(path, read_cohort(path)).folds) == 2

    def uncalculated(sheet: Worksheet) -> None:
        change(sheet)
        sheet.row_dimensions[4].hidden = False
        sheet["E5"] = "=1-1"

    path = workbook(tmp_path, uncalculated)
    with pytest.raises(CohortError, match=r"formulas without their values.*E5"):
        read_splits(path, read_cohort(path, classes=["benign", "Tumour"]))


def test_beside_a_hidden_helper_sheet_the_visible_one_is_read_and_that_is_said(tmp_path):
    """The marks of the helper sheet are none of the table's: its XML is not even read."""

    def change(sheet: Worksheet) -> None:
        helper = sheet.parent.create_sheet("Lists")
        helper.append(["benign"])
        helper.append(["=A1"])
        helper.merge_cells("A1:A2")
        helper.sheet_state = "hidden"

    path = workbook(tmp_path, change)
    with zipfile.ZipFile(path) as book:
        member = next(name for name in book.namelist() if name.endswith("sheet2.xml"))
    rewritten(path, (member, 'r="2"', 'r="1"'))  # rows that are out of order, which would refuse the sheet
    cohort = read_cohort(path)
    assert cohort.slides == SLIDES
    assert "remark: of t.xlsx the sheet 'Sheet1' is read, and not what is hidden: 'Lists'" in cohort.lines()


def test_nothing_is_printed_of_what_openpyxl_does_not_keep(tmp_path):
    list_of_words = "{CCE6A557-97BC-4B89-ADB6-D9C93CAAB3DF}"  # what a data validation by a list of another sheet is
    listed = f'<extLst><ext xmlns:xm="m" uri="{list_of_words}"><xm:f>Data!$A$1</xm:f></ext></extLst>'
    path = rewritten(workbook(tmp_path, lambda sheet: None), (SHEET, "</worksheet>", f"{listed}</worksheet>"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read_table(path)) == 12


def test_numbers_have_the_zeros_that_their_format_shows(tmp_path):
    def change(sheet: Worksheet) -> None:
        for row in range(2, 14):
            sheet.cell(row, 1, row).number_format = "0000"
            sheet.cell(row, 2).value = 7.0 if row < 4 else row

    cells = read_table(workbook(tmp_path, change))
    assert cells["Slide"].tolist() == [f"{row:04d}" for row in range(2, 14)]
    assert cells["patient"].tolist()[:3] == ["7", "7", "4"]


@pytest.mark.parametrize("column", ["A", "B", "C"])
def test_dates_that_a_spreadsheet_made_of_names_or_classes_are_refused(column, tmp_path):
    def change(sheet: Worksheet) -> None:
        sheet[f"{column}2"] = sheet[f"{column}3"] = datetime(2024, 2, 1)

    with pytest.raises(CohortError, match=r"has dates for .*2024-02-01 00:00:00.*make that column text"):
        read_cohort(workbook(tmp_path, change))


@pytest.mark.parametrize("suffix", [".xls", ".ods", ".xlsb"])
def test_other_workbooks_are_refused_by_their_kind(suffix, tmp_path):
    (tmp_path / f"t{suffix}").write_bytes(b"PK\3\4" + bytes(99))
    with pytest.raises(CohortError, match=rf"t{suffix} is a workbook of a kind that is not read.*save it as xlsx"):
        read_table(tmp_path / f"t{suffix}")
