#!/usr/bin/env bash
# What: Stata keeps dates by month, quarter, half-year, week and year as numbers of those since 1960 (years: as they are). polars-readstat reads all of them as days: March 2015 is 24 October 1961. pyreadstat, readstat-arrow and svy-io give the numbers, svy-io for whole dates too; pandas converts them.
# Versions: polars-readstat 0.25.0, pyreadstat 1.3.7, svy-io 0.7.1, pandas 2.3.3. Seen 2026-12-01.
# Why it matters: registries give the month of diagnosis, not the day. The column is a date, no value is missing, and a follow-up of 10 months is one of 10 days.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'polars-readstat==0.25.0' 'pyreadstat==1.3.7' 'svy-io==0.7.1' 'readstat-arrow==2026.10.20.0' 'pandas==2.3.3' 'polars==2.1.0' 'numpy==2.1.3' 'pyarrow==26.0.1'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings

warnings.simplefilter("ignore")
import pandas as pd
import polars_readstat
import pyreadstat
import readstat_arrow
import svy_io

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("polars-readstat", "pyreadstat", "svy-io", "readstat-arrow", "pandas")))
dates = {"td": "2015-03-17", "tm": "2015-03-01", "tq": "2015-01-01", "ty": "2015-01-01", "tw": "2015-03-12"}
table = pd.DataFrame({name: pd.to_datetime([first, "2016-01-01"]) for name, first in dates.items()})
table.to_stata("registry.dta", write_index=False, convert_dates={name: name for name in dates})
readers = {
    "pandas": lambda: pd.read_stata("registry.dta").iloc[0],
    "polars-readstat": lambda: polars_readstat.scan_readstat("registry.dta").collect().row(0),
    "pyreadstat": lambda: pyreadstat.read_dta("registry.dta")[0].iloc[0],
    "readstat-arrow": lambda: readstat_arrow.read_dta("registry.dta")[0].to_pylist()[0].values(),
    "svy-io": lambda: svy_io.read_dta("registry.dta")[0].row(0),
}
print("expected: by day 17 March 2015; by month March 2015, by quarter its first, by year 2015, by week its eleventh")
seen = {}
for name, read in readers.items():
    seen[name] = [str(value)[:10] for value in read()]
    print(f"seen:     {name:15s} " + ", ".join(f"%{kind} {value}" for kind, value in zip(dates, seen[name], strict=True)))
days = [polars_readstat.scan_readstat("registry.dta").collect()["tm"][row] for row in (0, 1)]
print(f"seen:     from March 2015 to January 2016, polars-readstat: {(days[1] - days[0]).days} days")
stated = seen["pandas"] == list(dates.values()) and seen["polars-readstat"] == ["2015-03-17", "1961-10-24", "1960-08-08", "1965-07-08", "1967-11-10"]
stated = stated and all(float(seen[name][1]) == 662 for name in ("pyreadstat", "readstat-arrow", "svy-io")) and float(seen["svy-io"][0]) == 20164
raise SystemExit(0 if stated and (days[1] - days[0]).days == 10 else "no longer as stated")
PYTHON
