#!/usr/bin/env bash
# What: Pillow reads an uncompressed grey TIFF whose orientation is a quarter turn (5 to 8), as it writes itself, with the sides of the turned picture: each stored row is cut at the wrong length, so the picture is sheared and has the sides of the picture that was not turned. Compressed ones, colours and single precision are right, and size says the right thing until the pixels are read.
# Versions: Pillow 13.0.0 (11.3.0 gives the same), against the picture turned by numpy. Seen 2026-12-01.
# Why it matters: maps, masks and thumbnails that were turned in a program that only sets the orientation. All values are there, so means, histograms and thresholds are right, and no place is.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'pillow==13.0.0' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata

import numpy as np
from PIL import Image

print("pillow", importlib.metadata.version("pillow"))
ORIENTATION = 274
HEIGHT, WIDTH = 48, 64
picture = np.zeros((HEIGHT, WIDTH), np.uint8)
picture[:, 10] = 200  # a line down the 11th column
TURNS = {1: lambda array: array, 3: lambda array: np.rot90(array, 2), 5: lambda array: array.swapaxes(0, 1), 6: lambda array: np.rot90(array, -1), 7: lambda array: np.rot90(array, 2).swapaxes(0, 1), 8: np.rot90}
KINDS = {"8 bits": picture, "16 bits": picture.astype(np.uint16), "single precision": picture.astype(np.float32), "colours": np.stack([picture] * 3, 2)}
stated = True
for kind, array in KINDS.items():
    for compression in (None, "tiff_lzw"):
        right = {}
        for orientation, turn in TURNS.items():
            Image.fromarray(array).save("picture.tif", compression=compression, tiffinfo={ORIENTATION: orientation})
            image = Image.open("picture.tif")
            size = image.size
            seen, expected = np.asarray(image), turn(array)
            right[orientation] = seen.shape == expected.shape and np.array_equal(seen, expected)
            stated = stated and size == expected.shape[1::-1]
            if (kind, compression, orientation) == ("8 bits", None, 6):
                lines = [np.unique(np.nonzero(answer)[0]).tolist() for answer in (expected, seen)]
                print(f"expected: {kind}, orientation 6: {expected.shape[0]} x {expected.shape[1]}, the line is the row {lines[0][0]}")
                print(f"seen:     {seen.shape[0]} x {seen.shape[1]}, the line is in pieces in {len(lines[1])} rows, {lines[1][0]} to {lines[1][-1]}; before the pixels were read size was {size[1]} x {size[0]}; the histogram is {'right' if seen.sum() == expected.sum() else 'wrong'}")
                stated = stated and seen.shape == (HEIGHT, WIDTH) and len(lines[1]) > 1 and seen.sum() == expected.sum()
        wrong = [orientation for orientation, good in right.items() if not good]
        print(f"seen:     {kind}, {'uncompressed' if compression is None else 'compressed'}: {'all right' if not wrong else f'wrong for the orientations {wrong}'}")
        stated = stated and wrong == ([5, 6, 7, 8] if compression is None and kind in ("8 bits", "16 bits") else [])
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
