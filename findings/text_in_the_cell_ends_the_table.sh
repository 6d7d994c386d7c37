#!/usr/bin/env bash
# What: a workbook may keep a text in its cell (`inlineStr`, as XlsxWriter does with constant_memory and exceljs itself when it streams) instead of in the shared list. Of such files exceljs reads nothing behind a text with a reading aid (Japanese, Chinese): 4 of 8 rows and no error; its streaming reader gives the reading aid for the text, and of a text in pieces ("pT2" and a raised "a") the last piece only, also of files that its own streaming writer made. xlsx2csv writes the aid behind the text. pylightxl has no text at all: numbers and Booleans stay, names and labels are "".
# Versions: exceljs 4.4.0, pylightxl 1.61, xlsx2csv 0.8.6; XlsxWriter 3.3.1 writes; for comparison openpyxl 3.1.5, python-calamine 0.9.1, xlsx 0.18.5 (npm). Seen 2026-12-01.
# Why it matters: exports of data bases are streamed. Half of a cohort is missing behind one name, a stage pT2a is "a", and labels are empty where ages and times are right.
# Source: exceljs' cell reader takes the end of a text for that of the cell's value and hands the aid's own elements up, which ends the sheet; its streaming reader keeps the last text that comes; pylightxl looks for `v` only.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check 'pylightxl==1.61' 'xlsx2csv==0.8.6' 'xlsxwriter==3.3.1' 'openpyxl==3.1.5' 'pandas==2.3.3' 'python-calamine==0.9.1' 'numpy==2.4.6'
npm init -y > log
npm install --silent --no-audit --no-fund --ignore-scripts 'exceljs@4.4.0' 'xlsx@0.18.5' >> log
cat > write.mjs <<'JS'
import ExcelJS from 'exceljs';

const book = new ExcelJS.stream.xlsx.WorkbookWriter({filename: 'own.xlsx', useSharedStrings: false});
const sheet = book.addWorksheet('Sheet1');
for (let n = 0; n < 3; n++) sheet.addRow([`case${n}`, {richText: [{text: 'pT2'}, {font: {vertAlign: 'superscript'}, text: 'a'}]}, n]).commit();
await book.commit();
JS
cat > read.mjs <<'JS'
import ExcelJS from 'exceljs';
import xlsx from 'xlsx';

const plain = value => value?.richText ? value.richText.map(piece => piece.text).join('') : value;
const found = {};
for (const name of ['pieces', 'aid', 'own']) {
  const book = new ExcelJS.Workbook();
  await book.xlsx.readFile(`${name}.xlsx`);
  const rows = [];
  book.worksheets[0].eachRow(row => rows.push([1, 2, 3].map(n => plain(row.getCell(n).value))));
  const streamed = [];
  for await (const sheet of new ExcelJS.stream.xlsx.WorkbookReader(`${name}.xlsx`)) for await (const row of sheet) streamed.push(row.values.slice(1).map(plain));
  found[name] = {exceljs: rows, 'exceljs, streaming': streamed, SheetJS: xlsx.utils.sheet_to_json(Object.values(xlsx.readFile(`${name}.xlsx`).Sheets)[0], {header: 1})};
}
console.log(JSON.stringify(found));
JS
cat > trial.py <<'PYTHON'
import csv
import io
import json
import re
import subprocess
import warnings
import zipfile

warnings.simplefilter("ignore")
import pandas as pd
import pylightxl
import xlsxwriter


def write(path, cell):
    with xlsxwriter.Workbook(path, {"constant_memory": True}) as book:
        sheet = book.add_worksheet()
        raised = book.add_format({"font_script": 1})
        for row in range(8):
            sheet.write(row, 0, f"case{row}")
            cell(sheet, row, raised)
            sheet.write(row, 2, row)


write("pieces.xlsx", lambda sheet, row, raised: sheet.write_rich_string(row, 1, "pT2", raised, "a"))
write("plain.xlsx", lambda sheet, row, raised: sheet.write(row, 1, "東京"))
with zipfile.ZipFile("plain.xlsx") as before, zipfile.ZipFile("aid.xlsx", "w") as after:
    for name in before.namelist():
        text = before.read(name)
        if name.endswith("sheet1.xml"):  # a reading aid at the text of the fourth row, as the format has it
            text = re.sub(r'(r="B4" t="inlineStr"><is><t>東京</t>)', r'\1<rPh sb="0" eb="2"><t>トウキョウ</t></rPh>', text.decode()).encode()
            assert b"rPh" in text
        after.writestr(name, text)
subprocess.check_call(["node", "write.mjs"])
found = json.loads(subprocess.check_output(["node", "read.mjs"]))
right = {"pieces": [[f"case{n}", "pT2a", n] for n in range(8)], "aid": [[f"case{n}", "東京", n] for n in range(8)], "own": [[f"case{n}", "pT2a", n] for n in range(3)]}
for name in right:
    table = csv.reader(io.StringIO(subprocess.check_output(["venv/bin/xlsx2csv", f"{name}.xlsx"], text=True)))
    found[name]["xlsx2csv"] = [[one, two, int(three)] for one, two, three in table]
    found[name]["pylightxl"] = [list(row) for row in pylightxl.readxl(f"{name}.xlsx").ws("Sheet1").rows]
    for engine in ("openpyxl", "calamine"):
        found[name][engine] = pd.read_excel(f"{name}.xlsx", header=None, engine=engine).to_numpy().tolist()
print("expected: 8 rows with pT2a (in two pieces), 8 rows with 東京 (the fourth with a reading aid), and the 3 that exceljs streamed, in every reader")
for name, what in (("pieces", "in pieces"), ("aid", "with a reading aid"), ("own", "in pieces, written by exceljs")):
    fine = [reader for reader, rows in found[name].items() if rows == right[name]]
    print(f"seen:     {what}: right in {', '.join(fine)}")
    for reader, rows in found[name].items():
        if reader not in fine:
            print(f"seen:         {reader}: {len(rows)} rows, the last {rows[-1]}, the fourth {rows[3] if len(rows) > 3 else '-'}")
stated = all(found[name][reader] == right[name] for name in right for reader in ("SheetJS", "openpyxl", "calamine"))
stated = stated and len(found["aid"]["exceljs"]) == 4 and found["aid"]["exceljs, streaming"][3][1] == "トウキョウ" and [row[1] for row in found["own"]["exceljs, streaming"]] == ["a"] * 3
stated = stated and all(row[:2] == ["", ""] and row[2] == n for n, row in enumerate(found["pieces"]["pylightxl"]))
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
venv/bin/python trial.py
