#!/usr/bin/env bash
# What: a colour TIFF in tiles, which is what slides and their cut-outs are, comes from image-js as a picture of the right size whose green and blue are 0 and whose red are the first third of the stored numbers in a row, from whatever colour. 16 bits with differences stored ("predictor") are wrong behind the first tile of a row. The same pictures in strips are right. Jimp is right with tiles, and takes colours plane by plane for pixels.
# Versions: image-js 1.7.0 with tiff 7.1.3, jimp 1.6.1 with utif2 4.1.0, geotiff 3.0.5 for comparison (npm); files by tifffile 2026.3.3. Seen 2026-12-01.
# Why it matters: image-js is what measures cells and masks in browsers and services. Neither says a word; width, height, channels and depth are right.
# Source: tiles are copied with one number for a pixel (readTileData in tiff), and differences are added up over the width of the picture, not of the tile.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check 'tifffile==2026.3.3' 'imagecodecs==2026.3.6' 'numpy==2.4.6'
npm init -y > log
npm install --silent --no-audit --no-fund --ignore-scripts 'image-js@1.7.0' 'tiff@7.1.3' 'jimp@1.6.1' 'utif2@4.1.0' 'geotiff@3.0.5' >> log 2>&1
venv/bin/python - <<'PYTHON'
import numpy as np
import tifffile

row, column = np.mgrid[:300, :500]
tissue = np.stack([200 + column % 40, 100 + row % 50, 150 + (row + column) % 60], -1).astype(np.uint8)
cells = (7 * column + row).astype(np.uint16)
for layout, how in (("strips", {"rowsperstrip": 64}), ("tiles", {"tile": (128, 128)})):
    tifffile.imwrite(f"colour_{layout}.tif", tissue, photometric="rgb", metadata=None, **how)
    tifffile.imwrite(f"colour_planes_{layout}.tif", np.ascontiguousarray(np.moveaxis(tissue, -1, 0)), photometric="rgb", planarconfig="separate", metadata=None, **how)
    tifffile.imwrite(f"labels_{layout}.tif", cells, photometric="minisblack", metadata=None, **how)
    tifffile.imwrite(f"labels_differences_{layout}.tif", cells, photometric="minisblack", metadata=None, compression="zlib", predictor=2, **how)
PYTHON
cat > read.mjs <<'JS'
import fs from 'fs';
import {read} from 'image-js';
import {Jimp} from 'jimp';
import {fromFile} from 'geotiff';

const {log} = console;
console.log = () => {}; // utif2 prints
const version = name => `${name} ${JSON.parse(fs.readFileSync(`node_modules/${name}/package.json`)).version}`;
log(['image-js', 'tiff', 'jimp', 'utif2', 'geotiff'].map(version).join(' '));
const width = 500, height = 300;
const colour = (x, y) => [200 + x % 40, 100 + y % 50, 150 + (x + y) % 60], label = (x, y) => [7 * x + y];
const readers = {
  'image-js': async name => { const image = await read(name); return (x, y) => image.getPixel(x, y); },
  geotiff: async name => { const image = await (await fromFile(name)).getImage(), n = image.getSamplesPerPixel(), data = await image.readRasters({interleave: true}); return (x, y) => Array.from(data.slice((y * width + x) * n, (y * width + x + 1) * n)); },
  jimp: async name => { const {data} = (await Jimp.read(name)).bitmap; return (x, y) => Array.from(data.slice((y * width + x) * 4, (y * width + x) * 4 + 3)); },
};
log('expected: no pixel differs from what was written, or an error');
const seen = {};
for (const name of ['colour_strips', 'colour_tiles', 'colour_planes_tiles', 'labels_strips', 'labels_tiles', 'labels_differences_strips', 'labels_differences_tiles']) {
  const right = name.startsWith('colour') ? colour : label;
  for (const reader of Object.keys(readers).filter(reader => reader !== 'jimp' || right === colour)) { // jimp has 8 bits
    const pixel = await readers[reader](`${name}.tif`);
    let wrong = 0;
    for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) wrong += String(pixel(x, y)) !== String(right(x, y));
    seen[`${name} ${reader}`] = wrong / width / height;
    log(`seen:     ${name.padEnd(25)} ${reader.padEnd(8)} ${(100 * wrong / width / height).toFixed(1).padStart(5)} % of the pixels differ; (300, 200) is ${pixel(300, 200).join(', ')}, and should be ${right(300, 200).join(', ')}`);
  }
}
const bad = {'colour_tiles image-js': .99, 'colour_planes_tiles image-js': .99, 'labels_differences_tiles image-js': .5, 'colour_planes_tiles jimp': .9};
const stated = Object.entries(seen).every(([key, share]) => (key in bad ? share > bad[key] : share === 0));
process.exitCode = stated ? 0 : 1;
if (!stated) log('no longer as stated');
JS
node read.mjs
