#!/usr/bin/env bash
# What: SPSS has formats for durations (TIME in hours, DTIME in days and hours). pyreadstat, and pandas.read_spss through it, make them times of a day: 27:46 hours is 03:46, ten days are 00:00; readstat-arrow does for TIME. polars-readstat has nothing for a TIME of 24 hours or more, svy-io seconds for DTIME; IBM's own library in pyspssio reads 1 day 3:46 and 10 days.
# Versions: pyreadstat 1.3.7, pandas 2.3.3, polars-readstat 0.25.0, svy-io 0.7.1, readstat-arrow 2026.10.20.0, pyspssio 0.6.0. Seen 2026-12-01.
# Why it matters: fixation and cold ischaemia are written as hours, and are what explains bad slides; those beyond a day look like the quickest. disable_datetime_conversion=True gives the seconds.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'pyreadstat==1.3.7' 'pandas==2.3.3' 'polars-readstat==0.25.0' 'svy-io==0.7.1' 'readstat-arrow==2026.10.20.0' 'pyspssio==0.6.0' 'polars==2.1.0' 'numpy==2.1.3' 'pyarrow==26.0.1'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings

warnings.simplefilter("ignore")
import pandas as pd
import polars_readstat
import pyreadstat
import pyspssio
import readstat_arrow
import svy_io

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("pyreadstat", "pandas", "polars-readstat", "svy-io", "readstat-arrow", "pyspssio")))
seconds = {"fixation": [6 * 3600.0, 100_000.0, 72 * 3600.0], "transport": [6 * 3600.0, 100_000.0, 864_000.0]}
pyreadstat.write_sav(pd.DataFrame(seconds), "blocks.sav", variable_format={"fixation": "TIME8", "transport": "DTIME12"})
readers = {
    "pyspssio": lambda: pyspssio.read_sav("blocks.sav")[0],
    "pyreadstat": lambda: pyreadstat.read_sav("blocks.sav")[0],
    "pandas": lambda: pd.read_spss("blocks.sav"),
    "polars-readstat": lambda: polars_readstat.scan_readstat("blocks.sav").collect(),
    "svy-io": lambda: svy_io.read_sav("blocks.sav")[0],
    "readstat-arrow": lambda: readstat_arrow.read_sav("blocks.sav")[0].to_pydict(),
    "pyreadstat, disabled": lambda: pyreadstat.read_sav("blocks.sav", disable_datetime_conversion=True)[0],
}
print("expected: fixation (TIME) of 6, 27.8 and 72 hours, transport (DTIME) of 6 hours, 1 day 3:46 and 10 days")
seen = {}
for name, read in readers.items():
    table = read()
    seen[name] = {column: [str(value) for value in table[column]] for column in seconds}
    print(f"seen:     {name:20s} fixation {', '.join(seen[name]['fixation'])}; transport {', '.join(seen[name]['transport'])}")
wrapped = {"fixation": ["06:00:00", "03:46:40", "00:00:00"], "transport": ["06:00:00", "03:46:40", "00:00:00"]}
stated = seen["pyreadstat"] == seen["pandas"] == wrapped and seen["polars-readstat"]["fixation"][1:] == ["None", "None"]
stated = stated and seen["readstat-arrow"]["fixation"] == wrapped["fixation"]
stated = stated and seen["pyspssio"]["transport"] == ["0 days 06:00:00", "1 days 03:46:40", "10 days 00:00:00"]
stated = stated and [float(value) for value in seen["pyreadstat, disabled"]["transport"]] == seconds["transport"]
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
