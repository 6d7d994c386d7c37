#!/usr/bin/env bash
# What: 24.5 hours of fixation, shown with a unit by the number format, are 23 January 1900 in exceljs where the letter is escaped (Excel stores a single letter so: `0\ \h`, and old German and Dutch formats have spaces as wide as one, `_D_M_-`), and "0 12" or the like in xlsx2csv where the format has an h, s, m, d or y anywhere, in quotes or not. openpyxl, pandas by calamine, and SheetJS give 24.5 for all.
# Versions: exceljs 4.4.0, xlsx 0.18.5 (npm); xlsx2csv 0.8.6, openpyxl 3.1.5, pandas 2.3.3 with python-calamine 0.9.1. Seen 2026-12-01.
# Why it matters: fixation in h, follow-up in d or m, sizes in mm are what clinical tables show with a unit. A date still sorts and subtracts; a CSV file with "0 12" is a column of few, equal texts.
# Source: exceljs takes out what stands in quotes and brackets and looks for ymdhMsb in the rest; xlsx2csv looks for hsmdyY at any place of a format that is not in its list.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check 'openpyxl==3.1.5' 'pandas==2.3.3' 'python-calamine==0.9.1' 'xlsx2csv==0.8.6' 'numpy==2.4.6'
npm init -y > log
npm install --silent --no-audit --no-fund --ignore-scripts 'exceljs@4.4.0' 'xlsx@0.18.5' >> log
cat > read.mjs <<'JS'
import ExcelJS from 'exceljs';
import xlsx from 'xlsx';

const book = new ExcelJS.Workbook();
await book.xlsx.readFile('table.xlsx');
const by_exceljs = [];
book.worksheets[0].eachRow((row, number) => { if (number > 1) by_exceljs.push(row.getCell(2).value); });
const by_sheetjs = xlsx.utils.sheet_to_json(xlsx.readFile('table.xlsx', {cellDates: true}).Sheets.Sheet).map(row => row.hours);
console.log(JSON.stringify({exceljs: by_exceljs, SheetJS: by_sheetjs}));
JS
cat > table.py <<'PYTHON'
import csv
import importlib.metadata
import io
import json
import subprocess

import openpyxl
import pandas as pd
from xlsx2csv import Xlsx2csv

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("openpyxl", "python-calamine", "xlsx2csv")), *(f"{name} {json.load(open(f'node_modules/{name}/package.json'))['version']}" for name in ("exceljs", "xlsx")))
FORMATS = ["General", "0.0", '0\\ "h"', '0.0\\ "mm"', "0\\ \\h", "0\\ \\d", '0\\ "Tage"', "#,##0.00\\ _D_M_-"]
book = openpyxl.Workbook()
sheet = book.active
sheet.append(["slide", "hours"])
for number, form in enumerate(FORMATS):
    sheet.append([f"S{number}", 24.5])
    sheet.cell(number + 2, 2).number_format = form
book.save("table.xlsx")
text = io.StringIO()
Xlsx2csv("table.xlsx").convert(text)
seen = {
    "openpyxl": [row[1] for row in openpyxl.load_workbook("table.xlsx").active.iter_rows(min_row=2, values_only=True)],
    "calamine": pd.read_excel("table.xlsx", engine="calamine").hours.tolist(),
    "xlsx2csv": [row[1] for row in list(csv.reader(io.StringIO(text.getvalue())))[1:]],
    **json.loads(subprocess.check_output(["node", "read.mjs"])),
}
print("expected: 24.5, however it is shown")
for number, form in enumerate(FORMATS):
    print(f"seen:     {form:18s}", "  ".join(f"{reader} {values[number]}" for reader, values in seen.items()))
date, right = "1900-01-23T12:00:00.000Z", [24.5] * len(FORMATS)
stated = all(seen[reader] == right for reader in ("openpyxl", "calamine", "SheetJS")) and seen["exceljs"] == [24.5] * 4 + [date, date, 24.5, date]
stated = stated and [value == "24.5" for value in seen["xlsx2csv"]] == [True, True] + [False] * 4 + [True, False]
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
venv/bin/python table.py
