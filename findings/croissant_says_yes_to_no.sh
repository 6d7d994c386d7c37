#!/usr/bin/env bash
# What: mlcroissant lets pandas guess what a CSV file holds and then casts it to the type that the dataset's description says. A field of sc:Boolean is true for "no" and any other text; a name of sc:Text has lost its zeros in front, and with one empty cell 007 is "7.0".
# Versions: mlcroissant 1.1.1, pandas 2.3.3. Seen 2026-12-01.
# Why it matters: Croissant is how public collections describe themselves so that loaders need not guess. Every slide is positive, and the names of patients no longer match those of the files.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'mlcroissant==1.1.1' 'pandas==2.3.3' 'numpy==2.1.3'
cd "$folder"
venv/bin/python - 2>/dev/null <<'PYTHON'
import hashlib
import importlib.metadata
import json
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
import mlcroissant

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("mlcroissant", "pandas")))
Path("labels.csv").write_text("slide,case,tumour,reviewed\n0001,007,yes,True\n0002,007,no,False\n0003,,no,\n0004,1e5,no,False\n")
TYPES = {"slide": "sc:Text", "case": "sc:Text", "tumour": "sc:Boolean", "reviewed": "sc:Boolean"}
context = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    **{word: f"cr:{word}" for word in ("citeAs", "column", "extract", "field", "fileObject", "recordSet", "source")},
}
fields = [
    {"@type": "cr:Field", "@id": f"labels/{name}", "dataType": kind, "source": {"fileObject": {"@id": "labels.csv"}, "extract": {"column": name}}}
    for name, kind in TYPES.items()
]
csv = {"@type": "cr:FileObject", "@id": "labels.csv", "contentUrl": "labels.csv", "encodingFormat": "text/csv"}
csv["sha256"] = hashlib.sha256(Path("labels.csv").read_bytes()).hexdigest()
described = {
    "@context": context,
    "@type": "sc:Dataset",
    "name": "slides",
    "description": "four slides",
    "conformsTo": "http://mlcommons.org/croissant/1.0",
    "license": "https://creativecommons.org/licenses/by/4.0/",
    "url": "https://example.org",
    "version": "1.0.0",
    "datePublished": "2026-12-01",
    "citeAs": "none",
    "distribution": [csv],
    "recordSet": [{"@type": "cr:RecordSet", "@id": "labels", "field": fields}],
}
Path("croissant.json").write_text(json.dumps(described))
records = [{name.split("/")[-1]: value for name, value in record.items()} for record in mlcroissant.Dataset("croissant.json").records("labels")]
print(Path("labels.csv").read_text())
print("expected: slides 0001 to 0004 of cases 007, 007, none and 1e5, the first with tumour; or an error for what is no Boolean")
seen = {name: [record[name].decode() if isinstance(record[name], bytes) else record[name] for record in records] for name in TYPES}
for name, values in seen.items():
    print(f"seen:     {TYPES[name]:11s} {name:9s} {values}")
stated = seen["slide"] == ["1", "2", "3", "4"] and seen["case"] == ["7.0", "7.0", None, "100000.0"] and seen["tumour"] == [True] * 4
raise SystemExit(0 if stated and seen["reviewed"] == [True, False, None, False] else "no longer as stated")
PYTHON
