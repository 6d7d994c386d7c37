#!/usr/bin/env bash
# What: where most values are equal, d3's quantile scales give these the upper end of what they share: with no attention on 900 of 1,000 tiles all have the fifth of five colours, and .90 on a continuous scale. chroma-js, with the same cuts, gives the last colour as well; simple-statistics says .45, the middle.
# Versions: d3-scale 4.0.3, chroma-js 3.2.0, simple-statistics 7.12.1 (npm); pandas 2.3.3 for comparison, which refuses. Seen 2026-12-01.
# Why it matters: sparsemax, top-k and hard selection give most tiles exactly 0, and quantiles are what is used for skewed attention. The map is red from edge to edge, and with classes the tile that decided has the colour of glass.
# Source: the thresholds are 0, 0, 0, 0, and a value belongs to the class behind the last threshold that is not above it; scaleSequentialQuantile takes the place behind the last equal value.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check 'pandas==2.3.3' 'numpy==2.4.6'
npm init -y > log
npm install --silent --no-audit --no-fund --ignore-scripts 'd3-scale@4.0.3' 'chroma-js@3.2.0' 'simple-statistics@7.12.1' >> log
venv/bin/python - <<'PYTHON'
import pandas as pd

try:
    pd.qcut([0.0] * 900 + [k / 5050 for k in range(1, 101)], 5)
except ValueError as error:
    print("pandas:  ", str(error).split(":")[0])
PYTHON
cat > paint.mjs <<'JS'
import fs from 'fs';
import {scaleQuantile, scaleSequentialQuantile} from 'd3-scale';
import chroma from 'chroma-js';
import {quantileRank} from 'simple-statistics';

console.log(['d3-scale', 'chroma-js', 'simple-statistics'].map(n => `${n} ${JSON.parse(fs.readFileSync(`node_modules/${n}/package.json`)).version}`).join(' '));
const colours = ['white', 'yellow', 'orange', 'red', 'dark red'];
const map = share => Array.from({length: 1000}, (_, k) => (k < share ? 0 : (k - share + 1) / 5050));
const seen = {};
console.log('expected: a tile without attention is white, or at 0');
for (const share of [0, 150, 250, 500, 900]) {
  const attention = map(share), most = attention[999];
  const classes = scaleQuantile().domain(attention).range(colours), smooth = scaleSequentialQuantile(t => t).domain(attention);
  const other = chroma.scale(['white', 'red']).classes(chroma.limits(attention, 'q', 5));
  seen[share] = [classes(attention[0]), classes(most), smooth(attention[0]).toFixed(2), other(attention[0]).hex(), quantileRank(attention, attention[0]).toFixed(2)];
  const [lowest, highest, place, hex, middle] = seen[share];
  console.log(`seen:     ${String(share).padStart(3)} of 1000 tiles without attention: they are ${lowest} and at ${place} by d3, ${hex} by chroma-js, at ${middle} by simple-statistics; the highest tile is ${highest}`);
}
const stated = seen[0][0] === 'white' && seen[0][2] === '0.00' && seen[250][0] === 'yellow' && seen[500][0] === 'orange' && seen[900][0] === 'dark red' && seen[900][1] === 'dark red'
  && seen[900][2] === '0.90' && seen[900][3] === '#ff0000' && seen[900][4] === '0.45';
process.exitCode = stated ? 0 : 1;
if (!stated) console.log('no longer as stated');
JS
node paint.mjs
