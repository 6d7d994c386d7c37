#!/usr/bin/env bash
# What: attention of a large slide, written without loss. JPEG XL keeps single precision and changes halves from 3.1e-5 to 6.1e-5 (3.05e-5 becomes 0, 4.6e-5 becomes 3.1e-5); JPEG XR keeps halves and rounds single precision to multiples of 1.5e-5 near 0, at its highest quality, which is also what it takes by default.
# Versions: imagecodecs 2026.3.6 (libjxl 0.11.2, jxrlib 1.1), tifffile 2026.3.3. Seen 2026-12-01.
# Why it matters: the mean weight of 16,400 to 32,800 tiles lies in the first range, and that of 20,000 tiles is three of the steps; maps of biopsies hardly change. Of JPEG XL it is known since 2024 (https://github.com/libjxl/libjxl/issues/3881, https://github.com/cgohlke/imagecodecs/issues/114).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'imagecodecs==2026.3.6' 'tifffile==2026.3.3' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata

import imagecodecs
import numpy as np
import tifffile

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("imagecodecs", "tifffile")), imagecodecs.jpegxl_version(), imagecodecs.jpegxr_version())
LOSSLESS = {"zlib": {}, "jpegxl": {"lossless": True}, "jpegxr": {"level": 1.0}}


def stored(map_, compression):
    tifffile.imwrite("map.tif", map_, compression=compression, compressionargs=LOSSLESS[compression], photometric="minisblack")
    return tifffile.imread("map.tif")


every = np.arange(65536, dtype=np.uint16).view(np.float16)
every = every[np.isfinite(every)].reshape(-1, 256)
changed = np.abs(every[stored(every, "jpegxl") != every].astype(float))
print("expected: without loss is without loss: each weight as it was, and a sum of 1")
print(f"seen:     by JPEG XL {len(changed)} of {every.size} finite halves are changed, all from {changed.min():.3e} to {changed.max():.3e}; by JPEG XR {(stored(every, 'jpegxr') != every).sum()}")
seen = {}
random = np.random.default_rng(0)
for tiles in (1024, 4096, 16384, 20000, 32768, 102400):
    scores = random.normal(size=tiles)
    for kind, weights in (("equal", np.full(tiles, 1 / tiles)), ("trained", np.exp(scores) / np.exp(scores).sum())):
        for name, precision in (("half", np.float16), ("single", np.float32)):
            map_ = weights.astype(precision).reshape(-1, 32)
            for how in LOSSLESS:
                read = stored(map_, how)
                seen[tiles, kind, name, how] = read.astype(float).sum() / map_.astype(float).sum(), len(np.unique(read)), (read != map_).mean()
        row = [f"{how} {name} {seen[tiles, kind, name, how][0]:.3f} ({seen[tiles, kind, name, how][2]:.0%} changed)" for how, name in (("jpegxl", "half"), ("jpegxr", "single"))]
        print(f"seen:     {tiles:6d} tiles, {kind:7s}: of the sum is left by", ", ".join(row) + f", {seen[tiles, kind, 'single', 'jpegxr'][1]} different weights of {len(np.unique(weights.astype(np.float32)))}")
exact = all(values[2] == 0 for case, values in seen.items() if case[3] == "zlib" or case[2:] in (("single", "jpegxl"), ("half", "jpegxr")))
print("seen:     the other two, and deflate, change nothing:", exact)
stated = exact and len(changed) == 1024 and 3e-5 < changed.min() < 3.1e-5 and 6e-5 < changed.max() < 6.2e-5
stated = stated and seen[32768, "equal", "half", "jpegxl"][0] == 0 and seen[20000, "equal", "half", "jpegxl"][0] < 0.8 and seen[102400, "trained", "single", "jpegxr"][0] < 0.9 and seen[102400, "trained", "single", "jpegxr"][1] < 50
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
