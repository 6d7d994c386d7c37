#!/usr/bin/env bash
# What: pandas reads the Booleans of an OpenDocument table by the words that the cell shows: True is what shows TRUE, and everything else is False, so that a table saved in German (WAHR), French (VRAI) or Spanish (VERDADERO) has no True. Times are read by what is shown as well: twelve and a half minutes, shown as minutes and seconds (12:30), are half past twelve. The cell stores `boolean-value="true"` and `time-value="PT00H12M30S"` whatever the language.
# Versions: pandas 3.1.1 with odfpy 1.4.1; for comparison python-calamine 0.9.1, polars 2.1.0 with fastexcel 0.21.0, pyexcel-ods3 0.6.1. Seen 2026-12-01.
# Why it matters: `pd.read_excel("cohort.ods")` takes odfpy unless told otherwise. All slides are negative, with the right type and nothing missing; a cohort joined from an English and a German hospital has the positives of one. `engine="calamine"` is right.
# Source: _get_cell_value of pandas/io/excel/_odfreader.py compares str(cell) with "TRUE" and gives str(cell) to Timestamp.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'pandas==3.1.1' 'numpy==2.4.6' 'odfpy==1.4.1' 'python-calamine==0.9.1' 'polars==2.1.0' 'fastexcel==0.21.0' 'pyexcel-ods3==0.6.1'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings

warnings.simplefilter("ignore")
import pandas as pd
import polars as pl
import pyexcel_ods3
from odf.opendocument import OpenDocumentSpreadsheet
from odf.table import Table, TableCell, TableRow
from odf.text import P

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("pandas", "odfpy", "python-calamine", "polars", "fastexcel", "pyexcel-ods3")))
truths = [True, False, True, True]
minutes = ["PT00H12M30S", "PT00H05M00S", "PT00H23M59S", "PT00H00M45S"]
shown = ["12:30", "05:00", "23:59", "00:45"]


def table(path, yes, no):
    """The cells that a spreadsheet program writes: the value in an attribute, what is shown as text."""
    document, sheet = OpenDocumentSpreadsheet(), Table(name="cohort")

    def row(*cells):
        line = TableRow()
        for cell, text in cells:
            cell.addElement(P(text=text))
            line.addElement(cell)
        sheet.addElement(line)

    row(*((TableCell(valuetype="string"), name) for name in ("slide", "tumour", "ischaemia")))
    for number, (truth, duration, text) in enumerate(zip(truths, minutes, shown)):
        row(
            (TableCell(valuetype="string"), f"s{number}"),
            (TableCell(valuetype="boolean", booleanvalue=str(truth).lower()), yes if truth else no),
            (TableCell(valuetype="time", timevalue=duration), text),
        )
    document.spreadsheet.addElement(sheet)
    document.save(path)


print("expected: tumour is", truths, "in every language, by every reader; the first ischaemia is 12.5 minutes")
seen = {}
for language, yes, no in (("English", "TRUE", "FALSE"), ("German", "WAHR", "FALSCH"), ("French", "VRAI", "FAUX"), ("Spanish", "VERDADERO", "FALSO")):
    table(f"{language}.ods", yes, no)
    default = pd.read_excel(f"{language}.ods")
    calamine = pd.read_excel(f"{language}.ods", engine="calamine")
    third = pl.read_ods(f"{language}.ods")
    fourth = pyexcel_ods3.get_data(f"{language}.ods")["cohort"][1:]
    seen[language] = default["tumour"].tolist()
    others = [calamine["tumour"].tolist(), third["tumour"].to_list(), [line[1] for line in fourth]]
    print(f"seen:     {language}: pandas by default {seen[language]} ({default['tumour'].dtype}); by calamine, polars, pyexcel-ods3 {'as stored' if others == [truths] * 3 else others}")
    times = [str(value) for value in default["ischaemia"]]
    right = [str(value) for value in calamine["ischaemia"]]
print(f"seen:     ischaemia: pandas by default {times}; by calamine {right}; polars {[str(value) for value in third['ischaemia']]}")
stated = seen["English"] == truths and all(seen[language] == [False] * 4 for language in ("German", "French", "Spanish"))
stated = stated and others == [truths] * 3 and times[:2] == ["12:30:00", "05:00:00"] and right[:2] == ["00:12:30", "00:05:00"]
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
