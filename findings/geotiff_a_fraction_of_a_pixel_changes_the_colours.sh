#!/usr/bin/env bash
# What: a window whose upper left corner lies between two pixels is neither rounded nor refused by geotiff.js. Half a pixel to the right makes red, green, blue into green, blue, red, and maps in single precision into numbers like 2e-41; a quarter of a pixel down moves the tile a quarter of the stored tile's width to the right.
# Versions: geotiff 3.0.5 (npm), file by tifffile 2026.3.3. Seen 2026-12-01.
# Why it matters: whoever goes from places of level 0 to those of a lower level divides by 4, 16 or 4.0012, and has such corners. The tile has the size that was asked for and looks like tissue. Round first.
# Source: the place of a byte is (row * width of the tile + column) * bytes of a pixel with the corner as it came, in src/geotiffimage.js, and the view that is read by it cuts the fraction of that product.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check 'tifffile==2026.3.3' 'numpy==2.4.6'
npm init -y > log
npm install --silent --no-audit --no-fund --ignore-scripts 'geotiff@3.0.5' >> log
venv/bin/python - <<'PYTHON'
import numpy as np
import tifffile

column = np.tile(np.arange(1024), (512, 1))
picture = np.stack([np.full_like(column, 232), np.full_like(column, 186), column // 4], -1).astype(np.uint8)  # blue grows from left to right
tifffile.imwrite("tissue.tif", picture, tile=(256, 256), photometric="rgb")
tifffile.imwrite("attention.tif", column.astype(np.float32), tile=(256, 256))  # the value of a pixel is its column
PYTHON
cat > read.mjs <<'JS'
import fs from 'fs';
import {fromFile} from 'geotiff';

console.log('geotiff', JSON.parse(fs.readFileSync('node_modules/geotiff/package.json')).version);
const read = async (name, left, top) => {
  const image = await (await fromFile(name)).getImage();
  return Array.from(await image.readRasters({window: [left, top, left + 2, top + 2], interleave: true}));
};
const colour = async (left, top) => (await read('tissue.tif', left, top)).slice(0, 3);
const column = async (left, top) => (await read('attention.tif', left, top))[0];
console.log('expected: the pixel (232, 186, 25) and the column 100 or 101 near x = 100; or an error');
const seen = {};
for (const [left, top] of [[100, 10], [100.25, 10], [100.5, 10], [100.75, 10], [100, 10.25], [100, 10.5], [100, 10.75]]) {
  seen[[left, top]] = [await colour(left, top), await column(left, top)];
  const [pixel, place] = seen[[left, top]];
  console.log(`seen:     corner (${left}, ${top})`.padEnd(33), `colour (${pixel.join(', ')})`.padEnd(24), `column ${place}`);
}
const same = (left, top, pixel, place) => String(seen[[left, top]][0]) === String(pixel) && place(seen[[left, top]][1]);
const stated = same(100, 10, [232, 186, 25], v => v === 100) && same(100.5, 10, [186, 25, 232], v => v > 0 && v < 1e-40)
  && same(100.75, 10, [25, 232, 186], v => v < -1e6) && same(100, 10.25, [232, 186, 41], v => v === 164) && same(100, 10.5, [232, 186, 57], v => v === 228);
process.exitCode = stated ? 0 : 1;
if (!stated) console.log('no longer as stated');
JS
node read.mjs
