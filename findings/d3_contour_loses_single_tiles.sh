#!/usr/bin/env bash
# What: d3-contour, asked for what is at or above a threshold, draws an outline around less than that: half a tile is missing on every side where the threshold is the value itself, so that a region of 3 x 3 tiles has the area of 4 and single tiles have no outline. Just above 0 half a tile is added instead, and a single tile has the area of 2. At half the value only corners are cut.
# Versions: d3-contour 4.0.3 (npm). Seen 2026-12-01.
# Why it matters: top tiles, tumour masks and labels are 0 and 1, and "1" is the threshold one would write. Foci of one tile are what screening is for, and the area of a tumour goes by the threshold: 62 to 136 for 99 tiles here.
# Source: smoothing is on by default and puts the line between neighbours in proportion to their values, so it runs through the middle of those that are equal to the threshold. `.smooth(false)` gives the half for any threshold.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y > log
npm install --silent --no-audit --no-fund --ignore-scripts 'd3-contour@4.0.3' 'd3-polygon@3.0.2' >> log
cat > outline.mjs <<'JS'
import fs from 'fs';
import {contours} from 'd3-contour';
import {polygonArea, polygonContains} from 'd3-polygon';

console.log(['d3-contour', 'd3-polygon'].map(n => `${n} ${JSON.parse(fs.readFileSync(`node_modules/${n}/package.json`)).version}`).join(' '));
const width = 60, height = 40;
const map = Float64Array.from({length: width * height}, (_, k) => {
  const x = k % width, y = Math.floor(k / width);
  const region = x >= 5 && x < 8 && y >= 5 && y < 8, ring = x >= 20 && x < 30 && y >= 10 && y < 20 && !(x >= 23 && x < 27 && y >= 13 && y < 17);
  return region || ring || (y === 30 && x % 10 === 5) ? 1 : 0; // 9 tiles, 84 tiles around a hole of 16, and six single ones
});
const area = polygon => polygon.reduce((sum, ring, k) => sum + (k ? -1 : 1) * Math.abs(polygonArea(ring)), 0);
const outline = (threshold, smooth) => contours().size([width, height]).smooth(smooth).contour(map, threshold).coordinates;
const at = (polygons, x, y) => polygons.find(polygon => polygonContains(polygon[0], [x, y]));
const tiles = map.reduce((a, b) => a + b);
console.log(`expected: three by three tiles have an area of 9, the ring of 84, six single tiles of 6; all together ${tiles}`);
const seen = {};
for (const [threshold, smooth] of [[1, true], [0.9, true], [0.5, true], [0.1, true], [0.001, true], [1, false], [0.1, false]]) {
  const polygons = outline(threshold, smooth), block = at(polygons, 6.5, 6.5), ring = at(polygons, 21.5, 11.5), single = polygons.filter(polygon => polygon !== block && polygon !== ring);
  seen[[threshold, smooth]] = [area(block), area(ring), single.length, single.reduce((sum, polygon) => sum + area(polygon), 0)].map(v => Math.round(100 * v) / 100);
  const [nine, around, count, singles] = seen[[threshold, smooth]];
  console.log(`seen:     at or above ${String(threshold).padEnd(5)}${smooth ? '' : ', smooth(false)'}: ${nine}, ${around}, and ${count} single tiles of ${singles}; all together ${(nine + around + singles).toFixed(1)}`);
}
const stated = String(seen[[1, true]]) === '4,58,0,0' && seen[[0.5, true]][0] === 8.5 && seen[[0.5, true]][2] === 6 && seen[[0.5, true]][3] === 3 && seen[[0.001, true]][3] > 11.9 && String(seen[[1, false]]) === String(seen[[0.1, false]]) && seen[[1, false]][3] === 3;
process.exitCode = stated ? 0 : 1;
if (!stated) console.log('no longer as stated');
JS
node outline.mjs
