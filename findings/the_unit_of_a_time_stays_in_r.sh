#!/usr/bin/env bash
# What: R keeps the unit of a difference of times, and that a number is a whole one of 64 bits, beside the column. pyreadr and rdata leave both out: 10 weeks, 10 days and 10 hours are 10.0, and the whole numbers 1, 2, 3 are 4.9e-324 and its multiples. pyreadr says nothing; rdata warns that it does not know the class.
# Versions: pyreadr 0.5.8, rdata 1.1.0 (which also writes the file), pandas 2.3.3. Seen 2026-12-01.
# Why it matters: follow-up is computed by difftime(), which picks the unit by the smallest difference in the table if none is said: hospitals with the same code have other units. Codes that come from a data base as bigint are integer64, and none of them is 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'rdata==1.1.0' 'pyreadr==0.5.8' 'pandas==2.3.3' 'numpy==2.1.3' 'xarray==2026.9.0'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings

import numpy as np
import pyreadr
import rdata
from rdata.conversion import to_r
from rdata.parser import RObjectType
from rdata.unparser import unparse_file

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("pyreadr", "rdata", "pandas")))


class Frame:  # columns of numbers, each with what R keeps beside it
    columns = {  # the unit is named as its column, so that its name is in the file twice
        "weeks": (np.array([1.0, 2.0, 10.0]), {"class": "difftime", "units": "weeks"}),
        "days": (np.array([1.0, 2.0, 10.0]), {"class": "difftime", "units": "days"}),
        "hours": (np.array([1.0, 2.0, 10.0]), {"class": "difftime", "units": "hours"}),
        "event": (np.array([0, 1, 1], np.int64).view(np.float64), {"class": "integer64"}),
    }


def to_frame(data, converter):
    columns = [
        to_r.build_r_object(RObjectType.REAL, value=values, is_object=True, attributes=converter.convert_to_r_attributes(beside))
        for values, beside in data.columns.values()
    ]
    names = {"names": np.array(list(data.columns)), "class": "data.frame", "row.names": np.arange(1, 4, dtype=np.int32)}
    return to_r.build_r_object(RObjectType.VEC, value=columns, is_object=True, attributes=converter.convert_to_r_attributes(names))


converter = to_r.ConverterFromPythonToR(constructor_dict={**to_r.DEFAULT_CLASS_MAP, Frame: to_frame})
unparse_file("follow_up.rds", converter.convert_to_r_data(Frame()), file_type="rds")
stored = str(rdata.parser.parse_file("follow_up.rds"))
print("expected: 1, 2 and 10 weeks, days and hours (the file says so: " + ", ".join(unit for unit in Frame.columns if stored.count(f"b'{unit}'") == 2) + "); events 0, 1, 1; or a warning")
seen = {}
for name, read in (("pyreadr", lambda: pyreadr.read_r("follow_up.rds")[None]), ("rdata", lambda: rdata.read_rds("follow_up.rds"))):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        table = read()
    seen[name] = [table[column].tolist() for column in Frame.columns] + [len(said)]
    print(f"seen:     {name:7s} {table.to_dict('list')}, {len(said)} warnings, {int((table.event == 1).sum())} events")
same = all(values[:3] == [[1.0, 2.0, 10.0]] * 3 and values[3] == [0.0, 5e-324, 5e-324] for values in seen.values())
raise SystemExit(0 if same and seen["pyreadr"][4] == 0 and seen["rdata"][4] > 0 and stored.count("b'weeks'") == 2 else "no longer as stated")
PYTHON
