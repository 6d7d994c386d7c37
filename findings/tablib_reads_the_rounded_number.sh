#!/usr/bin/env bash
# What: tablib reads the numbers of an OpenDocument table as they are shown: months of follow-up in a column without decimals, 2.49 and .4, are 2.0 and 0.0, as floats; a share in per cent and a price are text. Dates, times and Booleans of the same table come from what is stored, as they do in xlsx.
# Versions: tablib 3.10.0 with odfpy 1.4.1; for comparison pandas 2.3.3, python-calamine 0.9.1, pyexcel-ods3 0.6.1. Seen 2026-12-01.
# Why it matters: the width of a column's decimals decides what is analysed: survival becomes whole months, deaths in the first weeks happen at 0, and scores of .004 are 0.
# Source: read_cell of tablib/formats/_ods.py goes down to the text of the cell and looks at its `value` only where there is no text.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'tablib[xlsx]==3.10.0' 'pandas==2.3.3' 'numpy==2.4.6' 'odfpy==1.4.1' 'python-calamine==0.9.1' 'pyexcel-ods3==0.6.1'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata

import openpyxl
import pandas as pd
import pyexcel_ods3
import tablib
from odf.opendocument import OpenDocumentSpreadsheet
from odf.table import Table, TableCell, TableRow
from odf.text import P

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("tablib", "odfpy", "pandas", "python-calamine", "pyexcel-ods3")))
header = ["months", "score", "share"]
stored = [[2.49, 0.004, 0.256], [0.4, 0.3149, 0.004], [61.51, 0.996, 0.5]]
shown = [["2", "0.00", "26%"], ["0", "0.31", "0%"], ["62", "1.00", "50%"]]
document, sheet = OpenDocumentSpreadsheet(), Table(name="cohort")
for values, texts in zip([header, *stored], [header, *shown]):
    line = TableRow()
    for place, (value, text) in enumerate(zip(values, texts)):
        kind = {"valuetype": "string"} if value == text else {"valuetype": "percentage" if place == 2 else "float", "value": str(value)}
        cell = TableCell(**kind)
        cell.addElement(P(text=text))
        line.addElement(cell)
    sheet.addElement(line)
document.spreadsheet.addElement(sheet)
document.save("cohort.ods")
book = openpyxl.Workbook()
for values in [header, *stored]:
    book.active.append(values)
for row in book.active.iter_rows(min_row=2):
    for cell, form in zip(row, ("0", "0.00", "0%")):
        cell.number_format = form
book.save("cohort.xlsx")
print("expected:", stored)
theirs = [list(row) for row in tablib.Dataset().load(open("cohort.ods", "rb"), "ods")]
print("seen:     tablib of ods ", theirs)
same = [list(row) for row in tablib.Dataset().load(open("cohort.xlsx", "rb"), "xlsx")]
print("seen:     tablib of xlsx", same)
others = [pd.read_excel("cohort.ods", engine=engine).to_numpy().tolist() for engine in ("odf", "calamine")] + [pyexcel_ods3.get_data("cohort.ods")["cohort"][1:]]
print("seen:     pandas by odfpy and by calamine, pyexcel-ods3 of ods:", "as stored" if others == [stored] * 3 else others)
stated = theirs == [[2.0, 0.0, "26%"], [0.0, 0.31, "0%"], [62.0, 1.0, "50%"]] and same == stored and others == [stored] * 3
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
