#!/usr/bin/env bash
# What: Snakemake runs a job again where its inputs or parameters have changed, by default. Training and test file exchanged, the values of two parameters exchanged, and a value under another name are no change: names are left out of what is kept, and the values are sorted. Neither is any change of a parameter that is a number of numpy (but float64), an array, a path, a date, a Decimal or a dataclass: these are left out wholly. A value changed by itself, as a number of Python or a numpy float64, is seen.
# Versions: snakemake 9.27.1, numpy 2.4.6. Seen 2026-12-01.
# Why it matters: folds, classes and rates are exchanged in a workflow, and what a table of samples holds are numbers of numpy: "Nothing to be done", and the results of before stand under the new settings. Source: `_params`, `_input` and `_serialize_param_builtin` in snakemake/persistence. The documentation says that changed params and a changed set of inputs trigger. An open pull request keeps the names of the params, for another purpose: https://github.com/snakemake/snakemake/pull/3440
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'snakemake==9.27.1' 'numpy==2.4.6'
cd "$folder"
printf 's1\n' > north.csv
printf 's2\n' > south.csv
cat > Snakefile <<'SNAKE'
import datetime, os, pathlib
import numpy as np

after = int(os.environ["AFTER"])
rates = ((.1, .01), (.01, .1))[after]
files = (("north.csv", "south.csv"), ("south.csv", "north.csv"))[after]
values = {
    "float": .5 + after, "numpy_float64": np.float64(.5 + after), "list_of_numpy_int64": [np.int64(5 + after)],
    "numpy_float32": np.float32(.5 + after), "numpy_int64": np.int64(5 + after), "numpy_bool": np.bool_(after),
    "array": np.arange(3) + after, "path": pathlib.Path(f"fold{after}"), "date": datetime.date(2020, 1, 1 + after),
}
rule all:
    input: "inputs.txt", "params.txt", "name.txt", [f"{name}.txt" for name in values]
rule inputs:
    input: train=files[0], test=files[1]
    output: "inputs.txt"
    shell: "echo train {input.train}, test {input.test} > {output}"
rule params:
    output: "params.txt"
    params: rate=rates[0], decay=rates[1]
    shell: "echo rate {params.rate}, decay {params.decay} > {output}"
rule name:
    output: "name.txt"
    params: **{("positive", "negative")[after]: "tumour"}
    shell: "echo {params} > {output}"
for name in values:
    rule:
        name: name
        output: f"{name}.txt"
        params: value=values[name]
        shell: "echo {params.value} > {output}"
SNAKE
AFTER=0 venv/bin/snakemake --cores 1 --quiet all > said 2>&1 || { cat said >&2; exit 1; }
tail -qn 1 inputs.txt params.txt > before
AFTER=1 venv/bin/snakemake --cores 1 > again 2>&1 || { cat again >&2; exit 1; }
ran=$(grep -E '^(local)?rule ' again | sed -E 's/^(local)?rule ([a-z_0-9]+):.*/\2/' | grep -v '^all$' | sort | tr '\n' ' ' || true)
echo "expected: all twelve are run again; inputs.txt says 'train south.csv, test north.csv', params.txt 'rate 0.01, decay 0.1'"
echo "seen:     run again: $ran"
echo "seen:     inputs.txt: $(cat inputs.txt)"
echo "seen:     params.txt: $(cat params.txt)"
echo "seen:     numpy_int64.txt: $(cat numpy_int64.txt), array.txt: $(cat array.txt), float.txt: $(cat float.txt)"
[ "$ran" = "float list_of_numpy_int64 numpy_float64 " ] && grep -q 'train north.csv, test south.csv' inputs.txt && grep -q 'rate 0.1, decay 0.01' params.txt || { echo "no longer as stated" >&2; exit 1; }
