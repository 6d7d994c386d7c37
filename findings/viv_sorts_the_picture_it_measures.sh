#!/usr/bin/env bash
# What: viv's getChannelStats, which is there to find the contrast of a channel, leaves the array that it is given half sorted: the same numbers at other places. Of a map of 512 x 512 scores 9 of 10 pixels are moved. Scores below 0 are left out of its contrast limits, so that they are 0 to 0 where all are negative.
# Versions: @vivjs/loaders 0.21.0 (npm; what @hms-dbmi/viv passes on). Seen 2026-12-01.
# Why it matters: its documentation hands it the raster itself. Statistics are right, and what is drawn, cut out or measured from that raster afterwards is of another picture. Give it a copy: getChannelStats(data.slice()).
# Source: three calls of quickselect on the array for the quartiles; the contrast limits are taken from a copy, of what is above 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y > log
npm install --silent --no-audit --no-fund --ignore-scripts '@vivjs/loaders@0.21.0' >> log 2>&1
cat > look.mjs <<'JS'
import fs from 'fs';
globalThis.Worker ??= class {}; // a class of browsers that the package asks for when it is loaded
const {getChannelStats} = await import('@vivjs/loaders');

console.log('@vivjs/loaders', JSON.parse(fs.readFileSync('node_modules/@vivjs/loaders/package.json')).version);
const side = 512;
const map = Float32Array.from({length: side * side}, (_, k) => { // two foci on a slope
  const x = k % side, y = Math.floor(k / side);
  return Math.exp(-((x - 150) ** 2 + (y - 150) ** 2) / 2000) + 0.7 * Math.exp(-((x - 400) ** 2 + (y - 350) ** 2) / 3000) + 1e-4 * x + 1e-5 * y;
});
const seen = map.slice();
const stats = getChannelStats(seen);
const where = values => { const k = values.indexOf(values.reduce((a, b) => Math.max(a, b))); return [k % side, Math.floor(k / side)]; };
const moved = seen.reduce((n, v, k) => n + (v !== map[k]), 0) / map.length;
const step = values => values.reduce((sum, v, k) => sum + (k % side ? Math.abs(v - values[k - 1]) : 0), 0) / values.length;
console.log('expected: the map is as it was; the highest score lies at', where(map).join(', '));
console.log(`seen:     ${(100 * moved).toFixed(1)} % of the pixels have another value, the highest lies at ${where(seen).join(', ')}, and neighbours differ by ${(step(seen) / step(map)).toFixed(0)} times as much`);
const sorted = map.slice().sort(), same = seen.slice().sort().every((v, k) => v === sorted[k]);
console.log(`seen:     the values are the same ones: ${same}; the median is right: ${stats.median === sorted[sorted.length / 2]}`);
const again = getChannelStats(map.slice());
console.log(`seen:     of a copy the same statistics: ${JSON.stringify(again) === JSON.stringify(stats)}`);
const negative = getChannelStats(map.map(v => v - 2)).contrastLimits, mixed = getChannelStats(map.map(v => v - 0.1));
console.log(`seen:     contrast limits of scores from ${mixed.domain.map(v => v.toFixed(2)).join(' to ')}: ${mixed.contrastLimits.map(v => v.toFixed(2)).join(' to ')}; of negative scores: ${negative.join(' to ')}`);
const stated = moved > 0.5 && same && stats.median === sorted[sorted.length / 2] && String(where(seen)) !== String(where(map)) && String(negative) === '0,0' && mixed.contrastLimits[0] >= 0;
process.exitCode = stated ? 0 : 1;
if (!stated) console.log('no longer as stated');
JS
node look.mjs
